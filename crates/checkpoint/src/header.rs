//! The header of a safetensors file: which tensor lies where.
//!
//! If a [`Header`] exists, its names are distinct and its tensors tile the data area exactly.

use crate::error::quoted;
use crate::raw::{RESERVED, RawHeader, RawMetadata, RawTensor};
use llmopt_tensor::{Dtype, ShapeError, TensorMeta};
use std::collections::BTreeMap;

/// A parsed safetensors header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    entries: Vec<HeaderEntry>,
    metadata: BTreeMap<String, String>,
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderEntry {
    /// Its name.
    pub name: String,
    /// Its element type and shape.
    pub meta: TensorMeta,
    /// Where it begins, counted from the first byte after the header.
    pub begin: u64,
}

impl HeaderEntry {
    /// Where it ends, counted from the first byte after the header.
    pub fn end(&self) -> u64 {
        self.begin + self.meta.bytes()
    }
}

impl Header {
    /// Reads a header's `json`, which `data_bytes` bytes of tensors follow.
    pub fn parse(json: &[u8], data_bytes: u64) -> Result<Self, HeaderError> {
        let text = std::str::from_utf8(json)
            .map_err(|error| HeaderError::NotUtf8 { at: error.valid_up_to() })?;
        if !text.starts_with('{') {
            return Err(HeaderError::NoBrace);
        }
        let raw = RawHeader::read(text)?;
        let metadata = texts(raw.metadata)?;
        let mut spans: Vec<Span> = raw.tensors.into_iter().map(span).collect::<Result<_, _>>()?;
        refuse_repeated_names(&mut spans)?;
        refuse_all_but_a_tiling(&mut spans, data_bytes)?;
        Ok(Self { entries: spans.into_iter().map(|span| span.entry).collect(), metadata })
    }

    /// Takes the first `bytes` of every name away, which are the same in all.
    pub(crate) fn strip_prefix(&mut self, bytes: usize) {
        self.entries.iter_mut().for_each(|tensor| drop(tensor.name.drain(..bytes)));
    }

    /// The tensors, in the order of their data.
    pub fn tensors(&self) -> &[HeaderEntry] {
        &self.entries
    }

    /// What `__metadata__` says.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The first bytes of a file that holds `tensors` one after another in the order given (length,
    /// JSON, padding), and where each begins, counted from the first byte after them.
    pub fn encode(
        metadata: &BTreeMap<String, String>,
        tensors: &[(String, TensorMeta)],
    ) -> Result<(Vec<u8>, Vec<u64>), HeaderError> {
        refuse_unwritable_names(tensors)?;
        let begins = begins(tensors)?;
        let mut json = String::from("{");
        if !metadata.is_empty() {
            json += &format!("{}:{},", text(RESERVED), object(metadata));
        }
        for ((name, meta), begin) in tensors.iter().zip(&begins) {
            json += &description(name, meta, *begin);
            json.push(',');
        }
        if json.ends_with(',') {
            json.pop();
        }
        json.push('}');
        // Data that begins at a multiple of eight is aligned for every dtype, in descending order.
        let length = json.len().next_multiple_of(8);
        if length as u64 > MAX_HEADER_BYTES {
            return Err(HeaderError::TooLong { length: length as u64 });
        }
        let mut bytes = (length as u64).to_le_bytes().to_vec();
        bytes.extend(json.bytes());
        bytes.resize(size_of::<u64>() + length, b' ');
        Ok((bytes, begins))
    }

    /// Sorts `tensors` as the reference writer does: widest elements first, then by name.
    pub fn reference_order(tensors: &mut [(String, TensorMeta)]) {
        tensors.sort_by(|(a, x), (b, y)| y.dtype().cmp(&x.dtype()).then_with(|| a.cmp(b)));
    }
}

/// Why a safetensors header is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum HeaderError {
    #[error("the file has {bytes} bytes, too few for a safetensors header")]
    TooShort { bytes: u64 },
    #[error("the file is a Git LFS pointer, not the tensors that it stands for")]
    LfsPointer,
    #[error("the header has {length} bytes, and at most {MAX_HEADER_BYTES} are allowed")]
    TooLong { length: u64 },
    #[error("the header has {length} bytes, but only {rest} follow in the file")]
    BeyondFile { length: u64, rest: u64 },
    #[error("the header is not UTF-8 from its byte {at} on")]
    NotUtf8 { at: usize },
    #[error("the header does not begin with `{{`")]
    NoBrace,
    #[error("the header is not what safetensors allows: {message}")]
    Json { message: String },
    #[error("a tensor is named `{RESERVED}`, which the format keeps for itself")]
    Reserved,
    #[error("`{RESERVED}` maps {} to something that is no string", quoted(.key))]
    Metadata { key: String },
    #[error("tensor {} is there twice", quoted(.tensor))]
    Twice { tensor: String },
    #[error("tensor {} has the unknown dtype {}", quoted(.tensor), quoted(.dtype))]
    Dtype { tensor: String, dtype: String },
    #[error("tensor {} has {dtype} {shape:?}, which is no tensor: {reason}", quoted(.tensor))]
    Shape { tensor: String, dtype: Dtype, shape: Box<[usize]>, reason: ShapeError },
    #[error("tensor {} begins at byte {begin} of the data and ends before it, at {end}", quoted(.tensor))]
    Reversed { tensor: String, begin: u64, end: u64 },
    #[error("tensor {} is {meta}, which takes {} bytes, but its offsets span {span}", quoted(.tensor), .meta.bytes())]
    Span { tensor: String, meta: TensorMeta, span: u64 },
    #[error("tensor {} begins at byte {begin} of the data, inside {}, which ends at {end}", quoted(.tensor), quoted(.other))]
    Overlap { tensor: String, begin: u64, other: String, end: u64 },
    #[error("tensor {} begins at byte {begin} of the data, but what comes before it ends at {end}", quoted(.tensor))]
    Hole { tensor: String, begin: u64, end: u64 },
    #[error("tensor {} ends at byte {end} of the data, but the file has only {data}", quoted(.tensor))]
    OutOfRange { tensor: String, end: u64, data: u64 },
    #[error("the last {bytes} bytes of the file belong to no tensor")]
    Trailing { bytes: u64 },
    #[error("the tensors together have more than 2^64 bytes")]
    Total,
}

