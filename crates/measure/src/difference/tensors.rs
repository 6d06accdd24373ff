//! Tensors of two models beside each other, and how far apart their values are.

use crate::difference::side::{Buffers, Side, StoredTensor};
use llmopt_arch::BoundTensor;
use llmopt_checkpoint::{are_equal, read_bytes};
use llmopt_eval::BlockError;
use llmopt_model::{band_bytes, band_rows, report_file};
use llmopt_run::{Cancel, Error, Events, Memory, Resources, pool};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A tensor of two models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorDifference {
    /// Its name in B, or in A where B has none.
    pub name: String,
    /// Its name in A, where that is another: layers before it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_in_a: Option<String>,
    /// As A stores it; none, if A has none.
    pub a: Option<StoredTensor>,
    /// As B stores it; none, if B has none.
    pub b: Option<StoredTensor>,
    /// `|A - B| / |B|` of the decoded values; none, if shapes differ, values are not finite or nothing was decoded.
    pub relative_error: Option<f64>,
}

/// A tensor of one or both models.
pub(super) struct Pair<'a> {
    name: &'a str,
    a: Option<&'a BoundTensor>,
    b: Option<&'a BoundTensor>,
}

type Compared = (Vec<TensorDifference>, Option<f64>);

/// The tensors of both, sorted by their names in B. Where layers went, A's report says what they were called.
pub(super) fn pairs<'a>(
    a: &'a Side,
    b: &'a Side,
    notes: &mut Vec<String>,
) -> Result<Vec<Pair<'a>>, Error> {
    let report = Report::beside(a)?;
    if report.smoothing.is_some() {
        notes.push(
            "channels of A were smoothed: its weights hold scales that its norms take out again, and errors count \
             them"
                .to_owned(),
        );
    }
    let former = if a.layers() < b.layers() { report.former_names() } else { BTreeMap::new() };
    if a.layers() != b.layers() && former.is_empty() {
        notes.push(format!(
            "A has {} layers and B has {}: their tensors are compared by name, and layers of one name may not be \
             the same layer",
            a.layers(),
            b.layers()
        ));
    }
    let in_b: BTreeMap<&str, &BoundTensor> =
        b.tensors().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut pairs: BTreeMap<&'a str, Pair<'a>> =
        in_b.iter().map(|(&name, &b)| (name, Pair { name, a: None, b: Some(b) })).collect();
    for tensor in a.tensors() {
        let now = tensor.name.as_str();
        let then = former.get(now).map_or(now, String::as_str);
        let name = in_b.get_key_value(then).map_or(now, |(name, _)| name);
        pairs.entry(name).or_insert(Pair { name, a: None, b: None }).a = Some(tensor);
    }
    Ok(pairs.into_values().collect())
}

impl Pair<'_> {
    /// What there is to say of it.
    pub(super) fn told(&self, a: &Side, b: &Side, relative_error: Option<f64>) -> TensorDifference {
        let in_a = self.a.map(|tensor| tensor.name.as_str()).filter(|name| *name != self.name);
        TensorDifference {
            name: self.name.to_owned(),
            name_in_a: in_a.map(str::to_owned),
            a: self.a.map(|tensor| a.stored(tensor)),
            b: self.b.map(|tensor| b.stored(tensor)),
            relative_error,
        }
    }

    /// Both tensors, if their values can be compared, and the matrix as which they are read.
    fn comparable(&self, a: &Side, b: &Side) -> Option<Values<'_>> {
        let (in_a, in_b) = (self.a?, self.b?);
        let shape = in_b.meta.shape();
        if in_a.meta.shape() != shape || !a.is_decodable(in_a) || !b.is_decodable(in_b) {
            return None;
        }
        // Only matrices are quantized, or scaled by block: anything else is read as a column.
        let [rows, columns] = match *shape {
            [rows, columns] if columns > 0 => [rows, columns],
            _ => [usize::try_from(in_b.meta.elements()).ok()?, 1],
        };
        Some(Values { a: in_a, b: in_b, rows, columns })
    }

    /// Whether tensors of integers hold the same bytes: no error then, and none that can be told otherwise.
    fn equal_bytes(&self, a: &Side, b: &Side) -> Result<bool, Error> {
        let (Some(in_a), Some(in_b)) = (self.a, self.b) else { return Ok(false) };
        match (a.source().entry(&in_a.name), b.source().entry(&in_b.name)) {
            (Some(a), Some(b)) if a.1.meta == b.1.meta => Ok(are_equal(a, b)?),
            _ => Ok(false),
        }
    }
}

