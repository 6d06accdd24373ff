//! The speed of this machine, measured with the very kernels that a run will use.
//!
//! A probe is a piece of the work itself on numbers of its own: a layer no wider than [`WIDEST`], a Gram
//! matrix, a few rows to round. Each takes some hundredths of a second, and a few megabytes.

mod layer;

use crate::pieces::{choosing, refitting};
use layer::Layer;
use llmopt_arch::program::Operation;
use llmopt_calib::{Extent, Needs, Observation};
use llmopt_checkpoint::sha256;
use llmopt_forward::{Engine, Matrix};
use llmopt_linalg::{Gemm, Symmetric};
use llmopt_model::Variant;
use llmopt_prune::{Regression, Search};
use llmopt_quant::{Moments, Quantizer, Solver};
use llmopt_run::{Error, SplitMix64, on_threads};
use llmopt_scheme::{Granularity, Scheme};
use llmopt_sweep::{Group, Kind, Rates, Work};
use llmopt_tensor::Dtype;
use ndarray::ArrayView2;
use std::time::{Duration, Instant};

/// How fast this machine is at what a run will do.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    pub(super) rates: Rates,
    threads: usize,
}

impl Speed {
    /// A run that takes fewer seconds than this on a typical machine is estimated as that.
    pub const WORTHWHILE: f64 = 0.25;

    /// That of a typical machine with so many threads at work.
    pub fn typical(threads: usize) -> Self {
        Self { rates: Rates::typical(threads), threads }
    }

    /// Measured at hashing.
    pub fn hashing(self) -> Self {
        let bytes = vec![7; HASHED];
        let (_, seconds) = timed(|| sha256(&bytes));
        // Files are hashed side by side, each by one thread at a time.
        let work = Work::of(Kind::Hashed, HASHED as f64);
        self.with(Group::Hashing, &work, seconds / self.threads as f64)
    }

    /// Measured at rounding by weights alone.
    pub fn weights(self, quantizer: &dyn Quantizer, scheme: Scheme) -> Self {
        let values = noise(ROWS * WIDEST);
        let Ok(view) = ArrayView2::from_shape((ROWS, WIDEST), &values) else { return self };
        let (made, seconds) = timed(|| quantizer.quantize(view, &scheme, Dtype::BF16));
        let kind = if quantizer.name() == "rtn" { Kind::Nearest } else { Kind::Searched };
        match made {
            // One thread was at work; a run has all of them.
            Ok(_) => {
                let work = Work::of(kind, values.len() as f64);
                self.with(Group::Weights, &work, seconds / self.threads as f64)
            }
            // A scheme that does not divide the probe.
            Err(_) => self,
        }
    }

    /// Measured at running a model of this shape.
    ///
    /// # Errors
    /// If no threads can be had, or the probe computes what is not finite.
    pub fn running(self, engine: &Engine, variant: &Variant) -> Result<Self, Error> {
        let layer = Layer::like(variant.program(), engine.gemm());
        let seconds = on_threads(self.threads, || {
            let (ran, seconds) = timed(|| layer.run(engine));
            engine.release();
            ran.map(|()| seconds)
        })?;
        let seconds = seconds.map_err(|error| Error::Refused(format!("a probe: {error}")))?;
        Ok(self.with(Group::Forward, &layer.work(), seconds))
    }

    /// Measured at summing up what sites show.
    ///
    /// # Errors
    /// If no threads can be had.
    pub fn summing(self, engine: &Engine, variant: &Variant) -> Result<Self, Error> {
        let (gemm, columns) = (engine.gemm(), probe_columns(variant));
        let (_, seconds) = on_threads(self.threads, || {
            let tokens = tokens(columns);
            timed(|| observed(gemm, &tokens))
        })?;
        let work = Work::of(Kind::Sums, (TOKENS * columns * columns) as f64 / 2.0);
        Ok(self.with(Group::Sums, &work, seconds))
    }

    /// Measured at everything that a calibrated sweep does, if there is one.
    ///
    /// # Errors
    /// If no threads can be had.
    pub fn calibrating(
        self,
        with: Option<(&Engine, &Variant, Option<llmopt_quant::Settings>)>,
        scheme: Scheme,
    ) -> Result<Self, Error> {
        let Some((engine, variant, settings)) = with else { return Ok(self) };
        let speed = self.running(engine, variant)?;
        match settings {
            Some(settings) => {
                let speed = speed.summing(engine, variant)?;
                speed.rounding(engine.gemm(), probe_columns(variant), settings, scheme)
            }
            None => Ok(speed),
        }
    }

    fn rounding(
        self,
        gemm: Gemm,
        columns: usize,
        settings: llmopt_quant::Settings,
        scheme: Scheme,
    ) -> Result<Self, Error> {
        if matches!(scheme.granularity, Granularity::Block { .. }) {
            return Ok(self);
        }
        let settings = llmopt_quant::Settings { correction: PLAIN, descent: None, ..settings };
        let weights = noise(ROWS * columns);
        let (rounded, seconds) = on_threads(self.threads, || {
            let seen = observed(gemm, &tokens(columns));
            let Some(gram) = seen.gram() else { return (false, 0.0) };
            let moments = Moments { gram, cross: None, residual: None, tokens: seen.tokens() };
            timed(|| {
                let solver = Solver::prepare(gemm, &moments, &settings.on(&scheme));
                solver.is_ok_and(|s| s.quantize(&weights, &scheme, Dtype::BF16).is_ok())
            })
        })?;
        let width = columns as f64;
        let work = Work::of(Kind::Factors, width.powi(3) / 3.0)
            + Work::of(Kind::Rounded, weights.len() as f64)
            + Work::of(Kind::Feedback, 0.5 * weights.len() as f64 * width);
        Ok(if rounded { self.with(Group::Rounding, &work, seconds) } else { self })
    }

