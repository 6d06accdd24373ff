//! A smoothed model: channels that some tensors divide, and others multiply again.
//!
//! The scales are given; what falls on each tensor follows from them, and is applied as it is read.

use llmopt_arch::smoothing::{Maker, SmoothingPair};
use llmopt_checkpoint::Source;
use llmopt_quant::{divide_gains, divide_rows, multiply_columns};
use llmopt_run::Error;
use llmopt_tensor::{Dtype, decode, rounded};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Channels and their scales: the maker is divided by them, columns of the readers are multiplied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaledPair {
    /// The tensor that makes the channels: a norm's gains, or a matrix.
    pub maker: String,
    /// The first row of the matrix that makes them, and the one behind the last; none for a norm.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<[usize; 2]>,
    /// The bias of the matrix, if it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bias: Option<String>,
    /// Whether a gain of the norm is one plus the weight.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub from_one: bool,
    /// The matrices that read the channels.
    pub readers: Vec<String>,
    /// The scale of each channel: f32, little-endian, in hexadecimal. What a norm stores is rounded, and
    /// its readers are multiplied by what its gains were in fact divided by.
    #[serde(with = "hexadecimal")]
    pub scales: Arc<[f32]>,
}

/// What becomes of a model's tensors when channels are scaled.
#[derive(Debug, Default)]
pub struct Smoothing {
    pairs: Vec<ScaledPair>,
    changes: BTreeMap<String, Change>,
}

/// What falls on a tensor.
#[derive(Debug, Default)]
struct Change {
    /// The gains that take the place of a norm's own.
    gains: Option<Vec<f32>>,
    /// What columns are multiplied by.
    columns: Option<Arc<[f32]>>,
    /// What some rows are divided by.
    rows: Vec<(Range<usize>, Arc<[f32]>)>,
    /// The type to which it is rounded, because it is stored dense.
    stored_as: Option<Dtype>,
}

impl ScaledPair {
    /// A pair with a scale for each of its channels.
    pub fn new(pair: &SmoothingPair, scales: Vec<f32>) -> Self {
        let (rows, bias, from_one) = match &pair.maker {
            Maker::Gains { from_one, .. } => (None, None, *from_one),
            Maker::Rows { rows, bias, .. } => (Some([rows.start, rows.end]), bias.clone(), false),
        };
        let (maker, readers) = (pair.maker.tensor().to_owned(), pair.readers.clone());
        Self { maker, rows, bias, from_one, readers, scales: scales.into() }
    }
}

impl Smoothing {
    /// What the pairs make of the tensors of `source`. `stored_as` tells the type of those that are
    /// stored dense: what is read of them is what will be stored.
    ///
    /// # Errors
    /// If the pairs are not of this model, or a norm cannot be read.
    pub fn new(
        source: &Source,
        pairs: Vec<ScaledPair>,
        stored_as: impl Fn(&str) -> Option<Dtype>,
    ) -> Result<Self, Error> {
        let mut changes: BTreeMap<String, Change> = BTreeMap::new();
        for pair in &pairs {
            pair.check(source)?;
            let scales = match pair.rows {
                Some([start, end]) => {
                    for tensor in std::iter::once(&pair.maker).chain(&pair.bias) {
                        let change = changes.entry(tensor.clone()).or_default();
                        change.rows.push((start..end, pair.scales.clone()));
                    }
                    pair.scales.clone()
                }
                None => {
                    let (gains, taken) = pair.divided_gains(source)?;
                    changes.entry(pair.maker.clone()).or_default().gains = Some(gains);
                    taken.into()
                }
            };
            for reader in &pair.readers {
                let change = changes.entry(reader.clone()).or_default();
                if change.columns.replace(scales.clone()).is_some() {
                    return Err(wrong(reader, "its columns are scaled twice"));
                }
            }
        }
        for (tensor, change) in &mut changes {
            change.stored_as = stored_as(tensor);
        }
        Ok(Self { pairs, changes })
    }

    /// The pairs that it was made of.
    pub fn pairs(&self) -> &[ScaledPair] {
        &self.pairs
    }

    /// Whether anything falls on a tensor.
    pub fn changes(&self, tensor: &str) -> bool {
        self.changes.contains_key(tensor)
    }

    /// Makes of some rows of a tensor, `[rows, columns]`, those of the smoothed model. A vector has one
    /// column.
    pub fn apply(&self, tensor: &str, rows: Range<usize>, columns: usize, weights: &mut [f32]) {
        if let Some(change) = self.changes.get(tensor) {
            change.apply(rows, columns, weights);
        }
    }
}

