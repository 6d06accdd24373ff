//! Bounds that an artifact must keep: `kld <= 0.03`, `chat.top1 >= 92%`, `size <= 5GB`, `kld <= 1.1 * baseline`.
//!
//! A metric that was measured on some windows of all such text has an interval, and the interval decides: a
//! limit within it is neither kept nor missed.

mod error;
mod limit;
mod metric;
mod outcome;
mod relation;
#[cfg(test)]
mod simulation;

pub use error::GateError;
pub use metric::{Metric, Needs};
pub use outcome::{OnUnsure, Outcome, UnknownOnUnsure, Verdict};

use crate::bootstrap::Estimate;
use limit::Limit;
use relation::Relation;
use std::fmt;
use std::str::FromStr;

/// A bound on a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    text: String,
    part: Option<String>,
    metric: Metric,
    relation: Relation,
    limit: Limit,
}

impl Gate {
    /// What it bounds.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The name of the text or of the tasks that it is on; none, if it is on all together.
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }

    /// Whether its limit follows from a baseline.
    pub fn is_relative(&self) -> bool {
        self.limit.is_relative()
    }

    /// Holds what was found against the limit, which follows from the `baseline`'s value where it is
    /// relative. What is no number misses every limit.
    pub fn check(&self, found: &Estimate, baseline: Option<f64>, unsure: OnUnsure) -> Outcome {
        let baseline = baseline.filter(|_| self.is_relative());
        let limit = self.limit.value(baseline);
        let verdict = self.verdict(found, limit);
        let kept = self.relation.holds(found.value, limit);
        Outcome {
            gate: self.text.clone(),
            part: self.part.clone(),
            metric: self.metric,
            value: found.value,
            interval: found.interval(),
            limit,
            baseline,
            verdict,
            passed: match verdict {
                Verdict::Pass => true,
                Verdict::Fail => false,
                Verdict::Unsure => unsure == OnUnsure::Pass,
            },
            missed_by: if kept { 0.0 } else { (found.value - limit).abs() },
        }
    }

    fn verdict(&self, found: &Estimate, limit: f64) -> Verdict {
        let holds = |value| self.relation.holds(value, limit);
        let ends = match found.interval() {
            _ if !self.metric.is_sampled() || !found.value.is_finite() => {
                (found.value, found.value)
            }
            Some(ends) => ends,
            None => return Verdict::Unsure,
        };
        // An interval of percentiles need not hold the value itself.
        match [ends.0, found.value, ends.1].map(holds) {
            [true, true, true] => Verdict::Pass,
            [false, false, false] => Verdict::Fail,
            _ => Verdict::Unsure,
        }
    }
}

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        let form = || GateError::Form(text.to_owned());
        let (metric, rest) = text.split_at(text.find(['<', '>']).ok_or_else(form)?);
        let (relation, written) = Relation::starting(rest).ok_or_else(form)?;
        let (name, written) = (metric.trim(), written.trim());
        if name.is_empty() || written.is_empty() {
            return Err(form());
        }
        let (part, name) = match name.rsplit_once('.') {
            Some((part, name)) => (Some(part.trim().to_owned()), name.trim()),
            None => (None, name),
        };
        if let Some(part) = part.clone().filter(|part| !is_part_name(part)) {
            return Err(GateError::Part { gate: text.to_owned(), part });
        }
        let metric = Metric::ALL.into_iter().find(|metric| metric.name() == name);
        let metric = metric
            .ok_or_else(|| GateError::Metric { gate: text.to_owned(), metric: name.to_owned() })?;
        if let Some(part) = part.clone().filter(|_| !metric.is_sampled()) {
            return Err(GateError::WholePart { gate: text.to_owned(), metric, part });
        }
        let (limit, written) = Limit::read(text, metric, written)?;
        let of = part.as_ref().map(|part| format!("{part}.")).unwrap_or_default();
        let text = format!("{of}{metric} {} {written}", relation.sign());
        Ok(Self { text, part, metric, relation, limit })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a text or tasks may have this name: letters, digits, `-` and `_`.
