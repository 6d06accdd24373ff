//! Which sequences go on in a step, and by how many tokens: continuous batching.
//!
//! As in vLLM's scheduler, there are no phases. A sequence has tokens that are known and tokens that are
//! computed; each step lets the second catch up with the first. Sequences that speak get a row each, and
//! prompts are read in the rows that are left, one at least, first come, first served. Memory for all
//! that a sequence may become is set aside when it is admitted, so that none ever has to give way.
//!
//! It never sees a token.

use std::collections::VecDeque;
use std::ops::Range;

/// What sequences may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Sequences at a time.
    pub(super) slots: usize,
    /// Rows of a step.
    pub(super) rows: usize,
    /// Bytes of all sequences.
    pub(super) bytes: u64,
    /// The length beyond which a sequence must be read whole, if there is one.
    pub(super) alike: Option<usize>,
    /// Whether a sequence that grows beyond that length is read again.
    pub(super) outgrows: bool,
}

/// A sequence that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: usize,
    /// Tokens of its prompt.
    pub(super) tokens: usize,
    /// Of keys and values of all that it may become.
    pub(super) cache: u64,
    /// Of what it will have said, until that is written.
    pub(super) answer: u64,
}

/// Tokens that a running sequence computes in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) id: usize,
    pub(crate) tokens: Range<usize>,
    /// Whether all known tokens are computed then, and the next one can be said.
    pub(crate) catches_up: bool,
    /// Whether it begins again, and what was kept of it no longer holds.
    pub(crate) again: bool,
    /// How many of its last tokens are proposed, and known only if the model says them, too.
    pub(crate) drafted: usize,
}

impl Part {
    /// Whether it is the last known token of a sequence, after which the next one is said.
    pub(super) fn speaks(&self) -> bool {
        self.catches_up && self.tokens.len() == 1
    }
}

/// Sequences that wait and sequences that run.
#[derive(Debug)]
pub(super) struct Schedule {
    limits: Limits,
    waiting: VecDeque<Job>,
    running: Vec<Running>,
    /// Bytes set aside.
    taken: u64,
}

#[derive(Debug)]
struct Running {
    job: Job,
    known: usize,
    computed: usize,
}

impl Schedule {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, waiting: VecDeque::new(), running: Vec::new(), taken: 0 }
    }

    /// Puts a sequence behind those that wait, or says that there will never be room for it.
    pub(super) fn add(&mut self, job: Job) -> bool {
        let fits = job.bytes() <= self.limits.bytes;
        if fits {
            self.waiting.push_back(job);
        }
        fits
    }

    /// The next step: a part, which may be empty, of each running sequence in their order, new ones last.
    /// None if no sequence is left.
    pub(super) fn step(&mut self) -> Option<Vec<Part>> {
        let limits = self.limits;
        let speaking = self.running.iter().filter(|running| running.speaks(limits)).count();
        let mut left = limits.rows.saturating_sub(speaking).max(1);
        let running = self.running.iter_mut();
        let mut parts: Vec<Part> = running.map(|running| running.part(limits, &mut left)).collect();
        while left > 0
            && let Some(mut running) = self.admitted()
        {
            parts.push(running.part(limits, &mut left));
            self.running.push(running);
        }
        (!parts.is_empty()).then_some(parts)
    }

    /// A running sequence has said so many tokens and goes on: all but the last of them are computed.
    pub(super) fn goes_on(&mut self, id: usize, said: usize) {
        for running in self.running.iter_mut().filter(|running| running.job.id == id) {
            running.known += said;
            running.computed = running.known - 1;
        }
    }

    /// A running sequence has ended. Returns its place among them; those behind it move up.
    pub(super) fn ended(&mut self, id: usize) -> Option<usize> {
        let place = self.running.iter().position(|running| running.job.id == id)?;
        self.taken -= self.running.remove(place).job.cache;
        Some(place)
    }

    /// So much of what was said is written, and need not be held.
    pub(super) fn written(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_sub(bytes);
    }

    /// The first that waits, if there is a slot and room for it.
    fn admitted(&mut self) -> Option<Running> {
        let job = *self.waiting.front()?;
        let has_room = self.taken + job.bytes() <= self.limits.bytes;
        if self.running.len() == self.limits.slots || !has_room {
            return None;
        }
        self.waiting.pop_front();
        self.taken += job.bytes();
        Some(Running { job, known: job.tokens, computed: 0 })
    }
}

impl Job {
    fn bytes(&self) -> u64 {
        self.cache + self.answer
    }
}

impl Running {
    /// Whether its next token is all that it wants of a step.
    fn speaks(&self, limits: Limits) -> bool {
        self.computed > 0 && self.known - self.computed == 1 && !self.outgrows(limits)
    }

    /// Whether it has just become longer than what is kept of it holds for.
    fn outgrows(&self, limits: Limits) -> bool {
        let passes = |alike: usize| (1..=alike).contains(&self.computed) && self.known > alike;
        limits.outgrows && limits.alike.is_some_and(passes)
    }

    /// What it computes when `left` rows are left for prompts.
    fn part(&mut self, limits: Limits, left: &mut usize) -> Part {
        let speaks = self.speaks(limits);
        let again = self.outgrows(limits) && *left > 0;
        if again {
            self.computed = 0;
        }
        let rest = self.known - self.computed;
        let is_whole = self.computed == 0 && limits.alike.is_some_and(|alike| self.known > alike);
        let rows = match () {
            () if speaks => 1,
            () if *left == 0 => 0,
            () if is_whole => rest,
            () => rest.min(*left),
        };
        if !speaks {
            *left = left.saturating_sub(rows);
        }
        let tokens = self.computed..self.computed + rows;
        self.computed = tokens.end;
        let catches_up = rows > 0 && self.computed == self.known;
        Part { id: self.job.id, tokens, catches_up, again, drafted: 0 }
    }
}

#[cfg(test)]
mod tests;
