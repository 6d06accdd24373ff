//! Which tokens begin and end a text.

use crate::tokenizer::Tokenizer;
use serde_json::Value;

/// The files that say what the special tokens are.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpecialSources<'a> {
    /// `tokenizer_config.json`: it names them.
    pub tokenizer_config: Option<&'a Value>,
    /// `generation_config.json`: it has their ids.
    pub generation_config: Option<&'a Value>,
    /// `config.json`: it has their ids, maybe in its `text_config`.
    pub config: Option<&'a Value>,
}

/// The tokens that begin and end a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// What the tokenizer begins a text with, else what the model does.
    pub bos: Option<u32>,
    /// What the tokenizer ends a text with, else what the model does.
    pub eos: Option<u32>,
    /// At which ids generation stops: those of the model, else that of the tokenizer.
    pub stops: Vec<u32>,
}

impl SpecialTokens {
    /// Looks them up. A name that is not in the vocabulary has no id.
    pub fn resolve(tokenizer: &Tokenizer, sources: SpecialSources<'_>) -> Self {
        let named = |key| {
            let name = token_text(sources.tokenizer_config?.get(key)?)?;
            tokenizer.id_of(name)
        };
        let (bos_ids, stops) = (sources.ids("bos_token_id"), sources.ids("eos_token_id"));
        let bos = named("bos_token").or_else(|| bos_ids.first().copied());
        let eos = named("eos_token").or_else(|| stops.first().copied());
        let stops = if stops.is_empty() { eos.into_iter().collect() } else { stops };
        Self { bos, eos, stops }
    }

    /// What stands before a text that would else have no first token: BOS, or else EOS.
    pub fn prefix(&self) -> Option<u32> {
        self.bos.or(self.eos)
    }
}

impl SpecialSources<'_> {
    fn ids(&self, key: &str) -> Vec<u32> {
        let text_config = self.config.and_then(|config| config.get("text_config"));
        let places = [self.generation_config, self.config, text_config];
        let found = places.into_iter().flatten().map(|place| ids_of(place.get(key)));
        found.into_iter().find(|ids| !ids.is_empty()).unwrap_or_default()
    }
}

/// One id, or a list of them.
fn ids_of(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(values)) => values.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The text of a special token: itself, or the `content` of an object.
pub(crate) fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tests::tiny_llama;
    use serde_json::json;

    fn check(tokenizer_config: Value, generation: Value, config: Value, expected: SpecialTokens) {
        let sources = SpecialSources {
            tokenizer_config: Some(&tokenizer_config),
            generation_config: Some(&generation),
            config: Some(&config),
        };
        assert_eq!(SpecialTokens::resolve(&tiny_llama(), sources), expected);
    }

    #[test]
    fn names_come_before_ids() {
        let expected = SpecialTokens { bos: Some(0), eos: Some(0), stops: vec![7, 8] };
        let named =
            json!({"bos_token": "<|endoftext|>", "eos_token": {"content": "<|endoftext|>"}});
        check(named, json!({"eos_token_id": [7, 8]}), json!({"bos_token_id": 3}), expected);
    }

    #[test]
    fn ids_serve_where_names_do_not() {
        let expected = SpecialTokens { bos: Some(3), eos: Some(4), stops: vec![4] };
        let named = json!({"bos_token": null, "eos_token": "<absent>"});
        let config = json!({"text_config": {"bos_token_id": 3, "eos_token_id": 4}});
        check(named, json!({}), config, expected);
    }

    #[test]
    fn nothing_known_is_nothing() {
        let odd = json!({"bos_token_id": -1, "eos_token_id": "2"});
        check(json!([]), odd, json!(null), SpecialTokens::default());
    }
}
