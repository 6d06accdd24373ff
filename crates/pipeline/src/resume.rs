//! What is known of bands that are done, and the journal from which an interrupted run goes on.

use crate::calibration::facts::Calibrated;
use crate::plan::Plan;
use llmopt_checkpoint::{Journal, OutFile, sha256};
use llmopt_run::Error;
use llmopt_scheme::SquaredError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A finished band: its number in the plan, where it belongs, what it lost, and the fingerprint of
/// what was written to each part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) number: usize,
    pub(crate) shard: usize,
    pub(crate) place: usize,
    pub(crate) error: SquaredError,
    pub(crate) prints: Vec<u64>,
}

/// What the journal keeps.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A band whose bytes are written.
    Band(Record),
    /// What calibration made of a tensor. It comes before the tensor's bands.
    Tensor(String, Calibrated),
}

impl Entry {
    /// The file that it is about.
    fn shard(&self) -> Option<usize> {
        match self {
            Self::Band(record) => Some(record.shard),
            Self::Tensor(..) => None,
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Band(record) => record.line(),
            Self::Tensor(tensor, calibrated) => calibrated.line(tensor),
        }
    }
}

impl Record {
    /// Numbers in hexadecimal, floats as their bits, separated by spaces.
    fn line(&self) -> String {
        let fixed = [
            self.number as u64,
            self.shard as u64,
            self.place as u64,
            self.error.signal.to_bits(),
            self.error.noise.to_bits(),
        ];
        let words = fixed.iter().chain(&self.prints).map(|word| format!("{word:x}"));
        words.collect::<Vec<_>>().join(" ")
    }

    fn parse(line: &str) -> Option<Self> {
        let words = line.split(' ').map(|word| u64::from_str_radix(word, 16));
        let words: Vec<u64> = words.collect::<Result<_, _>>().ok()?;
        let [number, shard, place, signal, noise, ref prints @ ..] = words[..] else { return None };
        Some(Self {
            number: number as usize,
            shard: shard as usize,
            place: place as usize,
            error: SquaredError { signal: f64::from_bits(signal), noise: f64::from_bits(noise) },
            prints: prints.to_vec(),
        })
    }
}

/// What is known of all bands.
pub(crate) struct Records {
    done: Mutex<BTreeSet<usize>>,
    /// Per band; a place's sum is taken in the order of its bands.
    errors: Mutex<Vec<SquaredError>>,
    /// Per output tensor, in the order of [`Plan::places`].
    prints: Mutex<Vec<u64>>,
    /// Per shard and place: which of `prints` is the first of its parts.
    first_prints: Vec<Vec<usize>>,
    /// What calibration made of tensors.
    calibrated: Mutex<BTreeMap<String, Calibrated>>,
}

impl Records {
    /// Nothing is known.
    pub(crate) fn new(plan: &Plan) -> Self {
        let bands = plan.places().map(|(_, place)| place.bands()).sum();
        let mut parts = 0;
        let mut first = |place: &crate::place::Place| {
            parts += place.begins.len();
            parts - place.begins.len()
        };
        let first_prints =
            plan.shards.iter().map(|shard| shard.places.iter().map(&mut first).collect()).collect();
        Self {
            done: Mutex::default(),
            errors: Mutex::new(vec![SquaredError::default(); bands]),
            prints: Mutex::new(vec![0; parts]),
            first_prints,
            calibrated: Mutex::default(),
        }
    }

    /// What the lines of a journal tell. A line that does not fit the plan is passed over: its band is
    /// done again.
    pub(crate) fn resumed(plan: &Plan, lines: &[String]) -> Self {
        let records = Self::new(plan);
        let bands = lock(&records.errors).len();
        let tensors = lines.iter().filter_map(|line| Calibrated::parse(line));
        tensors.for_each(|(tensor, calibrated)| records.add_tensor(tensor, calibrated));
        for record in lines.iter().filter_map(|line| Record::parse(line)) {
            let place = plan.shards.get(record.shard).and_then(|s| s.places.get(record.place));
            let fits = place.is_some_and(|place| place.begins.len() == record.prints.len());
            if fits && record.number < bands && !records.is_done(record.number) {
                records.add(&record);
            }
        }
        records
    }

    /// Whether a band is done, by this attempt or an earlier one.
    pub(crate) fn is_done(&self, number: usize) -> bool {
        lock(&self.done).contains(&number)
    }

