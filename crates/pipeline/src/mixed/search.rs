//! The search among allocations. The table proposes, windows that nothing was fitted to decide.

use crate::mixed::candidates::Candidates;
use crate::mixed::probe::Composer;
use crate::mixed::table::{Known, Table};
use crate::mixed::units::Choice;
use llmopt_eval::WindowKlds;
use llmopt_run::Error;

/// An allocation that was measured, with the codes of its choices as they are.
pub(super) struct Tried {
    /// How it was found.
    pub(super) name: String,
    pub(super) taken: Vec<usize>,
    pub(super) klds: WindowKlds,
    /// Bytes of its units.
    pub(super) bytes: u64,
}

/// Everything that was tried, in order, and what is worth being solved.
pub(super) struct Searched {
    pub(super) tried: Vec<Tried>,
    /// Numbers of allocations, the preferred one first.
    pub(super) mixed: Vec<usize>,
    /// The uniform choice that is to be beaten, if it is known only now.
    pub(super) uniform: Option<Choice>,
}

/// A search under way.
pub(super) struct Search<'a> {
    pub(super) composer: &'a Composer<'a>,
    pub(super) candidates: &'a Candidates,
    pub(super) table: &'a Table,
    pub(super) tried: Vec<Tried>,
}

impl Search<'_> {
    /// The allocation of least divergence within a size, of which so many bytes are the record's.
    pub(super) fn within(mut self, size: (u64, u64)) -> Result<Searched, Error> {
        let mut proposed = Vec::new();
        for trust in TRUSTS {
            let taken = self.candidates.fitted(self.table, size, trust)?;
            proposed.extend(taken.map(|taken| (format!("table, trust {trust}"), taken)));
        }
        self.measure(proposed)?;
        let Some(mut best) = self.least(0) else {
            return Err(Error::Refused("no allocation has the size that is asked for".to_owned()));
        };
        for round in 1..=ROUNDS {
            let begun = self.tried.len();
            let swaps = self.swaps(best, size)?;
            let name = |(number, taken)| (format!("swap {round}.{}", number + 1), taken);
            self.measure(swaps.into_iter().enumerate().map(name).collect())?;
            match self.least(begun) {
                Some(next) if self.tried[next].klds.is_below(&self.tried[best].klds) => best = next,
                _ => break,
            }
        }
        Ok(Searched { mixed: vec![best], uniform: None, tried: self.tried })
    }

    /// A choice for every unit, if all can have it.
    fn uniform(&self, choice: usize) -> Option<(String, Vec<usize>)> {
        let taken = self.candidates.everywhere(choice)?;
        Some((format!("uniform {}", self.candidates.choices[choice]), taken))
    }

    /// The smallest allocations whose divergence is at most `limit`, with the whole interval; several, for the case
    /// that solving makes the first one worse.
    pub(super) fn below(mut self, limit: f64) -> Result<Searched, Error> {
        let choices = 0..self.candidates.choices.len();
        let uniform: Vec<(String, Vec<usize>)> =
            choices.filter_map(|choice| self.uniform(choice)).collect();
        let uniforms = uniform.len();
        self.measure(uniform)?;
        let holding = (0..uniforms).filter(|&of| self.tried[of].klds.holds(limit));
        let smallest = holding.min_by_key(|&of| self.tried[of].bytes);
        let smallest = smallest.map(|of| self.candidates.choices[self.tried[of].taken[0]]);
        let (first, last) = self.range();
        self.measure(self.ladder(first, last))?;
        let bracket = |of: &Self| {
            let of_table = || uniforms..of.tried.len();
            let holding = of_table().filter(|&at| of.tried[at].klds.holds(limit));
            let holding = holding.min_by_key(|&at| of.tried[at].bytes)?;
            let high = of.tried[holding].bytes;
            let low = of_table().map(|at| of.tried[at].bytes).filter(|&bytes| bytes < high).max();
            Some((low.unwrap_or(first), high))
        };
        if let Some((low, high)) = bracket(&self) {
            self.measure(self.ladder(low, high))?;
        }
        let mut mixed: Vec<usize> =
            (uniforms..self.tried.len()).filter(|&at| self.tried[at].klds.holds(limit)).collect();
        mixed.sort_by_key(|&at| self.tried[at].bytes);
        mixed.truncate(SOLVED);
        match mixed.is_empty() && smallest.is_none() {
            true => Err(self.unreachable(limit)),
            false => Ok(Searched { mixed, uniform: smallest, tried: self.tried }),
        }
    }

    fn unreachable(&self, limit: f64) -> Error {
        let best = self.tried.iter().map(|tried| tried.klds.mean().high);
        let best = best.fold(f64::INFINITY, f64::min);
        Error::RefusedWithHint {
            what: format!(
                "no allocation of the widths stays below a KL divergence of {limit} with its whole interval: the \
                 least upper end is {best:.3e}"
            ),
            hint: "a larger `--max-kld`, wider `--widths`, or more windows, which make the interval smaller"
                .to_owned(),
        }
    }

    /// Bytes of the units of the smallest allocation, and of the largest that quantizes every unit.
    fn range(&self) -> (u64, u64) {
        let of = |least: bool| -> u64 {
            let bytes = |known: &Vec<Option<Known>>| {
                let there = known[..known.len() - 1].iter().flatten().map(|known| known.bytes);
                if least { there.min() } else { there.max() }
            };
            self.table.units.iter().filter_map(bytes).sum()
        };
        (of(true), of(false))
    }

    /// Allocations of sizes between two, equally far from each other in proportion.
    fn ladder(&self, first: u64, last: u64) -> Vec<(String, Vec<usize>)> {
        let ratio = libm::log(last as f64 / first.max(1) as f64) / (STEPS - 1) as f64;
        let budget = |step: usize| (first as f64 * libm::exp(ratio * step as f64)).ceil() as u64;
        let budgets = (0..STEPS).map(|step| if step + 1 == STEPS { last } else { budget(step) });
        let allocated = |budget: u64| {
            let taken = self.table.allocation(budget, 1.0)?;
            Some((format!("table, {} bytes", self.table.bytes(&taken)), taken))
        };
        budgets.filter_map(allocated).collect()
    }

    /// Measures what was not measured yet.
    fn measure(&mut self, proposed: Vec<(String, Vec<usize>)>) -> Result<(), Error> {
        let mut new: Vec<(String, Vec<usize>)> = Vec::new();
        for (name, taken) in proposed {
            let known = self.tried.iter().map(|tried| &tried.taken);
            if !known.chain(new.iter().map(|(_, taken)| taken)).any(|known| *known == taken) {
                new.push((name, taken));
            }
        }
        let taken: Vec<Vec<usize>> = new.iter().map(|(_, taken)| taken.clone()).collect();
        let found = self.composer.judged(&taken)?;
        for ((name, taken), klds) in new.into_iter().zip(found) {
            let bytes = self.table.bytes(&taken);
            self.tried.push(Tried { name, taken, klds, bytes });
        }
        Ok(())
    }

    /// The number of the one that diverges least of those from `first` on.
    fn least(&self, first: usize) -> Option<usize> {
        let kld = |at: &usize| self.tried[*at].klds.mean().value;
        (first..self.tried.len()).min_by(|a, b| kld(a).total_cmp(&kld(b)))
    }

    /// Allocations that differ from one in two units, of which one gets more and the other less: those that the
    /// table expects to cost least, each unit in two of them at most.
    fn swaps(&self, of: usize, (goal, record): (u64, u64)) -> Result<Vec<Vec<usize>>, Error> {
        let taken = &self.tried[of].taken;
        let pairs = (0..taken.len()).flat_map(|a| (0..taken.len()).map(move |b| (a, b)));
        let pairs = pairs.filter(|(raised, lowered)| raised != lowered);
        let mut swaps: Vec<Swap> =
            pairs.filter_map(|(raised, lowered)| self.swap(taken, raised, lowered)).collect();
        let order = |swap: &Swap| (swap.raised.0, swap.lowered.0);
        swaps.sort_by(|a, b| a.change.total_cmp(&b.change).then(order(a).cmp(&order(b))));
        let (mut found, mut used) = (Vec::new(), vec![0; taken.len()]);
        for Swap { raised, lowered, .. } in swaps {
            if used[raised.0] >= OFTEN || used[lowered.0] >= OFTEN {
                continue;
            }
            let mut swapped = taken.clone();
            (swapped[raised.0], swapped[lowered.0]) = (raised.1, lowered.1);
            if self.candidates.measured(self.candidates.sized(&swapped)?, record) <= goal {
                used[raised.0] += 1;
                used[lowered.0] += 1;
                found.push(swapped);
            }
            if found.len() == SWAPS {
                break;
            }
        }
        Ok(found)
    }

    /// One unit raised by a choice and another lowered by one; none, if that cannot be, or takes too many bytes.
    fn swap(&self, taken: &[usize], raised: usize, lowered: usize) -> Option<Swap> {
        let there = |unit: usize, choice: &usize| self.table.units[unit][*choice].is_some();
        let last = self.candidates.choices.len();
        let up = (taken[raised] + 1..=last).find(|choice| there(raised, choice))?;
        let down = (0..taken[lowered]).rev().find(|choice| there(lowered, choice))?;
        let bytes = |unit: usize, choice: usize| Some(self.table.units[unit][choice]?.bytes);
        let now = bytes(raised, taken[raised])? + bytes(lowered, taken[lowered])?;
        if bytes(raised, up)? + bytes(lowered, down)? > now + self.slack(taken) {
            return None;
        }
        let change = |unit: usize, choice: usize| {
            Some(self.table.cost(unit, choice)? - self.table.cost(unit, taken[unit])?)
        };
        let change = change(raised, up)? + change(lowered, down)?;
        Some(Swap { change, raised: (raised, up), lowered: (lowered, down) })
    }

    /// Bytes by which a swap may grow an allocation, if the goal allows: what an allocation leaves over.
    fn slack(&self, taken: &[usize]) -> u64 {
        self.table.bytes(taken) / 200
    }
}

/// Two units that would get other choices.
struct Swap {
    /// What the table expects it to cost, in nats.
    change: f64,
    /// The unit that gets more, and its choice.
    raised: (usize, usize),
    /// The unit that gets less, and its choice.
    lowered: (usize, usize),
}

/// How much the probes are believed.
const TRUSTS: [f64; 4] = [1.0, 0.75, 0.5, 1.25];
/// Rounds of swaps, at most.
const ROUNDS: usize = 4;
/// Swaps of a round.
const SWAPS: usize = 4;
/// Swaps of a round that one unit is part of, at most.
const OFTEN: usize = 2;
/// Sizes that are tried at once.
const STEPS: usize = 8;
/// Allocations that are solved for one after the other until one holds.
const SOLVED: usize = 3;