/// Two tensors of one shape.
#[derive(Clone, Copy)]
struct Values<'a> {
    a: &'a BoundTensor,
    b: &'a BoundTensor,
    rows: usize,
    columns: usize,
}

impl Values<'_> {
    fn bands(self) -> impl Iterator<Item = Range<usize>> {
        let step = band_rows(self.columns);
        (0..self.rows).step_by(step).map(move |first| first..(first + step).min(self.rows))
    }
}

/// How far apart the tensors are, one by one and all together. Sums are in the order of the bands, whatever the
/// threads.
pub(super) fn compared(
    pairs: &[Pair<'_>],
    (a, b): (&Side, &Side),
    resources: Resources,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<Compared, Error> {
    let values: Vec<Option<Values<'_>>> = pairs.iter().map(|pair| pair.comparable(a, b)).collect();
    let workers = workers(pairs, &values, resources)?;
    let bytes = |values: &Values<'_>| a.stored(values.a).bytes + b.stored(values.b).bytes;
    events.stage_started("compare", values.iter().flatten().map(bytes).sum());
    let bands = values.iter().enumerate().filter_map(|(number, values)| Some((number, (*values)?)));
    let bands =
        bands.flat_map(|(number, values)| values.bands().map(move |rows| (number, values, rows)));
    let found: Mutex<BTreeMap<(usize, usize), BlockError>> = Mutex::default();
    pool::for_each_with(workers, bands, cancel, |room: &mut [Buffers; 2], band, _| {
        let (number, Values { a: in_a, b: in_b, rows: height, columns }, rows) = band;
        let [ours, theirs] = room;
        a.read(in_a, rows.clone(), columns, ours)?;
        b.read(in_b, rows.clone(), columns, theirs)?;
        let mut error = BlockError::default();
        error.add(ours.weights.len(), &theirs.weights, &ours.weights);
        found.lock().unwrap_or_else(PoisonError::into_inner).insert((number, rows.start), error);
        let stored = a.stored(in_a).bytes + b.stored(in_b).bytes;
        events.advanced(stored * rows.len() as u64 / height as u64, &in_b.name);
        Ok(())
    })?;
    events.stage_finished("compare");
    let mut errors: Vec<Option<BlockError>> =
        values.iter().map(|values| values.map(|_| BlockError::default())).collect();
    let mut all = BlockError::default();
    for ((number, _), error) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        errors[number].iter_mut().for_each(|sum| sum.merge(&error));
        all.merge(&error);
    }
    let mut told = Vec::with_capacity(pairs.len());
    for (pair, error) in pairs.iter().zip(&errors) {
        let relative = match error {
            Some(error) => relative(error),
            None => pair.equal_bytes(a, b)?.then_some(0.0),
        };
        told.push(pair.told(a, b, relative));
    }
    let any = errors.iter().any(Option::is_some);
    Ok((told, relative(&all).filter(|_| any)))
}

/// `|A - B| / |B|`, if it is a number.
fn relative(error: &BlockError) -> Option<f64> {
    Some(error.relative().sqrt()).filter(|found| error.is_finite() && found.is_finite())
}

/// Threads that fit the memory.
fn workers(
    pairs: &[Pair<'_>],
    values: &[Option<Values<'_>>],
    resources: Resources,
) -> Result<usize, Error> {
    let band = |values: &Values<'_>| 2 * band_bytes(values.columns);
    let worker_bytes = values.iter().flatten().map(band).max().unwrap_or(0);
    let names_bytes: usize = pairs.iter().map(|pair| pair.name.len()).sum();
    // Headers of both are known.
    Ok(Memory::planned(2 * pairs.len(), 2 * names_bytes, worker_bytes, resources)?.workers)
}

/// What matters here of a report.
#[derive(Debug, Default, Deserialize)]
struct Report {
    #[serde(default)]
    smoothing: Option<Value>,
    #[serde(default)]
    tensors: Vec<NamedTensor>,
}

#[derive(Debug, Deserialize)]
struct NamedTensor {
    name: String,
    from: Option<String>,
}

impl Report {
    /// The report beside a model; an empty one, where there is none that can be read.
    fn beside(side: &Side) -> Result<Self, Error> {
        let Some(path) = side.report_path() else { return Ok(Self::default()) };
        match read_bytes(&path, report_file::LIMIT) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.is_input() => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// What tensors were called before layers went, by their names now; empty, if none was called otherwise.
    fn former_names(self) -> BTreeMap<String, String> {
        let renamed = self.tensors.into_iter();
        renamed.filter_map(|tensor| Some((tensor.name, tensor.from?))).collect()
    }
}
