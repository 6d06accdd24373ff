//! What the body of a request asks for.
//!
//! Keys, defaults and ranges are OpenAI's, with vLLM's `top_k` and `min_p`. What is not done here is
//! refused by its name and not passed over.

use crate::generation::sampler::Sampling;
use llmopt_checkpoint::sha256;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Which kind of answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// How a text goes on.
    Completions,
    /// The answer to messages.
    Chat,
}

/// What one request asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) prompt: AskedPrompt,
    /// Tokens to say at most, if the request says so.
    pub(super) most: Option<usize>,
    pub(super) sampling: Sampling,
    pub(super) stop: Vec<String>,
    /// How many of the likeliest tokens are told beside each that is said.
    pub(super) logprobs: Option<usize>,
}

/// What is to go on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AskedPrompt {
    /// A text.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// A conversation.
    Messages(Vec<Value>),
}

impl Endpoint {
    pub(super) const EXPECTED: &str = "`/v1/completions` or `/v1/chat/completions`";

    pub(super) fn of(url: &str) -> Option<Self> {
        match url {
            "/v1/completions" => Some(Self::Completions),
            "/v1/chat/completions" => Some(Self::Chat),
            _ => None,
        }
    }

    fn takes(self, key: &str) -> bool {
        let own: &[&str] = match self {
            Self::Completions => &["prompt"],
            Self::Chat => &["messages", "max_completion_tokens", "top_logprobs"],
        };
        BOTH.contains(&key) || own.contains(&key)
    }
}

impl Asked {
    /// Reads a body, or says which key it is refused for.
    pub(super) fn parsed(
        endpoint: Endpoint,
        body: &Map<String, Value>,
        custom_id: &str,
    ) -> Result<Self, String> {
        if let Some(key) = body.keys().find(|key| !endpoint.takes(key)) {
            return Err(format!("`{key}` is not supported"));
        }
        let body = Body(body);
        body.refuse_modes()?;
        Ok(Self {
            prompt: match endpoint {
                Endpoint::Completions => body.prompt()?,
                Endpoint::Chat => AskedPrompt::Messages(body.messages()?),
            },
            most: match endpoint {
                Endpoint::Completions => Some(body.most("max_tokens")?.unwrap_or(USUAL_TOKENS)),
                Endpoint::Chat => match body.most("max_completion_tokens")? {
                    None => body.most("max_tokens")?,
                    most => most,
                },
            },
            sampling: body.sampling(custom_id)?,
            stop: body.stop()?,
            logprobs: match endpoint {
                Endpoint::Completions => body.integer("logprobs", 0..=MOST_LOGPROBS)?,
                Endpoint::Chat => body.chat_logprobs()?,
            }
            .map(|count| count as usize),
        })
    }
}

/// Keys and values, of which `null` is as good as none.
struct Body<'a>(&'a Map<String, Value>);

impl Body<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn refuse_modes(&self) -> Result<(), String> {
        if self.get("stream").is_some_and(|stream| *stream != Value::Bool(false)) {
            return Err("`stream` is not supported: answers are whole".to_owned());
        }
        match self.integer("n", 1..=1) {
            Err(_) => Err("`n` is not supported but for 1".to_owned()),
            Ok(_) => Ok(()),
        }
    }

    fn prompt(&self) -> Result<AskedPrompt, String> {
        let wrong = || "`prompt` is missing or neither a text nor an array of token ids".to_owned();
        match self.get("prompt") {
            Some(Value::String(text)) => Ok(AskedPrompt::Text(text.clone())),
            Some(Value::Array(ids)) => {
                let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
                let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
                ids.map(AskedPrompt::Tokens).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    fn messages(&self) -> Result<Vec<Value>, String> {
        let is_message = |message: &Value| message.get("role").is_some_and(Value::is_string);
        match self.get("messages") {
            Some(Value::Array(messages)) if messages.iter().all(is_message) => Ok(messages.clone()),
            _ => Err("`messages` is missing or no array of objects with a `role`".to_owned()),
        }
    }

    fn most(&self, key: &str) -> Result<Option<usize>, String> {
        Ok(self.integer(key, 1..=MOST_TOKENS)?.map(|most| most as usize))
    }

    fn sampling(&self, custom_id: &str) -> Result<Sampling, String> {
        let top_k = self.integer("top_k", -1..=MOST_TOKENS)?.unwrap_or(-1);
        let top_p = self.number("top_p", 0.0..=1.0)?.unwrap_or(1.0);
        if top_p == 0.0 {
            return Err("`top_p` is 0, expected a number above 0 and at most 1".to_owned());
        }
        Ok(Sampling {
            temperature: self.number("temperature", 0.0..=MOST_HEAT)?.unwrap_or(1.0),
            top_k: usize::try_from(top_k).ok().filter(|k| *k > 0),
            top_p,
            min_p: self.number("min_p", 0.0..=1.0)?.unwrap_or(0.0),
            seed: match self.integer("seed", i64::MIN..=i64::MAX)? {
                Some(seed) => seed as u64,
                None => seed_of(custom_id),
            },
        })
    }

    fn stop(&self) -> Result<Vec<String>, String> {
        let strings = match self.get("stop") {
            None => Some(Vec::new()),
            Some(Value::String(string)) => Some(vec![string.clone()]),
            Some(Value::Array(strings)) => {
                strings.iter().map(|string| string.as_str().map(str::to_owned)).collect()
            }
            Some(_) => None,
        };
        let strings = strings.filter(|strings| strings.iter().all(|string| !string.is_empty()));
        strings.ok_or_else(|| "`stop` is not a text, or an array of texts, none empty".to_owned())
    }

    fn chat_logprobs(&self) -> Result<Option<i64>, String> {
        let likeliest = self.integer("top_logprobs", 0..=MOST_LOGPROBS)?;
        match (self.get("logprobs"), likeliest) {
            (Some(Value::Bool(true)), likeliest) => Ok(Some(likeliest.unwrap_or(0))),
            (None | Some(Value::Bool(false)), None | Some(0)) => Ok(None),
            (None | Some(Value::Bool(false)), Some(_)) => {
                Err("`top_logprobs` needs `logprobs` to be true".to_owned())
            }
            (Some(_), _) => Err("`logprobs` is neither true nor false".to_owned()),
        }
    }

    fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_i64().filter(|number| range.contains(number));
        let (least, most) = range.into_inner();
        let wrong = || format!("`{key}` is {value}, expected an integer from {least} to {most}");
        number.map(Some).ok_or_else(wrong)
    }

    fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().filter(|number| range.contains(number));
        let (least, most) = range.into_inner();
        let wrong = || format!("`{key}` is {value}, expected a number from {least} to {most}");
        number.map(Some).ok_or_else(wrong)
    }
}