    /// Keeps what is known of a band. One that is done once more became what it was.
    pub(crate) fn add(&self, record: &Record) {
        if !lock(&self.done).insert(record.number) {
            return;
        }
        lock(&self.errors)[record.number] = record.error;
        for (part, &print) in record.prints.iter().enumerate() {
            self.add_print(record.shard, record.place, part, print);
        }
    }

    /// What calibration made of a tensor.
    pub(crate) fn add_tensor(&self, tensor: String, calibrated: Calibrated) {
        lock(&self.calibrated).insert(tensor, calibrated);
    }

    /// Whether it is known what calibration made of a tensor.
    pub(crate) fn knows(&self, tensor: &str) -> bool {
        lock(&self.calibrated).contains_key(tensor)
    }

    /// Whether calibration has made anything of any tensor.
    pub(crate) fn any_calibrated(&self) -> bool {
        !lock(&self.calibrated).is_empty()
    }

    /// How many bands are done.
    pub(crate) fn bands_done(&self) -> usize {
        lock(&self.done).len()
    }

    /// What calibration made of all tensors.
    pub(crate) fn calibrated(&self) -> BTreeMap<String, Calibrated> {
        lock(&self.calibrated).clone()
    }

    /// How many output tensors there are.
    pub(crate) fn parts(&self) -> usize {
        lock(&self.prints).len()
    }

    /// The number of an output tensor, in the order of [`Plan::places`].
    pub(crate) fn part(&self, shard: usize, place: usize, part: usize) -> usize {
        self.first_prints[shard][place] + part
    }

    /// The fingerprints of all output tensors.
    pub(crate) fn prints(&self) -> Vec<u64> {
        lock(&self.prints).clone()
    }

    fn add_print(&self, shard: usize, place: usize, part: usize, print: u64) {
        let sum = &mut lock(&self.prints)[self.part(shard, place, part)];
        *sum = sum.wrapping_add(print);
    }

    /// What each place lost, in the order of [`Plan::places`].
    pub(crate) fn errors(&self, plan: &Plan) -> Vec<SquaredError> {
        let errors = lock(&self.errors);
        let mut bands = errors.iter();
        let sum = |bands: &mut dyn Iterator<Item = &SquaredError>| {
            bands.fold(SquaredError::default(), |mut sum, &error| {
                sum.add(error);
                sum
            })
        };
        plan.places().map(|(_, place)| sum(&mut bands.by_ref().take(place.bands()))).collect()
    }
}

/// What must be equal for a run to go on from a journal: version, recipe, and the input's names,
/// sizes, headers and times of change.
pub(crate) fn identity(plan: &Plan) -> Result<String, Error> {
    let mut text = format!("llmopt {}\n", env!("CARGO_PKG_VERSION"));
    text +=
        &serde_json::to_string(&plan.recipe).map_err(|error| Error::Refused(error.to_string()))?;
    if let Some(calibration) = &plan.calibration {
        let facts = serde_json::to_string(&calibration.facts());
        text += &facts.map_err(|error| Error::Refused(error.to_string()))?;
        text += calibration.kernel();
    }
    for (number, source) in plan.source.shards().iter().enumerate() {
        let head = sha256(&plan.shards[number].header(source)?);
        // A source that is being written has no time of change; what it will hold is known by its plan.
        let state = match &plan.before {
            Some(before) => before.opening()?.identity,
            None => source.modified()?.to_string(),
        };
        text += &format!("\n{} {} {state} {head}", source.name, source.bytes);
    }
    if let Some(config) = &plan.config {
        text += &format!("\nconfig {}", sha256(config));
    }
    Ok(sha256(text.as_bytes()))
}

/// Writes records to the journal, each after its data is on the disk. Ends when the senders do.
pub(crate) fn keep_journal(
    finished: Receiver<Entry>,
    files: &[OutFile],
    mut journal: Journal,
) -> Result<(), Error> {
    let mut batch: Vec<Entry> = Vec::new();
    loop {
        let ended = match finished.recv_timeout(PATIENCE) {
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
            journal.append(&batch.drain(..).map(|entry| entry.line()).collect::<Vec<_>>())?;
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_its_line_to_the_last_bit() {
        let error = SquaredError { signal: 0.1 + 0.2, noise: f64::MIN_POSITIVE };
        let record = Record { number: 7, shard: 1, place: 300, error, prints: vec![u64::MAX, 0] };
        assert_eq!(Record::parse(&record.line()), Some(record));
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        for line in ["", "1 2 3 4", "1 2 3 4 x", "1  2 3 4 5"] {
            assert_eq!(Record::parse(line), None, "{line:?}");
        }
    }
}
