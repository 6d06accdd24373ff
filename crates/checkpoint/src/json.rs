//! JSON as Python writes it: `NaN`, `Infinity` and `-Infinity` are numbers, too.

use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

/// Parses JSON in which the three may stand where a number may. They are kept as numbers whose text they
/// are: written again they look as they did, and no finite value is read from them.
///
/// # Errors
/// The text is no such JSON.
pub fn parse_json(text: &str) -> Result<Value, serde_json::Error> {
    let first = match serde_json::from_str(text) {
        Err(error) if WORDS.iter().any(|word| text.contains(word)) => error,
        parsed => return parsed,
    };
    let mark = unused_mark(text);
    let Ok(mut value) = serde_json::from_str(&with_marks(text, &mark)) else { return Err(first) };
    if restore(&mut value, &mark) { Ok(value) } else { Err(first) }
}

/// As [`parse_json`], for a type that looks at no number: the three are strings to it, which no file is
/// called.
pub(crate) fn from_python<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match WORDS.iter().any(|word| text.contains(word)) {
        true => serde_json::from_str(&with_marks(text, &unused_mark(text))).map_err(|_| error),
        false => Err(error),
    })
}

/// `text` with each of the words as a string that begins with `mark`.
fn with_marks(text: &str, mark: &str) -> String {
    let mut marked = String::with_capacity(text.len() + 64);
    let (mut rest, mut in_string) = (text, false);
    while let Some(c) = rest.chars().next() {
        let word = WORDS.iter().find(|word| !in_string && rest.starts_with(**word));
        let taken = match (word, in_string, c) {
            (Some(word), ..) => {
                marked.push_str(&format!("\"{mark}{word}\""));
                rest = &rest[word.len()..];
                continue;
            }
            // A quote behind a backslash ends nothing.
            (None, true, '\\') => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, _, '"') => {
                in_string = !in_string;
                1
            }
            _ => c.len_utf8(),
        };
        marked.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    marked
}

/// Makes numbers of the marked strings; false if one of them stands where no number may.
fn restore(value: &mut Value, mark: &str) -> bool {
    match value {
        Value::String(text) => {
            if let Some(word) = text.strip_prefix(mark) {
                *value = Value::Number(Number::from_string_unchecked(word.to_owned()));
            }
            true
        }
        Value::Array(values) => values.iter_mut().all(|value| restore(value, mark)),
        Value::Object(fields) => {
            fields.iter_mut().all(|(key, value)| !key.starts_with(mark) && restore(value, mark))
        }
        _ => true,
    }
}

/// What no string of `text` begins with.
fn unused_mark(text: &str) -> String {
    let marks = (0_u64..).map(|number| format!("non-finite {number} "));
    marks.into_iter().find(|mark| !text.contains(mark.as_str())).unwrap_or_default()
}

/// The longer one first: the other is its end.
const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are what Python's `json.dumps(json.loads(text))` gives.
    #[test]
    fn words_for_what_is_not_finite_are_numbers_and_stay_what_they_are() {
        let check = |text: &str| assert_eq!(parse_json(text).unwrap().to_string(), text);
        check(r#"{"a":Infinity,"b":[-Infinity,NaN],"c":{"d":NaN}}"#);
        check("NaN");
        check(r#"{"a":"NaN","b":"Infinity, -Infinity","c":NaN}"#);
        check(r#"{"a":"\\","b":NaN}"#);
        check(r#"{"a\"NaN":"é\\\"NaN","b":NaN}"#);
        check(r#"{"a":"non-finite 0 NaN","b":NaN}"#);
        check(r#"{"a":1.0,"b":1e-05}"#);
        assert!(parse_json("NaN").unwrap().is_number());
        assert_eq!(parse_json("Infinity").unwrap().as_f64(), None);
    }

    #[test]
    fn nothing_else_is_taken_in() {
        for text in
            ["nan", "inf", "+Infinity", "NaN1", "1NaN", "{NaN:1}", "[NaN", "--Infinity", "\"NaN"]
        {
            assert!(parse_json(text).is_err(), "{text}");
        }
    }
}
