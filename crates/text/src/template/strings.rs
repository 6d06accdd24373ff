//! The methods of Python's `str`.
//!
//! Places in a text are counted in characters. Letters and digits are those of Unicode as Rust knows
//! them, which differs from Python's for a few rare scripts.

use crate::choice::is_python_space;
use minijinja::value::{Kwargs, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind};

/// Calls a method; `None` if it is not one of those here.
pub(super) fn method(text: &str, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
    let call = Call { text, arguments };
    Some(match name {
        "strip" => call.strip(true, true),
        "lstrip" => call.strip(true, false),
        "rstrip" => call.strip(false, true),
        "split" => call.split(false),
        "rsplit" => call.split(true),
        "splitlines" => call.lines(),
        "partition" => call.partition(false),
        "rpartition" => call.partition(true),
        "removeprefix" => call.removed(false),
        "removesuffix" => call.removed(true),
        "startswith" => call.meets(|text, part| text.starts_with(part)),
        "endswith" => call.meets(|text, part| text.ends_with(part)),
        "find" => call.place(false).map(|place| Value::from(place.unwrap_or(-1))),
        "rfind" => call.place(true).map(|place| Value::from(place.unwrap_or(-1))),
        "index" => call.place(false).and_then(found),
        "rindex" => call.place(true).and_then(found),
        "count" => call.count(),
        "isspace" => call.all(is_python_space),
        "isalpha" => call.all(char::is_alphabetic),
        "isdigit" | "isnumeric" | "isdecimal" => call.all(char::is_numeric),
        "isalnum" => call.all(char::is_alphanumeric),
        "islower" => call.cased(char::is_lowercase, char::is_uppercase),
        "isupper" => call.cased(char::is_uppercase, char::is_lowercase),
        "casefold" => call.changed(str::to_lowercase),
        "swapcase" => call.changed(|text| text.chars().flat_map(swapped).collect()),
        "zfill" => call.zeros(),
        _ => return None,
    })
}

/// A text without the blanks, or given characters, at its ends.
pub(super) fn stripped(text: &str, characters: Option<&str>, start: bool, end: bool) -> String {
    let goes = |character: char| match characters {
        Some(characters) => characters.contains(character),
        None => is_python_space(character),
    };
    let text = if start { text.trim_start_matches(goes) } else { text };
    if end { text.trim_end_matches(goes) } else { text }.to_owned()
}

struct Call<'a> {
    text: &'a str,
    arguments: &'a [Value],
}

impl<'a> Call<'a> {
    fn strip(&self, start: bool, end: bool) -> Result<Value, Error> {
        let (characters,): (Option<&str>,) = from_args(self.arguments)?;
        Ok(Value::from(stripped(self.text, characters, start, end)))
    }

    fn split(&self, from_end: bool) -> Result<Value, Error> {
        let (separator, limit, options): (Option<&str>, Option<i64>, Kwargs) =
            from_args(self.arguments)?;
        let separator = separator.or(options.get("sep")?);
        let limit = limit.or(options.get("maxsplit")?).unwrap_or(-1);
        options.assert_all_used()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let parts: Vec<&str> = match (separator, from_end) {
            (Some(""), _) => return wrong("the separator is empty"),
            (Some(separator), false) => {
                self.text.splitn(limit.saturating_add(1), separator).collect()
            }
            (Some(separator), true) => {
                let mut parts: Vec<&str> =
                    self.text.rsplitn(limit.saturating_add(1), separator).collect();
                parts.reverse();
                parts
            }
            (None, false) => words(self.text, limit),
            (None, true) => words_from_end(self.text, limit),
        };
        Ok(list(parts))
    }

    fn lines(&self) -> Result<Value, Error> {
        let (keep, options): (Option<bool>, Kwargs) = from_args(self.arguments)?;
        let keep = keep.or(options.get("keepends")?).unwrap_or(false);
        options.assert_all_used()?;
        let mut lines = Vec::new();
        let mut rest = self.text;
        while let Some(at) = rest.find(ends_line) {
            let end = match &rest[at..] {
                after if after.starts_with("\r\n") => at + 2,
                after => at + after.chars().next().map_or(0, char::len_utf8),
            };
            lines.push(&rest[..if keep { end } else { at }]);
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            lines.push(rest);
        }
        Ok(list(lines))
    }

    fn partition(&self, from_end: bool) -> Result<Value, Error> {
        let (separator,): (&str,) = from_args(self.arguments)?;
        if separator.is_empty() {
            return wrong("the separator is empty");
        }
        let parts = match from_end {
            true => self.text.rsplit_once(separator),
            false => self.text.split_once(separator),
        };
        Ok(list(match (parts, from_end) {
            (Some((before, after)), _) => vec![before, separator, after],
            (None, true) => vec!["", "", self.text],
            (None, false) => vec![self.text, "", ""],
        }))
    }

