//! `llmopt prune`: the plan, or the plan carried out.

use crate::current::Input;
use crate::failure::Failure;
use crate::flags::Prune;
use crate::print::{self, Table};
use crate::progress::Progress;
use crate::timing::{RequestedAmount, Timing};
use crate::{passed, report, request, signal, units};
use llmopt_pipeline::{Events, JudgedMix, Mix, PrunePlan, PruneReport, PruneSummary, PrunedUnits};
use std::fmt::Write;

pub(super) fn run(flags: &Prune) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    let input = Input::of(flags.model.as_deref(), console)?;
    input.announce_output(flags.output.as_deref(), console);
    let request = request::pruned(flags, input.path)?;
    let resources = request::resources(flags.memory, flags.threads);
    let plan = llmopt_pipeline::plan_prune(&request, resources)?;
    let speed = plan.speed()?;
    let said = RequestedAmount { samples: flags.data.samples, window: flags.data.window };
    let on = |windows| Ok::<_, Failure>(plan.estimate(&speed, windows));
    let timing =
        Timing::new(on(None)?, said, plan.observed_windows(), |windows| on(Some(windows)))?;
    let mut summary = plan.summary();
    let note = drawn_for_want_of_a_tokenizer(flags, &summary);
    if flags.dry_run {
        summary.notes.extend(note.map(str::to_owned));
        return match console.json {
            true => print::json(&timing.document(&summary)?),
            false => print::data(&planned(&summary, Some(&timing))),
        };
    }
    let file = flags.report.as_deref().map(report::pending).transpose()?;
    request::near_bound(summary.memory.predicted_peak, resources);
    let progress = Progress::begin(console, Some(&timing));
    note.into_iter().for_each(|note| progress.note(note));
    signal::watch(&progress, STOPPING);
    let report = llmopt_pipeline::prune(&plan, &*progress, &signal::CANCEL)?;
    if console.json {
        print::json(&report)?;
    } else if !console.quiet {
        print::say(render(&summary, &report).trim_end());
    }
    if let Some(file) = file {
        report::publish(file, &print::document(&report)?)?;
    }
    Ok(())
}

/// A plan, as a part of another one's.
pub(super) fn plan_of(plan: &PrunePlan) -> String {
    planned(&plan.summary(), None)
}

/// Why windows are drawn from the model though nobody asked for it.
fn drawn_for_want_of_a_tokenizer(flags: &Prune, summary: &PruneSummary) -> Option<&'static str> {
    (flags.calibrate.is_empty() && summary.sweeps > 0).then_some(NO_TOKENIZER)
}

/// The whole plan.
fn planned(summary: &PruneSummary, timing: Option<&Timing>) -> String {
    let memory = &summary.memory;
    let mut facts = vec![
        (
            "from",
            format!(
                "`{}`, {}, {}",
                summary.model,
                summary.family,
                units::bytes(summary.input_bytes)
            ),
        ),
        ("to", format!("folder `{}`, {}", summary.output, size(summary))),
        ("remove", removed(summary)),
        ("how", format!("{}, widths in steps of {}", summary.method, summary.align)),
    ];
    if summary.windows > 0 {
        let windows = units::counted(summary.windows, "window");
        let drawn = match summary.sweeps {
            0 => String::new(),
            sweeps => format!(", drawn in {sweeps} reading sweeps"),
        };
        let sources = summary.sources.join(", ");
        let (window, kernel) = (summary.window, summary.kernel);
        facts.push((
            "observe",
            format!("{windows} of {window} tokens of {sources}{drawn}, {kernel}"),
        ));
        let held = if memory.spills { "in scratch files" } else { "in memory" };
        facts.push(("hidden", format!("{} {held}", units::bytes(memory.hidden_bytes))));
    }
    if summary.search_sweeps > 0 {
        let sweeps = units::counted(summary.search_sweeps, "reading sweep");
        facts.push(("search", format!("which layers go, in at most {sweeps}")));
    }
    if let Some(choice) = &summary.choice {
        let mixes: Vec<String> = choice.candidates.iter().map(mix).collect();
        let windows = units::counted(choice.windows, "window");
        facts.push((
            "choose",
            format!("between {}, in a reading sweep on {windows} held out", mixes.join(", ")),
        ));
    }
    for left in &summary.left_out {
        facts.push(("left out", format!("{}: {}", left.axes.join(" and "), left.why)));
    }
    facts.extend(summary.notes.iter().map(|note| ("note", note.clone())));
    facts.extend(passed::unknown(summary.unknown_tensors.as_ref()));
    let [peak, budget, smallest] =
        [memory.predicted_peak, memory.budget, memory.smallest].map(units::bytes);
    facts.push(("memory", format!("at most {peak} of {budget}; {smallest} would do")));
    let free = summary.disk.free.map_or_else(|| "unknown".to_owned(), units::bytes);
    facts.push(("disk", format!("{} needed, {free} free", units::bytes(summary.disk.needed))));
    facts.extend(timing.map(|timing| ("time", timing.render())));
    let mut text = print::facts(&facts);
    let mut files = Table::new(&["file", ">bytes"]);
    for file in &summary.files {
        files.row([file.name.clone(), units::count(file.bytes)]);
    }
    let _ = write!(text, "\n{files}\nchanges of config.json\n");
    for change in &summary.config_changes {
        let _ = writeln!(text, "  {change}");
    }
    text
}

