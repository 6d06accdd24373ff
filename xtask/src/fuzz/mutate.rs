//! Small damage to a text, some of it blind, some that knows what JSON is made of.
//!
//! Every mutation takes a `Vec`, although some would do with a slice: they share one signature.

#![expect(clippy::ptr_arg, reason = "mutations share a signature")]

use crate::random::Generator;
use std::ops::Range;

/// An input never grows beyond this.
const LONGEST: usize = 1 << 17;

/// Numbers where sums, products and conversions break.
const NUMBERS: [&str; 20] = [
    "0",
    "-1",
    "1",
    "7",
    "127",
    "128",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e999",
    "0.5",
    "-0",
];

/// Values that stand in the wrong place, names that are reserved, texts that mean something.
const TOKENS: [&str; 28] = [
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "\"\"",
    "\"__metadata__\"",
    "\"dtype\"",
    "\"shape\"",
    "\"data_offsets\"",
    "\"BF16\"",
    "\"F4\"",
    "\"F8_E8M0\"",
    "\"weight_map\"",
    "\"../model.safetensors\"",
    "\"text_config\"",
    "\"model_type\"",
    "\"re:(\"",
    "\"re:.*\"",
    "\"re:(a*)*$\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\u{feff}",
    ",",
    ":",
    "{",
    "]",
    "\"",
];

type Mutation = fn(&mut Vec<u8>, &mut Generator);

const MUTATIONS: [Mutation; 11] = [
    flipped_bit,
    other_byte,
    truncated,
    without_a_range,
    with_a_range_twice,
    other_number,
    other_digit,
    other_token,
    exchanged_strings,
    with_a_member_twice,
    nested,
];

/// `input` after one to four mutations.
pub(super) fn mutated(input: &[u8], random: &mut Generator) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        if let Some(mutation) = random.one_of(&MUTATIONS) {
            mutation(&mut bytes, random);
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

fn flipped_bit(bytes: &mut Vec<u8>, random: &mut Generator) {
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn other_byte(bytes: &mut Vec<u8>, random: &mut Generator) {
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte = random.below(256) as u8;
    }
}

fn truncated(bytes: &mut Vec<u8>, random: &mut Generator) {
    bytes.truncate(random.below(bytes.len()));
}

fn without_a_range(bytes: &mut Vec<u8>, random: &mut Generator) {
    bytes.drain(range(bytes, random));
}

fn with_a_range_twice(bytes: &mut Vec<u8>, random: &mut Generator) {
    let range = range(bytes, random);
    let copy = bytes[range].to_vec();
    insert(bytes, random, &copy);
}

fn range(bytes: &[u8], random: &mut Generator) -> Range<usize> {
    let begin = random.below(bytes.len());
    begin..(begin + random.below(64)).min(bytes.len())
}

fn insert(bytes: &mut Vec<u8>, random: &mut Generator, what: &[u8]) {
    let at = random.below(bytes.len() + 1);
    bytes.splice(at..at, what.iter().copied());
}

fn other_number(bytes: &mut Vec<u8>, random: &mut Generator) {
    if let (Some(span), Some(number)) = (spot(bytes, random, number_at), random.one_of(&NUMBERS)) {
        bytes.splice(span, number.bytes());
    }
}

fn other_digit(bytes: &mut Vec<u8>, random: &mut Generator) {
    if let Some(span) = spot(bytes, random, number_at) {
        bytes[span.start + random.below(span.len())] = b'0' + random.below(10) as u8;
    }
}

fn other_token(bytes: &mut Vec<u8>, random: &mut Generator) {
    let Some(token) = random.one_of(&TOKENS) else { return };
    match spot(bytes, random, string_at) {
        Some(span) if random.below(2) == 0 => drop(bytes.splice(span, token.bytes())),
        _ => insert(bytes, random, token.as_bytes()),
    }
}

/// Keys become values, names become other names, and names come twice.
fn exchanged_strings(bytes: &mut Vec<u8>, random: &mut Generator) {
    let from = spot(bytes, random, string_at);
    if let (Some(from), Some(to)) = (from, spot(bytes, random, string_at)) {
        let copy = bytes[from].to_vec();
        bytes.splice(to, copy);
    }
}

/// Everything between two commas, once more.
fn with_a_member_twice(bytes: &mut Vec<u8>, random: &mut Generator) {
    let near = random.below(bytes.len());
    let comma = |bytes: &[u8]| bytes.iter().position(|&byte| byte == b',');
    let Some(begin) = comma(&bytes[near..]).map(|at| near + at) else { return };
    let Some(length) = comma(&bytes[begin + 1..]) else { return };
    let member = bytes[begin..=begin + length].to_vec();
    bytes.splice(begin..begin, member);
}

fn nested(bytes: &mut Vec<u8>, random: &mut Generator) {
    let opening = ["[", "{\"a\":"][random.below(2)];
    let depth = 1 << random.below(13);
    insert(bytes, random, opening.repeat(depth).as_bytes());
}

/// The first span at or after a random place, or before it, that `find` accepts.
fn spot(
    bytes: &[u8],
    random: &mut Generator,
    find: fn(&[u8], usize) -> Option<Range<usize>>,
) -> Option<Range<usize>> {
    let near = random.below(bytes.len());
    find(bytes, near).or_else(|| find(bytes, 0))
}

fn number_at(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let begin = from + bytes.get(from..)?.iter().position(u8::is_ascii_digit)?;
    let digits = bytes[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(begin..begin + digits)
}

fn string_at(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let quote =
        |from: usize| Some(from + bytes.get(from..)?.iter().position(|&byte| byte == b'"')?);
    let begin = quote(from)?;
    Some(begin..quote(begin + 1)? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_stands_every_text() {
        let texts = ["", "{", "\"", "7", ",,", "{\"a\": 1, \"b\": [22, 3], \"c\": \"d\"}"];
        for mutation in MUTATIONS {
            for (seed, text) in texts.iter().cycle().take(600).enumerate() {
                let mut bytes = text.as_bytes().to_vec();
                mutation(&mut bytes, &mut Generator::new(seed as u64));
            }
        }
    }

    #[test]
    fn numbers_and_strings_are_found_whole() {
        assert_eq!(number_at(b"ab 120, 7", 0), Some(3..6));
        assert_eq!(number_at(b"ab 120, 7", 6), Some(8..9));
        assert_eq!(string_at(br#"{"key": "value"}"#, 2), Some(5..9));
        assert_eq!(string_at(br#"{"key": 1}"#, 0), Some(1..6));
        assert_eq!(string_at(b"\"", 0), None);
    }
}
