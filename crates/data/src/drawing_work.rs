//! What drawing windows from the model takes.

use crate::self_generated::{SWEEPS, SelfGenerated};
use llmopt_arch::Program;
use llmopt_sweep::{Kind, Work, count, judging};

/// Drawing windows from the model itself, sweep after sweep: as many of `windows` as are its `own` of so
/// many in `all`.
pub fn drawn(
    program: &Program,
    own: Option<&SelfGenerated>,
    all: usize,
    windows: &[Vec<u32>],
) -> Vec<(&'static str, Work)> {
    let Some(own) = own else { return Vec::new() };
    let share = own.windows as f64 / all.max(1) as f64;
    let drawn = ((windows.len() as f64 * share).round() as usize).min(windows.len());
    let batches = judging(&windows[..drawn]);
    // Noise for every logit costs more than looking at it.
    let noise = Work::of(Kind::Logits, 4.0 * (batches.tokens() * program.vocabulary) as f64);
    vec![("draw", count::read(program, &batches) + noise); SWEEPS as usize]
}
