//! `config.json` as an ordered document: what is not changed keeps its place and its spelling.

use crate::error::{brief, quoted};
use crate::json::parse_json;
use serde_json::{Map, Value};

/// A parsed `config.json`. Places in it are named by dotted paths: `text_config.hidden_size`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    root: Map<String, Value>,
}

impl Config {
    /// Reads a file's bytes.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        if json.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLong { bytes: json.len() });
        }
        // Every value but the first follows one of these; counted before any is allocated.
        if json.iter().filter(|byte| b",[{".contains(byte)).count() > MAX_VALUES {
            return Err(ConfigError::TooManyValues);
        }
        let text = std::str::from_utf8(json)
            .map_err(|error| ConfigError::NotUtf8 { at: error.valid_up_to() })?;
        match parse_json(text) {
            Ok(Value::Object(root)) => Ok(Self { root }),
            Ok(other) => Err(ConfigError::NoObject { found: kind(&other) }),
            Err(error) => Err(ConfigError::Json { message: brief(&error.to_string()) }),
        }
    }

    /// The whole document.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.root
    }

    /// The value at `path`, if there is one.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut keys = path.split('.');
        let first = self.root.get(keys.next()?)?;
        keys.try_fold(first, |value, key| value.as_object()?.get(key))
    }

    /// The whole number at `path`; `None` where nothing or `null` is.
    pub fn usize_at(&self, path: &str) -> Result<Option<usize>, ConfigError> {
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        self.typed(path, "a whole number", number)
    }

    /// The string at `path`; `None` where nothing or `null` is.
    pub fn str_at(&self, path: &str) -> Result<Option<&str>, ConfigError> {
        self.typed(path, "a string", Value::as_str)
    }

    /// The truth value at `path`; `None` where nothing or `null` is.
    pub fn bool_at(&self, path: &str) -> Result<Option<bool>, ConfigError> {
        self.typed(path, "true or false", Value::as_bool)
    }

    fn typed<'a, T>(
        &'a self,
        path: &str,
        expected: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(path) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(read) => Ok(Some(read)),
                None => Err(ConfigError::Type {
                    path: path.to_owned(),
                    expected,
                    found: brief(&value.to_string()),
                }),
            },
        }
    }

    /// Puts `value` at `path`: in the place of what is there, or after everything else. Objects on
    /// the way are made where there is nothing.
    pub fn set(&mut self, path: &str, value: Value) -> Result<(), ConfigError> {
        let (parents, key) = path.rsplit_once('.').unzip();
        let key = key.unwrap_or(path);
        let mut map = &mut self.root;
        for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
            let next = map.entry(parent).or_insert_with(|| Value::Object(Map::new()));
            let found = kind(next);
            map = next.as_object_mut().ok_or_else(|| ConfigError::Type {
                path: parent.to_owned(),
                expected: "an object",
                found: found.to_owned(),
            })?;
        }
        map.insert(key.to_owned(), value);
        Ok(())
    }

    /// Takes the value at `path` out. The others stay in their order.
    pub fn remove(&mut self, path: &str) -> Option<Value> {
        let Some((parents, key)) = path.rsplit_once('.') else {
            return self.root.shift_remove(path);
        };
        let mut keys = parents.split('.');
        let first = self.root.get_mut(keys.next()?)?;
        let parent = keys.try_fold(first, |value, key| value.as_object_mut()?.get_mut(key))?;
        parent.as_object_mut()?.shift_remove(key)
    }

    /// The document as Hugging Face's libraries write it: two spaces, and a line break at the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{:#}\n", Value::Object(self.root.clone())).into_bytes()
    }
}