impl Change {
    fn apply(&self, rows: Range<usize>, columns: usize, weights: &mut [f32]) {
        if let Some(gains) = &self.gains {
            weights.copy_from_slice(&gains[rows]);
            return;
        }
        if let Some(scales) = &self.columns {
            multiply_columns(weights, scales);
        }
        for (made, scales) in &self.rows {
            let (start, end) = (rows.start.max(made.start), rows.end.min(made.end));
            if start < end {
                let part = (start - rows.start) * columns..(end - rows.start) * columns;
                divide_rows(&mut weights[part], &scales[start - made.start..end - made.start]);
            }
        }
        if let Some(dtype) = self.stored_as {
            weights.iter_mut().for_each(|weight| *weight = rounded(dtype, *weight));
        }
    }
}

impl ScaledPair {
    /// Whether it can be one of the model's: shapes and scales must fit.
    fn check(&self, source: &Source) -> Result<(), Error> {
        let shape = |tensor: &str| source.meta(tensor).map(|meta| meta.shape().to_vec());
        let channels = self.scales.len();
        let maker = shape(&self.maker);
        let (fits, of_bias) = match (self.rows, maker.as_deref()) {
            (None, Some(&[gains])) => (gains == channels && self.bias.is_none(), None),
            (Some([start, end]), Some(&[rows, _])) => {
                (start <= end && end <= rows && end - start == channels, Some(vec![rows]))
            }
            _ => (false, None),
        };
        if !fits || self.bias.as_ref().is_some_and(|bias| shape(bias) != of_bias) {
            return Err(wrong(&self.maker, "it does not make the channels that have scales"));
        }
        let reads = |reader: &&String| matches!(shape(reader).as_deref(), Some(&[_, columns]) if columns == channels);
        if let Some(reader) = self.readers.iter().find(|reader| !reads(reader)) {
            return Err(wrong(reader, "it does not read the channels that have scales"));
        }
        match self.scales.iter().all(|&scale| scale.is_normal() && scale > 0.0) {
            true => Ok(()),
            false => Err(wrong(&self.maker, "a scale is no positive number")),
        }
    }

    /// The gains as they are stored, and what each was divided by.
    fn divided_gains(&self, source: &Source) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let found = source.entry(&self.maker);
        let (shard, entry) = found.ok_or_else(|| wrong(&self.maker, "it is missing"))?;
        let mut bytes = vec![0; entry.meta.bytes() as usize];
        shard.read_tensor(entry, 0..entry.meta.bytes(), &mut bytes)?;
        let (mut gains, mut scales) = (vec![0.0; self.scales.len()], self.scales.to_vec());
        let dtype = entry.meta.dtype();
        decode(dtype, &bytes, &mut gains).map_err(|error| wrong(&self.maker, error))?;
        divide_gains(&mut gains, self.from_one, &mut scales, dtype);
        Ok((gains, scales))
    }
}

fn wrong(tensor: &str, what: impl std::fmt::Display) -> Error {
    Error::Input { what: format!("tensor `{tensor}` cannot be smoothed: {what}"), hint: None }
}

/// Numbers as the digits of their bytes: exact, and shorter than decimals.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(
        scales: &Arc<[f32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let digits = scales.iter().map(|scale| format!("{:08x}", scale.to_bits().swap_bytes()));
        serializer.serialize_str(&digits.collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<[f32]>, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let scale = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 8)?;
            Some(f32::from_bits(u32::from_str_radix(digits, 16).ok()?.swap_bytes()))
        };
        let scales: Option<Arc<[f32]>> = digits.as_bytes().chunks(8).map(scale).collect();
        scales.ok_or_else(|| D::Error::custom("scales are eight hexadecimal digits each"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_come_back_from_their_digits() {
        let pair = ScaledPair {
            maker: "norm".to_owned(),
            rows: None,
            bias: None,
            from_one: false,
            readers: vec!["up".to_owned()],
            scales: vec![1.0, 0.1, 65_536.0].into(),
        };
        let json = serde_json::to_string(&pair).expect("text");
        assert!(json.contains("\"0000803fcdcccc3d00008047\""), "{json}");
        assert_eq!(serde_json::from_str::<ScaledPair>(&json).expect("what was written"), pair);
        let damaged = json.replace("cdcccc3d", "cdcccc3");
        assert!(serde_json::from_str::<ScaledPair>(&damaged).is_err());
    }

    #[test]
    fn a_band_of_rows_gets_the_scales_of_its_rows() {
        let change = Change {
            columns: Some(vec![2.0, 4.0].into()),
            rows: vec![(1..3, vec![2.0, 8.0].into())],
            ..Change::default()
        };
        let mut whole = vec![1.0; 8];
        change.apply(0..4, 2, &mut whole);
        assert_eq!(whole, [2.0, 4.0, 1.0, 2.0, 0.25, 0.5, 2.0, 4.0]);
        let mut band = vec![1.0; 4];
        change.apply(2..4, 2, &mut band);
        assert_eq!(band, whole[4..]);
    }
}
