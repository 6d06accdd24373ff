//! The lines of the output.
//!
//! Nothing in them tells when or where they were made: ids follow from the request's own, and `created`
//! is 0.

use super::body::Endpoint;
use super::line::Line;
use crate::generation::logprobs::{Logprob, TokenLogprobs};
use crate::generation::sequence::Spoken;
use llmopt_checkpoint::sha256;
use serde_json::{Map, Value, json};

/// Makes lines of what was said.
pub(super) struct Responses {
    /// Of each request: its id, what it calls the model, and what it wants.
    requests: Vec<(String, String, Endpoint)>,
}

impl Responses {
    /// The model is called `name` where a request does not call it anything.
    pub(super) fn new(lines: &[Line], name: String) -> Self {
        let request = |line: &Line| {
            let model = line.model.as_ref().unwrap_or(&name);
            (line.custom_id.clone(), model.clone(), line.endpoint)
        };
        Self { requests: lines.iter().map(request).collect() }
    }

    /// A request's answer.
    pub(super) fn answered(&self, number: usize, spoken: &Spoken) -> String {
        let (id, model, endpoint) = &self.requests[number];
        let hash = short_hash(id);
        let (prefix, object, choice) = match endpoint {
            Endpoint::Completions => ("cmpl", "text_completion", completion(spoken)),
            Endpoint::Chat => ("chatcmpl", "chat.completion", message(spoken)),
        };
        let (prompt, said) = (spoken.prompt_tokens.len(), spoken.tokens.len());
        let body = json!({
            "id": format!("{prefix}-{hash}"),
            "object": object,
            "created": 0,
            "model": model,
            "choices": [choice],
            "usage": {
                "prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said,
            },
        });
        line(id, 200, body, Value::Null)
    }

    /// Why a request has no answer.
    pub(super) fn refused(&self, number: usize, why: &str) -> String {
        let error = json!({ "code": "invalid_request", "message": why });
        line(&self.requests[number].0, 400, Value::Null, error)
    }
}

fn line(id: &str, status: u16, body: Value, error: Value) -> String {
    let hash = short_hash(id);
    let line = json!({
        "id": format!("batch_req_{hash}"),
        "custom_id": id,
        "response": {
            "status_code": status, "request_id": format!("req_{hash}"), "body": body,
        },
        "error": error,
    });
    line.to_string()
}

fn completion(spoken: &Spoken) -> Value {
    json!({
        "index": 0,
        "text": spoken.text,
        "logprobs": told(spoken, completion_logprobs),
        "finish_reason": finish_reason(spoken),
    })
}

fn message(spoken: &Spoken) -> Value {
    let logprobs = |logprobs: &[TokenLogprobs]| {
        let token = |of: &TokenLogprobs| {
            let mut token = logprob(&of.said);
            token["top_logprobs"] = of.likeliest.iter().map(logprob).collect();
            token
        };
        json!({ "content": logprobs.iter().map(token).collect::<Vec<_>>() })
    };
    json!({
        "index": 0,
        "message": { "role": "assistant", "content": spoken.text },
        "logprobs": told(spoken, logprobs),
        "finish_reason": finish_reason(spoken),
    })
}

fn told(spoken: &Spoken, told: impl FnOnce(&[TokenLogprobs]) -> Value) -> Value {
    spoken.logprobs.as_deref().map_or(Value::Null, told)
}

fn finish_reason(spoken: &Spoken) -> &'static str {
    if spoken.ended { "stop" } else { "length" }
}

/// Offsets count characters from the beginning of the text.
fn completion_logprobs(logprobs: &[TokenLogprobs]) -> Value {
    let mut end = 0;
    let offsets = logprobs.iter().map(|of| {
        let begin = end;
        end += of.said.text.chars().count();
        begin
    });
    json!({
        "text_offset": offsets.collect::<Vec<_>>(),
        "token_logprobs": logprobs.iter().map(|of| of.said.logprob).collect::<Vec<_>>(),
        "tokens": logprobs.iter().map(|of| of.said.text.as_str()).collect::<Vec<_>>(),
        "top_logprobs": logprobs.iter().map(likeliest).collect::<Vec<_>>(),
    })
}