/// Why a config is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum ConfigError {
    #[error("the config has {bytes} bytes, and at most {MAX_CONFIG_BYTES} are allowed")]
    TooLong { bytes: usize },
    #[error("the config holds more than {MAX_VALUES} values")]
    TooManyValues,
    #[error("the config is not UTF-8 from its byte {at} on")]
    NotUtf8 { at: usize },
    #[error("the config is not valid JSON: {message}")]
    Json { message: String },
    #[error("the config is {found}, expected an object")]
    NoObject { found: &'static str },
    #[error("{} in the config is `{found}`, expected {expected}", quoted(.path))]
    Type { path: String, expected: &'static str, found: String },
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Far above the longest real ones, which list every layer for a quantizer.
pub(crate) const MAX_CONFIG_BYTES: usize = 16 << 20;

/// In memory a value takes many times what it takes in the file.
const MAX_VALUES: usize = 1 << 19;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SAMPLE: &str = r#"{
  "model_type": "llama",
  "rms_norm_eps": 1e-05,
  "rope_theta": 1000000.0,
  "big": 123456789012345678901234567890,
  "eos_token_id": [
    1,
    2
  ],
  "quantization_config": null,
  "text_config": {
    "hidden_size": 128,
    "tie": true
  },
  "empty": {}
}
"#;

    fn sample() -> Config {
        Config::parse(SAMPLE.as_bytes()).unwrap()
    }

    /// Real models ship it: an unlimited time step, an infinite clamp.
    #[test]
    fn numbers_that_are_not_finite_are_written_as_they_were() {
        let json = "{\n  \"limit\": [\n    0.0,\n    Infinity\n  ],\n  \"low\": -Infinity,\n  \"text\": \"NaN\"\n}\n";
        let config = Config::parse(json.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(config.to_bytes()).unwrap(), json);
        assert!(config.usize_at("low").is_err());
    }

    #[test]
    fn an_unchanged_config_keeps_order_and_number_spelling() {
        assert_eq!(String::from_utf8(sample().to_bytes()).unwrap(), SAMPLE);
    }

    #[test]
    fn a_replaced_value_keeps_its_place_and_a_new_one_goes_last() {
        let mut config = sample();
        config.set("text_config.hidden_size", json!(64)).unwrap();
        config.set("text_config.new", json!(1)).unwrap();
        config.set("a.b", json!("c")).unwrap();
        assert_eq!(config.remove("rope_theta"), Some(serde_json::from_str("1000000.0").unwrap()));
        assert_eq!(config.remove("text_config.tie"), Some(json!(true)));
        assert_eq!(config.remove("text_config.tie"), None);
        assert_eq!(config.remove("model_type.x"), None);
        let expected = SAMPLE
            .replace("  \"rope_theta\": 1000000.0,\n", "")
            .replace(
                "\"hidden_size\": 128,\n    \"tie\": true",
                "\"hidden_size\": 64,\n    \"new\": 1",
            )
            .replace("\"empty\": {}\n", "\"empty\": {},\n  \"a\": {\n    \"b\": \"c\"\n  }\n");
        assert_eq!(String::from_utf8(config.to_bytes()).unwrap(), expected);
        assert_eq!(
            config.set("model_type.x", json!(1)).unwrap_err().to_string(),
            "`model_type` in the config is `a string`, expected an object"
        );
    }

    #[test]
    fn typed_reads_say_key_expected_and_found() {
        let config = sample();
        assert_eq!(config.usize_at("text_config.hidden_size"), Ok(Some(128)));
        assert_eq!(config.bool_at("text_config.tie"), Ok(Some(true)));
        assert_eq!(config.str_at("model_type"), Ok(Some("llama")));
        assert_eq!(config.str_at("quantization_config"), Ok(None));
        assert_eq!(config.str_at("text_config.nothing.here"), Ok(None));
        let check = |found: Result<(), ConfigError>, expected| {
            assert_eq!(found.map_err(|error| error.to_string()), Err(String::from(expected)));
        };
        let whole = |path| config.usize_at(path).map(drop);
        check(
            whole("model_type"),
            "`model_type` in the config is `\"llama\"`, expected a whole number",
        );
        check(
            whole("rope_theta"),
            "`rope_theta` in the config is `1000000.0`, expected a whole number",
        );
        check(
            whole("big"),
            "`big` in the config is `123456789012345678901234567890`, expected a whole number",
        );
        check(
            config.bool_at("eos_token_id").map(drop),
            "`eos_token_id` in the config is `[1,2]`, expected true or false",
        );
        check(config.str_at("empty").map(drop), "`empty` in the config is `{}`, expected a string");
    }

    #[test]
    fn every_other_document_is_refused() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(Config::parse(bytes).unwrap_err().to_string(), expected);
        };
        check(b"[1]", "the config is a list, expected an object");
        check(b"", "the config is not valid JSON: EOF while parsing a value at line 1 column 0");
        check(
            b"{\"a\":1",
            "the config is not valid JSON: EOF while parsing an object at line 1 column 6",
        );
        check(b"{\"\xfe\":1}", "the config is not UTF-8 from its byte 2 on");
        check(
            &vec![b' '; MAX_CONFIG_BYTES + 1],
            "the config has 16777217 bytes, and at most 16777216 are allowed",
        );
        check(&[b','; MAX_VALUES + 1], "the config holds more than 524288 values");
        let deep = format!("{{\"a\":{}", "[".repeat(1000));
        check(
            deep.as_bytes(),
            "the config is not valid JSON: recursion limit exceeded at line 1 column 132",
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(
            at in 0usize..SAMPLE.len(), byte: u8, cut in 0usize..SAMPLE.len() + 8, tail: Vec<u8>
        ) {
            let mut json = SAMPLE.as_bytes().to_vec();
            json[at] = byte;
            json.truncate(cut);
            json.extend(tail);
            if let Ok(config) = Config::parse(&json) {
                prop_assert_eq!(Config::parse(&config.to_bytes()).unwrap(), config);
            }
        }
    }
}
