//! What answers follow from: a run that was killed goes on only where all of it is the same.

use super::AnswerRequest;
use llmopt_checkpoint::{Source, sha256, sha256_file};
use llmopt_model::{Variant, model_state};
use llmopt_run::Error;
use serde_json::{Map, Value, json};

/// Requests, model, and how it is run. Memory, threads, slots and chunks change no answer.
pub(super) fn of(request: &AnswerRequest, text: &str, variant: &Variant) -> Result<String, Error> {
    let identity = json!({
        "work": "answers",
        "version": env!("CARGO_PKG_VERSION"),
        "requests": sha256(text.as_bytes()),
        "model": model_state(variant.source())?,
        "name": variant.name(),
        "texts": texts(variant.source())?,
        "date": request.date.map(|date| date.to_string()),
        "precision": format!("{:?}", request.precision),
        "activations": format!("{:?}", request.code_inputs),
        "kernel": format!("{:?}", request.kernel),
    });
    Ok(identity.to_string())
}

/// The files beside the weights that say how text becomes tokens, by their hashes.
fn texts(source: &Source) -> Result<Value, Error> {
    let names = source.side_files().iter().map(|file| &file.name);
    let read = names.filter(|name| READ.contains(&name.as_str()));
    let hash = |name: &String| Ok((name.clone(), json!(sha256_file(&source.path_of(name))?)));
    Ok(Value::Object(read.map(hash).collect::<Result<Map<_, _>, Error>>()?))
}

const READ: &[&str] =
    &["chat_template.jinja", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
