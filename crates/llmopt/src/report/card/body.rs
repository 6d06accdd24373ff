//! The section of a card that tells what an artifact is: verdict first, then what it is, what it lost, how to
//! run it, and how to make it again.

use super::made::Made;
use super::measured::{measured, missed};
use super::{CardRequest, rebuild};
use crate::loading::{Language, Loading, loading};
use crate::report::markdown::code;
use serde_json::Value;
use std::fmt::Write;

/// Everything that is told.
pub(super) struct Told<'a> {
    pub(super) name: &'a str,
    pub(super) base: Option<&'a str>,
    pub(super) made: &'a Made<'a>,
    pub(super) evaluation: Option<&'a Value>,
    pub(super) request: &'a CardRequest<'a>,
}

/// The section, without its markers.
pub(super) fn body(told: &Told<'_>) -> String {
    let Told { name, base, made, evaluation, .. } = told;
    let mut text = "## Made with llmopt\n\n".to_owned();
    if let Some(missed) = evaluation.and_then(missed) {
        let _ = writeln!(text, "{missed}\n");
    }
    let _ = writeln!(text, "{}\n", what(told));
    for fact in made.facts() {
        let _ = writeln!(text, "- {fact}");
    }
    let _ = writeln!(
        text,
        "- record: `llmopt.json` says what was done to every tensor, and `llmopt verify` holds the files \
         against it"
    );
    let _ = write!(text, "\n{}", measured(*evaluation, name, *base));
    text += &run(told);
    text += &again(told);
    text
}

/// What it is, and of what.
fn what(told: &Told<'_>) -> String {
    let Told { name, base, made, .. } = told;
    let done = match (made.is_pruned(), made.is_quantized()) {
        (true, true) => "pruned and quantized",
        (true, false) => "pruned",
        _ => "quantized",
    };
    let (name, tool) = (code(name), code(&made.tool()));
    match base {
        Some(base) => format!("{name} is {}, {done} by {tool}.", code(base)),
        None => format!("{name} is a model that was {done} by {tool}."),
    }
}

/// How each runtime that the artifact was checked for loads it.
fn run(told: &Told<'_>) -> String {
    let artifact = told.made.loadable(told.name);
    let runtimes = told.made.runtimes().into_iter();
    let mut ways: Vec<Loading> = Vec::new();
    for way in runtimes.filter_map(|runtime| loading(runtime, &artifact)) {
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    let mut text = String::new();
    if !ways.is_empty() {
        let _ = writeln!(text, "\n### How to run it");
    }
    for Loading { runtime, language, code, remark } in ways {
        let remark = remark.trim_start_matches([',', ':', ' ']);
        let remark = if remark.is_empty() { String::new() } else { format!(" ({remark})") };
        let lines = match language {
            Language::Shell => code,
            Language::Python => python(&code),
        };
        let _ = writeln!(text, "\n{runtime}{remark}:\n\n{}", fenced(language.name(), &lines));
    }
    text
}

/// A call with what it needs.
fn python(call: &str) -> String {
    let config =
        if call.contains("=CompressedTensorsConfig(") { ", CompressedTensorsConfig" } else { "" };
    format!("from transformers import AutoModelForCausalLM{config}\n\nmodel = {call}")
}

/// The recipe, or the commands that follow from the record.
fn again(told: &Told<'_>) -> String {
    let heading = "\n### How to make it again\n";
    if let Some(recipe) = told.request.recipe {
        let (run, recipe) =
            (fenced("sh", "llmopt run recipe.toml"), fenced("toml", recipe.trim_end()));
        return format!("{heading}\n{run}\n\nwith this as `recipe.toml`:\n\n{recipe}\n");
    }
    match rebuild::commands(told.made, told.name, told.base) {
        Some(commands) => {
            let commands = fenced("sh", &commands.join("\n"));
            format!("{heading}\n{commands}\n{}", computed(told.made))
        }
        None => format!("{heading}\n`llmopt.json` has the recipe, under `recipe`.\n"),
    }
}

/// The kernels that bytes depend on.
fn computed(made: &Made<'_>) -> String {
    let kernels = made.stages().iter();
    let mut kernels: Vec<&str> =
        kernels.filter_map(|stage| stage.pointer("/calibration/kernel")?.as_str()).collect();
    kernels.dedup();
    match &kernels[..] {
        [] => String::new(),
        kernels => {
            let kernels: Vec<String> = kernels.iter().map(|kernel| code(kernel)).collect();
            format!(
                "\nThe model was observed with {}; on a machine with other instructions sums round otherwise, and \
                 so may codes.\n",
                kernels.join(" and ")
            )
        }
    }
}

/// A block of code that nothing in it ends.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let visible: Vec<String> = text.lines().map(crate::print::one_line).collect();
    format!("{fence}{language}\n{}\n{fence}", visible.join("\n"))
}

impl Language {
    /// As blocks of code name it.
    fn name(self) -> &'static str {
        match self {
            Self::Shell => "sh",
            Self::Python => "python",
        }
    }
}
