//! `llmopt bench`: how fast a model decodes, beside its original.

use crate::failure::{Failure, Refusal};
use crate::flags::Bench;
use crate::print;
use crate::progress::Progress;
use crate::report::{self, FileOf};
use crate::{request, signal};
use llmopt_pipeline::BenchRequest;

pub(super) fn run(flags: &Bench) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    let reports = flags.report.iter().map(|path| report::bench_file(path));
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    let request = bench(flags)?;
    let reports = reports.into_iter().map(FileOf::pending).collect::<Result<Vec<_>, _>>()?;
    let resources = request::resources(flags.memory, flags.threads);
    let progress = Progress::begin(console, None);
    signal::watch(&progress, "stopping");
    let found = llmopt_pipeline::bench(&request, resources, &*progress, &signal::CANCEL)?;
    drop(progress);
    if console.json {
        print::json(&found)?;
    } else if !console.quiet {
        print::data(&report::bench(&found))?;
    }
    for report in reports {
        report.publish(&found)?;
    }
    Ok(())
}

/// What `bench` was asked to do.
fn bench(flags: &Bench) -> Result<BenchRequest, Refusal> {
    Ok(BenchRequest {
        model: flags.model.clone(),
        against: flags.against.clone(),
        batches: flags.batch.clone(),
        prompt: flags.prompt,
        tokens: flags.tokens,
        runs: flags.runs,
        seed: flags.seed,
        precision: flags.dtype.precision(),
        code_inputs: flags.activations.codes(),
        kernel: request::kernel(&flags.kernel)?,
    })
}
