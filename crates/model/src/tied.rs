//! An output head in the file where the config says that it is the embedding.

use llmopt_arch::Model;
use llmopt_checkpoint::{HeaderEntry, Shard, Source, are_equal};
use llmopt_run::Error;
use llmopt_tensor::decode;

/// Embedding and head, if the config ties them and the file holds a head with other values.
///
/// # Errors
/// If one of them cannot be read.
pub fn differing<'a>(
    source: &Source,
    model: &'a Model,
) -> Result<Option<(&'a str, &'a str)>, Error> {
    let Some((embedding, head)) = model.tied() else { return Ok(None) };
    let (Some(first), Some(second)) = (source.entry(embedding), source.entry(head)) else {
        return Ok(None);
    };
    Ok((!have_same_values(first, second)?).then_some((embedding, head)))
}

/// Whether two tensors have the same shape and values, be it in different types.
///
/// # Errors
/// If one of them cannot be read.
pub fn have_same_values(
    one: (&Shard, &HeaderEntry),
    other: (&Shard, &HeaderEntry),
) -> Result<bool, Error> {
    let (first, second) = (&one.1.meta, &other.1.meta);
    let is_converted = first.dtype() != second.dtype()
        && first.shape() == second.shape()
        && first.dtype().is_plain_float()
        && second.dtype().is_plain_float();
    if !is_converted {
        return Ok(are_equal(one, other)?);
    }
    for begin in (0..first.elements()).step_by(PIECE_ELEMENTS) {
        let count = (first.elements() - begin).min(PIECE_ELEMENTS as u64);
        if values(one, begin, count)? != values(other, begin, count)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// So many values of a tensor of floats.
fn values(
    (shard, entry): (&Shard, &HeaderEntry),
    begin: u64,
    count: u64,
) -> Result<Vec<f32>, Error> {
    let width = entry.meta.bytes() / entry.meta.elements();
    let mut bytes = vec![0; (count * width) as usize];
    shard.read_tensor(entry, begin * width..(begin + count) * width, &mut bytes)?;
    let mut values = vec![0.0; count as usize];
    decode(entry.meta.dtype(), &bytes, &mut values)
        .map_err(|error| Error::Refused(error.to_string()))?;
    Ok(values)
}

/// Refuses a model that its runtimes take for two different ones.
///
/// # Errors
/// If embedding and head differ although the config ties them.
pub fn refuse_differing(source: &Source, model: &Model) -> Result<(), Error> {
    match differing(source, model)? {
        None => Ok(()),
        Some((embedding, head)) => Err(Error::Input {
            what: format!(
                "tensor `{head}` differs from `{embedding}`, but `tie_word_embeddings` in `config.json` \
                 says that they are one: Transformers uses the head in the file, vLLM the embedding"
            ),
            hint: Some(format!(
                "set `tie_word_embeddings` to false if `{head}` is meant, or remove it from the file if \
                 the embedding is"
            )),
        }),
    }
}

/// A megabyte in f32.
const PIECE_ELEMENTS: usize = 1 << 18;
