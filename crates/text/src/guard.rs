//! What a `tokenizer.json` may hold.
//!
//! The library that reads it takes some files that it cannot run: it indexes without a look, and a
//! panic is no error. Those are refused here by name, and so is what would give other ids each time.

use crate::charsmap;
use crate::error::{TokenizerError, kind};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The bytes to read a tokenizer from: the same JSON, and no key twice.
pub(crate) fn checked(json: &[u8]) -> Result<Vec<u8>, TokenizerError> {
    if json.len() > BYTES {
        return Err(TokenizerError::TooLong { bytes: json.len(), limit: BYTES });
    }
    let not_json = |error: serde_json::Error| TokenizerError::NotJson { why: error.to_string() };
    let file: Value = serde_json::from_slice(json).map_err(not_json)?;
    let parts = file.as_object().ok_or_else(|| TokenizerError::NotJson {
        why: format!("it is {}, expected an object", kind(&file)),
    })?;
    check(parts).map_err(|Refusal { part, why }| TokenizerError::Part { part, why })?;
    serde_json::to_vec(&file).map_err(not_json)
}

/// Larger than any vocabulary that a model has.
const BYTES: usize = 256 << 20;

/// Ids stay far from where adding one overflows.
const IDS: u64 = 1 << 30;

const NESTING: usize = 4;

struct Refusal {
    part: String,
    why: String,
}

fn refused<T>(part: &str, why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { part: part.to_owned(), why: why.into() })
}

fn check(file: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(model) = file.get("model") else { return refused("model", "is missing") };
    check_model(model)?;
    check_added_tokens(file.get("added_tokens"))?;
    for (name, check) in PARTS {
        each(name, file.get(*name), NESTING, *check)?;
    }
    check_processors(file.get("post_processor"))
}

type Check = fn(&str, &Map<String, Value>, bool) -> Result<(), Refusal>;

const PARTS: &[(&str, Check)] = &[
    ("normalizer", check_normalizer),
    ("pre_tokenizer", check_pre_tokenizer),
    ("decoder", check_decoder),
    ("post_processor", check_processor),
];

/// Runs a check on a part, or on every member of a sequence of them.
fn each(path: &str, part: Option<&Value>, nesting: usize, check: Check) -> Result<(), Refusal> {
    let Some(part) = part.filter(|part| !part.is_null()) else { return Ok(()) };
    let Some(fields) = part.as_object() else {
        return refused(path, format!("is {}, expected an object", kind(part)));
    };
    let Some(variant) = fields.get("type").and_then(Value::as_str) else {
        return refused(path, "has no `type`");
    };
    if variant != "Sequence" {
        return check(path, fields, nesting < NESTING);
    }
    if nesting == 0 {
        return refused(path, format!("is nested more than {NESTING} deep"));
    }
    let key = SEQUENCES.iter().find(|key| fields.contains_key(**key));
    let Some((key, members)) = key.and_then(|key| Some((*key, fields.get(*key)?.as_array()?)))
    else {
        return refused(path, "is a sequence without members");
    };
    for (index, member) in members.iter().enumerate() {
        each(&format!("{path}.{key}[{index}]"), Some(member), nesting - 1, check)?;
    }
    Ok(())
}

const SEQUENCES: &[&str] = &["normalizers", "pretokenizers", "decoders", "processors"];

fn check_model(model: &Value) -> Result<(), Refusal> {
    let Some(fields) = model.as_object() else {
        return refused("model", format!("is {}, expected an object", kind(model)));
    };
    let ids = match fields.get("vocab") {
        Some(Value::Object(vocabulary)) => vocabulary.values().all(is_id),
        Some(Value::Array(pieces)) => (pieces.len() as u64) < IDS,
        _ => return refused("model.vocab", "is missing"),
    };
    if !ids {
        return refused("model.vocab", format!("has an id that is not a number below {IDS}"));
    }
    let dropout = fields.get("dropout").and_then(Value::as_f64);
    if dropout.is_some_and(|dropout| dropout != 0.0) {
        return refused("model.dropout", "is not 0: equal texts would get different ids");
    }
    let prefix = fields.get("continuing_subword_prefix").and_then(Value::as_str);
    if let (Some(prefix), Some(Value::Array(merges))) = (prefix, fields.get("merges"))
        && !merges.iter().all(|merge| continues(merge, prefix))
    {
        return refused("model.merges", format!("has one that does not continue with `{prefix}`"));
    }
    Ok(())
}

