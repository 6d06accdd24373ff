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
