//! `llmopt calibrate`: the plan, or statistics in a file.

use crate::current::Input;
use crate::failure::{Failure, Refusal};
use crate::flags::Calibrate;
use crate::print;
use crate::progress::Progress;
use crate::units;
use crate::{request, signal};
use llmopt_pipeline::{StatisticsReport, StatisticsRequest, StatisticsSummary};
use std::path::{Path, PathBuf};

pub(super) fn run(flags: &Calibrate) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    let resources = request::resources(flags.memory, flags.threads);
    let input = Input::of(flags.model.as_deref(), console)?;
    let plan = llmopt_pipeline::plan_statistics(&statistics(flags, &input.path)?, resources)?;
    if flags.dry_run {
        let summary = plan.summary()?;
        return if console.json { print::json(&summary) } else { print::data(&planned(&summary)) };
    }
    request::near_bound(plan.summary()?.memory.predicted_peak, resources);
    let progress = Progress::begin(console, None);
    signal::watch(&progress, "stopping");
    let report = llmopt_pipeline::observe_statistics(&plan, &*progress, &signal::CANCEL)?;
    if console.json {
        return print::json(&report);
    }
    if !console.quiet {
        print::say(render(&report, &input.path).trim_end());
    }
    Ok(())
}

/// What `calibrate` was asked to do.
fn statistics(flags: &Calibrate, model: &Path) -> Result<StatisticsRequest, Refusal> {
    request::folder_of("--output", &flags.output)?;
    let kernel = request::kernel(&flags.kernel)?;
    Ok(StatisticsRequest {
        model: model.to_owned(),
        data: request::data("--data", &flags.calibrate, flags.data)?,
        gram: flags.gram,
        merge: flags.merge.clone(),
        precision: flags.dtype.precision(kernel),
        kernel,
        output: flags.output.clone(),
        force: flags.force,
        scratch: flags.scratch.clone().unwrap_or_else(|| folder(&flags.output)),
    })
}

/// The folder in which a file will be.
fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn planned(summary: &StatisticsSummary) -> String {
    let memory = &summary.memory;
    let windows = units::counted(summary.windows, "window");
    let held = if memory.spills { "in scratch files" } else { "in memory" };
    let mut facts = vec![
        ("model", format!("`{}`, {}", summary.model.name, summary.model.sha256)),
        ("to", format!("file `{}`, {}", summary.output, units::bytes(summary.bytes))),
        ("sums", sums(summary.sites, summary.gram)),
        (
            "observe",
            format!(
                "{windows} of {} tokens of {}, {}",
                summary.window,
                summary.sources.join(", "),
                summary.kernel
            ),
        ),
    ];
    if !summary.merged.is_empty() {
        facts.push(("merge", summary.merged.join(", ")));
    }
    facts.push((
        "memory",
        format!(
            "at most {} of {}; {} would do; {} of hidden states {held}",
            units::bytes(memory.predicted_peak),
            units::bytes(memory.budget),
            units::bytes(memory.smallest),
            units::bytes(memory.hidden_bytes)
        ),
    ));
    facts.extend(summary.notes.iter().map(|note| ("note", note.clone())));
    print::facts(&facts)
}

/// Where the statistics are, and what they are for.
fn render(report: &StatisticsReport, model: &Path) -> String {
    let tokens = report.runs.iter().map(|run| run.data.windows * run.data.window).sum::<usize>();
    let runs = units::counted(report.runs.len(), "run");
    print::facts(&[
        ("wrote", format!("file `{}`, {}", report.output, units::bytes(report.bytes))),
        ("sums", sums(report.sites, report.gram)),
        ("observed", format!("{} tokens in {runs}", units::count(tokens as u64))),
        (
            "next",
            format!(
                "llmopt quantize {} --calibrate {}",
                print::shell_word(&model.display().to_string()),
                print::shell_word(&report.output)
            ),
        ),
    ])
}

fn sums(sites: usize, gram: bool) -> String {
    let what = if gram { "second moments and Gram matrices" } else { "second moments" };
    format!("{what} of {}", units::counted(sites, "site"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Command, Flags};
    use clap::Parser;
    use llmopt_pipeline::{KernelChoice, Precision};

    fn requested(flags: &str) -> StatisticsRequest {
        let args = ["llmopt", "calibrate", "model"].into_iter().chain(flags.split_whitespace());
        match Flags::try_parse_from(args).expect("known flags").command {
            Command::Calibrate(calibrate) => {
                statistics(&calibrate, Path::new("model")).expect("a request")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_request() {
        let plain = requested("--data a.txt -o s.safetensors");
        assert_eq!((plain.data.samples, plain.data.window, plain.gram), (128, None, false));
        assert_eq!(plain.precision, Precision::fastest(KernelChoice::Auto));
        let exact = requested("--data a.txt --dtype f32 -o s.safetensors");
        assert_eq!(exact.precision, Precision::F32);
        let portable = requested("--data a.txt --dtype auto --kernel portable -o s.safetensors");
        assert_eq!(portable.precision, Precision::F32);
        assert_eq!((plain.scratch.as_path(), plain.merge.len()), (Path::new("."), 0));
        let full = requested(
            "--data a.txt:3 --calibrate self --samples 9 --window 64 --bos window --seed 5 --gram \
             --merge old.safetensors --dtype bf16 --kernel portable -o /tmp/s.safetensors --force",
        );
        assert_eq!((full.precision, full.kernel), (Precision::Bf16, KernelChoice::Portable));
        assert_eq!((full.data.samples, full.data.window, full.data.seed), (9, Some(64), 5));
        assert_eq!((full.data.sources.len(), full.data.bos), (2, true));
        assert_eq!((full.gram, full.force, full.merge.len()), (true, true, 1));
        assert_eq!(full.scratch, Path::new("/tmp"));
    }
}
