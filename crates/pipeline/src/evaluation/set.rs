//! What is measured on: windows of a text, and questions with their choices.

mod ids;

use super::request::EvaluationRequest;
use super::result::{TaskProtocol, TextProtocol};
use crate::Error;
use crate::reading::Sequence;
use crate::tokenizer::{Folder, wrong};
use crate::variant::Variant;
use llmopt_checkpoint::{read_text, sha256_file};
use llmopt_eval::{Choice, Question};
use llmopt_text::{
    Bos, EncodedChoice, RenderOptions, WindowOptions, Windows, check_ids, documents_of_jsonl,
    documents_of_text, encode, parse_questions, text_windows, windows_of,
};
use std::path::Path;

/// Everything that goes through the models, and what it is.
pub(super) struct Set {
    pub(super) text: Option<TextProtocol>,
    pub(super) tasks: Option<TaskProtocol>,
    /// What a reader should know about it.
    pub(super) notes: Vec<String>,
    windows: Vec<Vec<u32>>,
    questions: Vec<Asked>,
}

/// A question as token ids.
struct Asked {
    choices: Vec<EncodedChoice>,
    answer: usize,
}

impl Set {
    /// Reads text and questions with the tokenizer of the reference, or else of the artifact.
    pub(super) fn read(request: &EvaluationRequest, variants: &[Variant]) -> Result<Self, Error> {
        let mut set = Self {
            text: None,
            tasks: None,
            notes: Vec::new(),
            windows: Vec::new(),
            questions: Vec::new(),
        };
        let Some(model) = variants.first() else { return Ok(set) };
        let folder = Reader { model, window: window(request, model), request };
        if let Some(path) = &request.text {
            folder.read_text(path, &mut set)?;
        }
        if let Some(path) = &request.tasks {
            folder.read_tasks(path, &mut set)?;
        }
        Ok(set)
    }

    /// Windows first, then the choices of each question.
    pub(super) fn sequences(&self) -> Vec<Sequence> {
        // A token that was put before a window is not predicted, as the first of any window is not.
        let window =
            |tokens: &Vec<u32>| Sequence { tokens: tokens.clone(), targets: 1..tokens.len() };
        let choice = |choice: &EncodedChoice| Sequence {
            tokens: choice.tokens.clone(),
            targets: choice.continuation.clone(),
        };
        let choices = self.questions.iter().flat_map(|question| &question.choices);
        self.windows.iter().map(window).chain(choices.map(choice)).collect()
    }

    /// What was found for windows, and for choices.
    pub(super) fn divided<L>(&self, mut found: Vec<Vec<L>>) -> (Vec<Vec<L>>, Vec<Vec<L>>) {
        let choices = found.split_off(self.windows.len().min(found.len()));
        (found, choices)
    }

    /// The questions with the likelihoods that a model gives to their choices.
    pub(super) fn questions<L>(
        &self,
        choices: &[Vec<L>],
        nll: impl Fn(&L) -> f64,
    ) -> Vec<Question> {
        let mut losses = choices.iter();
        let mut choice = |encoded: &EncodedChoice| {
            let nll: f64 = losses.next().into_iter().flatten().map(&nll).sum();
            Choice { log_likelihood: -nll, length: encoded.characters }
        };
        let mut question = |asked: &Asked| Question {
            choices: asked.choices.iter().map(&mut choice).collect(),
            answer: asked.answer,
        };
        self.questions.iter().map(&mut question).collect()
    }
}

/// Tokens of a window: those asked for, or 2048, or the model's context where that is shorter.
fn window(request: &EvaluationRequest, model: &Variant) -> usize {
    let context = model.program().context.unwrap_or(LONGEST_WINDOW);
    request.window.unwrap_or(context.min(LONGEST_WINDOW))
}

/// Reads files for a model.
struct Reader<'a> {
    model: &'a Variant,
    window: usize,
    request: &'a EvaluationRequest,
}

impl Reader<'_> {
    fn read_text(&self, path: &Path, set: &mut Set) -> Result<(), Error> {
        if let Some(context) = self.model.program().context.filter(|&most| most < self.window) {
            set.notes.push(format!(
                "windows of {} tokens are longer than the model's context of {context}",
                self.window
            ));
        }
        let Windows { windows, facts } = match ending(path) {
            "safetensors" => {
                let ids = ids::read(path)?;
                check_ids(&ids, self.model.program().vocabulary)
                    .map_err(|error| wrong(path, error.into()))?;
                windows_of(&ids, self.options(None)?).map_err(|error| wrong(path, error.into()))?
            }
            _ => self.tokenized(path)?,
        };
        let scored = windows.iter().map(|window| window.len() as u64 - 1).sum();
        let (name, sha256) = (file_name(path), sha256_file(path)?);
        set.text = Some(TextProtocol { name, sha256, windows: facts, scored });
        set.windows = windows;
        Ok(())
    }

    fn tokenized(&self, path: &Path) -> Result<Windows, Error> {
        let folder = Folder::read(self.model)?;
        let text = read_text(path, TEXT_LIMIT)?;
        let documents = match ending(path) {
            "jsonl" => {
                let options =
                    RenderOptions { add_generation_prompt: false, date: self.request.date };
                documents_of_jsonl(&text, folder.template(), &options)
            }
            _ => documents_of_text(&text),
        };
        let documents = documents.map_err(|error| wrong(path, error.into()))?;
        text_windows(folder.tokenizer(), &documents, self.options(Some(&folder))?)
            .map_err(|error| wrong(path, error))
    }

    fn options(&self, folder: Option<&Folder>) -> Result<WindowOptions, Error> {
        let bos = match self.request.bos {
            false => Bos::None,
            true => Bos::Window(self.bos(folder)?),
        };
        Ok(WindowOptions { window: self.window, samples: self.request.samples, bos })
    }

    fn bos(&self, folder: Option<&Folder>) -> Result<u32, Error> {
        let special = match folder {
            Some(folder) => folder.special().clone(),
            None => Folder::read(self.model)?.special().clone(),
        };
        special.bos.ok_or_else(|| Error::RefusedWithHint {
            what: "the model's folder names no token that begins a text".to_owned(),
            hint: "`--bos none` begins windows with the text itself".to_owned(),
        })
    }

    fn read_tasks(&self, path: &Path, set: &mut Set) -> Result<(), Error> {
        let folder = Folder::read(self.model)?;
        let questions = parse_questions(&read_text(path, TEXT_LIMIT)?)
            .map_err(|error| wrong(path, error.into()))?;
        let longest = self.model.program().context.unwrap_or(LONGEST_WINDOW);
        let mut truncated = 0;
        for question in &questions {
            let encoded = |window| {
                encode(question, folder.tokenizer(), folder.special().prefix(), window)
                    .map_err(|error| wrong(path, error))
            };
            let choices = encoded(longest)?;
            truncated += usize::from(choices != encoded(usize::MAX)?);
            set.questions.push(Asked { choices, answer: question.answer });
        }
        let (name, sha256) = (file_name(path), sha256_file(path)?);
        set.tasks = Some(TaskProtocol { name, sha256, questions: questions.len(), truncated });
        Ok(())
    }
}

fn ending(path: &Path) -> &str {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

const LONGEST_WINDOW: usize = 2048;
const TEXT_LIMIT: u64 = 4 << 30;
