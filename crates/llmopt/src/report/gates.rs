//! Gates in words.

use super::numbers::{decimal_bytes, ratio, share, significant};
use crate::units;
use llmopt_pipeline::{Evaluation, Metric, Outcome};

/// A line for each gate that was missed.
pub(crate) fn missed(evaluation: &Evaluation) -> Vec<String> {
    let missed = evaluation.gates.iter().filter(|gate| !gate.passed);
    missed.map(|gate| format!("missed `{}`: {}", gate.gate, by_how_much(gate))).collect()
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

/// `kld is 0.0412, too much by 0.0112`
fn by_how_much(gate: &Outcome) -> String {
    format!("{} is {}, {}", gate.metric, value(gate), result(gate))
}

/// `passed`, or `too much by 0.0112`.
pub(super) fn result(gate: &Outcome) -> String {
    if gate.passed {
        return "passed".to_owned();
    }
    match gate.value.partial_cmp(&gate.bound) {
        None => "no number".to_owned(),
        Some(std::cmp::Ordering::Equal) => "just on the bound".to_owned(),
        Some(std::cmp::Ordering::Greater) => {
            format!("too much by {}", distance(gate))
        }
        Some(std::cmp::Ordering::Less) => {
            format!("too little by {}", distance(gate))
        }
    }
}

/// How far a value is from the bound: of shares in points, since percent could be of the bound.
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

    #[test]
    fn a_missed_gate_says_by_how_much_in_its_own_unit() {
        let check = |gate: &str, value, expected: &str| {
            let outcome = gate.parse::<llmopt_pipeline::Gate>().unwrap().check(value);
            assert_eq!(by_how_much(&outcome), expected);
        };
        check("kld <= 0.03", 0.0412, "kld is 0.0412, too much by 0.0112");
        check("top1 >= 92%", 0.9, "top1 is 90.0 %, too little by 2.0 points");
        check("size <= 5GB", 5.5e9, "size is 5.50 GB, too much by 500.00 MB");
        check("size <= 1KiB", 1536.0, "size is 1.50 KiB, too much by 512 B");
        check("ppl_ratio <= 1.02", 1.03, "ppl_ratio is 1.03000, too much by 0.01000");
        check("bpw < 4.5", 4.5, "bpw is 4.5000, just on the bound");
        check("ppl < 4.5", f64::NAN, "ppl is NaN, no number");
    }
}
