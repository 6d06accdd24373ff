//! Token ids from a safetensors file.

use crate::Error;
use llmopt_checkpoint::{HeaderEntry, Source};
use llmopt_tensor::Dtype;
use std::path::Path;

/// The ids of the tensor `input_ids`, or of the only one there is, row after row.
pub(super) fn read(path: &Path) -> Result<Vec<u32>, Error> {
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
    let mut bytes = vec![0; entry.meta.bytes() as usize];
    shard.read_tensor(entry, 0..entry.meta.bytes(), &mut bytes)?;
    let ids = decoded(entry, &bytes)
        .ok_or_else(|| wrong(format!("tensor `{name}` is {}, expected integers", entry.meta)))?;
    ids.map_err(|(position, id)| {
        wrong(format!("token {position} has id {id}, which none can have"))
    })
}

/// The ids, or the first number that is none; `None` if the tensor holds no integers.
fn decoded(entry: &HeaderEntry, bytes: &[u8]) -> Option<Result<Vec<u32>, (usize, i64)>> {
    let numbers: Vec<i64> = match entry.meta.dtype() {
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
        _ => return None,
    };
    let id =
        |(position, &number): (usize, &i64)| u32::try_from(number).map_err(|_| (position, number));
    Some(numbers.iter().enumerate().map(id).collect())
}
