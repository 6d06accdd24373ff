//! Tokenizers of both kinds, and files that are none.

use super::*;
use crate::charsmap::tests::map_of_a;
use serde_json::{Value, json};

/// Byte-level, as GPT-2's.
pub(crate) fn tiny_llama() -> Tokenizer {
    let json = include_bytes!("../../../../testdata/tiny-llama/tokenizer.json");
    Tokenizer::parse(json).unwrap()
}

#[test]
fn probe() {
    let t = tiny_llama();
    println!("{:?}", t.encode("Once upon a time, été 🙂\n").unwrap());
}
