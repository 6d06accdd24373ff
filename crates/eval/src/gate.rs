//! Bounds that an artifact must keep: `kld <= 0.03`, `top1 >= 92%`, `size <= 5GB`.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A bound on a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    text: String,
    metric: Metric,
    relation: Relation,
    bound: f64,
}

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

/// What became of a gate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The gate as it was written.
    pub gate: String,
    /// What it bounds.
    pub metric: Metric,
    /// What was found.
    pub value: f64,
    /// The bound.
    pub bound: f64,
    /// Whether the bound is kept.
    pub passed: bool,
    /// How far beyond the bound the value is: 0 where it is kept.
    pub missed_by: f64,
}

/// A gate that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GateError {
    /// Something else than a metric, a relation and a bound.
    #[error("`{0}` is not a gate: expected a metric, one of <= < >= >, and a number")]
    Form(String),
    /// A metric that does not exist.
    #[error("there is no metric `{metric}` in gate `{gate}`: expected one of {}", Metric::names().join(", "))]
    Metric {
        /// The gate.
        gate: String,
        /// What stands in the metric's place.
        metric: String,
    },
    /// A bound on a share that no share can reach.
    #[error(
        "`{bound}` is no bound for `{metric}` in gate `{gate}`: a share is 0 to 1, or 0% to 100%{}",
        meant(.bound)
    )]
    Share {
        /// The gate.
        gate: String,
        /// What it bounds.
        metric: Metric,
        /// What stands in the bound's place.
        bound: String,
    },
    /// A size that no model has: of a few bytes.
    #[error("`{bound}` in gate `{gate}` is a number of bytes: `{bound}MB` was meant?")]
    Bytes {
        /// The gate.
        gate: String,
        /// What stands in the bound's place.
        bound: String,
    },
    /// A bound that is no number, or has a unit that does not go with the metric.
    #[error("`{bound}` is no bound for `{metric}` in gate `{gate}`: expected {}", metric.unit())]
    Bound {
        /// The gate.
        gate: String,
        /// What it bounds.
        metric: Metric,
        /// What stands in the bound's place.
        bound: String,
    },
}

/// A bound that is written as a percentage, but for the sign.
fn meant(bound: &str) -> String {
    let is_percentage = bound.parse().is_ok_and(|number: f64| number > 1.0 && number <= 100.0);
    if is_percentage { format!("; `{bound}%` was meant?") } else { String::new() }
}

impl Gate {
    /// What it bounds.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Holds a value against the bound. The value alone decides, not its interval; one that is no
    /// number misses every bound.
    pub fn check(&self, value: f64) -> Outcome {
        let passed = match self.relation {
            Relation::AtMost => value <= self.bound,
            Relation::Below => value < self.bound,
            Relation::AtLeast => value >= self.bound,
            Relation::Above => value > self.bound,
        };
        Outcome {
            gate: self.text.clone(),
            metric: self.metric,
            value,
            bound: self.bound,
            passed,
            missed_by: if passed { 0.0 } else { (value - self.bound).abs() },
        }
    }
}

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        let form = || GateError::Form(text.to_owned());
        let (metric, rest) = text.split_at(text.find(['<', '>']).ok_or_else(form)?);
        let (relation, bound) = Relation::starting(rest).ok_or_else(form)?;
        let (name, written) = (metric.trim(), bound.trim());
        if name.is_empty() || written.is_empty() {
            return Err(form());
        }
        let metric = Metric::ALL.into_iter().find(|metric| metric.name() == name);
        let metric = metric
            .ok_or_else(|| GateError::Metric { gate: text.to_owned(), metric: name.to_owned() })?;
        let bound = metric.bound(written).ok_or_else(|| GateError::Bound {
            gate: text.to_owned(),
            metric,
            bound: written.to_owned(),
        })?;
        if metric.is_share() && !(0.0..=1.0).contains(&bound) {
            let bound = written.to_owned();
            return Err(GateError::Share { gate: text.to_owned(), metric, bound });
        }
        let is_plain = written.ends_with(|last: char| last.is_ascii_digit());
        if metric == Metric::Size && is_plain && bound < FEW_BYTES {
            let bound = written.to_owned();
            return Err(GateError::Bytes { gate: text.to_owned(), bound });
        }
        let text = format!("{metric} {} {written}", relation.sign());
        Ok(Self { text, metric, relation, bound })
    }
}

/// Below it a size without a unit was meant in another one.
const FEW_BYTES: f64 = 1000.0;

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
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

    fn is_share(self) -> bool {
        matches!(self, Self::Top1 | Self::Flips | Self::Accuracy)
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Size => "a number of bytes, or one with kB, MB, GB, TB, KiB, MiB, GiB or TiB",
            _ if self.is_share() => "a share such as 0.92 or 92%",
            _ => "a number",
        }
    }

    fn bound(self, written: &str) -> Option<f64> {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    AtMost,
    Below,
    AtLeast,
    Above,
}

