//! Tokenizers of both kinds, and files that are none.

use super::*;
use crate::charsmap::tests::map_of_a;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Byte-level, as GPT-2's.
pub(crate) fn tiny_llama() -> Tokenizer {
    let json = include_bytes!("../../../../testdata/tiny-llama/tokenizer.json");
    Tokenizer::parse(json).unwrap()
}

/// With blanks made visible and bytes for what is unknown, as Llama 2's.
fn metaspace() -> Value {
    let mut vocabulary = json!({"<unk>": 0, "<s>": 1, "</s>": 2});
    for byte in 0..=255_u32 {
        vocabulary[format!("<0x{byte:02X}>")] = json!(byte + 3);
    }
    let pieces = ["▁", "a", "b", "c", "ab", "▁a", "▁ab", "▁▁"];
    for (index, piece) in pieces.iter().enumerate() {
        vocabulary[*piece] = json!(259 + index);
    }
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    json!({
        "version": "1.0",
        "truncation": {"max_length": 1, "stride": 0, "strategy": "LongestFirst",
                       "direction": "Right"},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"},
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>",
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": true, "ignore_merges": false, "vocab": vocabulary,
            "merges": ["a b", "▁ a", "▁ ab", "▁ ▁"]},
    })
}

fn parsed(json: &Value) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::parse(json.to_string().as_bytes())
}

/// Expected ids are those of Transformers.
#[test]
fn bytes_are_joined_as_in_transformers() {
    let tokenizer = tiny_llama();
    let text = "Once été 🙂\n\n  x<|endoftext|>y";
    let expected = [
        47, 78, 345, 221, 128, 103, 84, 128, 103, 221, 173, 254, 248, 225, 199, 199, 221, 221, 88,
        0, 89,
    ];
    assert_eq!(tokenizer.encode(text).unwrap(), expected);
    assert_eq!(tokenizer.decode(&expected).unwrap(), text);
}

/// Expected ids by hand.
#[test]
fn pieces_are_joined_and_the_unknown_goes_by_bytes() {
    let tokenizer = parsed(&metaspace()).unwrap();
    // "▁ab▁▁c" and the bytes c3 a9.
    let expected = [265, 266, 262, 0xc3 + 3, 0xa9 + 3];
    assert_eq!(tokenizer.encode("ab  cé").unwrap(), expected);
    assert_eq!(tokenizer.decode(&expected).unwrap(), "ab  cé");
    assert_eq!(tokenizer.encode_with_special("a").unwrap(), [1, 264]);
    assert_eq!(tokenizer.encode("</s>a").unwrap(), [2, 264]);
    assert_eq!(tokenizer.encode("").unwrap(), [0; 0]);
}

#[test]
fn a_long_text_has_the_ids_that_it_has_at_once() {
    let text = include_str!("../../../../testdata/tiny-llama/calibration.txt");
    let odd = "  \n\n\t x\u{a0}\u{3000}é 🙂\r\n<|endoftext|>  y\n".repeat(20);
    let long = [text, &odd, text, text, &odd, text, text, text, text].concat();
    assert!(long.len() > 4 * PIECE, "{}", long.len());
    for tokenizer in [tiny_llama(), parsed(&metaspace()).unwrap()] {
        assert!(tokenizer.encode(&long).unwrap() == tokenizer.ids(&long, false).unwrap());
    }
}

#[test]
fn ids_beyond_the_vocabulary_decode_to_nothing() {
    let tokenizer = tiny_llama();
    assert_eq!(tokenizer.decode(&[263, u32::MAX, 526]).unwrap(), " the man");
    assert_eq!(tokenizer.decode(&[5000]).unwrap(), "");
    assert_eq!(tokenizer.token_of(0).as_deref(), Some("<|endoftext|>"));
}

#[test]
fn without_the_file_it_says_what_to_do() {
    let error = Tokenizer::missing(["config.json", "tokenizer.model"]);
    let message = "`tokenizer.json` is missing, and `tokenizer.model` alone is not read";
    assert_eq!(error.to_string(), message);
    assert!(error.hint().unwrap().contains("save_pretrained"));
    let error = Tokenizer::missing(["merges.txt", "vocab.json", "vocab.txt"]);
    let message = "`tokenizer.json` is missing, and `vocab.json` with `merges.txt` is not read";
    assert_eq!(error.to_string(), message);
    assert!(error.hint().unwrap().contains("save_pretrained"));
    let without = "`tokenizer.json` is missing";
    assert_eq!(Tokenizer::missing([]).to_string(), without);
    assert_eq!(Tokenizer::missing(["vocab.json"]).to_string(), without);
}

/// What becomes of the file when the value at a place is another.
fn check(place: &str, value: Value, expected: &str) {
    let mut json = metaspace();
    *json.pointer_mut(place).unwrap() = value;
    assert_eq!(parsed(&json).map(|_| ()).unwrap_err().to_string(), expected);
}