fn is_id(value: &Value) -> bool {
    value.as_u64().is_some_and(|id| id < IDS)
}

/// Whether the second half of a merge starts with the prefix that will be cut from it.
fn continues(merge: &Value, prefix: &str) -> bool {
    let second = match merge {
        Value::String(pair) => pair.split(' ').nth(1),
        Value::Array(pair) => pair.get(1).and_then(Value::as_str),
        _ => None,
    };
    second.is_none_or(|second| second.starts_with(prefix))
}

fn check_added_tokens(tokens: Option<&Value>) -> Result<(), Refusal> {
    let Some(Value::Array(tokens)) = tokens else { return Ok(()) };
    let is = |token: &Value, key| token.get(key).and_then(Value::as_bool).unwrap_or(false);
    let is_blank = |token: &Value| {
        let content = token.get("content").and_then(Value::as_str);
        content.is_some_and(|content| content.starts_with(char::is_whitespace))
    };
    // A token that takes the blanks after it, and blanks that take those before them: the second
    // would end before it begins.
    let takes = tokens.iter().any(|token| is(token, "rstrip"));
    if takes && tokens.iter().any(|token| is(token, "lstrip") && is_blank(token)) {
        return refused("added_tokens", "has blanks with `lstrip` beside tokens with `rstrip`");
    }
    Ok(())
}

fn check_normalizer(path: &str, part: &Map<String, Value>, _: bool) -> Result<(), Refusal> {
    if part["type"] != "Precompiled" {
        return Ok(());
    }
    let map = part.get("precompiled_charsmap").and_then(Value::as_str).unwrap_or_default();
    match charsmap::check(map) {
        Ok(()) => Ok(()),
        Err(why) => refused(path, why),
    }
}

fn check_pre_tokenizer(path: &str, part: &Map<String, Value>, _: bool) -> Result<(), Refusal> {
    let length = part.get("length").map(Value::as_u64);
    if part["type"] == "FixedLength" && matches!(length, Some(None | Some(0))) {
        return refused(path, "has a `length` that is no positive number");
    }
    Ok(())
}

fn check_decoder(path: &str, part: &Map<String, Value>, nested: bool) -> Result<(), Refusal> {
    let stop = part.get("stop").map(Value::as_u64);
    match part["type"].as_str() {
        Some("Strip") if stop != Some(Some(0)) => {
            refused(path, "strips the end of tokens, which may be empty")
        }
        Some("BPEDecoder") if nested => refused(path, "is a `BPEDecoder` inside a sequence"),
        _ => Ok(()),
    }
}

fn check_processor(path: &str, part: &Map<String, Value>, _: bool) -> Result<(), Refusal> {
    if part["type"] != "TemplateProcessing" {
        return Ok(());
    }
    let names: BTreeSet<&str> = match part.get("special_tokens") {
        Some(Value::Object(tokens)) => tokens.keys().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    };
    let pieces = part.get("single").and_then(Value::as_array);
    for piece in pieces.into_iter().flatten() {
        let special = piece.pointer("/SpecialToken/id").and_then(Value::as_str);
        if let Some(name) = special.filter(|name| !names.contains(name)) {
            return refused(path, format!("uses the token `{name}`, which it does not define"));
        }
        if piece.pointer("/Sequence/id").is_some_and(|id| id != "A") {
            return refused(path, "uses a second text where there is one");
        }
    }
    Ok(())
}

/// A template splits a text into several pieces, of which the next template would take the first.
fn check_processors(part: Option<&Value>) -> Result<(), Refusal> {
    match templates(part) {
        0 | 1 => Ok(()),
        count => refused("post_processor", format!("holds {count} templates, expected at most 1")),
    }
}

fn templates(part: Option<&Value>) -> usize {
    let Some(part) = part else { return 0 };
    let members = part.get("processors").and_then(Value::as_array);
    let inside: usize = members.into_iter().flatten().map(|part| templates(Some(part))).sum();
    inside + usize::from(part.get("type").is_some_and(|variant| variant == "TemplateProcessing"))
}
