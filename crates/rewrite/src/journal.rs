//! The journal: what is known to be on the disk, so that an interrupted run goes on from there.

use crate::records::Entry;
use llmopt_checkpoint::{Journal as Lines, OutFile, Output as Staged};
use llmopt_run::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The journal of an output, before its files are open.
pub struct Journal {
    lines: Lines,
    entries: Vec<Entry>,
}

impl Journal {
    /// The journal of the work that `identity` names, with what an interrupted run has told there.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn open(staged: &Staged, identity: &str) -> Result<Self, Error> {
        let (told, lines) = staged.journal(identity)?;
        // One that cannot be understood is passed over.
        let entries = told.iter().filter_map(|line| serde_json::from_str(line).ok());
        let mut known = Vec::new();
        for entry in entries {
            match entry {
                Entry::Anew => known.clear(),
                entry => known.push(entry),
            }
        }
        Ok(Self { lines, entries: known })
    }

    /// What was found before the files were laid out.
    pub fn facts<T: DeserializeOwned>(&self, group: &str) -> Option<T> {
        let told = self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Facts { group: told, facts } if told == group => Some(facts),
            _ => None,
        });
        serde_json::from_value(told?.clone()).ok()
    }

    /// Keeps what was found before the files are laid out.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_facts(&mut self, group: &str, facts: &impl Serialize) -> Result<(), Error> {
        let entry = Entry::facts(group, facts)?;
        self.lines.append(&[entry.line()?])?;
        self.entries.push(entry);
        Ok(())
    }

    /// What is told is not true any more: the files are gone.
    pub(crate) fn forget_files(&mut self) -> Result<(), Error> {
        if self.entries.iter().any(|entry| entry.shard().is_some()) {
            self.lines.append(&[Entry::Anew.line()?])?;
            self.entries.clear();
        }
        Ok(())
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Has a thread of its own append what it is sent, each after its data is on the disk.
    pub(crate) fn keep(self, files: Arc<Vec<OutFile>>) -> Keeper {
        let (finished, inbox) = channel();
        let thread = std::thread::spawn(move || keep(&inbox, &files, self.lines));
        Keeper { finished: Mutex::new(Some(finished)), thread: Mutex::new(Some(thread)) }
    }
}

/// Appends to a journal. Dropped, it waits until everything is there that it was sent.
pub(crate) struct Keeper {
    finished: Mutex<Option<Sender<Entry>>>,
    thread: Mutex<Option<JoinHandle<Result<(), Error>>>>,
}

impl Keeper {
    /// # Errors
    /// [`Error::Interrupted`] if there is no journal any more: without one there would be no resuming.
    /// [`Keeper::end`] tells why.
    pub(crate) fn add(&self, entry: Entry) -> Result<(), Error> {
        let sent = lock(&self.finished).as_ref().map(|finished| finished.send(entry));
        sent.and_then(Result::ok).ok_or(Error::Interrupted)
    }

    /// Waits until everything is in the journal.
    ///
    /// # Errors
    /// If it could not be written.
    pub(crate) fn end(&self) -> Result<(), Error> {
        *lock(&self.finished) = None;
        let joined = lock(&self.thread).take().map(JoinHandle::join);
        joined.unwrap_or(Ok(Ok(()))).unwrap_or(Err(Error::Interrupted))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Whoever wants to know has asked.
        let _ = self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(inbox: &Receiver<Entry>, files: &[OutFile], mut lines: Lines) -> Result<(), Error> {
    let mut batch: Vec<Entry> = Vec::new();
    loop {
        let ended = match inbox.recv_timeout(PATIENCE) {
            Ok(entry) => {
                batch.push(entry);
                if batch.len() < BATCH {
                    continue;
                }
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let shards: BTreeSet<usize> = batch.iter().filter_map(Entry::shard).collect();
        for shard in shards {
            files[shard].sync()?;
        }
        if !batch.is_empty() {
            lines.append(&batch.drain(..).map(|e| e.line()).collect::<Result<Vec<_>, _>>()?)?;
        }
        if ended {
            return Ok(());
        }
    }
}

/// Records per sync: some tens of megabytes. Each sync costs the disk a flush.
const BATCH: usize = 64;
/// So long without another record, those at hand wait no more.
const PATIENCE: Duration = Duration::from_millis(500);
