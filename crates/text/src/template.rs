//! Chat templates: a conversation as the text that its model was trained on.
//!
//! A template is rendered to the string that Transformers' `apply_chat_template` gives without tools.
//! The clock is not read: see [`RenderOptions::date`].

mod date;
mod environment;
mod message;
mod python;
mod slice;
mod source;
mod strings;
mod value;

pub use date::Date;

use crate::error::{TemplateError, kind};
use crate::special::token_text;
use environment::{Limited, environment, wants_date};
use minijinja::value::Value as Rendered;
use serde_json::Value;
use std::collections::BTreeMap;

/// A template that was found in a model's folder and compiles.
#[derive(Debug)]
pub struct ChatTemplate {
    source: String,
    /// `bos_token`, `eos_token` and the like, by key.
    tokens: BTreeMap<String, String>,
}

/// How a conversation is rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderOptions {
    /// Whether the text ends with what comes before an answer.
    pub add_generation_prompt: bool,
    /// The day that `strftime_now` tells. Without one there is no such function: a template that asks
    /// whether it is defined goes on without it, and any other that calls it fails.
    pub date: Option<Date>,
}

impl ChatTemplate {
    /// Finds the template: the text of `chat_template.jinja` if there is one, else `chat_template` of
    /// `tokenizer_config.json`, which is a text, or a list of named ones with a `default`.
    ///
    /// # Errors
    ///
    /// If there is something else, or the template does not compile.
    pub fn parse(
        tokenizer_config: &Value,
        chat_template_jinja: Option<&str>,
    ) -> Result<Option<Self>, TemplateError> {
        let found = match chat_template_jinja {
            Some(template) => Some(template),
            None => configured(tokenizer_config)?,
        };
        let Some(source) = found else { return Ok(None) };
        let source = source::rewritten(source);
        let template = Self { source, tokens: tokens(tokenizer_config) };
        environment(None).template_from_str(&template.source).map_err(|error| syntax(&error))?;
        Ok(Some(template))
    }

    /// Renders a conversation.
    ///
    /// # Errors
    ///
    /// If the template fails, for instance because it refuses the conversation.
    pub fn render(
        &self,
        messages: &[Value],
        options: &RenderOptions,
    ) -> Result<String, TemplateError> {
        if messages.is_empty() {
            return Err(TemplateError::NoMessages);
        }
        let environment = environment(options.date);
        let template =
            environment.template_from_str(&self.source).map_err(|error| syntax(&error))?;
        let mut text = Limited::default();
        let rendered = template.render_captured_to(self.variables(messages, options), &mut text);
        match rendered {
            Ok(_) => Ok(text.text()),
            Err(error) => Err(fault(&error, &text)),
        }
    }

    fn variables(&self, messages: &[Value], options: &RenderOptions) -> Rendered {
        let tokens = self.tokens.iter().map(|(key, text)| (key.clone(), Rendered::from(text)));
        let none = || Rendered::from(());
        let others = [
            ("messages", value::list(&message::normalized(messages))),
            ("tools", none()),
            ("documents", none()),
            ("add_generation_prompt", Rendered::from(options.add_generation_prompt)),
        ];
        let others = others.map(|(key, value)| (key.to_owned(), value));
        tokens.chain(others).collect()
    }
}

fn configured(config: &Value) -> Result<Option<&str>, TemplateError> {
    let wrong = |found| {
        let (key, expected) = ("chat_template".to_owned(), "text or a list of named templates");
        Err(TemplateError::Kind { key, expected, found })
    };
    match config.get("chat_template") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(template)) => Ok(Some(template)),
        Some(Value::Array(list)) => named(list).map(Some),
        Some(other) => wrong(kind(other)),
    }
}

fn named(list: &[Value]) -> Result<&str, TemplateError> {
    let text =
        |entry: &'_ Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_default = |entry: &&Value| text(entry, "name").as_deref() == Some("default");
    let default = list.iter().find(is_default);
    if let Some(template) = default.and_then(|entry| entry.get("template")?.as_str()) {
        return Ok(template);
    }
    let names: Vec<String> = list.iter().filter_map(|entry| text(entry, "name")).collect();
    let found =
        if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) };
    Err(TemplateError::NoDefault { found })
}

/// Templates may use any of the special tokens that the configuration names.
fn tokens(config: &Value) -> BTreeMap<String, String> {
    let entries = config.as_object().into_iter().flatten();
    let named = entries.filter(|(key, _)| key.ends_with("_token"));
    named.filter_map(|(key, value)| Some((key.clone(), token_text(value)?.to_owned()))).collect()
}

fn syntax(error: &minijinja::Error) -> TemplateError {
    TemplateError::Syntax { line: error.line().unwrap_or(1), why: said(error) }
}

fn fault(error: &minijinja::Error, text: &Limited) -> TemplateError {
    let line = error.line().unwrap_or(1);
    match () {
        () if text.is_full() => text.too_long(),
        () if wants_date(error) => TemplateError::NoDate { line },
        () => TemplateError::Fails { line, why: said(error) },
    }
}

/// The message of an error, without where it happened.
fn said(error: &minijinja::Error) -> String {
    let why = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    why.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
