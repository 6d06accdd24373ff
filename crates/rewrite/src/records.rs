//! What is known of an artifact that is being written, and the lines of its journal.

use crate::artifact::ArtifactPlan;
use llmopt_run::Error;
use llmopt_scheme::SquaredError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A band whose bytes are written.
    Band(Record),
    /// What a stage found of a group. It comes before the bands of the group's tensors.
    Facts {
        /// The group's name.
        group: String,
        /// As the stage knows it.
        facts: Value,
    },
    /// The files were gone: nothing that was told before is true any more.
    Anew,
}

/// A finished band.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its number among all bands of the plan.
    pub number: usize,
    /// The number of its file.
    pub shard: usize,
    /// The number of its tensor in the file.
    pub tensor: usize,
    /// What it lost.
    #[serde(with = "loss")]
    pub error: SquaredError,
    /// The fingerprint of what was written to each part.
    pub prints: Vec<u64>,
}

impl Entry {
    /// The file that it is about.
    pub(crate) fn shard(&self) -> Option<usize> {
        match self {
            Self::Band(record) => Some(record.shard),
            Self::Facts { .. } | Self::Anew => None,
        }
    }

    /// What a stage found of a group.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(crate) fn facts(group: &str, facts: &impl Serialize) -> Result<Self, Error> {
        let facts = serde_json::to_value(facts).map_err(|e| Error::Refused(e.to_string()))?;
        Ok(Self::Facts { group: group.to_owned(), facts })
    }

    pub(crate) fn line(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::Refused(error.to_string()))
    }
}

/// Signal and noise. JSON has no infinity, which a huge weight's square may be.
mod loss {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        error: &SquaredError,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        [error.signal.to_bits(), error.noise.to_bits()].serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SquaredError, D::Error> {
        let [signal, noise] = <[u64; 2]>::deserialize(deserializer)?.map(f64::from_bits);
        Ok(SquaredError { signal, noise })
    }
}

/// What is known of all bands, and of the groups that stages wrote.
pub struct Records {
    done: Mutex<BTreeSet<usize>>,
    /// Per band; a tensor's sum is taken in the order of its bands.
    errors: Mutex<Vec<SquaredError>>,
    /// Per stored tensor, in the order of [`ArtifactPlan::tensors`].
    prints: Mutex<Vec<u64>>,
    /// Per file and tensor: which of `prints` is the first of its parts.
    first_prints: Vec<Vec<usize>>,
    facts: Mutex<BTreeMap<String, Value>>,
}

impl Records {
    /// Nothing is known.
    pub(crate) fn new(plan: &ArtifactPlan) -> Self {
        let bands = plan.tensors().map(|planned| planned.tensor.bands()).sum();
        let (mut parts, mut first_prints) = (0, Vec::with_capacity(plan.shards.len()));
        for shard in &plan.shards {
            let first = |tensor: &crate::output_tensor::OutputTensor| {
                parts += tensor.begins.len();
                parts - tensor.begins.len()
            };
            first_prints.push(shard.tensors.iter().map(first).collect());
        }
        Self {
            done: Mutex::default(),
            errors: Mutex::new(vec![SquaredError::default(); bands]),
            prints: Mutex::new(vec![0; parts]),
            first_prints,
            facts: Mutex::default(),
        }
    }

    /// What the lines of a journal tell. A line that does not fit the plan is passed over: its band is
    /// done again.
    pub(crate) fn resumed(plan: &ArtifactPlan, lines: &[Entry]) -> Self {
        let records = Self::new(plan);
        let bands = lock(&records.errors).len();
        for entry in lines {
            match entry {
                Entry::Facts { group, facts } => {
                    lock(&records.facts).insert(group.clone(), facts.clone());
                }
                Entry::Anew => {}
                Entry::Band(record) => {
                    let shard = plan.shards.get(record.shard);
                    let tensor = shard.and_then(|shard| shard.tensors.get(record.tensor));
                    let fits = tensor.is_some_and(|t| t.begins.len() == record.prints.len());
                    if fits && record.number < bands {
                        records.add(record);
                    }
                }
            }
        }
        records
    }

