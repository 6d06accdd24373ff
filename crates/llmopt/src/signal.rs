//! Ctrl-C: the first asks for an end in good order, the second ends at once.

use crate::exit;
use crate::progress::Running;
use llmopt_pipeline::{Cancel, Events};

/// What [`watch`] cancels.
pub(crate) static CANCEL: Cancel = Cancel::new();

/// From now on SIGINT and SIGTERM cancel [`CANCEL`], and `words` say so.
pub(crate) fn watch(progress: &Running, words: &'static str) {
    let progress = progress.shared();
    let handler = move || {
        if CANCEL.is_cancelled() {
            exit::interrupted_at_once();
        }
        CANCEL.cancel();
        progress.note(words);
    };
    // Where a handler cannot be set, the signals end the program; what is written stays resumable.
    let _ = ctrlc::set_handler(handler);
}