impl Relation {
    /// The relation with which `text` begins, and what comes after it.
    fn starting(text: &str) -> Option<(Self, &str)> {
        // The longer signs first: `<=` begins with `<`.
        let all = [Self::AtMost, Self::AtLeast, Self::Below, Self::Above];
        all.into_iter().find_map(|relation| Some((relation, text.strip_prefix(relation.sign())?)))
    }

    fn sign(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::Below => "<",
            Self::AtLeast => ">=",
            Self::Above => ">",
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(text: &str) -> Gate {
        text.parse().unwrap()
    }

    #[test]
    fn gates_are_read_with_their_units() {
        let check = |text: &str, metric, bound| {
            let gate = gate(text);
            assert_eq!((gate.metric(), gate.bound), (metric, bound), "{text}");
        };
        check("kld <= 0.03", Metric::Kld, 0.03);
        check("kld_p99<1e-3", Metric::KldP99, 0.001);
        check(" ppl_ratio  <=1.02 ", Metric::PplRatio, 1.02);
        check("top1 >= 92%", Metric::Top1, 0.92);
        check("flips <= 2.5 %", Metric::Flips, 0.025);
        check("size <= 5GB", Metric::Size, 5e9);
        check("size < 1.5 GiB", Metric::Size, 1_610_612_736.0);
        check("size <= 5000", Metric::Size, 5000.0);
        check("size <= 0.5kB", Metric::Size, 500.0);
        check("bpw <= 4.5", Metric::Bpw, 4.5);
        check("ppl < 40", Metric::Ppl, 40.0);
        check("accuracy > .5", Metric::Accuracy, 0.5);
    }

    #[test]
    fn each_relation_decides_at_its_bound() {
        let check = |text: &str, below, at, above| {
            let passed = [0.9, 1.0, 1.1].map(|value| gate(text).check(value).passed);
            assert_eq!(passed, [below, at, above], "{text}");
        };
        check("ppl <= 1", true, true, false);
        check("ppl < 1", true, false, false);
        check("ppl >= 1", false, true, true);
        check("ppl > 1", false, false, true);
        assert!(!gate("ppl <= 1").check(f64::NAN).passed);
        assert!(!gate("ppl >= 1").check(f64::NAN).passed);
    }

    #[test]
    fn an_outcome_says_by_how_much_a_gate_was_missed() {
        let outcome = gate("top1>=  92%").check(0.9);
        assert_eq!((outcome.gate.as_str(), outcome.passed), ("top1 >= 92%", false));
        assert!((outcome.missed_by - 0.02).abs() < 1e-12);
        assert_eq!(gate("kld <= 0.03").check(0.02).missed_by, 0.0);
        let json = serde_json::to_value(gate("kld_p99 < 1").check(0.5)).unwrap();
        assert_eq!(json["metric"], "kld_p99");
    }

    #[test]
    fn names_in_json_are_those_of_gates() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
    }

    #[test]
    fn what_is_no_gate_is_refused_with_what_would_be() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<Gate>().unwrap_err().to_string(), expected);
        };
        let form = ": expected a metric, one of <= < >= >, and a number";
        for text in ["", "kld", "kld = 3", "kld <=", "<= 3"] {
            check(text, &format!("`{text}` is not a gate{form}"));
        }
        check(
            "kl <= 3",
            "there is no metric `kl` in gate `kl <= 3`: expected one of ppl, ppl_ratio, kld, \
             kld_p99, top1, flips, accuracy, size, bpw",
        );
        check("kld <= 5GB", "`5GB` is no bound for `kld` in gate `kld <= 5GB`: expected a number");
        check(
            "top1 >= high",
            "`high` is no bound for `top1` in gate `top1 >= high`: expected a share such as 0.92 \
             or 92%",
        );
        check(
            "size <= 5 GX",
            "`5 GX` is no bound for `size` in gate `size <= 5 GX`: expected a number of bytes, or \
             one with kB, MB, GB, TB, KiB, MiB, GiB or TiB",
        );
        let meant = [("90", "; `90%` was meant?"), ("101%", ""), ("-0.1", ""), ("101", "")];
        for (bound, meant) in meant {
            let text = format!("top1 >= {bound}");
            let share = format!("a share is 0 to 1, or 0% to 100%{meant}");
            check(&text, &format!("`{bound}` is no bound for `top1` in gate `{text}`: {share}"));
        }
        check(
            "size <= 120",
            "`120` in gate `size <= 120` is a number of bytes: `120MB` was meant?",
        );
        for text in ["kld <= nan", "kld <= inf", "kld <= 1e999", "kld <== 3", "size <= %"] {
            assert!(matches!(text.parse::<Gate>(), Err(GateError::Bound { .. })), "{text}");
        }
    }
}
