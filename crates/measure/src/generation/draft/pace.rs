//! How many tokens to propose: as many as pay, by what was measured.
//!
//! With a share `a` of proposals accepted, `g` of them give `(1 - a^(g+1)) / (1 - a)` tokens (Leviathan, Kalman and
//! Matias 2023, section 3) for the time of `g` steps of the draft and one of the model with `g` more rows. Where no
//! number beats a step without proposals, none are made, but for a look now and then.

use std::fmt;

/// What was measured so far, the latest counting most.
pub(in crate::generation) struct Pace {
    /// Always so many, if somebody says so.
    fixed: Option<usize>,
    /// Steps so far.
    steps: usize,
    /// Of proposals, weighed.
    accepted: f64,
    checked: f64,
    /// Seconds of a step without proposals.
    plain: Option<f64>,
    /// Seconds that a row more adds to a step of the model.
    row: f64,
    /// Seconds of a step of the draft.
    draft: f64,
    /// All proposals, and those accepted.
    pub(in crate::generation) totals: Totals,
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::generation) struct Totals {
    pub(in crate::generation) proposed: usize,
    pub(in crate::generation) accepted: usize,
    /// Steps of the model in which a sequence spoke.
    pub(in crate::generation) steps: usize,
    /// Tokens said in them.
    pub(in crate::generation) said: usize,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.accepted as f64 / self.proposed.max(1) as f64;
        let tokens = self.said as f64 / self.steps.max(1) as f64;
        write!(
            f,
            "{} of {} proposed tokens were accepted ({share:.1} %); {tokens:.2} tokens of a sequence a step",
            self.accepted, self.proposed
        )
    }
}

/// A step that was timed.
#[derive(Clone, Copy, Debug)]
pub(in crate::generation) struct Timed {
    /// Tokens proposed to the sequence that got the most.
    pub(in crate::generation) length: usize,
    pub(in crate::generation) drafting: f64,
    pub(in crate::generation) checking: f64,
}

impl Pace {
    pub(in crate::generation) fn new(fixed: Option<usize>) -> Self {
        // One proposal in two, until more is known.
        Self {
            fixed: fixed.map(|length| length.min(MOST)),
            steps: 0,
            accepted: 1.0,
            checked: 2.0,
            plain: None,
            row: 0.0,
            draft: 0.0,
            totals: Totals::default(),
        }
    }

    /// How many tokens to propose next. The first step has none, the second some: both are measured, and again
    /// now and then.
    pub(in crate::generation) fn length(&self) -> usize {
        match (self.fixed, self.steps % LOOK) {
            (Some(length), _) => length,
            (None, 0) => 0,
            (None, 1) => TRIED,
            _ => self.best(),
        }
    }

    fn best(&self) -> usize {
        let Some(plain) = self.plain else { return TRIED };
        let share = (self.accepted / self.checked).min(0.999);
        let rate = |length: usize| {
            let tokens = (1.0 - share.powi(length as i32 + 1)) / (1.0 - share);
            tokens / (plain + length as f64 * (self.draft + self.row))
        };
        let better = |best: usize, length: usize| {
            if rate(length) > rate(best) { length } else { best }
        };
        (1..=MOST).fold(0, better)
    }

    /// Takes in how long a step took in which all sequences spoke.
    pub(in crate::generation) fn timed(&mut self, timed: Timed) {
        self.steps += 1;
        let Timed { length, drafting, checking } = timed;
        if length == 0 {
            self.plain = Some(self.plain.map_or(checking, |plain| nearer(plain, checking)));
            return;
        }
        let (draft, first) = (drafting / length as f64, self.draft == 0.0);
        self.draft = if first { draft } else { nearer(self.draft, draft) };
        if let Some(plain) = self.plain {
            let row = ((checking - plain) / length as f64).max(0.0);
            self.row = if first { row } else { nearer(self.row, row) };
        }
    }

    /// Takes in that of so many proposals to a sequence so many were accepted. What follows a refused one was
    /// never checked.
    pub(in crate::generation) fn checked(&mut self, proposed: usize, accepted: usize) {
        self.totals.proposed += proposed;
        self.totals.accepted += accepted;
        self.totals.steps += 1;
        self.totals.said += accepted + 1;
        if proposed > 0 {
            self.accepted = self.accepted * KEPT + accepted as f64;
            self.checked = self.checked * KEPT + proposed.min(accepted + 1) as f64;
        }
    }
}

fn nearer(known: f64, found: f64) -> f64 {
    known + (found - known) / 4.0
}

/// Tokens proposed at most.
pub(in crate::generation) const MOST: usize = 16;
/// Tokens proposed to find out what that costs and brings.
const TRIED: usize = 3;
/// Steps from a look to the next.
const LOOK: usize = 64;
/// What a step's acceptance still counts after another.
const KEPT: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(share: f64, draft: f64, row: f64) -> Pace {
        let mut pace = Pace::new(None);
        pace.timed(Timed { length: 0, drafting: 0.0, checking: 1.0 });
        pace.timed(Timed { length: 3, drafting: 3.0 * draft, checking: 1.0 + 3.0 * row });
        for step in 0..400 {
            pace.checked(1, usize::from((step as f64 * share).fract() + share >= 1.0));
        }
        pace
    }

    #[test]
    fn as_many_are_proposed_as_pay() {
        assert_eq!(measured(0.9, 1.1, 0.1).length(), 0, "a draft that costs more than the model");
        assert_eq!(measured(0.02, 0.3, 0.0).length(), 0, "one that is never right");
        assert_eq!(measured(0.98, 0.0, 0.0).length(), MOST, "one that is free");
        let some = measured(0.8, 0.25, 0.02).length();
        assert!((1..5).contains(&some), "{some}");
    }

    #[test]
    fn both_ways_are_looked_at_first_and_now_and_then() {
        assert_eq!(Pace::new(Some(5)).length(), 5);
        let mut pace = Pace::new(None);
        assert_eq!(pace.length(), 0);
        pace.timed(Timed { length: 0, drafting: 0.0, checking: 1.0 });
        assert_eq!(pace.length(), TRIED);
        (1..LOOK).for_each(|_| {
            pace.timed(Timed { length: TRIED, drafting: 9.0, checking: 1.0 });
        });
        assert_eq!(pace.length(), 0);
    }
}
