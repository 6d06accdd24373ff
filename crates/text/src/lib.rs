//! Text as token ids.
//!
//! This crate owns tokenizers, chat templates, the windows into which a text is cut and the mixes of
//! several, and files of multiple-choice questions. It opens no file: callers pass what they read. It
//! never knows a model.

#![forbid(unsafe_code)]

mod charsmap;
mod choice;
mod document;
mod entry;
mod error;
mod guard;
mod mix;
mod question;
mod special;
mod template;
mod tokenizer;
mod window;

pub use choice::{EncodedChoice, encode};
pub use document::{documents_of_json, documents_of_text};
pub use entry::{Entries, Entry};
pub use error::{
    DocumentError, Error, IdError, QuestionError, TemplateError, TokenizerError, WindowError,
};
pub use mix::{Supply, interleaved, shares};
pub use question::{Question, parse_questions};
pub use special::{SpecialSources, SpecialTokens};
pub use template::{ChatTemplate, Date, RenderOptions};
pub use tokenizer::Tokenizer;
pub use window::{Bos, WindowFacts, WindowOptions, Windows, check_ids, text_windows, windows_of};
