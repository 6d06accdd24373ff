//! What is measured on: windows of texts, and questions with their choices.

use crate::evaluation::named::NamedFile;
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
    pub(super) texts: Vec<TextPart>,
    pub(super) tasks: Vec<TaskPart>,
    /// What a reader should know about it.
    pub(super) notes: Vec<String>,
}

/// A text in windows.
pub(super) struct TextPart {
    pub(super) name: Option<String>,
    pub(super) protocol: TextProtocol,
    cut: Windows,
}

/// The questions of a file.
#[derive(Clone)]
pub(super) struct TaskPart {
    pub(super) name: Option<String>,
    pub(super) protocol: TaskProtocol,
    questions: Vec<Asked>,
}

/// A question as token ids.
#[derive(Clone)]
struct Asked {
    choices: Vec<EncodedChoice>,
    answer: usize,
}

/// Which sequence: the number of its part, texts first, and its own in there.
pub(super) type Key = (usize, usize);

impl Set {
    /// Reads texts and questions with the tokenizer of the reference, or else of the artifact: so many
    /// windows of each text, or all.
    pub(super) fn read(
        request: &EvaluationRequest,
        samples: Option<usize>,
        variants: &[Variant],
    ) -> Result<Self, Error> {
        let mut set = Self { texts: Vec::new(), tasks: Vec::new(), notes: Vec::new() };
        let Some(model) = variants.first() else { return Ok(set) };
        let texts = Texts::new(model, request.window, request.bos, request.date);
        if !request.texts.is_empty() {
            set.notes.extend(texts.note());
        }
        let reader = Reader { texts, model, samples };
        set.texts = request.texts.iter().map(|file| reader.text(file)).collect::<Result<_, _>>()?;
        set.tasks =
            request.tasks.iter().map(|file| reader.tasks(file)).collect::<Result<_, _>>()?;
        Ok(set)
    }

    /// The same with fewer windows of each text, or as many if no number is given.
    pub(super) fn first(&self, samples: Option<usize>) -> Self {
        let first = |text: &TextPart| text.first(samples.unwrap_or(usize::MAX));
        Self {
            texts: self.texts.iter().map(first).collect(),
            tasks: self.tasks.clone(),
            notes: self.notes.clone(),
        }
    }

    /// Windows of all texts first, then the choices of each question.
    pub(super) fn sequences(&self) -> Vec<(Key, Sequence)> {
        let texts = self.texts.iter().map(TextPart::sequences);
        let parts = texts.chain(self.tasks.iter().map(TaskPart::sequences)).enumerate();
        let keyed = |(part, sequences): (usize, Vec<Sequence>)| {
            sequences.into_iter().enumerate().map(move |(number, of)| ((part, number), of))
        };
        parts.flat_map(keyed).collect()
    }

    /// How many windows of a text there are, or of all of them.
    pub(super) fn windows(&self, part: Option<&str>) -> usize {
        let of = |text: &&TextPart| part.is_none() || text.name.as_deref() == part;
        self.texts.iter().filter(of).map(TextPart::len).sum()
    }
}

impl TextPart {
    /// A text of this protocol, but for what follows from how it was cut.
    fn new(name: Option<String>, protocol: TextProtocol, cut: Windows) -> Self {
        let scored = cut.windows.iter().map(|window| window.len() as u64 - 1).sum();
        let protocol = TextProtocol { windows: cut.facts.clone(), scored, ..protocol };
        Self { name, protocol, cut }
    }

    fn first(&self, samples: usize) -> Self {
        Self::new(self.name.clone(), self.protocol.clone(), self.cut.first(samples))
    }

    /// How many windows.
    pub(super) fn len(&self) -> usize {
        self.cut.windows.len()
    }

    fn sequences(&self) -> Vec<Sequence> {
        // A token that was put before a window is not predicted, as the first of any window is not.
        let window =
            |tokens: &Vec<u32>| Sequence { tokens: tokens.clone(), targets: 1..tokens.len() };
        self.cut.windows.iter().map(window).collect()
    }
}

impl TaskPart {
    fn choices(&self) -> impl Iterator<Item = &EncodedChoice> {
        self.questions.iter().flat_map(|question| &question.choices)
    }

    fn sequences(&self) -> Vec<Sequence> {
        let choice = |choice: &EncodedChoice| Sequence {
            tokens: choice.tokens.clone(),
            targets: choice.continuation.clone(),
        };
        self.choices().map(choice).collect()
    }

    /// The questions, where `nll` is what a model gives to a choice, by its number among all.
    pub(super) fn answered(&self, nll: impl Fn(usize) -> f64) -> Vec<Question> {
        let mut numbers = 0..;
        let mut choice = |encoded: &EncodedChoice| Choice {
            log_likelihood: -numbers.next().map_or(f64::NAN, &nll),
            length: encoded.characters,
        };
        let mut question = |asked: &Asked| Question {
            choices: asked.choices.iter().map(&mut choice).collect(),
            answer: asked.answer,
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
    fn text(&self, file: &NamedFile) -> Result<TextPart, Error> {
        let path = &file.path;
        let cut = self.texts.windows(path, self.samples)?;
        let (name, sha256) = (file_name(path), sha256_file(path)?);
        let date = self.texts.date().map(|date| date.to_string());
        let protocol = TextProtocol { name, sha256, windows: cut.facts.clone(), scored: 0, date };
        Ok(TextPart::new(file.name.clone(), protocol, cut))
    }

    fn tasks(&self, file: &NamedFile) -> Result<TaskPart, Error> {
        let path = &file.path;
        let DataKind::Json(entries) = DataKind::of(path)? else { return Err(no_questions(path)) };
        let folder = self.texts.folder()?;
        let parsed = parse_questions(&read_data(path)?, entries)
            .map_err(|error| wrong(path, error.into()))?;
        let longest = self.model.program().context.unwrap_or(LONGEST_WINDOW);
        let (mut questions, mut truncated) = (Vec::new(), 0);
        for question in &parsed {
            let encoded = |window| {
                encode(question, folder.tokenizer(), folder.special().prefix(), window)
                    .map_err(|error| wrong(path, error))
            };
            let choices = encoded(longest)?;
            choices.iter().try_for_each(|choice| folder.check(&choice.tokens))?;
            truncated += usize::from(choices != encoded(usize::MAX)?);
            questions.push(Asked { choices, answer: question.answer });
        }
        let (name, sha256) = (file_name(path), sha256_file(path)?);
        let protocol = TaskProtocol { name, sha256, questions: questions.len(), truncated };
        Ok(TaskPart { name: file.name.clone(), protocol, questions })
    }
}

fn no_questions(path: &Path) -> Error {
    Error::RefusedWithHint {
        what: format!("`{}` holds no questions: they are JSON", path.display()),
        hint: "`--tasks` takes `.jsonl`, one question a line, or `.json`, an array of them"
            .to_owned(),
    }
}
