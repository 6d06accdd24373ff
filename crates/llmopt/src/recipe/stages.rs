//! The stages of a recipe, each as the request of the command that does it alone.

use crate::flags::Command;
use crate::recipe::arguments::{Given, given, given_path, options, parsed};
use crate::recipe::refused::of_refusal;
use crate::request;
use llmopt_pipeline::{EvaluationRequest, JobStage, Method};
use llmopt_recipe::{Entry, Node, Position, Problem, Table, Value};
use std::path::Path;

/// Where the stages come from.
pub(super) struct Stages<'a> {
    pub(super) folder: &'a Path,
    pub(super) recipe: &'a Table,
    pub(super) model: &'a Path,
}

impl Stages<'_> {
    /// Reads them.
    pub(super) fn read(&self) -> Result<Vec<JobStage>, Problem> {
        let items = self.recipe.get("stage").map(Node::items).unwrap_or_default();
        let entries = items.iter().filter_map(|item| match &item.value {
            Value::Table(table) => table.entries.first(),
            _ => None,
        });
        let mut stages = Vec::new();
        let mut smooth: Option<&Entry> = None;
        let entries: Vec<&Entry> = entries.collect();
        let mut calibrated = false;
        for (number, entry) in entries.iter().enumerate() {
            let Value::Table(table) = &entry.node.value else { continue };
            match (&*entry.key, smooth.take()) {
                ("smooth", _) => smooth = Some(entry),
                ("quantize", before) => {
                    let mut given = self.options("quantize", table, &mut calibrated);
                    given.extend(before.map(|before| self.smoothing(before)));
                    stages.push(self.quantize(&given, &entry.at)?);
                }
                (_, Some(smooth)) => return Err(smooths_nothing(smooth)),
                (_, None) => {
                    let mut given = self.options("prune", table, &mut calibrated);
                    given.extend(align(table, &entries[number..], self.folder));
                    stages.push(self.prune(&given, &entry.at)?);
                }
            }
        }
        match (smooth, self.recipe.entry("calibrate")) {
            (Some(smooth), _) => Err(smooths_nothing(smooth)),
            (None, Some(entry)) if !calibrated => Err(in_vain(entry)),
            _ => Ok(stages),
        }
    }

    fn quantize(&self, given: &[Given], at: &Position) -> Result<JobStage, Problem> {
        match parsed("quantize", self.model, given, at)? {
            Command::Quantize(flags) => {
                let mixed = request::mixed(&flags).transpose();
                let plain = || request::recipe(&flags).map(JobStage::Quantize);
                let stage = mixed.map_or_else(plain, |mixed| mixed.map(JobStage::Mixed));
                stage.map_err(|refusal| of_refusal(refusal, given, at))
            }
            _ => Err(Problem::new(at, "a stage is another command")),
        }
    }

    fn prune(&self, given: &[Given], at: &Position) -> Result<JobStage, Problem> {
        match parsed("prune", self.model, given, at)? {
            Command::Prune(flags) => request::pruned(&flags, self.model.to_owned())
                .map(|request| JobStage::Prune(request.recipe))
                .map_err(|refusal| of_refusal(refusal, given, at)),
            _ => Err(Problem::new(at, "a stage is another command")),
        }
    }

    /// The options of a stage, with those of `[calibrate]` that it does not have itself, if it observes the
    /// model and names no data of its own.
    fn options(&self, command: &str, stage: &Table, calibrated: &mut bool) -> Vec<Given> {
        let mut found = options(command, stage, self.folder);
        let Some(shared) = self.recipe.table("calibrate") else { return found };
        if stage.get("calibrate").is_some() || !observes(command, stage) {
            return found;
        }
        *calibrated = true;
        for entry in &shared.entries {
            let option = if entry.key == "data" { "calibrate" } else { &*entry.key };
            if stage.get(option).is_none() {
                found.push(given(command, (option, &entry.at), &entry.node, self.folder));
            }
        }
        found
    }

    /// A stage that smooths, as an option of the one behind it.
    fn smoothing(&self, entry: &Entry) -> Given {
        let strength = match &entry.node.value {
            Value::Table(table) => table.get("strength").cloned(),
            _ => None,
        };
        let usual = Node { value: Value::Flag(true), at: entry.at.clone() };
        let node = strength.unwrap_or(usual);
        given("quantize", ("smooth", &entry.at), &node, self.folder)
    }
}

/// Whether a stage runs the model at all: what looks at weights alone has no use for data.
fn observes(command: &str, stage: &Table) -> bool {
    let method = stage.get("method").and_then(Node::text);
    match (command, method) {
        ("quantize", Some(name)) => name.parse::<Method>().map_or(true, Method::calibrates),
        ("prune", Some(name)) => {
            let no_refit =
                stage.get("no-refit").is_some_and(|node| node.value == Value::Flag(true));
            !(name == "magnitude" && no_refit)
        }
        _ => true,
    }
}

/// Widths that a group size behind this stage divides, where it prunes widths and says nothing of them itself.
fn align(stage: &Table, behind: &[&Entry], folder: &Path) -> Option<Given> {
    let widths = stage
        .get("axes")
        .is_none_or(|axes| axes.items().iter().filter_map(Node::text).any(|axis| axis == "ffn"));
    if !widths || stage.get("align").is_some() {
        return None;
    }
    let groups = behind.iter().find_map(|entry| match &entry.node.value {
        Value::Table(table) if entry.key == "quantize" => table.entry("group-size"),
        _ => None,
    })?;
    match &groups.node.value {
        Value::Whole(_) => Some(given("prune", ("align", &groups.at), &groups.node, folder)),
        _ => None,
    }
}

fn smooths_nothing(entry: &Entry) -> Problem {
    Problem::new(&entry.at, "`smooth` needs a stage behind it that quantizes")
        .with_hint("its scales move the range of inputs into weights, for codes that come after it")
}

fn in_vain(entry: &Entry) -> Problem {
    Problem::new(&entry.at, "`[calibrate]` would do nothing: no stage takes data from it")
        .with_hint("leave it out, or choose a method that observes the model")
}

/// What `[eval]` asks to be measured of an artifact of `model`.
pub(super) fn evaluation(
    table: &Table,
    folder: &Path,
    model: &Path,
) -> Result<EvaluationRequest, Problem> {
    let at = table.entries.first().map_or(Position::File { line: 1, column: 1 }, |e| e.at.clone());
    let entries = table.entries.iter().filter(|entry| entry.key != "on-miss");
    let mut found: Vec<Given> = entries
        .map(|entry| {
            let option = if entry.key == "gates" { "gate" } else { &*entry.key };
            given("eval", (option, &entry.at), &entry.node, folder)
        })
        .collect();
    found.push(given_path("against", &at, model));
    match parsed("eval", model, &found, &at)? {
        Command::Eval(flags) => {
            request::evaluation(&flags).map_err(|refusal| of_refusal(refusal, &found, &at))
        }
        _ => Err(Problem::new(&at, "`[eval]` is another command")),
    }
}
