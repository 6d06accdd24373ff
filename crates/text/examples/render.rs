//! Renders chat templates and tokenizes texts, for `xtask interop` to hold against Transformers.
//!
//! Standard input is a list of `{"tokenizer_config", "chat_template", "conversations"}`, each
//! conversation with `messages` and `add_generation_prompt`; or of `{"tokenizer", "texts"}`, where the
//! tokenizer is the text of a `tokenizer.json`. Standard output is a list of lists: what each gave, or
//! `{"error": message}`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use llmopt_text::{ChatTemplate, RenderOptions, Tokenizer};
use serde_json::{Value, json};
use std::io;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cases: Vec<Value> = serde_json::from_reader(io::stdin())?;
    let results: Vec<Value> = cases.iter().map(result).collect();
    println!("{}", Value::from(results));
    Ok(())
}

fn result(case: &Value) -> Value {
    let tried = match case.get("tokenizer") {
        Some(tokenizer) => encoded(tokenizer, &case["texts"]),
        None => rendered(case),
    };
    tried.unwrap_or_else(|message| json!({ "error": message }))
}

fn encoded(tokenizer: &Value, texts: &Value) -> Result<Value, String> {
    let json = tokenizer.as_str().unwrap_or_default().as_bytes();
    let tokenizer = Tokenizer::parse(json).map_err(|error| error.to_string())?;
    let texts = texts.as_array().into_iter().flatten();
    let ids = texts.map(|text| tokenizer.encode(text.as_str().unwrap_or_default()));
    Ok(ids
        .map(|ids| ids.map_or_else(|error| json!({"error": error.to_string()}), Value::from))
        .collect())
}

fn rendered(case: &Value) -> Result<Value, String> {
    let jinja = case.get("chat_template").and_then(Value::as_str);
    let template = ChatTemplate::parse(&case["tokenizer_config"], jinja)
        .map_err(|error| error.to_string())?
        .ok_or("there is no template")?;
    let conversations = case["conversations"].as_array().into_iter().flatten();
    Ok(conversations.map(|conversation| one(&template, conversation)).collect())
}

fn one(template: &ChatTemplate, conversation: &Value) -> Value {
    let messages = conversation["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let add_generation_prompt = conversation["add_generation_prompt"] == true;
    let options = RenderOptions { add_generation_prompt, date: None };
    match template.render(messages, &options) {
        Ok(text) => Value::from(text),
        Err(error) => json!({ "error": error.to_string() }),
    }
}
