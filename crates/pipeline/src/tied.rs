//! An output head in the file where the config says that it is the embedding.

use crate::Error;
use llmopt_arch::Model;
use llmopt_checkpoint::{Source, are_equal};

/// Embedding and head, if the config ties them and the file holds a head with other values.
///
/// # Errors
/// If one of them cannot be read.
pub(crate) fn differing<'a>(
    source: &Source,
    model: &'a Model,
) -> Result<Option<(&'a str, &'a str)>, Error> {
    let Some((embedding, head)) = model.tied() else { return Ok(None) };
    let (Some(first), Some(second)) = (source.entry(embedding), source.entry(head)) else {
        return Ok(None);
    };
    Ok((!are_equal(first, second)?).then_some((embedding, head)))
}

/// Refuses a model that its runtimes take for two different ones.
///
/// # Errors
/// If embedding and head differ although the config ties them.
pub(crate) fn refuse_differing(source: &Source, model: &Model) -> Result<(), Error> {
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
