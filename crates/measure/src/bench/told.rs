//! From what was measured to what is told.

use crate::bench::bandwidth::{ReadBandwidth, USUAL_BYTES};
use crate::bench::clock::Passed;
use crate::bench::kernel_files;
use crate::bench::plan::Plan;
use crate::bench::quality::BenchedQuality;
use crate::bench::read::BytesPerToken;
use crate::bench::result::{Bench, BenchMachine, BenchProtocol, BenchedBatch, BenchedModel};
use crate::bench::run::{Measured, Run};
use crate::bench::spread::{Spread, percentile};
use crate::compute;
use crate::evaluation::ModelFacts;
use llmopt_forward::State;
use llmopt_run::Error;

/// All of it.
pub(super) fn told(
    plan: &Plan<'_>,
    measured: &Measured,
    bandwidth: ReadBandwidth,
) -> Result<Bench, Error> {
    let machine = machine(plan, measured);
    let mut notes = Vec::new();
    let models = (0..plan.variants.len()).map(|place| {
        let model = Model { plan, measured, bandwidth: &bandwidth, place };
        model.told(machine.last_level_cache, &mut notes)
    });
    let mut models = models.collect::<Result<Vec<_>, _>>()?;
    if let [model, original] = &mut models[..] {
        for (batch, of_original) in model.batches.iter_mut().zip(&original.batches) {
            let original = of_original.tokens_per_second.median;
            batch.speed_up = Some(batch.tokens_per_second.median / original);
        }
    }
    notes.extend(of_machine(&machine));
    notes.extend(of_bandwidth(&bandwidth, &machine));
    notes.extend(models.iter().flat_map(of_model));
    let (tool, version) = ("llmopt", env!("CARGO_PKG_VERSION"));
    Ok(Bench { tool, version, protocol: protocol(plan), machine, bandwidth, models, notes })
}

fn protocol(plan: &Plan<'_>) -> BenchProtocol {
    let (request, gemm) = (plan.request, plan.engine.gemm());
    BenchProtocol {
        prompt: request.prompt,
        tokens: request.tokens,
        batches: plan.batches.clone(),
        runs: request.runs,
        seed: request.seed,
        dtype: request.precision.to_string(),
        activations: compute::told(gemm).map(str::to_owned),
        kernel: gemm.name().to_owned(),
        code_kernel: gemm.code_kernel().to_owned(),
        threads: plan.resources.threads,
    }
}

fn machine(plan: &Plan<'_>, measured: &Measured) -> BenchMachine {
    let batches = measured.runs.iter();
    let runs = batches.flat_map(|batch| batch.models.iter().flatten());
    let parts = runs.flat_map(|run| [run.prompt, run.decode]);
    let passed = parts.reduce(|sum, part| sum + part).unwrap_or_else(Passed::default);
    let threads = plan.resources.threads;
    BenchMachine {
        last_level_cache: kernel_files::last_level_cache(),
        load_average: measured.load_average,
        threads_ran: passed.used(threads),
        threads_waited: passed.waiting(threads),
        is_loaded: passed.is_loaded(threads),
        peak_memory: measured.peak_memory,
    }
}

/// One of the models.
struct Model<'a> {
    plan: &'a Plan<'a>,
    measured: &'a Measured,
    bandwidth: &'a ReadBandwidth,
    place: usize,
}

