//! Two stages in one sweep: the second follows the first block by block, and one of them works at a time.
//!
//! The first lays out its artifact, then fills it in block after block; the second reads a block once it
//! is there. Who waits holds its streams and nothing else, so that memory is the sum of what both plan.

use llmopt_run::Error;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How far the first stage has come, and how far the second needs it to be.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    opened: Option<Opened>,
    written: Progress,
    wanted: Progress,
    /// Whether the first stage has ended, and whether its work is kept for another attempt.
    led: Option<bool>,
    /// Whether the second stage has ended.
    followed: bool,
}

/// What of the artifact is as it will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// Not even headers.
    #[default]
    Nothing,
    /// Headers, side files, everything outside the blocks, and so many blocks.
    Blocks(usize),
    /// Everything, read back and verified.
    All,
}

/// An artifact that is being written.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// The folder that it is written in.
    pub(crate) folder: PathBuf,
    /// What tells this work from any other; the times of its files do not.
    pub(crate) identity: String,
}

impl Handover {
    /// The first stage has laid out its artifact. Returns when the second needs more.
    pub(crate) fn opened(&self, folder: &Path, identity: &str) {
        let opened = Opened { folder: folder.to_owned(), identity: identity.to_owned() };
        self.lock().opened = Some(opened);
        self.written(Progress::Blocks(0));
    }

    /// The first stage has come so far. Returns when the second needs more, or has ended.
    pub(crate) fn written(&self, progress: Progress) {
        let mut state = self.lock();
        state.written = progress;
        self.changed.notify_all();
        let waits = |state: &mut State| state.wanted <= state.written && !state.followed;
        drop(self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner));
    }

    /// The first stage begins. It has ended when what this returns is dropped.
    pub(crate) fn leading(&self) -> Leading<'_> {
        Leading { handover: self, kept: true }
    }

    /// The second stage begins. It has ended when what this returns is dropped.
    pub(crate) fn following(&self) -> Following<'_> {
        Following(self)
    }

    /// Has the second stage wait until the first has come so far.
    ///
    /// # Errors
    /// If the first has ended before.
    pub(crate) fn wait_for(&self, progress: Progress) -> Result<(), Error> {
        let mut state = self.lock();
        state.wanted = state.wanted.max(progress);
        self.changed.notify_all();
        let waits = |state: &mut State| state.written < progress && state.led.is_none();
        let state = self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        match state.led {
            _ if state.written >= progress => Ok(()),
            Some(false) => Err(Error::Refused("the stage before failed".to_owned())),
            _ => Err(Error::Interrupted),
        }
    }

    /// The artifact that the second stage reads, once it is laid out.
    pub(crate) fn opening(&self) -> Result<Opened, Error> {
        self.wait_for(Progress::Blocks(0))?;
        Ok(self.lock().opened.clone().expect("it was opened to come so far"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first stage under way.
pub(crate) struct Leading<'h> {
    handover: &'h Handover,
    /// Whether another attempt goes on from what it did.
    pub(crate) kept: bool,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.handover.lock().led = Some(self.kept);
        self.handover.changed.notify_all();
    }
}

/// The second stage under way.
pub(crate) struct Following<'h>(&'h Handover);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.lock().followed = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn one_works_at_a_time_in_the_order_of_the_blocks() {
        let handover = Handover::default();
        let seen = Mutex::new(Vec::new());
        let note = |text: String| seen.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        thread::scope(|scope| {
            scope.spawn(|| {
                let _following = handover.following();
                let opened = handover.opening().map(|opened| opened.identity);
                note(format!("opened {}", opened.unwrap_or_default()));
                for block in 0..2 {
                    let progress = handover.wait_for(Progress::Blocks(block + 1));
                    note(format!("read {block} {}", progress.is_ok()));
                }
                note(format!("read all {}", handover.wait_for(Progress::All).is_ok()));
            });
            note("laid out".to_owned());
            handover.opened(Path::new("folder"), "this");
            for block in 0..2 {
                note(format!("write {block}"));
                handover.written(Progress::Blocks(block + 1));
            }
            note("verify".to_owned());
            handover.written(Progress::All);
            note("publish".to_owned());
        });
        let expected = [
            "laid out",
            "opened this",
            "write 0",
            "read 0 true",
            "write 1",
            "read 1 true",
            "verify",
            "read all true",
            "publish",
        ];
        assert_eq!(seen.into_inner().unwrap_or_default(), expected);
    }

    #[test]
    fn neither_waits_for_one_that_has_ended() {
        let handover = Handover::default();
        drop(handover.leading());
        assert!(matches!(handover.opening(), Err(Error::Interrupted)));
        handover.leading().kept = false;
        assert!(matches!(handover.wait_for(Progress::All), Err(Error::Refused(_))));
        drop(handover.following());
        handover.written(Progress::All);
    }
}
