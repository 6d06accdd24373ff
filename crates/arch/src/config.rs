//! Reading values of a `config.json`, where `null` is the same as absent.

use crate::BindError;
use serde_json::{Map, Value};

/// A config to look into, by keys with dots: `text_config.hidden_size`.
#[derive(Clone, Copy)]
pub(crate) struct ConfigView<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> ConfigView<'a> {
    pub(crate) fn get(self, key: &str) -> Option<&'a Value> {
        let mut parts = key.split('.');
        let first = self.0.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part)).filter(|value| !value.is_null())
    }

    /// A size: a whole number of at least one.
    pub(crate) fn size(self, key: &str) -> Result<Option<usize>, BindError> {
        self.read(key, "a whole number of at least 1", |value| {
            whole(value).filter(|&size| size > 0)
        })
    }

    /// A whole number, which may be zero.
    pub(crate) fn whole(self, key: &str) -> Result<Option<usize>, BindError> {
        self.read(key, "a whole number", whole)
    }

    /// A finite number.
    pub(crate) fn number(self, key: &str) -> Result<Option<f64>, BindError> {
        self.read(key, "a number", |value| value.as_f64().filter(|number| number.is_finite()))
    }

    /// A list of finite numbers.
    pub(crate) fn numbers(self, key: &str) -> Result<Option<Vec<f64>>, BindError> {
        let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
        self.read(key, "a list of numbers", |value| value.as_array()?.iter().map(number).collect())
    }

    /// Whether the key is there and says `null`, where that means something else than its absence.
    pub(crate) fn is_null(self, key: &str) -> bool {
        let parts = key.rsplit_once('.');
        let (place, last) = match parts {
            Some((path, last)) => (self.get(path).and_then(Value::as_object), last),
            None => (Some(self.0), key),
        };
        place.and_then(|place| place.get(last)).is_some_and(Value::is_null)
    }

    pub(crate) fn flag(self, key: &str) -> Result<Option<bool>, BindError> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(crate) fn text(self, key: &str) -> Result<Option<&'a str>, BindError> {
        self.read(key, "a string", Value::as_str)
    }

    /// Whole numbers; an absent list is empty.
    pub(crate) fn indices(self, key: &str) -> Result<Vec<u64>, BindError> {
        let list = self.read(key, "a list of whole numbers", |value| {
            value.as_array()?.iter().map(Value::as_u64).collect()
        })?;
        Ok(list.unwrap_or_default())
    }

    /// Strings; an absent list is empty.
    pub(crate) fn texts(self, key: &str) -> Result<Vec<&'a str>, BindError> {
        let list = self.read(key, "a list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })?;
        Ok(list.unwrap_or_default())
    }

    fn read<T>(
        self,
        key: &str,
        expected: &'static str,
        parsed: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, BindError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        parsed(value).map(Some).ok_or_else(|| self.wrong(key, expected))
    }

    /// The error that says what stands at `key` in place of what is expected.
    pub(crate) fn wrong(self, key: &str, expected: &'static str) -> BindError {
        BindError::Config { key: key.into(), found: self.shown(key), expected }
    }

    /// What stands at `key`.
    pub(crate) fn shown(self, key: &str) -> String {
        self.get(key).map_or_else(|| "null".to_owned(), shown)
    }
}

fn whole(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

/// The value as JSON, cut where a message would become unreadable.
pub(crate) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(
        json: &str,
        read: impl for<'a> Fn(ConfigView<'a>) -> Result<T, BindError>,
        expected: Result<T, &str>,
    ) {
        let config: Map<String, Value> = serde_json::from_str(json).unwrap();
        let found = read(ConfigView(&config)).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{json}");
    }

    #[test]
    fn sizes_are_whole_and_not_zero() {
        let size = |config: ConfigView<'_>| config.size("a.b");
        check(r#"{"a": {"b": 3}}"#, size, Ok(Some(3)));
        check(r#"{"a": {"b": null}}"#, size, Ok(None));
        check(r#"{"a": 3}"#, size, Ok(None));
        check(r#"{}"#, size, Ok(None));
        for wrong in ["0", "-1", "2.5", "1e+3", "\"3\"", "[3]", "99999999999999999999"] {
            let message =
                format!("`a.b` in `config.json` is {wrong}, expected a whole number of at least 1");
            check(&format!(r#"{{"a": {{"b": {wrong}}}}}"#), size, Err(&message));
        }
    }

    #[test]
    fn lists_and_flags_are_typed() {
        check("{}", |config| config.indices("l"), Ok(vec![]));
        check(r#"{"l": [1, 7]}"#, |config| config.indices("l"), Ok(vec![1, 7]));
        let message = "`l` in `config.json` is [-1], expected a list of whole numbers";
        check(r#"{"l": [-1]}"#, |config| config.indices("l"), Err(message));
        let message = "`f` in `config.json` is 1, expected true or false";
        check(r#"{"f": 1}"#, |config| config.flag("f"), Err(message));
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let text = shown(&Value::from("ä".repeat(100)));
        assert_eq!(text, format!("\"{}...", "ä".repeat(59)));
    }
}
