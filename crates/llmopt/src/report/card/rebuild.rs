//! The commands that make an artifact again, as they follow from its record.

use super::made::{Made, sparsity};
use crate::print::shell_word;
use llmopt_pipeline::Scheme;
use serde_json::Value;

/// A command for each stage, the first on the original; none, if a record does not say enough.
pub(super) fn commands(made: &Made<'_>, name: &str, base: Option<&str>) -> Option<Vec<String>> {
    let stages = made.stages();
    // The folder that the model has here, and not its owner's on the hub.
    let folder = |base: &str| base.rsplit('/').next().unwrap_or(base).to_owned();
    let mut input = base.map_or_else(|| "MODEL".to_owned(), folder);
    let mut commands = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        let output = match number + 1 == stages.len() {
            true => name.to_owned(),
            false => format!("{name}-stage-{}", number + 1),
        };
        let mut words = Words(vec!["llmopt".to_owned()]);
        let recipe = stage.get("recipe")?;
        match sparsity(stage) {
            Some(_) => prune(&mut words, &input, stage, recipe)?,
            None => quantize(&mut words, &input, stage, recipe)?,
        }
        words.option("-o", &output);
        commands.push(words.0.join(" "));
        input = output;
    }
    Some(commands)
}

/// A command line.
struct Words(Vec<String>);

impl Words {
    fn word(&mut self, word: &str) {
        self.0.push(shell_word(word));
    }

    fn option(&mut self, option: &str, value: &str) {
        self.word(option);
        self.word(value);
    }

    fn flag(&mut self, flag: &str, is_given: bool) {
        if is_given {
            self.word(flag);
        }
    }

    fn each(&mut self, option: &str, values: &Value) {
        let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
        values.for_each(|value| self.option(option, value));
    }
}

fn quantize(words: &mut Words, input: &str, record: &Value, recipe: &Value) -> Option<()> {
    words.word("quantize");
    words.word(input);
    let scheme: Scheme = serde_json::from_value(recipe.get("scheme")?.clone()).ok()?;
    let name = scheme.name();
    match name.strip_prefix('w').and_then(|name| name.strip_suffix("a16")) {
        Some(bits) => words.option("--bits", bits),
        None => words.option("--scheme", &name),
    }
    match recipe.get("group_size")? {
        Value::String(auto) if auto == "auto" => {}
        Value::String(channel) => words.option("--group-size", channel),
        columns => words.option("--group-size", &columns.get("columns")?.as_u64()?.to_string()),
    }
    words.flag("--asymmetric", !scheme.symmetric);
    let calibrate = recipe.get("calibrate").filter(|calibrate| calibrate.is_object());
    let usual = if calibrate.is_some() { "auto" } else { "search" };
    let method = recipe.get("method")?.as_str()?;
    words.flag("--method", method != usual);
    words.flag(method, method != usual);
    calibrate.map_or(Some(()), |calibrate| observe(words, record, calibrate, 0))?;
    match recipe.get("smooth") {
        None | Some(Value::Null) => {}
        Some(Value::String(scales)) => words.word(&format!("--smooth={scales}")),
        Some(strength) => words.word(&format!("--smooth={}", strength.as_f64()?)),
    }
    match recipe.get("format")? {
        Value::String(format) if format == "compressed-tensors" => {}
        format => {
            words.option("--format", "dense");
            let dtype = format.get("dense")?.as_str()?;
            words.flag("--dense-dtype", dtype != "f32");
            words.flag(dtype, dtype != "f32");
        }
    }
    runtimes(words, recipe)?;
    let devices = recipe.get("tensor_parallel")?.as_u64()?;
    if devices > 1 {
        words.option("--tp", &devices.to_string());
    }
    words.each("--include", recipe.get("include")?);
    words.each("--exclude", recipe.get("exclude")?);
    words.flag("--embeddings", is_set(recipe, "embeddings"));
    words.flag("--lm-head", is_set(recipe, "lm_head"));
    words.flag("--allow-nonfinite", is_set(recipe, "allow_nonfinite"));
    words.flag("--strict", is_set(recipe, "strict"));
    Some(())
}

