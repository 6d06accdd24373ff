//! Gates in words.

use super::numbers::{decimal_bytes, ratio, share, significant};
use crate::units;
use llmopt_pipeline::{Evaluation, Metric, Outcome, Verdict};
use std::cmp::Ordering;

/// A line for each gate that was missed.
pub(crate) fn missed(evaluation: &Evaluation) -> Vec<String> {
    let missed = evaluation.gates.iter().filter(|gate| !gate.passed);
    missed.map(|gate| format!("missed `{}`: {}", gate.gate, in_a_line(gate))).collect()
}

/// `all 3 gates passed`, `1 of 3 gates missed`; nothing where there are none.
pub(super) fn verdict(evaluation: &Evaluation) -> Option<String> {
    let all = evaluation.gates.len();
    let missed = evaluation.gates.iter().filter(|gate| !gate.passed).count();
    match (all, missed) {
        (0, _) => None,
        (1, 0) => Some("the gate passed".to_owned()),
        (all, 0) => Some(format!("all {all} gates passed")),
        (1, _) => Some("the gate was missed".to_owned()),
        (all, missed) => Some(format!("{missed} of {all} gates missed")),
    }
}

/// What was found.
pub(super) fn value(gate: &Outcome) -> String {
    written(gate, gate.value)
}

/// `0.0119 to 0.0128`, or nothing where there is no interval.
pub(super) fn interval(gate: &Outcome) -> String {
    let ends = gate.interval.map(|(low, high)| [low, high].map(|end| written(gate, end)));
    ends.map(|[low, high]| format!("{low} to {high}")).unwrap_or_default()
}

/// `0.0330, by 0.0300 in the baseline`: what it was held to.
pub(super) fn limit(gate: &Outcome) -> String {
    let limit = written(gate, gate.limit);
    match gate.baseline {
        Some(baseline) => format!("{limit}, by {} in the baseline", written(gate, baseline)),
        None => limit,
    }
}

/// `kld is 0.0412 (95 % interval 0.0398 to 0.0431), limit 0.0300; too much by 0.0112`
pub(super) fn in_a_line(gate: &Outcome) -> String {
    let of = gate.part.as_ref().map(|part| format!("{part}.")).unwrap_or_default();
    let interval = match interval(gate) {
        none if none.is_empty() && gate.verdict == Verdict::Unsure => " (no interval)".to_owned(),
        none if none.is_empty() => none,
        ends => format!(" (95 % interval {ends})"),
    };
    let (value, limit, result) = (value(gate), limit(gate), result(gate));
    format!("{of}{} is {value}{interval}, limit {limit}; {result}", gate.metric)
}

/// `passed`, `too much by 0.0112`, or `unsure, counted as failed`.
pub(super) fn result(gate: &Outcome) -> String {
    match (gate.verdict, gate.passed) {
        (Verdict::Pass, _) => "passed".to_owned(),
        (Verdict::Unsure, true) => "unsure, counted as passed".to_owned(),
        (Verdict::Unsure, false) => "unsure, counted as failed".to_owned(),
        (Verdict::Fail, _) => match gate.value.partial_cmp(&gate.limit) {
            None => "no number".to_owned(),
            Some(Ordering::Equal) => "just on the limit".to_owned(),
            Some(Ordering::Greater) => format!("too much by {}", distance(gate)),
            Some(Ordering::Less) => format!("too little by {}", distance(gate)),
        },
    }
}

/// How far a value is from the limit: of shares in points, since percent could be of the limit.
fn distance(gate: &Outcome) -> String {
    let written = written(gate, gate.missed_by);
    match written.strip_suffix(" %") {
        Some(points) => format!("{points} points"),
        None => written,
    }
}

/// A value in the unit of the gate.
fn written(gate: &Outcome, value: f64) -> String {
    match gate.metric {
        Metric::Size if gate.gate.to_ascii_lowercase().ends_with("ib") => {
            units::bytes(value as u64)
        }
        Metric::Size => decimal_bytes(value),
        Metric::Top1 | Metric::Flips | Metric::Accuracy => share(value),
        Metric::PplRatio => ratio(value),
        Metric::Ppl | Metric::Bpw => significant(value, 5),
        Metric::Kld | Metric::KldP99 => significant(value, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_pipeline::{Estimate, Gate, OnUnsure};

    fn checked(gate: &str, [low, value, high]: [f64; 3], on_unsure: OnUnsure) -> Outcome {
        let gate: Gate = gate.parse().unwrap();
        gate.check(&Estimate { value, low, high }, Some(0.03), on_unsure)
    }

    #[test]
    fn a_missed_gate_says_by_how_much_in_its_own_unit() {
        let check = |gate: &str, value: f64, expected: &str| {
            assert_eq!(in_a_line(&checked(gate, [value; 3], OnUnsure::Fail)), expected);
        };
        let kld =
            "kld is 0.0412 (95 % interval 0.0412 to 0.0412), limit 0.0300; too much by 0.0112";
        check("kld <= 0.03", 0.0412, kld);
        let top1 = "chat.top1 is 90.0 % (95 % interval 90.0 % to 90.0 %), limit 92.0 %; too little \
                    by 2.0 points";
        check("chat.top1 >= 92%", 0.9, top1);
        let alone = |gate: &str, value: f64, expected: &str| {
            let outcome = checked(gate, [f64::NAN, value, f64::NAN], OnUnsure::Fail);
            assert_eq!(in_a_line(&outcome), expected);
        };
        alone("size <= 5GB", 5.5e9, "size is 5.50 GB, limit 5.00 GB; too much by 500.00 MB");
        alone("size <= 1KiB", 1536.0, "size is 1.50 KiB, limit 1.00 KiB; too much by 512 B");
        alone("bpw < 4.5", 4.5, "bpw is 4.5000, limit 4.5000; just on the limit");
        alone("ppl < 4.5", f64::NAN, "ppl is NaN, limit 4.5000; no number");
        // One window has no interval.
        alone(
            "ppl < 4.5",
            4.0,
            "ppl is 4.0000 (no interval), limit 4.5000; unsure, counted as failed",
        );
    }

    #[test]
    fn what_was_decided_beforehand_says_so() {
        let around = [0.028, 0.031, 0.034];
        let line = |on_unsure| in_a_line(&checked("kld <= 1.1 * baseline", around, on_unsure));
        let found = "kld is 0.0310 (95 % interval 0.0280 to 0.0340), limit 0.0330, by 0.0300 in the baseline; unsure, counted as ";
        assert_eq!(line(OnUnsure::Fail), format!("{found}failed"));
        assert_eq!(line(OnUnsure::Pass), format!("{found}passed"));
    }
}