/// A seed for a request that gives none: another one for each request of a file, and the same one
/// wherever it stands.
fn seed_of(custom_id: &str) -> u64 {
    let hash = sha256(custom_id.as_bytes());
    hash.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// Keys of every body.
const BOTH: &[&str] = &[
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "logprobs",
    "n",
    "stream",
];

/// Of a completion that does not say how many, as OpenAI has it.
const USUAL_TOKENS: usize = 16;
/// No context is longer.
const MOST_TOKENS: i64 = 1 << 32;
/// As vLLM's `--max-logprobs`.
const MOST_LOGPROBS: i64 = 20;
/// Beyond it, what is drawn is noise.
const MOST_HEAT: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(endpoint: Endpoint, body: Value) -> Result<Asked, String> {
        Asked::parsed(endpoint, body.as_object().expect("an object"), "id")
    }

    #[test]
    fn what_is_not_said_is_as_openai_has_it() {
        let text = asked(Endpoint::Completions, json!({ "prompt": "x", "seed": null }));
        let expected = Asked {
            prompt: AskedPrompt::Text("x".to_owned()),
            most: Some(16),
            sampling: Sampling { temperature: 1.0, seed: seed_of("id"), ..Sampling::GREEDY },
            stop: Vec::new(),
            logprobs: None,
        };
        assert_eq!(text, Ok(expected.clone()));
        let message = json!({ "role": "user", "content": "x" });
        let chat = asked(Endpoint::Chat, json!({ "messages": [message] }));
        let prompt = AskedPrompt::Messages(vec![message]);
        assert_eq!(chat, Ok(Asked { prompt, most: None, ..expected }));
        assert_ne!(seed_of("a"), seed_of("b"));
    }

    #[test]
    fn what_is_said_is_taken() {
        let body = json!({
            "prompt": [1, 2], "max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "top_k": 5,
            "min_p": 0.1, "seed": -1, "stop": ["a", "b"], "logprobs": 2, "n": 1, "stream": false,
            "model": "m",
        });
        let expected = Asked {
            prompt: AskedPrompt::Tokens(vec![1, 2]),
            most: Some(3),
            sampling: Sampling {
                temperature: 0.5,
                top_k: Some(5),
                top_p: 0.9,
                min_p: 0.1,
                seed: u64::MAX,
            },
            stop: vec!["a".to_owned(), "b".to_owned()],
            logprobs: Some(2),
        };
        assert_eq!(asked(Endpoint::Completions, body), Ok(expected));
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        let check = |endpoint, key: &str, value: Value, expected: &str| {
            let mut body = match endpoint {
                Endpoint::Completions => json!({ "prompt": "x" }),
                Endpoint::Chat => json!({ "messages": [{ "role": "user" }] }),
            };
            body[key] = value;
            assert_eq!(asked(endpoint, body), Err(expected.to_owned()));
        };
        let text = Endpoint::Completions;
        check(text, "echo", json!(false), "`echo` is not supported");
        check(text, "messages", json!([]), "`messages` is not supported");
        check(text, "n", json!(2), "`n` is not supported but for 1");
        check(text, "stream", json!(true), "`stream` is not supported: answers are whole");
        check(
            text,
            "prompt",
            json!(["a", "b"]),
            "`prompt` is missing or neither a text nor an array of token ids",
        );
        check(text, "top_p", json!(0), "`top_p` is 0, expected a number above 0 and at most 1");
        check(text, "top_p", json!(1.5), "`top_p` is 1.5, expected a number from 0 to 1");
        check(
            text,
            "max_tokens",
            json!(0),
            "`max_tokens` is 0, expected an integer from 1 to 4294967296",
        );
        check(text, "logprobs", json!(21), "`logprobs` is 21, expected an integer from 0 to 20");
        check(
            text,
            "stop",
            json!(["a", ""]),
            "`stop` is not a text, or an array of texts, none empty",
        );
        let chat = Endpoint::Chat;
        check(chat, "tools", json!([]), "`tools` is not supported");
        check(chat, "logprobs", json!(2), "`logprobs` is neither true nor false");
        check(chat, "top_logprobs", json!(2), "`top_logprobs` needs `logprobs` to be true");
    }
}