fn prune(words: &mut Words, input: &str, record: &Value, recipe: &Value) -> Option<()> {
    words.word("prune");
    words.word(input);
    words.option("--sparsity", &recipe.get("sparsity")?.as_f64()?.to_string());
    // Axes that were chosen are chosen again, on the windows that were held out for it.
    let judging = record.pointer("/decision/windows").and_then(Value::as_u64);
    if judging.is_none() {
        let axes = recipe.get("axes")?.as_array()?.iter();
        let axes: Vec<&str> = axes.map(Value::as_str).collect::<Option<_>>()?;
        words.option("--axes", &axes.join(","));
    }
    let method = recipe.get("method")?.as_str()?;
    words.flag("--method", method != "obs");
    words.flag(method, method != "obs");
    let refits = is_set(recipe, "refit");
    words.flag("--no-refit", !refits);
    let passes = recipe.get("refine").and_then(Value::as_u64).unwrap_or(0);
    if refits && passes != USUAL_PASSES {
        words.option("--refine", &passes.to_string());
    }
    words.flag("--bias", is_set(recipe, "bias"));
    if let Some(align) = recipe.get("align").and_then(Value::as_u64) {
        words.option("--align", &align.to_string());
    }
    words.flag("--strict", is_set(recipe, "strict"));
    if record.get("calibration").is_some() {
        observe(words, record, recipe.get("calibrate")?, judging.unwrap_or(0))?;
    }
    runtimes(words, recipe)
}

/// The data, of which `judging` windows were taken beside those that were asked for.
fn observe(words: &mut Words, record: &Value, calibrate: &Value, judging: u64) -> Option<()> {
    for source in calibrate.get("sources")?.as_array()? {
        let name = source.get("name")?.as_str()?;
        let weight = source.get("weight").and_then(Value::as_f64).unwrap_or(1.0);
        match weight == 1.0 {
            true => words.option("--calibrate", name),
            false => words.option("--calibrate", &format!("{name}:{weight}")),
        }
    }
    let saved = record.pointer("/calibration/statistics").and_then(Value::as_array);
    if saved.is_none_or(Vec::is_empty) {
        let samples = calibrate.get("samples")?.as_u64()?.checked_sub(judging)?;
        words.option("--samples", &samples.to_string());
        if let Some(window) = calibrate.get("window").and_then(Value::as_u64) {
            words.option("--window", &window.to_string());
        }
        if is_set(calibrate, "bos") {
            words.option("--bos", "window");
        }
        if let Some(date) = calibrate.get("date").and_then(Value::as_str) {
            words.option("--date", date);
        }
        let seed = calibrate.get("seed").and_then(Value::as_u64).unwrap_or(0);
        if seed != 0 {
            words.option("--seed", &seed.to_string());
        }
        words.flag("--whole-block", calibrate.get("sequential") == Some(&Value::Bool(false)));
    }
    words.option("--dtype", calibrate.get("precision")?.as_str()?);
    let kernel = calibrate.get("kernel")?.as_str()?;
    words.flag("--kernel", kernel != "auto");
    words.flag(kernel, kernel != "auto");
    Some(())
}

fn runtimes(words: &mut Words, recipe: &Value) -> Option<()> {
    let names = recipe.get("runtimes")?.as_array()?.iter();
    let names: Vec<&str> = names.map(Value::as_str).collect::<Option<_>>()?;
    if names != ["transformers", "vllm"] {
        words.option("--runtime", &names.join(","));
    }
    Some(())
}

fn is_set(recipe: &Value, key: &str) -> bool {
    recipe.get(key) == Some(&Value::Bool(true))
}

/// Of `--refine`.
const USUAL_PASSES: u64 = 5;
