//! Gates on samples of a text whose whole is known: how often a verdict is wrong.

use crate::bootstrap::{Estimate, Random};
use crate::comparison::compare;
use crate::gate::{Gate, OnUnsure, Verdict};
use crate::pair::PairLoss;

/// Divergences of a text of 256 windows that differ from each other, and within themselves.
fn text(seed: u64) -> Vec<Vec<PairLoss>> {
    let mut random = Random::new(seed);
    let mut uniform = || random.below(1 << 20) as f64 / f64::from(1 << 20);
    let mut window = |_| -> Vec<PairLoss> {
        let level = 0.01 * (1.0 + uniform() + uniform());
        let kld = (0..32).map(|_| level * 2.0 * uniform());
        kld.map(|kld| PairLoss {
            nll_reference: 2.0,
            nll: 2.0 + kld,
            kld,
            agrees: kld < 0.03,
            p_reference: 0.5,
            p: 0.5,
        })
        .collect()
    };
    (0..256).map(&mut window).collect()
}

/// Of 50 texts, the divergence of the whole, and what the first 32 windows say of it.
fn samples() -> Vec<(f64, Estimate)> {
    let sample = |seed| {
        let text = text(seed);
        let whole = text.iter().flatten().map(|loss| loss.kld).sum::<f64>() / (256.0 * 32.0);
        (whole, compare(&text[..32]).kld.mean)
    };
    (0..50).map(sample).collect()
}

#[test]
fn half_an_interval_beside_the_truth_no_verdict_is_wrong() {
    let samples = samples();
    // On `kld <= L`, where L is the whole text's divergence and so many widths of the interval more.
    let count = |widths: f64, wanted| {
        let verdict = |(whole, sample): &(f64, Estimate)| {
            let limit = whole + widths * (sample.high - sample.low);
            let gate: Gate = format!("kld <= {limit}").parse().unwrap();
            gate.check(sample, None, OnUnsure::Fail).verdict
        };
        samples.iter().map(verdict).filter(|verdict| *verdict == wanted).count()
    };
    for widths in [0.5, 1.5] {
        assert_eq!(count(widths, Verdict::Fail), 0, "{widths}");
        assert_eq!(count(-widths, Verdict::Pass), 0, "{widths}");
    }
    // So close many are left open, and farther away none is.
    assert!(count(0.5, Verdict::Unsure) > 10 && count(-0.5, Verdict::Unsure) > 10);
    assert_eq!((count(1.5, Verdict::Pass), count(-1.5, Verdict::Fail)), (50, 50));
    // On the limit itself a decision is a mistake of either kind: one in twenty, give or take.
    assert!(count(0.0, Verdict::Unsure) >= 42);
}