/// By text: of two tokens that add the same text, the likelier one. The token that was said is always
/// among them.
fn likeliest(of: &TokenLogprobs) -> Value {
    let mut by_text = Map::new();
    for token in of.likeliest.iter().chain([&of.said]) {
        by_text.entry(token.text.clone()).or_insert_with(|| json!(token.logprob));
    }
    Value::Object(by_text)
}

/// A token whose text is only a part of a character has no bytes of its own here.
fn logprob(token: &Logprob) -> Value {
    let is_part = token.text.contains(char::REPLACEMENT_CHARACTER);
    let bytes = if is_part { Value::Null } else { json!(token.text.as_bytes()) };
    json!({ "token": token.text, "logprob": token.logprob, "bytes": bytes })
}

fn short_hash(id: &str) -> String {
    sha256(id.as_bytes()).chars().take(ID_DIGITS).collect()
}

const ID_DIGITS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::requests::line::parsed;

    fn responses(url: &str) -> Responses {
        let line = format!(r#"{{"custom_id":"a","method":"POST","url":"{url}","body":{{}}}}"#);
        Responses::new(&parsed(&line, "x").expect("a request"), "tiny".to_owned())
    }

    fn spoken() -> Spoken {
        let logprob = |text: &str, logprob| Logprob { text: text.to_owned(), logprob };
        let token = |text: &str| TokenLogprobs {
            said: logprob(text, -0.5),
            likeliest: vec![logprob("x", -0.25), logprob("x", -3.0)],
        };
        Spoken {
            prompt_tokens: vec![1, 2, 3],
            tokens: vec![4, 5],
            text: "é!".to_owned(),
            logprobs: Some(vec![token("é"), token("!")]),
            ended: true,
        }
    }

    // `printf a | sha256sum`
    const HASH: &str = "ca978112ca1bbdcafac231b3";

    #[test]
    fn a_completion_is_as_openai_writes_it() {
        let found = responses("/v1/completions").answered(0, &spoken());
        let expected = format!(
            "{{\"id\":\"batch_req_{HASH}\",\"custom_id\":\"a\",\"response\":{{\"status_code\":200,\
             \"request_id\":\"req_{HASH}\",\"body\":{{\"id\":\"cmpl-{HASH}\",\
             \"object\":\"text_completion\",\"created\":0,\"model\":\"tiny\",\"choices\":[{{\
             \"index\":0,\"text\":\"é!\",\"logprobs\":{{\"text_offset\":[0,1],\
             \"token_logprobs\":[-0.5,-0.5],\"tokens\":[\"é\",\"!\"],\"top_logprobs\":[\
             {{\"x\":-0.25,\"é\":-0.5}},{{\"x\":-0.25,\"!\":-0.5}}]}},\"finish_reason\":\"stop\"}}],\
             \"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}}}}},\
             \"error\":null}}"
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn a_chat_tells_bytes_and_a_list_of_the_likeliest() {
        let found = responses("/v1/chat/completions").answered(0, &spoken());
        let found: Value = serde_json::from_str(&found).expect("JSON");
        let choice = &found["response"]["body"]["choices"][0];
        assert_eq!(choice["message"], json!({ "role": "assistant", "content": "é!" }));
        let x = |logprob: f64| json!({ "token": "x", "logprob": logprob, "bytes": [120] });
        let expected = json!({
            "token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [x(-0.25), x(-3.0)],
        });
        assert_eq!(choice["logprobs"]["content"][0], expected);
    }

    #[test]
    fn a_refusal_has_a_status_and_an_error_and_no_body() {
        let found = responses("/v1/completions").refused(0, "why");
        let expected = format!(
            "{{\"id\":\"batch_req_{HASH}\",\"custom_id\":\"a\",\"response\":{{\"status_code\":400,\
             \"request_id\":\"req_{HASH}\",\"body\":null}},\"error\":{{\
             \"code\":\"invalid_request\",\"message\":\"why\"}}}}"
        );
        assert_eq!(found, expected);
    }
}
