//! Options that would do nothing beside the others that were given: refused with what they need, so that
//! nobody believes that they did.

use crate::failure::Refusal;
use crate::flags::{DataFlags, Eval, Generate, Ladder, Prune, Quantize};
use llmopt_pipeline::{
    CalibrationSource, Format, Gate, PruneMethod, PruneRecipe, Recipe, may_hold_messages,
};

/// An option, whether it was given, and whether it does anything.
type Given = (&'static str, bool, bool);

/// Refuses the first option that was given and does nothing.
fn refused(options: &[Given], why: &str, hint: &str) -> Result<(), Refusal> {
    let vain = options.iter().find(|(_, is_given, works)| *is_given && !works);
    match vain {
        Some((option, ..)) => {
            Err(Refusal::new(format!("`{option}` would do nothing here: {why}"), hint))
        }
        None => Ok(()),
    }
}

/// Options of data from `sources`.
pub(crate) fn of_data(flags: DataFlags, sources: &[CalibrationSource]) -> Result<(), Refusal> {
    let is_data = sources.iter().any(|source| !source.is_statistics());
    refused(
        &[
            ("--samples", flags.samples.is_some(), is_data),
            ("--window", flags.window.is_some(), is_data),
            ("--bos", flags.bos.is_some(), is_data),
            ("--seed", flags.seed.is_some(), is_data),
            ("--date", flags.date.is_some(), is_data),
        ],
        "the data of statistics are chosen already",
        "leave it out: `llmopt calibrate` takes it",
    )?;
    let draws = sources.iter().any(|source| matches!(source, CalibrationSource::SelfDrawn { .. }));
    refused(
        &[("--seed", flags.seed.is_some(), draws)],
        "it decides what is drawn from the model, and all data are texts",
        "leave it out, or let `self` be one of the sources",
    )?;
    let renders = sources.iter().any(|source| match source {
        CalibrationSource::Builtin { .. } | CalibrationSource::SelfDrawn { .. } => false,
        CalibrationSource::File { path, .. } => may_hold_messages(path),
    });
    refused(&[("--date", flags.date.is_some(), renders)], NOTHING_RENDERED, RENDERED)
}

/// Options of an artifact of `recipe`.
pub(crate) fn of_quantize(flags: &Quantize, recipe: &Recipe) -> Result<(), Refusal> {
    let mut sources = recipe.calibrate.iter().flat_map(|calibrate| &calibrate.data.sources);
    refused(
        &[("--scratch", flags.scratch.is_some(), sources.any(|source| !source.is_statistics()))],
        "with statistics the model is not run, and has no hidden states",
        "leave it out",
    )?;
    let is_given = recipe.tensor_parallel > 1;
    refused(
        &[("--tp", is_given, recipe.runtimes.iter().any(|runtime| runtime.splits()))],
        "none of the runtimes asked for has rules on how matrices are split over devices",
        "leave it out, or name one that has with `--runtime vllm` or `sglang`",
    )?;
    refused(
        &[("--tp", is_given, recipe.format == Format::CompressedTensors)],
        "dense weights can be split wherever the model's own could",
        "leave it out",
    )
}

/// Options of pruning by `recipe`.
pub(crate) fn of_prune(flags: &Prune, recipe: &PruneRecipe) -> Result<(), Refusal> {
    // Without axes, intermediate channels are in every mix.
    let has = |axis| recipe.axes.is_empty() || recipe.axes.iter().any(|found| found.name() == axis);
    let layers_alone = !has("ffn") && !has("heads");
    refused(
        &[("--align", flags.align.is_some(), has("ffn"))],
        "it is for the widths of axis `ffn`, which keeps them all",
        "leave it out, or add `ffn` to `--axes`",
    )?;
    refused(
        &[("--refine", flags.refine.is_some(), has("ffn") || has("layers"))],
        "gate and up projections stay as they are where only heads go",
        "leave it out, or add `ffn` or `layers` to `--axes`",
    )?;
    refused(
        &[("--method", flags.method.is_some(), !layers_alone)],
        "layers are chosen by the divergence of what is left",
        "leave it out, or add `ffn` or `heads` to `--axes`",
    )?;
    let data = flags.data;
    let observes = recipe.method != PruneMethod::Magnitude
        || recipe.refit
        || recipe.bias
        || !recipe.axes.is_empty() && has("layers");
    refused(
        &[
            ("--calibrate", !flags.calibrate.is_empty(), observes),
            ("--samples", data.samples.is_some(), observes),
            ("--window", data.window.is_some(), observes),
            ("--bos", data.bos.is_some(), observes),
            ("--seed", data.seed.is_some(), observes),
            ("--date", data.date.is_some(), observes),
            ("--dtype", flags.dtype.is_some(), observes),
            ("--kernel", flags.kernel.is_some(), observes),
            ("--scratch", flags.scratch.is_some(), observes),
        ],
        "`--method magnitude --no-refit` looks at weights alone, and observes nothing",
        "leave it out, or choose another method, or refit",
    )?;
    of_data(data, &recipe.calibrate.data.sources)
}

/// Options of an evaluation.
pub(crate) fn of_eval(flags: &Eval) -> Result<(), Refusal> {
    let has_text = !flags.text.is_empty() || flags.tasks.is_empty();
    refused(
        &[
            ("--window", flags.window.is_some(), has_text),
            ("--samples", flags.samples.is_some(), has_text),
            ("--max-samples", flags.max_samples.is_some(), has_text),
            ("--bos", flags.bos.is_some(), has_text),
            ("--date", flags.date.is_some(), has_text),
        ],
        "it says how a text becomes windows, and there is no `--text`",
        "leave it out, or give a `--text`: questions go through the model whole, one by one",
    )?;
    let renders =
        flags.text.is_empty() || flags.text.iter().any(|text| may_hold_messages(&text.path));
    refused(&[("--date", flags.date.is_some(), renders)], NOTHING_RENDERED, RENDERED)?;
    of_gates(flags)
}

/// Options of gates.
fn of_gates(flags: &Eval) -> Result<(), Refusal> {
    let has = |is: fn(&Gate) -> bool| flags.gate.iter().any(is);
    refused(
        &[("--baseline", flags.baseline.is_some(), has(Gate::is_relative))],
        "no gate is relative to it",
        "leave it out, or give a gate such as `--gate 'kld <= 1.1 * baseline'`",
    )?;
    refused(
        &[
            ("--max-samples", flags.max_samples.is_some(), has(|gate| gate.metric().is_of_text())),
            ("--on-unsure", flags.on_unsure.is_some(), has(|gate| gate.metric().is_sampled())),
        ],
        "it is for gates that windows may leave unsure, and there is none",
        "leave it out, or give a gate such as `--gate 'kld <= 0.03'`",
    )
}

/// Options of a ladder from `sources`: `--samples` and `--window` are for the text that judges, too.
pub(crate) fn of_ladder(flags: &Ladder, sources: &[CalibrationSource]) -> Result<(), Refusal> {
    let data = DataFlags { samples: None, window: None, bos: None, seed: flags.seed, date: None };
    match sources {
        [] => Ok(()),
        sources => of_data(data, sources),
    }
}

/// Options of generation.
pub(crate) fn of_generate(flags: &Generate) -> Result<(), Refusal> {
    let draws = flags.temperature.is_some_and(|temperature| temperature > 0.0);
    refused(
        &[
            ("--seed", flags.seed.is_some(), draws),
            ("--top-k", flags.top_k.is_some(), draws),
            ("--top-p", flags.top_p.is_some(), draws),
            ("--min-p", flags.min_p.is_some(), draws),
        ],
        "at `--temperature 0` the likeliest token is taken, and none is drawn",
        "leave it out, or give a `--temperature` above 0",
    )?;
    refused(
        &[("--date", flags.date.is_some(), flags.chat || flags.requests.is_some())],
        "only a chat template asks for the day",
        "leave it out, or add `--chat`",
    )
}

const NOTHING_RENDERED: &str =
    "only a chat template asks for the day, and no file holds `messages`";
const RENDERED: &str = "leave it out; `messages` are in `.jsonl` and `.json` files";
