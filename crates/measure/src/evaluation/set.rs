//! What is measured on: windows of a text, and questions with their choices.

use crate::evaluation::request::EvaluationRequest;
use crate::evaluation::result::{TaskProtocol, TextProtocol};
use llmopt_checkpoint::sha256_file;
use llmopt_data::{DataKind, LONGEST_WINDOW, Texts, file_name, read_data, wrong};
use llmopt_eval::{Choice, Question};
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_sweep::Sequence;
use llmopt_text::{EncodedChoice, Windows, encode, parse_questions};
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
        let texts = Texts::new(model, request.window, request.bos, request.date);
        let reader = Reader { texts, model, samples: request.samples };
        if let Some(path) = &request.text {
            reader.read_text(path, &mut set)?;
        }
        if let Some(path) = &request.tasks {
            reader.read_tasks(path, &mut set)?;
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
        let mut question = |requested: &Asked| Question {
            choices: requested.choices.iter().map(&mut choice).collect(),
            answer: requested.answer,
        };
        self.questions.iter().map(&mut question).collect()
    }
}

/// Reads files for a model.
struct Reader<'a> {
    texts: Texts<'a>,
    model: &'a Variant,
    samples: Option<usize>,
}

impl Reader<'_> {
    fn read_text(&self, path: &Path, set: &mut Set) -> Result<(), Error> {
        set.notes.extend(self.texts.note());
        let Windows { windows, facts } = self.texts.windows(path, self.samples)?;
        let scored = windows.iter().map(|window| window.len() as u64 - 1).sum();
        let (name, sha256) = (file_name(path), sha256_file(path)?);
        let date = self.texts.date().map(|date| date.to_string());
        set.text = Some(TextProtocol { name, sha256, windows: facts, scored, date });
        set.windows = windows;
        Ok(())
    }

    fn read_tasks(&self, path: &Path, set: &mut Set) -> Result<(), Error> {
        let DataKind::Json(entries) = DataKind::of(path)? else { return Err(no_questions(path)) };
        let folder = self.texts.folder()?;
        let questions = parse_questions(&read_data(path)?, entries)
            .map_err(|error| wrong(path, error.into()))?;
        let longest = self.model.program().context.unwrap_or(LONGEST_WINDOW);
        let mut truncated = 0;
        for question in &questions {
            let encoded = |window| {
                encode(question, folder.tokenizer(), folder.special().prefix(), window)
                    .map_err(|error| wrong(path, error))
            };
            let choices = encoded(longest)?;
            choices.iter().try_for_each(|choice| folder.check(&choice.tokens))?;
            truncated += usize::from(choices != encoded(usize::MAX)?);
            set.questions.push(Asked { choices, answer: question.answer });
        }
        let (name, sha256) = (file_name(path), sha256_file(path)?);
        set.tasks = Some(TaskProtocol { name, sha256, questions: questions.len(), truncated });
        Ok(())
    }
}

fn no_questions(path: &Path) -> Error {
    Error::RefusedWithHint {
        what: format!("`{}` holds no questions: they are JSON", path.display()),
        hint: "`--tasks` takes `.jsonl`, one question a line, or `.json`, an array of them"
            .to_owned(),
    }
}
