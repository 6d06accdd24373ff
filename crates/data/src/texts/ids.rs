//! Token ids from a safetensors file.

use llmopt_checkpoint::{HeaderEntry, Shard, Source};
use llmopt_run::Error;
use llmopt_tensor::Dtype;
use std::path::Path;

/// Token ids, row after row.
pub(super) struct TokenIds {
    pub(super) ids: Vec<u32>,
    /// Tokens that the file's `attention_mask` leaves out of them.
    pub(super) masked: usize,
}

/// The ids of the tensor `input_ids`, or of the only one there is, but for those that an
/// `attention_mask` beside them masks: padding is no text.
pub(super) fn read(path: &Path) -> Result<TokenIds, Error> {
    let source = Source::open(path)?;
    let wrong = |what: String| Error::Input {
        what: format!("{what}\n  in `{}`", path.display()),
        hint: Some(
            "token ids are one tensor of integers, `input_ids` if there are others".to_owned(),
        ),
    };
    let only = source.tensors().next().filter(|_| source.tensors().len() == 1);
    let name = only.map_or("input_ids", |(name, _)| name).to_owned();
    let (shard, entry) =
        source.entry(&name).ok_or_else(|| wrong("there is no tensor `input_ids`".to_owned()))?;
    let read = |shard: &Shard, entry: &HeaderEntry| -> Result<Vec<i64>, Error> {
        let mut bytes = vec![0; entry.meta.bytes() as usize];
        shard.read_tensor(entry, 0..entry.meta.bytes(), &mut bytes)?;
        let found = format!("tensor `{}` is {}, expected integers", entry.name, entry.meta);
        numbers(entry, &bytes).ok_or_else(|| wrong(found))
    };
    let numbers = read(shard, entry)?;
    let id = |(position, number): (usize, &i64)| {
        let none = || wrong(format!("token {position} has id {number}, which none can have"));
        u32::try_from(*number).map_err(|_| none())
    };
    let mut ids: Vec<u32> = numbers.iter().enumerate().map(id).collect::<Result<_, _>>()?;
    let all = ids.len();
    if let Some((shard, mask)) = source.entry(MASK).filter(|_| name != MASK) {
        if mask.meta.shape() != entry.meta.shape() {
            let (mask, ids) = (mask.meta.shape(), entry.meta.shape());
            return Err(wrong(format!("`{MASK}` has shape {mask:?}, `{name}` has {ids:?}")));
        }
        let mask = read(shard, mask)?;
        if let Some((position, value)) =
            mask.iter().enumerate().find(|(_, value)| !matches!(value, 0 | 1))
        {
            return Err(wrong(format!("`{MASK}` is {value} at token {position}, expected 0 or 1")));
        }
        let mut mask = mask.iter();
        ids.retain(|_| mask.next() == Some(&1));
        if ids.is_empty() {
            return Err(wrong(format!("`{MASK}` masks every token")));
        }
    }
    Ok(TokenIds { masked: all - ids.len(), ids })
}

/// The numbers of a tensor of integers or truth values.
fn numbers(entry: &HeaderEntry, bytes: &[u8]) -> Option<Vec<i64>> {
    Some(match entry.meta.dtype() {
        Dtype::I64 => bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
        Dtype::I32 => {
            bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect()
        }
        Dtype::U32 => {
            bytes.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes).into()).collect()
        }
        Dtype::U16 => {
            bytes.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes).into()).collect()
        }
        Dtype::Bool | Dtype::U8 => bytes.iter().map(|&byte| byte.into()).collect(),
        Dtype::I8 => bytes.iter().map(|&byte| byte.cast_signed().into()).collect(),
        _ => return None,
    })
}

const MASK: &str = "attention_mask";