/// A tensor and where its offsets say that it ends.
struct Span {
    entry: HeaderEntry,
    end: u64,
}

fn texts(raw: Option<RawMetadata>) -> Result<BTreeMap<String, String>, HeaderError> {
    match raw {
        None => Ok(BTreeMap::new()),
        Some(RawMetadata::Texts(texts)) => Ok(texts),
        Some(RawMetadata::Tensor) => Err(HeaderError::Reserved),
        Some(RawMetadata::NotText(key)) => Err(HeaderError::Metadata { key }),
    }
}

fn span((tensor, raw): (String, RawTensor<'_>)) -> Result<Span, HeaderError> {
    let Some(dtype) = Dtype::from_name(&raw.dtype) else {
        return Err(HeaderError::Dtype { tensor, dtype: raw.dtype.into_owned() });
    };
    let shape = raw.shape.0;
    let meta = match TensorMeta::new(dtype, shape.clone()) {
        Ok(meta) => meta,
        Err(reason) => return Err(HeaderError::Shape { tensor, dtype, shape, reason }),
    };
    let (begin, end) = raw.data_offsets;
    match end.checked_sub(begin) {
        None => Err(HeaderError::Reversed { tensor, begin, end }),
        Some(span) if span != meta.bytes() => Err(HeaderError::Span { tensor, meta, span }),
        Some(_) => Ok(Span { entry: HeaderEntry { name: tensor, meta, begin }, end }),
    }
}

fn refuse_repeated_names(spans: &mut [Span]) -> Result<(), HeaderError> {
    spans.sort_unstable_by(|a, b| a.entry.name.cmp(&b.entry.name));
    match spans.windows(2).find(|pair| pair[0].entry.name == pair[1].entry.name) {
        Some(pair) => Err(HeaderError::Twice { tensor: pair[0].entry.name.clone() }),
        None => Ok(()),
    }
}

/// Sorts by place. Tensors of size zero share a place; they come before the one that fills it.
fn refuse_all_but_a_tiling(spans: &mut [Span], data: u64) -> Result<(), HeaderError> {
    spans.sort_by_key(|span| (span.entry.begin, span.end));
    let mut before: Option<&Span> = None;
    for span in spans.iter() {
        let tensor = || span.entry.name.clone();
        let (begin, end) = (span.entry.begin, before.map_or(0, |before| before.end));
        if begin > end {
            return Err(HeaderError::Hole { tensor: tensor(), begin, end });
        }
        if let Some(before) = before.filter(|_| begin < end) {
            let other = before.entry.name.clone();
            return Err(HeaderError::Overlap { tensor: tensor(), begin, other, end });
        }
        if span.end > data {
            return Err(HeaderError::OutOfRange { tensor: tensor(), end: span.end, data });
        }
        before = Some(span);
    }
    match data - before.map_or(0, |last| last.end) {
        0 => Ok(()),
        bytes => Err(HeaderError::Trailing { bytes }),
    }
}

fn refuse_unwritable_names(tensors: &[(String, TensorMeta)]) -> Result<(), HeaderError> {
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names.binary_search(&RESERVED).is_ok() {
        return Err(HeaderError::Reserved);
    }
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(HeaderError::Twice { tensor: pair[0].to_owned() }),
        None => Ok(()),
    }
}

/// Where each tensor begins; all of them end below 2^64.
fn begins(tensors: &[(String, TensorMeta)]) -> Result<Vec<u64>, HeaderError> {
    let mut end = 0u64;
    let mut begins = Vec::with_capacity(tensors.len());
    for (_, meta) in tensors {
        begins.push(end);
        end = end.checked_add(meta.bytes()).ok_or(HeaderError::Total)?;
    }
    Ok(begins)
}

fn description(name: &str, meta: &TensorMeta, begin: u64) -> String {
    let axes: Vec<String> = meta.shape().iter().map(usize::to_string).collect();
    format!(
        r#"{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{begin},{}]}}"#,
        text(name),
        meta.dtype(),
        axes.join(","),
        begin + meta.bytes()
    )
}

fn object(texts: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> =
        texts.iter().map(|(key, value)| format!("{}:{}", text(key), text(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// What the reference reader accepts.
pub(crate) const MAX_HEADER_BYTES: u64 = 100_000_000;

#[cfg(test)]
mod tests;
