//! The model card of an artifact: `README.md`, with the front matter that the Hugging Face hub reads.
//!
//! Record, evaluation and a card that is there already came with the artifact: whatever they say stays in
//! its cell, its code span or its quotes.

mod body;
mod made;
mod measured;
mod rebuild;
mod section;

use crate::failure::{Failure, Refusal};
use crate::print;
use crate::units;
use llmopt_pipeline::{
    EVALUATION_NAME, FrontMatter, RecordFile, WantedFrontMatter, is_repository, read_text,
};
use made::Made;
use serde_json::Value;
use std::path::Path;

/// What a card tells beside the artifact's record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CardRequest<'a> {
    /// What the artifact is called; the folder's name, if not given.
    pub(crate) name: Option<&'a str>,
    /// The model that it was made from: its name on the hub, or that of its folder.
    pub(crate) base_model: Option<&'a str>,
    /// The JSON of `llmopt eval --json`.
    pub(crate) evaluation: Option<&'a Value>,
    /// The recipe that makes the artifact; without one the card tells the command that follows from the
    /// record.
    pub(crate) recipe: Option<&'a str>,
}

/// A model card, and the record of what it is of.
#[derive(Debug)]
pub(crate) struct Card {
    text: String,
    notes: Vec<String>,
    record: RecordFile,
}

impl Card {
    /// The card of the artifact in `folder`, on the basis of the one that is there.
    ///
    /// # Errors
    /// If the folder holds no artifact of ours, or the evaluation is of another one.
    pub(crate) fn of(folder: &Path, request: &CardRequest<'_>) -> Result<Self, Failure> {
        let record = RecordFile::open(folder)?;
        let folder_name = name_of(folder);
        let name = request.name.unwrap_or(&folder_name);
        let made = Made::new(record.record());
        let there = record.text_beside(CARD, LIMIT)?;
        let evaluation = request.evaluation;
        evaluation.map_or(Ok(()), |evaluation| check_evaluation(evaluation, &made, name))?;
        let reference = || evaluation?.pointer("/reference/name")?.as_str();
        let base = request.base_model.or_else(reference).map(without_folders);
        let body = body::body(&body::Told { name, base, made: &made, evaluation, request });
        let (text, notes) = amended(there.as_deref(), name, base, &made, &body);
        Ok(Self { text, notes, record })
    }

    /// The whole file.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What the reader should know of what was kept.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes it into the artifact, with other files by name, and lists all of them in the record.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn write(self, beside: &[(&str, &[u8])]) -> Result<(), Failure> {
        let Self { text, record, .. } = self;
        let card = (CARD, text.as_bytes());
        let files: Vec<(&str, &[u8])> = beside.iter().copied().chain([card]).collect();
        Ok(record.publish_with(&files)?)
    }
}

/// The evaluation in a file, as `llmopt eval --json` prints it.
///
/// # Errors
/// If it cannot be read, or is no evaluation.
pub(crate) fn evaluation(path: &Path) -> Result<Value, Failure> {
    let text = read_text(path, LIMIT).map_err(llmopt_pipeline::Error::from)?;
    parsed_evaluation(&text, &path.display().to_string())
}

/// The evaluation that lies in the artifact itself, if one does.
///
/// # Errors
/// If it cannot be read, or is no evaluation.
pub(crate) fn evaluation_in(folder: &Path) -> Result<Option<Value>, Failure> {
    let text = RecordFile::open(folder)?.text_beside(EVALUATION_NAME, LIMIT)?;
    text.map(|text| parsed_evaluation(&text, EVALUATION_NAME)).transpose()
}

fn parsed_evaluation(text: &str, path: &str) -> Result<Value, Failure> {
    let refused = |why: String| {
        Refusal::new(
            format!("`{path}` is no evaluation: {why}"),
            "`llmopt eval ARTIFACT --against MODEL --text FILE --json` prints one",
        )
    };
    let value: Value = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    match value.pointer("/artifact/bytes").and_then(Value::as_u64) {
        Some(_) => Ok(value),
        None => {
            Err(refused("it does not say of what: there is no `artifact.bytes`".to_owned()).into())
        }
    }
}

/// Whether the numbers can be this artifact's: the size of its weights is theirs.
fn check_evaluation(evaluation: &Value, made: &Made<'_>, name: &str) -> Result<(), Refusal> {
    let measured = evaluation.pointer("/artifact/bytes").and_then(Value::as_u64);
    match (measured, made.bytes_after()) {
        (Some(measured), Some(bytes)) if measured != bytes => {
            let of = evaluation.pointer("/artifact/name").and_then(Value::as_str).unwrap_or("");
            Err(Refusal::new(
                format!(
                    "the evaluation is of `{}`, whose weights take {} bytes, and those of `{name}` take {}",
                    print::one_line(of),
                    units::count(measured),
                    units::count(bytes)
                ),
                "evaluate this artifact, or leave `--evaluation` out",
            ))
        }
        _ => Ok(()),
    }
}

/// The card that is there with what it lacks; or a new one. Beside it what was kept although it differs.
fn amended(
    there: Option<&str>,
    name: &str,
    base: Option<&str>,
    made: &Made<'_>,
    body: &str,
) -> (String, Vec<String>) {
    let wanted = wanted(base, made);
    let Some(there) = there.filter(|text| !text.trim().is_empty()) else {
        let head = wanted.fresh();
        return (
            format!("{head}\n# {}\n\n{}", section::heading(name), section::marked(body)),
            Vec::new(),
        );
    };
    let newline = if there.contains("\r\n") { "\r\n" } else { "\n" };
    let (text, notes) = match FrontMatter::of(there) {
        FrontMatter::None => (format!("{}\n{there}", wanted.fresh()), Vec::new()),
        FrontMatter::Unreadable => (there.to_owned(), vec![UNREADABLE.to_owned()]),
        FrontMatter::Read(found) => (found.merged(&wanted), found.kept(base)),
    };
    (section::replaced(&text, &section::marked(body), newline), notes)
}

/// What front matter is to say.
fn wanted(base: Option<&str>, made: &Made<'_>) -> WantedFrontMatter {
    let wanted = WantedFrontMatter::new(made.tags());
    let wanted = match base.filter(|base| is_repository(base)) {
        Some(base) => wanted.with("base_model", base),
        None => wanted,
    };
    // Of the relations that the hub knows (adapter, merge, quantized, finetune) none is pruning: weights that were
    // fitted to data come nearest to `finetune`.
    let relation = if made.is_quantized() { "quantized" } else { "finetune" };
    wanted
        .with("base_model_relation", relation)
        .with("library_name", "transformers")
        .with("pipeline_tag", "text-generation")
}

/// The last part of what may be a path: a card names no folders of a machine.
fn without_folders(name: &str) -> &str {
    if is_repository(name) {
        return name;
    }
    name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(name)
}

/// The name of a folder; that of the current one is not `.`.
pub(crate) fn name_of(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name = folder.file_name().or(absolute.file_name()).unwrap_or(folder.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The name of a card.
pub(crate) const CARD: &str = "README.md";
/// The name of the evaluation in an artifact.
/// Of cards and evaluations; those of the largest models have some megabytes.
const LIMIT: u64 = 64 << 20;
const UNREADABLE: &str = "what `README.md` begins with is no front matter that could be added to: it stays as it is, \
     without `base_model` and tags";

#[cfg(test)]
mod tests;
