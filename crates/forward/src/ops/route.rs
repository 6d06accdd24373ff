//! The router of a mixture of experts.

/// Turns the logits of each token into the weights of its experts, zero for all but `top` of them.
pub(crate) fn route(
    logits: &[f32],
    experts: usize,
    top: usize,
    renormalize: bool,
    out: &mut [f32],
) {
    let mut order: Vec<usize> = Vec::with_capacity(experts);
    for (logits, weights) in logits.chunks_exact(experts).zip(out.chunks_exact_mut(experts)) {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shares = logits.iter().map(|logit| libm::expf(logit - most));
        let total: f64 = shares.clone().map(f64::from).sum();
        order.clear();
        order.extend(0..experts);
        // A stable sort: of equal ones, the first stays first.
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        order[top..].iter().for_each(|&expert| weights[expert] = 0.0);
        let chosen = &order[..top];
        for (expert, share) in shares.enumerate().filter(|(expert, _)| chosen.contains(expert)) {
            weights[expert] = (f64::from(share) / total) as f32;
        }
        if renormalize {
            let among: f64 = chosen.iter().map(|&expert| f64::from(weights[expert])).sum();
            for &expert in chosen {
                weights[expert] = (f64::from(weights[expert]) / among) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(logits: &[f32], top: usize, renormalize: bool, expected: &[f64]) {
        let mut found = vec![9.0; logits.len()];
        route(logits, logits.len(), top, renormalize, &mut found);
        let close = |(x, y): (&f32, &f64)| (f64::from(*x) - y).abs() < 1e-7;
        assert!(found.iter().zip(expected).all(close), "{found:?} for {expected:?}");
    }

    /// Logits of which the softmax is 1/8, 4/8, 1/8, 2/8.
    fn eighths() -> [f32; 4] {
        [1.0, 4.0, 1.0, 2.0].map(|x: f32| x.ln())
    }

    #[test]
    fn shares_are_of_all_or_of_the_chosen() {
        check(&eighths(), 2, false, &[0.0, 0.5, 0.0, 0.25]);
        check(&eighths(), 2, true, &[0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]);
    }

    #[test]
    fn of_equal_logits_the_first_is_chosen() {
        check(&eighths(), 3, false, &[0.125, 0.5, 0.0, 0.25]);
        check(&[0.0; 4], 1, true, &[1.0, 0.0, 0.0, 0.0]);
    }
}
