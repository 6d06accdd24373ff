//! Windows of token ids, and where they come from: files, the text that comes with the program, the model itself,
//! and mixes of them.
//!
//! Texts are cut by the tokenizer that lies beside a model. It never knows who will look at the windows, and
//! for what.

#![forbid(unsafe_code)]

mod builtin;
mod drawing_work;
mod facts;
mod gumbel;
mod held_out;
mod request;
mod self_generated;
mod set;
mod source;
mod texts;
mod tokenizer;

pub use drawing_work::drawn;
pub use facts::{CalibrationFacts, SourceFacts, StatisticsFacts};
pub use gumbel::GumbelMax;
pub use held_out::{beside_held_out, held_out, in_batches, judges};
pub use request::CalibrationRequest;
pub use self_generated::{SWEEPS, SelfGenerated};
pub use set::CalibrationSet;
pub use source::{CalibrationSource, STATISTICS_KEY, SourceError, is_statistics_file};
pub use texts::{DataKind, LONGEST_WINDOW, Texts, file_name, may_hold_messages, read_data};
pub use tokenizer::{Folder, failed, same_tokenizer, wrong};