/// `1.23 GiB of weights (61.6 %)`
fn size(summary: &PruneSummary) -> String {
    let (before, after) = (summary.input_bytes, summary.output_bytes);
    format!("{} of weights ({})", units::bytes(after), units::share(after, before))
}

fn mix(mix: &Mix) -> String {
    format!("{} ({})", mix.axes.join(" and "), units::percent(mix.sparsity))
}

fn removed(summary: &PruneSummary) -> String {
    format!(
        "{} of the blocks' {} parameters along {}, in {}",
        units::percent(summary.sparsity),
        units::count(summary.block_parameters),
        summary.axes.join(" and "),
        units::counted(summary.groups, "group")
    )
}

/// Where the artifact is, what it weighs, what it lost, and what to do next.
fn render(summary: &PruneSummary, report: &PruneReport) -> String {
    let mut facts = vec![
        ("wrote", format!("folder `{}`", summary.output)),
        (
            "size",
            format!(
                "{} to {} of weights ({})",
                units::bytes(report.envelope.bytes_before),
                units::bytes(report.envelope.bytes_after),
                units::share(report.envelope.bytes_after, report.envelope.bytes_before)
            ),
        ),
        ("removed", taken(report)),
    ];
    if let Some(decision) = &report.decision {
        let judged = decision.candidates.iter().map(|JudgedMix { mix: of, kld }| {
            format!("{} {:.5} ({:.5} to {:.5})", mix(of), kld.value, kld.low, kld.high)
        });
        let judged: Vec<String> = judged.collect();
        facts.push(("KL divergence", judged.join("; ")));
    }
    facts.extend(damage(&report.pruned).map(|damage| ("damage", damage)));
    for units in &report.pruned {
        if let Some(why) = &units.fallback {
            facts.push(("fallback", format!("`{}`: {why}", units.reader)));
        }
    }
    facts.extend(passed::unknown(report.unknown_tensors.as_ref()));
    facts.extend(passed::model_card(&report.envelope.outputs));
    facts.push((
        "next",
        format!(
            "llmopt eval {} --against {} --text FILE",
            print::shell_word(&summary.output),
            print::shell_word(&summary.model)
        ),
    ));
    print::facts(&facts) + &curve(&report.pruned)
}

/// The estimated loss while units go: for every axis, the mean over its groups at shares of units left.
fn curve(pruned: &[PrunedUnits]) -> String {
    let mut axes: Vec<&str> = pruned.iter().map(|units| units.axis.as_str()).collect();
    axes.dedup();
    let mut table = Table::new(&["axis", ">left", ">loss", "of the outputs' energy"]);
    let mut rows = 0;
    for axis in axes {
        let groups: Vec<&PrunedUnits> =
            pruned.iter().filter(|units| units.axis == axis && !units.curve.is_empty()).collect();
        let mut points: Vec<(f64, f64)> =
            SHARES.iter().filter_map(|&share| mean_loss(&groups, share)).collect();
        points.dedup();
        let most = points.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
        for (share, loss) in points {
            let bar = "#".repeat((BAR * loss / most).round() as usize);
            table.row([axis.to_owned(), units::percent(share), units::percent(loss), bar]);
            rows += 1;
        }
    }
    if rows == 0 { String::new() } else { format!("\n{table}") }
}

/// The mean share of units left, and the mean loss, of groups at the first step with no more than this
/// share of their units; none, if there was no such step.
fn mean_loss(groups: &[&PrunedUnits], share: f64) -> Option<(f64, f64)> {
    let at = |group: &&PrunedUnits| {
        let wanted = (share * group.units as f64).ceil() as usize;
        let step = group.curve.iter().find(|step| step.kept <= wanted)?;
        Some((step.kept as f64 / group.units as f64, step.loss))
    };
    let found = groups.iter().map(at).collect::<Option<Vec<(f64, f64)>>>()?;
    let sum = found.iter().fold((0.0, 0.0), |sum, step| (sum.0 + step.0, sum.1 + step.1));
    (!found.is_empty()).then(|| (sum.0 / found.len() as f64, sum.1 / found.len() as f64))
}

fn taken(report: &PruneReport) -> String {
    let layers = report.layers.as_ref().map(|layers| {
        let numbers: Vec<String> = layers.gone.iter().map(ToString::to_string).collect();
        format!(", layers {}", numbers.join(", "))
    });
    format!(
        "{} of the blocks' {} parameters along {}{}",
        units::percent(report.sparsity),
        units::count(report.block_parameters),
        report.axes.join(" and "),
        layers.unwrap_or_default()
    )
}

/// The estimated loss of the readers' outputs: its mean, and the largest with its name.
fn damage(pruned: &[PrunedUnits]) -> Option<String> {
    let losses = || pruned.iter().filter_map(|units| Some((units.loss?, units.reader.as_str())));
    let (worst, name) = losses().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let mean = losses().map(|(loss, _)| loss).sum::<f64>() / losses().count() as f64;
    let (mean, worst) = (units::percent(mean), units::percent(worst));
    Some(format!("of the outputs' energy: {mean} on average, at most {worst} in `{name}`"))
}

/// Where the curve of losses is shown.
const SHARES: [f64; 9] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
/// Signs of the longest bar.
const BAR: f64 = 40.0;

const NO_TOKENIZER: &str = "no `tokenizer.json` lies beside the model to cut the built-in text: windows are drawn from \
    the model itself, which leaves more divergence";
const STOPPING: &str = "stopping after the current place; run the same command again to go on";
