//! The tokenizer of a model: a text to ids and back.

mod pieces;

use crate::error::TokenizerError;
use crate::guard;

/// A tokenizer that was read from a `tokenizer.json`.
///
/// Equal texts give equal ids: a file that asks for dropout is refused, and one that asks for
/// truncation or padding is read without them.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// If they are not a tokenizer, or one that could not be run safely.
    pub fn parse(json: &[u8]) -> Result<Self, TokenizerError> {
        let checked = guard::checked(json)?;
        let mut inner = tokenizers::Tokenizer::from_bytes(checked)
            .map_err(|error| TokenizerError::Unreadable { why: said(&error) })?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| TokenizerError::Unreadable { why: said(&error) })?;
        Ok(Self { inner })
    }

    /// Why a folder without `tokenizer.json` has no tokenizer, by the names of its other files.
    pub fn missing<'a>(files: impl IntoIterator<Item = &'a str>) -> TokenizerError {
        let files: Vec<&str> = files.into_iter().collect();
        let all_there = |names: &&[&str]| names.iter().all(|name| files.contains(name));
        let found = SLOW_TOKENIZERS.into_iter().find(all_there).unwrap_or_default();
        TokenizerError::Missing { found }
    }

    /// The ids of a text; nothing is put before or after it.
    ///
    /// # Errors
    ///
    /// If the vocabulary has neither a token for a character nor one for the unknown.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        self.encode_each(text, |piece| ids.extend(piece))?;
        Ok(ids)
    }

    /// Hands on the ids of [`Tokenizer::encode`] piece by piece, so that those of a long text need not be
    /// held.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_each(&self, text: &str, take: impl FnMut(&[u32])) -> Result<(), TokenizerError> {
        pieces::encode_each(text, PIECE, |piece| self.ids(piece, false), take)
    }

    /// The ids of a text with what the tokenizer puts around it.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_with_special(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.ids(text, true)
    }

    fn ids(&self, text: &str, special: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, special);
        let encoding = encoding
            .map_err(|error| TokenizerError::Encoding { bytes: text.len(), why: said(&error) })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of some ids, special tokens included; ids beyond the vocabulary give nothing.
    ///
    /// # Errors
    ///
    /// If the decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let known = |id: &u32| self.inner.id_to_token(*id).is_some();
        let ids: Vec<u32> = ids.iter().copied().filter(known).collect();
        if ids.is_empty() {
            return Ok(String::new());
        }
        let text = self.inner.decode(&ids, false);
        text.map_err(|error| TokenizerError::Decoding { ids: ids.len(), why: said(&error) })
    }

    /// The id of a token, written as in the vocabulary.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, written as in the vocabulary.
    pub fn token_of(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }
}

/// Bytes of a text that are encoded at once, about, of a long one: some 10 MB of memory.
const PIECE: usize = 1 << 16;

/// Files of tokenizers that Transformers converts: SentencePiece, byte-level BPE, and WordPiece.
const SLOW_TOKENIZERS: [&[&str]; 5] = [
    &["tokenizer.model"],
    &["spiece.model"],
    &["sentencepiece.bpe.model"],
    &["vocab.json", "merges.txt"],
    &["vocab.txt"],
];

/// A message of the library in the form of ours.
fn said(error: &tokenizers::Error) -> String {
    error.to_string().trim_end_matches('.').replace('\n', " ")
}

#[cfg(test)]
pub(crate) mod tests;
