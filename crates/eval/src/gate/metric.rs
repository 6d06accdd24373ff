//! What a gate may bound, and the units of bounds.

use serde::Serialize;
use std::fmt;

/// What may be bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Perplexity of the artifact.
    Ppl,
    /// Its perplexity over the reference's.
    PplRatio,
    /// Mean KL divergence from the reference, in nats.
    Kld,
    /// Its 99th percentile.
    #[serde(rename = "kld_p99")]
    KldP99,
    /// Share of tokens with the reference's most probable token.
    Top1,
    /// Share of questions answered rightly by just one of artifact and reference.
    Flips,
    /// Share of questions that the artifact answers rightly.
    Accuracy,
    /// Bytes of the artifact's weights.
    Size,
    /// Bits per weight.
    Bpw,
}

/// What must be at hand for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The artifact alone.
    Artifact,
    /// A text.
    Text,
    /// A text, and a reference.
    TextAndReference,
    /// Questions.
    Tasks,
    /// Questions, and a reference.
    TasksAndReference,
}

impl Metric {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Ppl,
        Self::PplRatio,
        Self::Kld,
        Self::KldP99,
        Self::Top1,
        Self::Flips,
        Self::Accuracy,
        Self::Size,
        Self::Bpw,
    ];

    /// Its name in a gate.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ppl => "ppl",
            Self::PplRatio => "ppl_ratio",
            Self::Kld => "kld",
            Self::KldP99 => "kld_p99",
            Self::Top1 => "top1",
            Self::Flips => "flips",
            Self::Accuracy => "accuracy",
            Self::Size => "size",
            Self::Bpw => "bpw",
        }
    }

    /// The names of all.
    pub fn names() -> Vec<&'static str> {
        Self::ALL.map(Self::name).into()
    }

    /// What must be at hand for it.
    pub fn needs(self) -> Needs {
        match self {
            Self::Ppl => Needs::Text,
            Self::PplRatio | Self::Kld | Self::KldP99 | Self::Top1 => Needs::TextAndReference,
            Self::Accuracy => Needs::Tasks,
            Self::Flips => Needs::TasksAndReference,
            Self::Size | Self::Bpw => Needs::Artifact,
        }
    }

    /// Whether windows or questions were drawn for it, so that it has an interval.
    pub fn is_sampled(self) -> bool {
        self.needs() != Needs::Artifact
    }

    /// Whether it is measured on a text.
    pub fn is_of_text(self) -> bool {
        matches!(self.needs(), Needs::Text | Needs::TextAndReference)
    }

    /// Whether it takes a reference.
    pub fn is_of_reference(self) -> bool {
        matches!(self.needs(), Needs::TextAndReference | Needs::TasksAndReference)
    }

    /// Whether it is a share of tokens or questions.
    pub(super) fn is_share(self) -> bool {
        matches!(self, Self::Top1 | Self::Flips | Self::Accuracy)
    }

    /// How its bounds are written.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Size => "a number of bytes, or one with kB, MB, GB, TB, KiB, MiB, GiB or TiB",
            _ if self.is_share() => "a share such as 0.92 or 92%",
            _ => "a number",
        }
    }

    /// A bound as it is written, with its unit.
    pub(super) fn bound(self, written: &str) -> Option<f64> {
        let (number, unit) = written.split_at(
            written
                .find(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E') || c == '%')
                .unwrap_or(written.len()),
        );
        let number: f64 = number.trim_end().parse().ok()?;
        let factor = match (self, unit) {
            (_, "") => 1.0,
            (_, "%") if self.is_share() => return Some(number / 100.0),
            (Self::Size, unit) => {
                let unit = unit.to_ascii_lowercase();
                SIZES.into_iter().find(|(name, _)| *name == unit)?.1
            }
            _ => return None,
        };
        Some(number * factor).filter(|bound| bound.is_finite())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const SIZES: [(&str, f64); 9] = [
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
];
