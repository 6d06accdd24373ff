//! Operations, counted by kind, and what each kind costs.

use std::array;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

/// What takes time. Kinds that one measurement tells of stand together: see [`Group`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Multiply-adds of products with weights.
    Products,
    /// Multiply-adds of scores, and of what they weigh.
    Attention,
    /// Numbers that an operation on rows makes: norms, gates, sums.
    Values,
    /// Logits that are looked at.
    Logits,
    /// Weights decoded and packed for a kernel.
    Decoded,
    /// Multiply-adds of sums over tokens: Gram matrices, cross moments.
    Sums,
    /// Multiply-adds of Cholesky factors, in f64.
    Factors,
    /// Multiply-adds of what rounding errors ask of the columns to come.
    Feedback,
    /// Weights rounded column by column, scales fitted to what they became.
    Rounded,
    /// Weights whose scale is searched for.
    Searched,
    /// Weights rounded to the nearest.
    Nearest,
    /// Multiply-adds of choosing units and refitting what reads them.
    Pruned,
    /// Bytes read.
    Read,
    /// Bytes written.
    Written,
    /// Bytes hashed.
    Hashed,
    /// Times that a file is made sure to be on the disk.
    Synced,
}

const KINDS: usize = Kind::Synced as usize + 1;

/// What kinds are called, in their order.
const NAMES: [&str; KINDS] = [
    "products",
    "attention",
    "values",
    "logits",
    "decoded",
    "sums",
    "factors",
    "feedback",
    "rounded",
    "searched",
    "nearest",
    "pruned",
    "read",
    "written",
    "hashed",
    "synced",
];

/// Kinds whose costs rise and fall together from machine to machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Running the model.
    Forward,
    /// Sums over tokens.
    Sums,
    /// Calibrated rounding.
    Rounding,
    /// Rounding by the weights alone.
    Weights,
    /// Choosing units.
    Pruning,
    /// Hashing.
    Hashing,
}

impl Group {
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Forward => {
                &[Kind::Products, Kind::Attention, Kind::Values, Kind::Logits, Kind::Decoded]
            }
            Self::Sums => &[Kind::Sums],
            Self::Rounding => &[Kind::Factors, Kind::Feedback, Kind::Rounded],
            Self::Weights => &[Kind::Searched, Kind::Nearest],
            Self::Pruning => &[Kind::Pruned],
            Self::Hashing => &[Kind::Hashed],
        }
    }
}

/// Operations of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work([f64; KINDS]);

impl Work {
    /// So many of one kind.
    pub fn of(kind: Kind, count: f64) -> Self {
        let mut work = Self::default();
        work.0[kind as usize] = count;
        work
    }

    /// Those that there are, by the name of their kind.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, f64)> {
        NAMES.into_iter().zip(self.0).filter(|(_, count)| *count > 0.0)
    }

    /// How many there are of a kind.
    #[cfg(test)]
    pub fn count(&self, kind: Kind) -> f64 {
        self.0[kind as usize]
    }

    /// How much this is of a stage, in a measure in which stages are made of steps: seconds of one
    /// typical thread.
    pub fn weight(&self) -> f64 {
        self.seconds(&Rates::typical(1))
    }

    /// How long it takes.
    pub fn seconds(&self, rates: &Rates) -> f64 {
        self.0.iter().zip(&rates.0).map(|(count, rate)| count * rate).sum()
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(array::from_fn(|kind| self.0[kind] + other.0[kind]))
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<f64> for Work {
    type Output = Self;

    fn mul(self, times: f64) -> Self {
        Self(self.0.map(|count| count * times))
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::default(), Add::add)
    }
}

/// Seconds that one operation of each kind takes, with all threads at work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates([f64; KINDS]);

impl Rates {
    /// Those of a server's processor of 2023: what shorter runs are estimated by, which it is not worth
    /// measuring anything for.
    pub fn typical(threads: usize) -> Self {
        let threads = threads.max(1) as f64;
        let shared = |seconds: f64| seconds / threads;
        let mut rates = [0.0; KINDS];
        for (kind, seconds) in [
            (Kind::Products, shared(2.0e-11)),
            (Kind::Attention, shared(6.0e-11)),
            (Kind::Values, shared(1.0e-9)),
            (Kind::Logits, shared(2.0e-9)),
            (Kind::Decoded, shared(2.0e-9)),
            (Kind::Sums, shared(2.5e-11)),
            (Kind::Factors, shared(1.0e-10)),
            (Kind::Feedback, shared(3.0e-11)),
            (Kind::Rounded, shared(2.0e-7)),
            (Kind::Searched, shared(3.0e-8)),
            (Kind::Nearest, shared(2.0e-9)),
            (Kind::Pruned, shared(5.0e-11)),
            // Disks do not get faster with threads.
            (Kind::Read, 4.0e-10),
            (Kind::Written, 1.5e-9),
            (Kind::Hashed, shared(8.0e-10)),
            (Kind::Synced, 5.0e-3),
        ] {
            rates[kind as usize] = seconds;
        }
        Self(rates)
    }

    /// With a group's rates such that `work` of it takes `seconds`.
    pub fn measured(mut self, group: Group, work: &Work, seconds: f64) -> Self {
        let expected = work.seconds(&self);
        if expected > 0.0 && seconds > 0.0 {
            group.kinds().iter().for_each(|&kind| self.0[kind as usize] *= seconds / expected);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_changes_its_group_and_nothing_else() {
        let typical = Rates::typical(2);
        let products = Work::of(Kind::Products, 1e9);
        let run = products + Work::of(Kind::Values, 1e6);
        let rates = typical.measured(Group::Forward, &run, 3.0 * run.seconds(&typical));
        let ratio = |work: Work| work.seconds(&rates) / work.seconds(&typical);
        assert!((ratio(products) - 3.0).abs() < 1e-9);
        assert!((ratio(Work::of(Kind::Attention, 1e9)) - 3.0).abs() < 1e-9);
        assert_eq!(ratio(Work::of(Kind::Sums, 1e9)), 1.0);
        assert_eq!(ratio(Work::of(Kind::Read, 1e9)), 1.0);
    }

    #[test]
    fn kinds_have_their_names() {
        let of = |kind| Work::of(kind, 3.0).by_name().next();
        assert_eq!(of(Kind::Products), Some(("products", 3.0)));
        assert_eq!(of(Kind::Feedback), Some(("feedback", 3.0)));
        assert_eq!(of(Kind::Synced), Some(("synced", 3.0)));
        assert_eq!(Work::default().by_name().count(), 0);
    }

    #[test]
    fn threads_share_arithmetic_and_not_the_disk() {
        let seconds = |kind, threads| Work::of(kind, 1e9).seconds(&Rates::typical(threads));
        assert_eq!(seconds(Kind::Products, 1), 4.0 * seconds(Kind::Products, 4));
        assert_eq!(seconds(Kind::Written, 1), seconds(Kind::Written, 4));
    }
}