impl Model<'_> {
    fn told(&self, cache: Option<u64>, notes: &mut Vec<String>) -> Result<BenchedModel, Error> {
        let variant = &self.plan.variants[self.place];
        let weights = self.measured.weights[self.place];
        let runs = self.measured.runs.iter();
        let mut batches: Vec<BenchedBatch> =
            runs.map(|runs| self.batch(runs.batch, &runs.models[self.place])).collect();
        let alone = batches.iter().find(|batch| batch.batch == 1);
        if let Some(alone) = alone.map(|alone| alone.tokens_per_second.median) {
            batches.iter_mut().for_each(|batch| {
                batch.batching_gain = Some(batch.tokens_per_second.median / alone);
            });
        }
        Ok(BenchedModel {
            model: ModelFacts::of(variant),
            weights,
            cache_bytes_per_token: State::bytes_per_token(variant.program()),
            fits_in_cache: cache.map(|cache| weights.total() < CACHES * cache),
            quality: BenchedQuality::of(variant, notes)?,
            batches,
        })
    }

    fn batch(&self, batch: usize, runs: &[Run]) -> BenchedBatch {
        let request = self.plan.request;
        let (prompted, decoded) = (batch * request.prompt, batch * request.tokens);
        let rate = |tokens: usize, passed: Passed| tokens as f64 / passed.wall;
        let steps = || runs.iter().flat_map(|run| run.steps.iter().copied());
        let bytes_per_token = BytesPerToken::of(
            &self.plan.variants[self.place],
            &self.measured.weights[self.place],
            batch,
            (request.prompt, request.tokens),
        );
        let tokens_per_second = Spread::of(runs.iter().map(|run| rate(decoded, run.decode)));
        let bytes_per_second = bytes_per_token.total() as f64 * tokens_per_second.median;
        let core_seconds = Spread::of(runs.iter().map(|run| run.decode.cpu / decoded as f64));
        BenchedBatch {
            batch,
            prompt_tokens_per_second: Spread::of(runs.iter().map(|run| rate(prompted, run.prompt))),
            tokens_per_second,
            first_token_seconds: Spread::of(runs.iter().map(|run| run.prompt.wall)),
            inter_token_p50_seconds: percentile(steps(), 0.5),
            inter_token_p99_seconds: percentile(steps(), 0.99),
            bytes_per_token,
            bytes_per_second,
            bandwidth_share: bytes_per_second / self.bandwidth.all_threads.median,
            core_seconds_per_1000_tokens: core_seconds.median * 1000.0,
            tokens_per_core_second: 1.0 / core_seconds.median,
            batching_gain: None,
            speed_up: None,
        }
    }
}

fn of_machine(machine: &BenchMachine) -> Vec<String> {
    let mut notes = Vec::new();
    match machine.is_loaded {
        Some(true) => notes.push(
            "loaded machine: other work took more than a tenth of the threads' time; ratios of runs in turn say \
             more than rates"
                .to_owned(),
        ),
        Some(false) => {}
        None => notes.push(
            "this system does not tell how long threads wait for a processor: whether the machine was loaded is \
             not known"
                .to_owned(),
        ),
    }
    if machine.peak_memory.is_none() {
        notes.push(
            "this system does not tell the most resident memory of the runs alone".to_owned(),
        );
    }
    notes
}

fn of_bandwidth(bandwidth: &ReadBandwidth, machine: &BenchMachine) -> Option<String> {
    let buffer = bandwidth.buffer_bytes;
    let small = machine.last_level_cache.is_some_and(|cache| buffer < CACHES * cache);
    (small || buffer < USUAL_BYTES / 2).then(|| {
        let why = match small {
            true => {
                "less than four times the last-level cache: the bandwidth may be that of the cache"
            }
            false => "as much as the memory allowed",
        };
        format!("the buffer that was read to find the bandwidth has {} MiB, {why}", buffer >> 20)
    })
}

fn of_model(model: &BenchedModel) -> Vec<String> {
    let name = &model.model.name;
    let mut notes = Vec::new();
    if model.fits_in_cache == Some(true) {
        notes.push(format!(
            "the weights of `{name}` fit in the last-level cache, or mostly: its speed does not show what reading \
             memory costs, and its share of the bandwidth may be above 100 %"
        ));
    }
    if model.weights.experts > 0 {
        notes.push(format!(
            "bytes read of the experts of `{name}` are those of a router that sends tokens to all alike"
        ));
    }
    notes
}

/// A model of less than so many times the cache does not show what memory costs.
const CACHES: u64 = 4;
