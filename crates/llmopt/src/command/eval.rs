//! `llmopt eval`: the plan, or what an artifact lost.

mod plan;

use crate::failure::{Failure, Refusal};
use crate::flags::Eval;
use crate::print;
use crate::progress::Progress;
use crate::report::{self, ReportFile, github};
use crate::timing::{RequestedAmount, Timing};
use crate::{request, signal};
use llmopt_pipeline::EvaluationPlan;

pub(super) fn run(flags: &Eval) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    let reports = reports(flags)?;
    let resources = request::resources(flags.memory, flags.compute.threads);
    let plan = llmopt_pipeline::plan_evaluation(&request::evaluation(flags)?, resources)?;
    let timing = timing(&plan, flags)?;
    if flags.dry_run {
        let summary = plan.summary();
        return match console.json {
            true => print::json(&timing.document(&summary)?),
            false => print::data(&plan::render(&summary, Some(&timing))),
        };
    }
    let reports = reports.into_iter().map(ReportFile::pending).collect::<Result<Vec<_>, _>>()?;
    request::near_bound(plan.summary().memory.predicted_peak, resources);
    let progress = Progress::begin(console, Some(&timing));
    signal::watch(&progress, "stopping");
    let evaluation = llmopt_pipeline::evaluate(&plan, &*progress, &signal::CANCEL)?;
    if console.json {
        print::json(&evaluation)?;
    } else if !console.quiet {
        print::data(&report::table(&evaluation))?;
    }
    for report in reports {
        report.publish(&evaluation)?;
    }
    github::show(&evaluation)?;
    if evaluation.passed() { Ok(()) } else { Err(Failure::Gates(report::missed(&evaluation))) }
}

/// How long it will take.
fn timing(plan: &EvaluationPlan, flags: &Eval) -> Result<Timing, Failure> {
    let speed = plan.speed()?;
    let said = RequestedAmount { samples: flags.samples, window: flags.window };
    let on = |windows| Ok(plan.estimate(&speed, windows));
    Timing::new(on(None)?, said, plan.text_windows(), |windows| on(Some(windows)))
}

/// A plan, as a part of another one's.
pub(super) fn plan_of(plan: &EvaluationPlan) -> String {
    plan::render(&plan.summary(), None)
}

fn reports(flags: &Eval) -> Result<Vec<ReportFile>, Refusal> {
    flags.report.iter().map(|path| ReportFile::new(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{self, Command, Flags};
    use clap::Parser;
    use llmopt_pipeline::{KernelChoice, NamedFile, OnUnsure, Precision};
    use std::path::Path;

    fn requested(flags: &str) -> Eval {
        let args = ["llmopt", "eval", "model"].into_iter().chain(flags.split_whitespace());
        match Flags::try_parse_from(args).expect("known flags").command {
            Command::Eval(eval) => *eval,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_request() {
        let request = |flags: &str| request::evaluation(&requested(flags)).expect("a request");
        let plain = request("--text a.txt");
        assert_eq!((plain.precision, plain.kernel), (Precision::F32, KernelChoice::Auto));
        assert_eq!((plain.bos, plain.window, plain.samples), (false, None, None));
        assert_eq!((plain.texts, plain.max_samples), (vec!["a.txt".into()], None));
        assert_eq!(plain.scratch, Path::new("."));
        let full = request(
            "--against m --text a.txt --tasks t.jsonl --window 256 --samples 64 --bos window --dtype bf16 \
             --kernel portable --gate kld<=0.03 --gate size<5GB --scratch /tmp --max-samples 128 \
             --on-unsure pass",
        );
        assert_eq!((full.max_samples, full.on_unsure), (Some(128), OnUnsure::Pass));
        let several = request("--text chat=a.jsonl --text code=b.txt --tasks mmlu=t.jsonl");
        let named = [NamedFile::named("chat", "a.jsonl"), NamedFile::named("code", "b.txt")];
        assert_eq!((&several.texts[..], several.tasks.len()), (&named[..], 1));
        assert_eq!((full.precision, full.kernel), (Precision::Bf16, KernelChoice::Portable));
        assert_eq!((full.bos, full.window, full.samples), (true, Some(256), Some(64)));
        let gates: Vec<String> = full.gates.iter().map(ToString::to_string).collect();
        assert_eq!(gates, ["kld <= 0.03", "size < 5GB"]);
    }

    #[test]
    fn every_kernel_that_there_is_can_be_chosen() {
        assert!(KernelChoice::names().eq(flags::KERNELS.iter().copied()));
        let refused = request::kernel("mkl").expect_err("no such kernel");
        assert_eq!(refused.message, "there is no `--kernel mkl`");
    }
}
