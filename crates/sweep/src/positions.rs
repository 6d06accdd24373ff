//! A sum for every position of the batches whose logits are asked for.

use crate::batches::Batches;

/// A sum for every position. One without a target is summed for nothing, and dropped in the end.
pub fn begun<S>(batches: &Batches, new: impl Fn(u32) -> S) -> Vec<Vec<S>> {
    let of_batch = |batch| {
        let positions = batches.positions_of(batch);
        positions.iter().map(|position| new(position.target.unwrap_or_default())).collect()
    };
    (0..batches.len()).map(of_batch).collect()
}

/// The losses of every sequence, in order.
pub fn by_sequence<S, L>(
    batches: &Batches,
    sums: Vec<Vec<S>>,
    finish: impl Fn(S) -> L,
) -> Vec<Vec<L>> {
    let positions = (0..batches.len()).flat_map(|batch| batches.positions_of(batch));
    let with_target = positions.zip(sums.into_iter().flatten());
    let mut losses =
        with_target.filter(|(position, _)| position.target.is_some()).map(|(_, sum)| finish(sum));
    let of_sequence = |targets: usize| losses.by_ref().take(targets).collect();
    batches.sequences().iter().map(|sequence| sequence.targets.len()).map(of_sequence).collect()
}
