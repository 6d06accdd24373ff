//! The lines of a file of requests.

use super::body::{Asked, Endpoint};
use llmopt_run::Error;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A request as it stands in the file.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) custom_id: String,
    /// Of the line.
    pub(super) bytes: usize,
    /// What the answer calls the model, if the request names one.
    pub(super) model: Option<String>,
    pub(super) endpoint: Endpoint,
    asked: Result<Asked, String>,
}

/// All requests.
///
/// # Errors
/// If a line is no JSON object with an id of its own.
pub(super) fn parsed(text: &str, name: &str) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for (number, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let wrong = |what: String| Error::Input {
            what: format!("line {number} of {name} {what}"),
            hint: Some(FORM.to_owned()),
        };
        let line = Line::parsed(text).map_err(wrong)?;
        if let Some(first) = numbers.insert(line.custom_id.clone(), number) {
            return Err(wrong(format!(
                "has the `custom_id` of line {first}: `{}`",
                line.custom_id
            )));
        }
        lines.push(line);
    }
    match lines.is_empty() {
        true => Err(Error::Input {
            what: format!("there are no requests in {name}"),
            hint: Some(FORM.to_owned()),
        }),
        false => Ok(lines),
    }
}

impl Line {
    fn parsed(text: &str) -> Result<Self, String> {
        let value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        let Value::Object(mut request) = value else { return Err("is not an object".to_owned()) };
        let custom_id = match request.get("custom_id") {
            Some(Value::String(id)) => id.clone(),
            Some(_) => return Err("has a `custom_id` that is no text".to_owned()),
            None => return Err("has no `custom_id`".to_owned()),
        };
        let endpoint = endpoint(&request);
        let body = request.remove("body");
        let asked = endpoint.clone().and_then(|endpoint| match &body {
            Some(Value::Object(body)) => Asked::parsed(endpoint, body, &custom_id),
            _ => Err("`body` is missing or no object".to_owned()),
        });
        let model = body.as_ref().and_then(|body| body.get("model")?.as_str());
        Ok(Self {
            bytes: text.len(),
            model: model.map(str::to_owned),
            endpoint: endpoint.unwrap_or(Endpoint::Completions),
            asked,
            custom_id,
        })
    }

    /// What is asked, or why that cannot be answered. It is gone then.
    pub(super) fn take_asked(&mut self) -> Result<Asked, String> {
        std::mem::replace(&mut self.asked, Err(String::new()))
    }

    /// What it takes once what it asks is taken: with its answer and in the order of the answers it is
    /// named again.
    pub(super) fn held_bytes(&self) -> usize {
        let names = self.custom_id.len() + self.model.as_ref().map_or(0, String::len);
        COPIES * (size_of::<Self>() + names)
    }
}

/// Where a request goes; refused with what it says beside its body.
fn endpoint(request: &Map<String, Value>) -> Result<Endpoint, String> {
    if let Some(key) = request.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("`{key}` is not a key of a request"));
    }
    let text = |key: &str| request.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("method") != "POST" {
        return Err("`method` is not `POST`".to_owned());
    }
    let url = text("url");
    Endpoint::of(url).ok_or_else(|| format!("`url` is `{url}`, expected {}", Endpoint::EXPECTED))
}

const COPIES: usize = 3;

const KEYS: &[&str] = &["custom_id", "method", "url", "body"];

const FORM: &str = "a request is a line such as {\"custom_id\": \"1\", \"method\": \"POST\", \"url\": \
     \"/v1/completions\", \"body\": {\"prompt\": \"Once upon a time\"}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_request_is_told_with_its_line() {
        let check = |text: &str, expected: &str| {
            let error = parsed(text, "`in.jsonl`").expect_err(text);
            assert_eq!(error.to_string(), expected);
        };
        let good =
            r#"{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"x"}}"#;
        check("\n \n", "there are no requests in `in.jsonl`");
        check(&format!("{good}\n[1]\n"), "line 2 of `in.jsonl` is not an object");
        check("{}", "line 1 of `in.jsonl` has no `custom_id`");
        check(r#"{"custom_id":7}"#, "line 1 of `in.jsonl` has a `custom_id` that is no text");
        let twice = "line 3 of `in.jsonl` has the `custom_id` of line 1: `a`";
        check(&format!("{good}\n\n{good}"), twice);
        let cut =
            "line 2 of `in.jsonl` is not JSON: EOF while parsing a string at line 1 column 10";
        check(&format!("{good}\n{}", &good[..10]), cut);
    }

    #[test]
    fn a_request_that_cannot_be_answered_leaves_the_others_alone() {
        let text = r#"{"custom_id":"a","method":"GET","url":"/v1/completions","body":{}}
            {"custom_id":"b","method":"POST","url":"/v1/embeddings","body":{}}
            {"custom_id":"c","method":"POST","url":"/v1/completions"}
            {"custom_id":"d","method":"POST","url":"/v1/completions","body":{},"more":1}
            {"custom_id":"e","method":"POST","url":"/v1/completions","body":{"prompt":"x","model":"m"}}"#;
        let mut lines = parsed(text, "x").expect("objects");
        let why: Vec<_> = lines.iter_mut().map(|line| line.take_asked().err()).collect();
        let expected = [
            Some("`method` is not `POST`"),
            Some("`url` is `/v1/embeddings`, expected `/v1/completions` or `/v1/chat/completions`"),
            Some("`body` is missing or no object"),
            Some("`more` is not a key of a request"),
            None,
        ];
        assert_eq!(why, expected.map(|why| why.map(str::to_owned)));
        assert_eq!(lines[4].model.as_deref(), Some("m"));
    }
}
