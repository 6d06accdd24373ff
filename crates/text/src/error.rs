//! What can go wrong with tokenizers, texts, templates and questions.

use crate::entry::Entry;

/// Any failure of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The tokenizer is wrong.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A file of documents is wrong.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A chat template is wrong, or fails.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A text cannot be cut as asked.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Token ids do not fit the model.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A file of questions is wrong.
    #[error(transparent)]
    Question(#[from] QuestionError),
}

/// Why a tokenizer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum TokenizerError {
    #[error("`tokenizer.json` is missing{}", beside(.found))]
    Missing { found: &'static [&'static str] },
    #[error("`tokenizer.json` has {bytes} bytes, and at most {limit} are allowed")]
    TooLong { bytes: usize, limit: usize },
    #[error("`tokenizer.json` is not JSON: {why}")]
    NotJson { why: String },
    #[error("`{part}` of `tokenizer.json` {why}")]
    Part { part: String, why: String },
    #[error("`tokenizer.json` cannot be read: {why}")]
    Unreadable { why: String },
    #[error("the tokenizer fails on a text of {bytes} bytes: {why}")]
    Encoding { bytes: usize, why: String },
    #[error("the tokenizer cannot decode {ids} ids: {why}")]
    Decoding { ids: usize, why: String },
}

/// Why a file of documents cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum DocumentError {
    #[error("{entry} is not JSON: {why}")]
    NotJson { entry: Entry, why: String },
    #[error("{entry} is {found}, expected an object with `text` or `messages`")]
    NotAnObject { entry: Entry, found: &'static str },
    #[error("{entry} has neither `text` nor `messages`")]
    Neither { entry: Entry },
    #[error("`{key}` of {entry} is {found}, expected {expected}")]
    Kind { entry: Entry, key: &'static str, expected: &'static str, found: String },
    #[error("{entry} has `messages`, but the model has no chat template")]
    NoTemplate { entry: Entry },
    #[error("the messages of {entry} cannot be rendered: {error}")]
    Template { entry: Entry, error: TemplateError },
    #[error("the file is no JSON array: {why}")]
    NotAnArray { why: String },
    #[error("the file holds no document")]
    Empty,
}

/// Why a chat template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum TemplateError {
    #[error("`{key}` of `tokenizer_config.json` is {found}, expected {expected}")]
    Kind { key: String, expected: &'static str, found: &'static str },
    #[error(
        "`chat_template` of `tokenizer_config.json` has no template named `default`, but {found}"
    )]
    NoDefault { found: String },
    #[error("line {line} of the chat template is wrong: {why}")]
    Syntax { line: usize, why: String },
    #[error("the chat template fails in line {line}: {why}")]
    Fails { line: usize, why: String },
    #[error("the chat template asks for today's date in line {line}, and none was given")]
    NoDate { line: usize },
    #[error("the chat template gives more than {limit} bytes")]
    TooLong { limit: usize },
    #[error("a conversation without messages cannot be rendered")]
    NoMessages,
    #[error("`{text}` is not a date, expected one like 2024-07-26")]
    Date { text: String },
}

/// Why a text cannot be cut into windows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum WindowError {
    #[error("a window of {window} tokens predicts nothing, expected at least 2")]
    Window { window: usize },
    #[error("0 samples were asked for, expected at least 1")]
    Samples,
    #[error("the text has {tokens} tokens, and one window takes {needed}")]
    TooShort { tokens: usize, needed: usize },
}

/// Why token ids do not fit a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum IdError {
    #[error("token {position} has id {id}, but the model knows {size} tokens")]
    Token { position: usize, id: u32, size: usize },
}

/// Why a file of questions cannot be read, or a question not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum QuestionError {
    #[error("{entry} is not JSON: {why}")]
    NotJson { entry: Entry, why: String },
    #[error("{entry} is {found}, expected an object with `question`, `choices` and `answer`")]
    NotAnObject { entry: Entry, found: &'static str },
    #[error("{entry} has neither `question` nor `context`")]
    NoContext { entry: Entry },
    #[error("{entry} has no `{key}`")]
    Missing { entry: Entry, key: &'static str },
    #[error("`{key}` of {entry} is {found}, expected {expected}")]
    Kind { entry: Entry, key: &'static str, expected: &'static str, found: String },
    #[error("`choices` of {entry} has {count}, expected at least 2")]
    TooFew { entry: Entry, count: usize },
    #[error("choice {index} of {entry} is empty")]
    EmptyChoice { entry: Entry, index: usize },
    #[error("`answer` of {entry} is {answer}, but the choices are {expected}")]
    Answer { entry: Entry, answer: String, expected: String },
    #[error("the file is no JSON array: {why}")]
    NotAnArray { why: String },
    #[error("the file holds no question")]
    Empty,
    #[error("a question without context needs a token to begin with, and the tokenizer has none")]
    NoPrefix,
    #[error("a choice has {tokens} tokens, but the model's window has {window}")]
    TooLong { tokens: usize, window: usize },
}

impl Error {
    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Tokenizer(error) => error.hint(),
            Self::Document(error) => error.hint(),
            Self::Template(error) => error.hint(),
            Self::Window(error) => error.hint(),
            Self::Id(error) => Some(error.hint()),
            Self::Question(error) => error.hint(),
        }
    }

    /// Whether another request would do: the input is not at fault.
    pub fn is_request(&self) -> bool {
        let Self::Window(error) = self else {
            return matches!(self, Self::Template(TemplateError::Date { .. }));
        };
        matches!(error, WindowError::Window { .. } | WindowError::Samples)
    }
}

impl TokenizerError {
    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { found } if !found.is_empty() => Some(
                "runtimes read `tokenizer.json`; make one with Transformers: \
                 `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`",
            ),
            Self::Missing { .. } => {
                Some("copy `tokenizer.json` and `tokenizer_config.json` from the original model")
            }
            _ => None,
        }
    }
}

impl DocumentError {
    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoTemplate { .. } => {
                Some("give the documents as `text`, or add a `chat_template.jinja` to the model")
            }
            Self::Template { error, .. } => error.hint(),
            _ => None,
        }
    }
}

impl TemplateError {
    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoDate { .. } => {
                Some("results would change from day to day: `--date 2026-01-31` gives the date")
            }
            _ => None,
        }
    }
}

impl WindowError {
    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooShort { .. } => Some("give a longer text, or a smaller window"),
            _ => None,
        }
    }
}

impl IdError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "are the tokenizer and the model of one family?"
    }
}

impl QuestionError {
    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Answer { .. } => {
                Some("an answer is an index from 0, a letter from A, or the text of a choice")
            }
            _ => None,
        }
    }
}

/// What a JSON value is, in words.
pub(crate) fn kind(value: &serde_json::Value) -> &'static str {
    use serde_json::Value;
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn beside(found: &[&str]) -> String {
    match found {
        [] => String::new(),
        [name] => format!(", and `{name}` alone is not read"),
        names => format!(", and `{}` is not read", names.join("` with `")),
    }
}