    fn removed(&self, from_end: bool) -> Result<Value, Error> {
        let (part,): (&str,) = from_args(self.arguments)?;
        let rest = match from_end {
            true => self.text.strip_suffix(part),
            false => self.text.strip_prefix(part),
        };
        Ok(Value::from(rest.unwrap_or(self.text)))
    }

    /// One text, or a list of which one must do.
    fn meets(&self, meets: impl Fn(&str, &str) -> bool) -> Result<Value, Error> {
        let (part,): (&Value,) = from_args(self.arguments)?;
        if let Some(part) = part.as_str() {
            return Ok(Value::from(meets(self.text, part)));
        }
        if !matches!(part.kind(), ValueKind::Seq | ValueKind::Iterable) {
            return wrong("a text or a list of texts is expected");
        }
        let any = part.try_iter()?.any(|part| part.as_str().is_some_and(|p| meets(self.text, p)));
        Ok(Value::from(any))
    }

    fn place(&self, from_end: bool) -> Result<Option<i64>, Error> {
        let (part, start, end): (&str, Option<i64>, Option<i64>) = from_args(self.arguments)?;
        let (skipped, within) = self.within(start, end);
        let place = if from_end { within.rfind(part) } else { within.find(part) };
        let place = place.map(|at| skipped + within[..at].chars().count());
        Ok(place.and_then(|place| i64::try_from(place).ok()))
    }

    fn count(&self) -> Result<Value, Error> {
        let (part, start, end): (&str, Option<i64>, Option<i64>) = from_args(self.arguments)?;
        Ok(Value::from(self.within(start, end).1.matches(part).count()))
    }

    /// The characters from `start` to `end`, and how many are before them.
    fn within(&self, start: Option<i64>, end: Option<i64>) -> (usize, &'a str) {
        let count = self.text.chars().count();
        let place = |place: i64| match usize::try_from(place) {
            Ok(place) => place.min(count),
            Err(_) => count.saturating_sub(usize::try_from(place.unsigned_abs()).unwrap_or(count)),
        };
        let start = start.map_or(0, place);
        let end = end.map_or(count, place).max(start);
        let byte = |place| self.text.char_indices().nth(place).map_or(self.text.len(), |at| at.0);
        (start, &self.text[byte(start)..byte(end)])
    }

    fn all(&self, holds: impl Fn(char) -> bool) -> Result<Value, Error> {
        let () = from_args(self.arguments)?;
        Ok(Value::from(!self.text.is_empty() && self.text.chars().all(holds)))
    }

    /// Characters without case do not count.
    fn cased(
        &self,
        wanted: impl Fn(char) -> bool,
        other: impl Fn(char) -> bool,
    ) -> Result<Value, Error> {
        let () = from_args(self.arguments)?;
        Ok(Value::from(self.text.chars().any(wanted) && !self.text.chars().any(other)))
    }

    fn changed(&self, change: impl Fn(&str) -> String) -> Result<Value, Error> {
        let () = from_args(self.arguments)?;
        Ok(Value::from(change(self.text)))
    }

    fn zeros(&self) -> Result<Value, Error> {
        let (width,): (u16,) = from_args(self.arguments)?;
        let missing = usize::from(width).saturating_sub(self.text.chars().count());
        let digits = self.text.trim_start_matches(['+', '-']);
        let sign = match self.text.len() - digits.len() {
            1 => &self.text[..1],
            _ => "",
        };
        Ok(Value::from(format!("{sign}{}{}", "0".repeat(missing), &self.text[sign.len()..])))
    }
}

fn list(parts: Vec<&str>) -> Value {
    parts.into_iter().collect()
}

fn found(place: Option<i64>) -> Result<Value, Error> {
    match place {
        Some(place) => Ok(Value::from(place)),
        None => wrong("the text is not inside"),
    }
}

fn wrong<T>(why: &'static str) -> Result<T, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, why))
}

/// Splits at runs of blanks, so many times from the start.
fn words(text: &str, limit: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_python_space);
    while words.len() < limit
        && let Some(at) = rest.find(is_python_space)
    {
        words.push(&rest[..at]);
        rest = rest[at..].trim_start_matches(is_python_space);
    }
    if !rest.is_empty() {
        words.push(rest);
    }
    words
}

fn words_from_end(text: &str, limit: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_end_matches(is_python_space);
    while words.len() < limit
        && let Some((at, blank)) = rest.char_indices().rfind(|(_, c)| is_python_space(*c))
    {
        words.push(&rest[at + blank.len_utf8()..]);
        rest = rest[..at].trim_end_matches(is_python_space);
    }
    if !rest.is_empty() {
        words.push(rest);
    }
    words.reverse();
    words
}

fn swapped(character: char) -> Vec<char> {
    match character.is_uppercase() {
        true => character.to_lowercase().collect(),
        false => character.to_uppercase().collect(),
    }
}

/// What `str.splitlines` takes for the end of a line.
fn ends_line(character: char) -> bool {
    matches!(character, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}