pub fn is_part_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

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
            assert_eq!((gate.metric(), gate.limit), (metric, Limit::Absolute(bound)), "{text}");
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

    fn exactly(value: f64) -> Estimate {
        Estimate { value, low: value, high: value }
    }

    fn check(text: &str, found: Estimate) -> Outcome {
        gate(text).check(&found, None, OnUnsure::Fail)
    }

    #[test]
    fn each_relation_decides_at_its_limit() {
        let check = |text: &str, below, at, above| {
            let passed = [0.9, 1.0, 1.1].map(|value| check(text, exactly(value)).passed);
            assert_eq!(passed, [below, at, above], "{text}");
        };
        check("ppl <= 1", true, true, false);
        check("ppl < 1", true, false, false);
        check("ppl >= 1", false, true, true);
        check("ppl > 1", false, false, true);
        for text in ["ppl <= 1", "ppl >= 1"] {
            let found = super::tests::check(text, exactly(f64::NAN));
            assert_eq!((found.passed, found.verdict), (false, Verdict::Fail));
        }
    }

    #[test]
    fn a_limit_within_the_interval_is_unsure_and_counts_as_was_asked() {
        let verdict =
            |text: &str, value, low, high| check(text, Estimate { value, low, high }).verdict;
        assert_eq!(verdict("kld <= 0.03", 0.02, 0.01, 0.03), Verdict::Pass);
        assert_eq!(verdict("kld < 0.03", 0.02, 0.01, 0.03), Verdict::Unsure);
        assert_eq!(verdict("kld <= 0.03", 0.02, 0.01, 0.031), Verdict::Unsure);
        assert_eq!(verdict("kld <= 0.03", 0.04, 0.03, 0.05), Verdict::Unsure);
        assert_eq!(verdict("kld <= 0.03", 0.04, 0.031, 0.05), Verdict::Fail);
        assert_eq!(verdict("top1 >= 90%", 0.95, 0.9, 0.97), Verdict::Pass);
        assert_eq!(verdict("top1 >= 90%", 0.85, 0.8, 0.89), Verdict::Fail);
        // The value is beyond the percentiles.
        assert_eq!(verdict("kld_p99 <= 0.03", 0.029, 0.031, 0.05), Verdict::Unsure);
        // One window, and what no window was drawn for.
        assert_eq!(verdict("kld <= 0.03", 0.02, f64::NAN, f64::NAN), Verdict::Unsure);
        assert_eq!(verdict("size <= 1GB", 1e9, f64::NAN, f64::NAN), Verdict::Pass);
        assert_eq!(verdict("kld <= 9", f64::INFINITY, f64::NAN, f64::NAN), Verdict::Fail);
        let unsure = Estimate { value: 0.02, low: 0.01, high: 0.04 };
        let counts = |on_unsure| gate("kld <= 0.03").check(&unsure, None, on_unsure);
        let (failed, passed) = (counts(OnUnsure::Fail), counts(OnUnsure::Pass));
        assert_eq!((failed.passed, failed.missed_by), (false, 0.0));
        assert_eq!((passed.passed, passed.verdict), (true, Verdict::Unsure));
    }

    #[test]
    fn limits_follow_from_the_baseline() {
        let check = |text: &str, spelled: &str, baseline: f64, expected: f64| {
            let gate = gate(text);
            assert!(gate.is_relative() && gate.to_string() == spelled, "{gate}");
            let found = gate.check(&exactly(0.5), Some(baseline), OnUnsure::Fail);
            assert!((found.limit - expected).abs() < 1e-12 * expected, "{text}: {}", found.limit);
            assert_eq!(found.baseline, Some(baseline));
        };
        check("kld<=1.1*baseline", "kld <= 1.1 * baseline", 0.02, 0.022);
        check("kld <= baseline * 1.1", "kld <= 1.1 * baseline", 0.02, 0.022);
        check("kld < baseline", "kld < baseline", 0.02, 0.02);
        check("top1 >= baseline-0.5%", "top1 >= baseline - 0.5%", 0.92, 0.915);
        check("kld <= 1.5 * baseline + 1e-3", "kld <= 1.5 * baseline + 1e-3", 0.02, 0.031);
        check("kld <= baseline * 2e-1 - 1e-3", "kld <= 2e-1 * baseline - 1e-3", 0.02, 0.003);
        check("size <= baseline + 10MB", "size <= baseline + 10MB", 1e9, 1.01e9);
        // Without a value there is no limit, and nothing passes.
        assert_eq!(
            gate("kld <= baseline").check(&exactly(0.0), None, OnUnsure::Pass).verdict,
            Verdict::Fail
        );
    }

    #[test]
    fn a_name_before_the_metric_is_that_of_a_text() {
        let found = gate("chat-2_x.kld <= 0.03");
        assert_eq!((found.part(), found.metric()), (Some("chat-2_x"), Metric::Kld));
        assert_eq!(found.to_string(), "chat-2_x.kld <= 0.03");
        let json = serde_json::to_value(found.check(&exactly(0.01), None, OnUnsure::Fail)).unwrap();
        assert_eq!((&json["part"], &json["verdict"]), (&"chat-2_x".into(), &"pass".into()));
    }

    #[test]
    fn an_outcome_says_by_how_much_a_gate_was_missed() {
        let outcome = check("top1>=  92%", exactly(0.9));
        assert_eq!((outcome.gate.as_str(), outcome.passed), ("top1 >= 92%", false));
        assert!((outcome.missed_by - 0.02).abs() < 1e-12);
        assert_eq!(check("kld <= 0.03", exactly(0.02)).missed_by, 0.0);
        let json = serde_json::to_value(check("kld_p99 < 1", exactly(0.5))).unwrap();
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
        check(
            ".kld <= 3",
            "`` in gate `.kld <= 3` names no text: names are letters, digits, `-` and `_`",
        );
        check("a.size <= 3GB", "`size` in gate `a.size <= 3GB` is of the artifact, not of `a`");
        let relative = "expected `baseline`, with a factor and a distance where wanted, such as `1.1 * baseline` or `baseline - 0.01`";
        for limit in [
            "2 baseline",
            "2 * baseline * 2",
            "baseline 2",
            "baseline / 2",
            "-1 * baseline",
            "baseline + x",
            "baseline - -1",
            "baseline + 1%",
            "nan * baseline",
            "* baseline",
        ] {
            let text = format!("kld <= {limit}");
            check(
                &text,
                &format!("`{limit}` is no limit by a baseline in gate `{text}`: {relative}"),
            );
        }
        check(
            "size <= baseline + 10",
            "`10` in gate `size <= baseline + 10` is a number of bytes: `10MB` was meant?",
        );
        for text in ["kld <= nan", "kld <= inf", "kld <= 1e999", "kld <== 3", "size <= %"] {
            assert!(matches!(text.parse::<Gate>(), Err(GateError::Bound { .. })), "{text}");
        }
    }
}
