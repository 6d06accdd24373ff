//! Candidates held against the original: one reading sweep over all of them.

use crate::divergences::Divergences;
use llmopt_eval::{Comparison, Estimate, WindowKlds};
use llmopt_model::Variant;
use llmopt_run::{Error, on_threads};
use llmopt_sweep::{Batches, Reading, ReadingMemory, Run, judging};

/// The mean KL divergence of every candidate from the first of `variants`, in nats, on `windows`. The sweep
/// is told of as `stage`.
///
/// # Errors
/// If one of them cannot be read, or computes NaN or infinity.
pub fn judged(
    stage: &'static str,
    variants: &[Variant],
    windows: &[Vec<u32>],
    memory: &ReadingMemory,
    run: Run<'_>,
) -> Result<Vec<Estimate>, Error> {
    let compared = compared(stage, variants, windows, memory, run)?;
    Ok(compared.into_iter().map(|found| found.kld.mean).collect())
}

/// All that every candidate lost against the first of `variants` on `windows`. The sweep is told of as `stage`.
///
/// # Errors
/// As of [`judged`].
pub fn compared(
    stage: &'static str,
    variants: &[Variant],
    windows: &[Vec<u32>],
    memory: &ReadingMemory,
    run: Run<'_>,
) -> Result<Vec<Comparison>, Error> {
    let batches = judging(windows);
    Ok(swept(stage, variants, &batches, memory, run)?.finished())
}

/// The KL divergence of every candidate from the first of `variants`, window by window, so that candidates can be
/// held against each other. The sweep is told of as `stage`.
///
/// # Errors
/// As of [`judged`].
pub fn judged_by_window(
    stage: &'static str,
    variants: &[Variant],
    windows: &[Vec<u32>],
    memory: &ReadingMemory,
    run: Run<'_>,
) -> Result<Vec<WindowKlds>, Error> {
    let batches = judging(windows);
    Ok(swept(stage, variants, &batches, memory, run)?.by_window())
}

fn swept<'b>(
    stage: &'static str,
    variants: &[Variant],
    batches: &'b Batches,
    memory: &ReadingMemory,
    run: Run<'_>,
) -> Result<Divergences<'b>, Error> {
    let mut losses = Divergences::new(batches, variants.len().saturating_sub(1));
    let reading = Reading { variants, batches, memory, run };
    run.events.stage_started(stage, reading.bytes());
    on_threads(run.resources.threads, || reading.sweep(&mut losses))??;
    run.events.stage_finished(stage);
    Ok(losses)
}

/// The number of the candidate that diverges least; of equal ones the first.
pub fn least<'e>(klds: impl Iterator<Item = &'e Estimate>) -> usize {
    let values = klds.map(|kld| kld.value).enumerate();
    values.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_divergence_wins_and_the_first_of_equals() {
        let check = |values: &[f64], expected| {
            let estimate = |&value: &f64| Estimate { value, low: value, high: value };
            let klds: Vec<Estimate> = values.iter().map(estimate).collect();
            assert_eq!(least(klds.iter()), expected, "{values:?}");
        };
        check(&[0.3, 0.2, 0.25], 1);
        check(&[0.2, 0.2, 0.3], 0);
        check(&[0.2, f64::NAN], 0);
    }
}
