//! Recipes: what a TOML file asks for, as the options of the commands that do each of its stages.
//!
//! Keys are the options' own names, and values go through the parser and the checks of the command line, so that
//! a recipe of one stage and a command are the same request.

mod arguments;
mod catalog;
mod init;
mod refused;
mod stages;

pub(crate) use catalog::catalog;
pub(crate) use init::starter;

use crate::failure::Failure;
use crate::flags::{Run, USUAL_RECIPE};
use crate::report::ReportFile;
use crate::{print, request, units};
use llmopt_pipeline::{JobRequest, Resources, read_bytes};
use llmopt_recipe::{Node, Problem, Table, Value};
use refused::of_problem;
use std::path::{Path, PathBuf};

/// What a recipe asks for.
pub(crate) struct Requested {
    /// The stages, and what is measured.
    pub(crate) job: JobRequest,
    pub(crate) resources: Resources,
    /// Reports of the evaluation.
    pub(crate) reports: Vec<ReportFile>,
    /// Whether the artifact gets a model card.
    pub(crate) card: bool,
    /// What the model is called on its card; after its folder, if not given.
    pub(crate) base_model: Option<String>,
    /// Whether an artifact that misses a gate is removed.
    pub(crate) discards: bool,
    /// The recipe's own text; none, if options have changed what it asks for.
    pub(crate) text: Option<String>,
}

/// A recipe file: its text, and where its paths begin.
struct File {
    path: PathBuf,
    text: String,
    folder: PathBuf,
}

impl Requested {
    /// Reads the recipe that `flags` name, or `llmopt.toml` in the current folder, and everything that follows
    /// from it without opening the model.
    ///
    /// # Errors
    /// If it cannot be read, or asks for what cannot be asked for.
    pub(crate) fn of(flags: &Run) -> Result<Self, Failure> {
        let file = File::read(flags.recipe.as_deref())?;
        let overrides = overrides(flags);
        let read = llmopt_recipe::read(&file.text, &overrides, &catalog());
        let recipe = read.map_err(|problem| of_problem(&file.path, problem))?;
        file.requested(&recipe, flags).map_err(|failure| failure.in_file(&file.path))
    }
}

/// Why a recipe is refused: by its text, or by what it asks for.
enum Refused {
    Problem(Problem),
    Failure(Failure),
}

impl Refused {
    fn in_file(self, path: &Path) -> Failure {
        match self {
            Self::Problem(problem) => of_problem(path, problem),
            Self::Failure(failure) => failure,
        }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl<T: Into<Failure>> From<T> for Refused {
    fn from(failure: T) -> Self {
        Self::Failure(failure.into())
    }
}

/// The options of `run` that a recipe has, too, as overrides. Their paths begin in the current folder.
fn overrides(flags: &Run) -> Vec<String> {
    let quoted = |text: &str| Value::Text(text.to_owned()).to_toml();
    let absolute = |path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        quoted(&path.to_string_lossy())
    };
    let mut overrides = flags.set.clone();
    overrides.extend(flags.baseline.iter().map(|path| format!("eval.baseline={}", absolute(path))));
    overrides.extend(flags.on_unsure.iter().map(|on| format!("eval.on-unsure={}", quoted(on))));
    overrides.extend(flags.on_miss.iter().map(|on| format!("eval.on-miss={}", quoted(on))));
    overrides
}

impl File {
    fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let path = path.unwrap_or(Path::new(USUAL_RECIPE)).to_owned();
        let text = read_bytes(&path, LONGEST).map_err(|error| refused::unreadable(&error))?;
        let text = String::from_utf8(text).map_err(|error| refused::no_text(&path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { path, text, folder })
    }

    fn requested(&self, recipe: &Table, flags: &Run) -> Result<Requested, Refused> {
        let empty = Table::default();
        let (eval, report) = (recipe.table("eval"), recipe.table("report").unwrap_or(&empty));
        let model = self.folder.join(text(recipe, "model").unwrap_or_default());
        let stages = stages::Stages { folder: &self.folder, recipe, model: &model }.read()?;
        let evaluation = eval.map(|table| stages::evaluation(table, &self.folder, &model));
        let job = JobRequest {
            model: model.clone(),
            output: flags.output.clone().or(text(recipe, "output").map(|o| self.folder.join(o))),
            force: flags.force,
            scratch: text(recipe, "scratch").map(|scratch| self.folder.join(scratch)),
            stages,
            evaluation: evaluation.transpose()?,
        };
        let memory = recipe.get("memory").map(size).transpose()?;
        let threads = recipe.get("threads").map(threads).transpose()?;
        let files = report.get("files").map(Node::items).unwrap_or_default();
        let files = files.iter().filter_map(Node::text).map(|file| self.folder.join(file));
        let files: Vec<PathBuf> = files.chain(flags.report.iter().cloned()).collect();
        if let (Some(entry), None) = (report.entry("files"), eval) {
            return Err(Problem::new(
                &entry.at,
                "reports are of an evaluation, and there is no `[eval]`",
            )
            .with_hint("add `[eval]` with a `text`, or leave `files` out")
            .into());
        }
        Ok(Requested {
            job,
            resources: request::resources(flags.memory.or(memory), flags.threads.or(threads)),
            reports: files.iter().map(|path| ReportFile::new(path)).collect::<Result<_, _>>()?,
            card: !is(report, "card", false),
            base_model: text(report, "base-model"),
            discards: eval.is_some_and(|eval| text(eval, "on-miss").as_deref() == Some("discard")),
            text: overrides(flags).is_empty().then(|| self.text.clone()),
        })
    }
}

/// Bytes of a recipe at most. Everything in it is held with its place.
const LONGEST: u64 = 1 << 20;

/// A string or number of a table.
fn text(table: &Table, key: &str) -> Option<String> {
    table.get(key)?.text()
}

/// Whether a key is there and holds this flag.
fn is(table: &Table, key: &str, flag: bool) -> bool {
    table.get(key).is_some_and(|node| node.value == Value::Flag(flag))
}

fn size(node: &Node) -> Result<u64, Problem> {
    let text = node.text().unwrap_or_default();
    units::size(&text).map_err(|error| Problem::new(&node.at, format!("`memory`: {error}")))
}

fn threads(node: &Node) -> Result<usize, Problem> {
    let number = node.text().and_then(|text| text.parse().ok()).filter(|threads| *threads > 0);
    number.ok_or_else(|| Problem::new(&node.at, "`threads` is at least 1"))
}

/// The schema for editors, as a JSON document.
pub(crate) fn schema() -> Result<(), Failure> {
    print::json(&llmopt_recipe::schema(&catalog()))
}