#[test]
fn what_could_not_run_is_refused_by_name() {
    check("/model", json!(1), "`model` of `tokenizer.json` is a number, expected an object");
    check("/model/vocab", json!(null), "`model.vocab` of `tokenizer.json` is missing");
    let ids = "`model.vocab` of `tokenizer.json` has an id that is not a number below 1073741824";
    check("/model/vocab/a", json!(-1), ids);
    check("/model/vocab/a", json!(u32::MAX), ids);
    let prefix = "`model.merges` of `tokenizer.json` has one that does not continue with `##`";
    check("/model/continuing_subword_prefix", json!("##"), prefix);
    let token = "`post_processor` of `tokenizer.json` uses the token `<s>`, \
                 which it does not define";
    check("/post_processor/special_tokens", json!({}), token);
    let second = "`post_processor` of `tokenizer.json` uses a second text where there is one";
    check("/post_processor/single/1/Sequence/id", json!("B"), second);
    let strip = "`decoder.decoders[3]` of `tokenizer.json` strips the end of tokens, \
                 which may be empty";
    check("/decoder/decoders/3/stop", json!(1), strip);
    let bpe = "`decoder.decoders[3]` of `tokenizer.json` is a `BPEDecoder` inside a sequence";
    check("/decoder/decoders/3", json!({"type": "BPEDecoder", "suffix": "</w>"}), bpe);
    let length = "`pre_tokenizer` of `tokenizer.json` has a `length` that is no positive number";
    check("/pre_tokenizer", json!({"type": "FixedLength", "length": 0}), length);
    let kind = "`pre_tokenizer` of `tokenizer.json` has no `type`";
    check("/pre_tokenizer", json!({}), kind);
    let two = json!({"type": "Sequence", "processors": [
        {"type": "TemplateProcessing"}, {"type": "TemplateProcessing"}]});
    let templates = "`post_processor` of `tokenizer.json` holds 2 templates, expected at most 1";
    check("/post_processor", two, templates);
    let mut deep = json!({"type": "NFC"});
    for _ in 0..6 {
        deep = json!({"type": "Sequence", "normalizers": [deep]});
    }
    let part = ".normalizers[0]".repeat(4);
    let nested = format!("`normalizer{part}` of `tokenizer.json` is nested more than 4 deep");
    check("/normalizer", deep, &nested);
    let map = json!({"type": "Precompiled", "precompiled_charsmap": map_of_a(9, "b\0")});
    let outside = "`normalizer` of `tokenizer.json` has a `precompiled_charsmap` that points \
                   outside itself";
    check("/normalizer", map, outside);
}

#[test]
fn what_gives_other_ids_each_time_is_refused() {
    let dropout =
        "`model.dropout` of `tokenizer.json` is not 0: equal texts would get different ids";
    check("/model/dropout", json!(0.1), dropout);
}

#[test]
fn a_sound_character_map_is_used() {
    let mut json = metaspace();
    let map = json!({"type": "Precompiled", "precompiled_charsmap": map_of_a(0, "b\0")});
    json["normalizer"] = map;
    assert_eq!(parsed(&json).unwrap().encode("a").unwrap(), [261]);
}

#[test]
fn blanks_that_take_blanks_are_refused() {
    let mut json = metaspace();
    json["added_tokens"][1]["rstrip"] = json!(true);
    json["added_tokens"][2]["content"] = json!("  ");
    json["added_tokens"][2]["lstrip"] = json!(true);
    let error = parsed(&json).unwrap_err().to_string();
    assert!(error.contains("has blanks with `lstrip`"), "{error}");
}

#[test]
fn what_is_no_tokenizer_is_refused() {
    for text in ["", "{", "[]", "{}", r#"{"model": {}}"#, r#"{"model": {"vocab": {}}}"#] {
        assert!(Tokenizer::parse(text.as_bytes()).is_err(), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(Tokenizer::parse(deep.as_bytes()), Err(TokenizerError::NotJson { .. })));
}

/// Where a value may be replaced, by its place in the tree.
fn places(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if fields.len() < 30 => {
            for (key, value) in fields {
                places(value, format!("{place}/{key}"), found);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                places(value, format!("{place}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(place);
}

fn odd_value() -> impl Strategy<Value = Value> {
    let words =
        ["", " ", "▁", "a", "<s>", "Sequence", "Split", "(a+)+$", "(", "B", "BPE", "Unigram"];
    let part = json!({"type": "Replace", "pattern": {"Regex": "a*"}, "content": ""});
    prop_oneof![
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        prop::sample::select(vec![0_i64, 1, 2, -1, 300, i64::MAX]).prop_map(Value::from),
        prop::sample::select(vec![
            json!(null),
            json!([]),
            json!({}),
            json!(true),
            json!(1.5),
            part
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Whatever is changed, the file is refused, or the tokenizer answers.
    #[test]
    fn odd_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), odd_value()), 1..4)) {
        let mut json = metaspace();
        for (place, value) in changes {
            let mut found = Vec::new();
            places(&json, String::new(), &mut found);
            if let Some(old) = json.pointer_mut(&found[place.index(found.len())]) {
                *old = value;
            }
        }
        if let Ok(tokenizer) = parsed(&json) {
            for text in ["", "a", "ab  cé</s> a<s>", "\u{0}aaaaaaaaaaaaaaaa!"] {
                if let Ok(ids) = tokenizer.encode_with_special(text) {
                    let _ = tokenizer.decode(&ids);
                }
                let _ = tokenizer.encode(text);
            }
        }
    }

    /// Every text comes back.
    #[test]
    fn texts_survive_the_way_there_and_back(text in "\\PC{0,40}") {
        let tokenizer = tiny_llama();
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
}