    /// Measured at choosing units and refitting what reads them.
    ///
    /// # Errors
    /// If no threads can be had.
    pub fn pruning(self, engine: &Engine, variant: &Variant) -> Result<Self, Error> {
        let (gemm, columns) = (engine.gemm(), probe_columns(variant));
        let weights = noise(ROWS * columns);
        let kept = columns * 3 / 4;
        let (chosen, seconds) = on_threads(self.threads, || {
            let seen = observed(gemm, &tokens(columns));
            let gram: Symmetric = match seen.gram() {
                Some(gram) => gram.clone(),
                None => return (false, 0.0),
            };
            let moments = llmopt_prune::Moments {
                weights: &weights,
                gram: &gram,
                cross: None,
                residual: None,
                constant: None,
            };
            timed(|| {
                let Ok(mut regression) = Regression::prepare(gemm, &moments, 0.001) else {
                    return false;
                };
                let found = regression.select(1, kept, &Search::default());
                found.is_ok_and(|found| regression.refit(&found.kept).is_ok())
            })
        })?;
        let work = choosing(ROWS, columns, kept) + refitting(ROWS, columns, kept);
        Ok(if chosen { self.with(Group::Pruning, &work, seconds) } else { self })
    }

    fn with(self, group: Group, work: &Work, seconds: f64) -> Self {
        Self { rates: self.rates.measured(group, work, seconds), ..self }
    }
}

/// As many columns as the model's widest matrix, as far as a probe may be wide.
fn probe_columns(variant: &Variant) -> usize {
    let phases = variant.program().blocks.iter().flat_map(|block| &block.phases);
    let linears = phases.flat_map(|phase| &phase.operations).filter_map(Operation::linear);
    let widest = linears.map(|linear| linear.columns).max().unwrap_or(NARROWEST);
    widest.next_multiple_of(NARROWEST).clamp(NARROWEST, WIDEST)
}

/// What it returns, and how many seconds it takes on average, done over and over for [`PROBE`] after a
/// first time that meets cold caches. Whatever else runs on this machine takes its share of an average, as
/// it will of the run.
fn timed<T>(work: impl Fn() -> T) -> (T, f64) {
    let mut made = work();
    let begun = Instant::now();
    let mut times = 0;
    while times == 0 || begun.elapsed() < PROBE {
        made = work();
        times += 1;
    }
    (made, begun.elapsed().as_secs_f64() / f64::from(times))
}

/// Inputs of so many columns.
fn tokens(columns: usize) -> Matrix {
    let tokens = Matrix::from_values(TOKENS, columns, noise(TOKENS * columns));
    tokens.expect("as many values as rows times columns")
}

/// Their Gram matrix.
fn observed(gemm: Gemm, tokens: &Matrix) -> Observation {
    let needs = Needs { gram: true, ..Needs::default() };
    let mut seen = Observation::new(Extent { columns: tokens.columns(), residual: None }, needs);
    seen.add(gemm, tokens);
    seen
}

/// Numbers between -1 and 1.
fn noise(count: usize) -> Vec<f32> {
    let random = SplitMix64::new(1);
    let value = |place: usize| (random.nth(place as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..count).map(value).collect()
}

const PLAIN: llmopt_quant::Correction = llmopt_quant::Correction::None;
/// How long a probe is repeated.
const PROBE: Duration = Duration::from_millis(200);
/// Columns of a probe, at most.
const WIDEST: usize = 1024;
/// Columns of a probe, at least.
const NARROWEST: usize = 128;
/// Rows of a matrix that is rounded.
const ROWS: usize = 128;
/// Tokens of a probe.
const TOKENS: usize = 1024;
/// Bytes that are hashed.
const HASHED: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_linalg::{KernelChoice, Precision};
    use llmopt_quant::Search as ScaleSearch;
    use std::path::Path;

    #[test]
    fn every_probe_is_run_and_tells_of_its_group_alone() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama");
        let variant = Variant::open(&path).expect("a model");
        let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("a kernel");
        let engine = Engine::new(gemm);
        let scheme = Scheme::preset("w4a16").expect("a preset");
        let settings = llmopt_quant::Settings::named("gptq");
        let typical = Speed::typical(2);
        let calibrating = Some((&engine, &variant, settings));
        let check = |speed: Speed, measured: &[Kind]| {
            let kinds = [
                Kind::Products,
                Kind::Sums,
                Kind::Factors,
                Kind::Rounded,
                Kind::Searched,
                Kind::Pruned,
                Kind::Hashed,
                Kind::Read,
            ];
            for kind in kinds {
                let seconds = |speed: &Speed| Work::of(kind, 1.0).seconds(&speed.rates);
                let (found, before) = (seconds(&speed), seconds(&typical));
                assert!(found.is_finite() && found > 0.0, "{kind:?}: {found}");
                assert_eq!(found != before, measured.contains(&kind), "{kind:?}: {found}");
            }
        };
        check(typical.hashing(), &[Kind::Hashed]);
        check(typical.weights(&ScaleSearch, scheme), &[Kind::Searched]);
        check(typical.running(&engine, &variant).expect("threads"), &[Kind::Products]);
        check(typical.summing(&engine, &variant).expect("threads"), &[Kind::Sums]);
        check(typical.pruning(&engine, &variant).expect("threads"), &[Kind::Pruned]);
        let calibrated = typical.calibrating(calibrating, scheme).expect("threads");
        check(calibrated, &[Kind::Products, Kind::Sums, Kind::Factors, Kind::Rounded]);
    }
}