    /// Whether a band is done, by this attempt or an earlier one.
    pub fn is_done(&self, number: usize) -> bool {
        lock(&self.done).contains(&number)
    }

    /// How many bands are done.
    pub fn bands_done(&self) -> usize {
        lock(&self.done).len()
    }

    /// Keeps what is known of a band. One that is done once more became what it was.
    pub(crate) fn add(&self, record: &Record) {
        if !lock(&self.done).insert(record.number) {
            return;
        }
        lock(&self.errors)[record.number] = record.error;
        let first = self.part(record.shard, record.tensor, 0);
        for (sum, &print) in lock(&self.prints)[first..].iter_mut().zip(&record.prints) {
            *sum = sum.wrapping_add(print);
        }
    }

    /// Keeps what a stage found of a group.
    pub(crate) fn add_facts(&self, group: String, facts: Value) {
        lock(&self.facts).insert(group, facts);
    }

    /// Whether a stage has told of a group.
    pub fn knows(&self, group: &str) -> bool {
        lock(&self.facts).contains_key(group)
    }

    /// Whether a stage has told of any group.
    pub fn knows_any(&self) -> bool {
        !lock(&self.facts).is_empty()
    }

    /// What a stage found of a group, if it is of this kind.
    pub fn facts<T: DeserializeOwned>(&self, group: &str) -> Option<T> {
        let facts = lock(&self.facts).get(group).cloned()?;
        serde_json::from_value(facts).ok()
    }

    /// The names of all groups.
    pub fn groups(&self) -> Vec<String> {
        lock(&self.facts).keys().cloned().collect()
    }

    /// How many tensors are stored.
    pub(crate) fn parts(&self) -> usize {
        lock(&self.prints).len()
    }

    /// The number of a stored tensor, in the order of [`ArtifactPlan::tensors`].
    pub(crate) fn part(&self, shard: usize, tensor: usize, part: usize) -> usize {
        self.first_prints[shard][tensor] + part
    }

    /// The fingerprints of all stored tensors.
    pub(crate) fn prints(&self) -> Vec<u64> {
        lock(&self.prints).clone()
    }

    /// What each tensor lost, in the order of [`ArtifactPlan::tensors`].
    pub fn errors(&self, plan: &ArtifactPlan) -> Vec<SquaredError> {
        let errors = lock(&self.errors);
        let mut bands = errors.iter();
        let sum = |bands: &mut dyn Iterator<Item = &SquaredError>| {
            bands.fold(SquaredError::default(), |mut sum, &error| {
                sum.add(error);
                sum
            })
        };
        plan.tensors()
            .map(|planned| sum(&mut bands.by_ref().take(planned.tensor.bands())))
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Entry> {
        serde_json::from_str(line).ok()
    }

    #[test]
    fn a_line_comes_back_to_the_last_bit() {
        for noise in [f64::MIN_POSITIVE, f64::INFINITY, 5e-324] {
            let error = SquaredError { signal: 0.1 + 0.2, noise };
            let prints = vec![u64::MAX, 0];
            let band = Entry::Band(Record { number: 7, shard: 1, tensor: 300, error, prints });
            assert_eq!(parsed(&band.line().expect("a line")), Some(band));
        }
        // The first is one that a hasty reader of decimals gets wrong.
        for number in [0.041_071_263_224_930_356, 0.1 + 0.2, 1.0 / 3.0, 5e-324] {
            let facts = Entry::facts("a \"b\"\nc", &number).expect("facts");
            let line = facts.line().expect("a line");
            assert!(!line.contains('\n'));
            let Some(Entry::Facts { facts, .. }) = parsed(&line) else { panic!("{line}") };
            assert_eq!(serde_json::from_value::<f64>(facts).ok(), Some(number));
        }
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        for line in ["", "1 2 3 4", "{}", r#"{"band":{"number":1}}"#, r#"{"band":7}"#] {
            assert_eq!(parsed(line), None, "{line:?}");
        }
    }
}
