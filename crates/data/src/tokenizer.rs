//! The tokenizer and the chat template that lie beside a model.

use llmopt_checkpoint::{Source, parse_json, read_bytes, read_text};
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_text::{
    ChatTemplate, Date, RenderOptions, SpecialSources, SpecialTokens, Tokenizer, TokenizerError,
};
use serde_json::{Value, json};
use std::path::Path;

/// What a model's folder knows about text.
pub struct Folder {
    tokenizer: Tokenizer,
    special: SpecialTokens,
    template: Option<ChatTemplate>,
    /// Rows of the embedding.
    vocabulary: usize,
}

impl Folder {
    /// Reads the tokenizer and what else there is beside it.
    ///
    /// # Errors
    /// If there is no tokenizer, or one of its files is broken.
    pub fn read(variant: &Variant) -> Result<Self, Error> {
        let source = variant.source();
        let tokenizer = tokenizer(source)?;
        let tokenizer_config = json_beside(source, "tokenizer_config.json")?;
        let generation_config = json_beside(source, "generation_config.json")?;
        let config = source.config().map(|config| Value::Object(config.as_map().clone()));
        let special = SpecialTokens::resolve(
            &tokenizer,
            SpecialSources {
                tokenizer_config: tokenizer_config.as_ref(),
                generation_config: generation_config.as_ref(),
                config: config.as_ref(),
            },
        );
        let jinja = source.path_of("chat_template.jinja");
        let jinja = is_there(&jinja).then(|| read_text(&jinja, TEMPLATE_LIMIT)).transpose()?;
        let tokenizer_config = tokenizer_config.unwrap_or_else(|| json!({}));
        let template = ChatTemplate::parse(&tokenizer_config, jinja.as_deref());
        let template = template.map_err(|error| wrong(source.path(), error.into()))?;
        Ok(Self { tokenizer, special, template, vocabulary: variant.program().vocabulary })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Its special tokens.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The chat template, if there is one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Text as the message of a user, up to where the answer begins.
    pub fn as_user(&self, text: &str, date: Option<Date>) -> Result<String, Error> {
        let template = self.template().ok_or_else(|| Error::RefusedWithHint {
            what: "the model has no chat template".to_owned(),
            hint: "without `--chat` the prompt is taken as it is".to_owned(),
        })?;
        let options = RenderOptions { add_generation_prompt: true, date };
        let message = json!({ "role": "user", "content": text });
        template.render(&[message], &options).map_err(|error| failed(error.into()))
    }

    /// The tokens of a text. What a template made holds its special tokens already; before any other,
    /// the tokenizer puts its own.
    pub fn prompt_tokens(&self, text: &str, rendered: bool) -> Result<Vec<u32>, Error> {
        let tokens = match rendered {
            true => self.tokenizer.encode(text),
            false => self.tokenizer.encode_with_special(text),
        };
        let tokens = tokens.map_err(|error| failed(error.into()))?;
        self.check(&tokens)?;
        Ok(tokens)
    }

    /// Refuses a token for which the embedding has no row. Tokenizers of sound models have such tokens,
    /// too, in images or tools; only a text that holds one cannot be read.
    pub fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        let beyond = |id: &&u32| **id as usize >= self.vocabulary;
        let Some(&id) = tokens.iter().find(beyond) else { return Ok(()) };
        let token = self.tokenizer.token_of(id).unwrap_or_default();
        Err(Error::Input {
            what: format!(
                "the text has token `{token}` of id {id}, but the embedding has {} rows",
                self.vocabulary
            ),
            hint: Some(
                "remove it from the text, or give the model its own tokenizer, if this is another's"
                    .to_owned(),
            ),
        })
    }

    /// Whether generation stops at a token.
    pub fn ends(&self, token: u32) -> bool {
        self.special.stops.contains(&token)
    }

    /// Tokens as text.
    pub fn decoded(&self, tokens: &[u32]) -> Result<String, Error> {
        self.tokenizer.decode(tokens).map_err(|error| failed(error.into()))
    }
}

/// What is wrong with text or tokenizer, and whose fault it is.
pub fn failed(error: llmopt_text::Error) -> Error {
    let (what, hint) = (error.to_string(), error.hint().map(str::to_owned));
    match (error.is_request(), hint) {
        (true, Some(hint)) => Error::RefusedWithHint { what, hint },
        (true, None) => Error::Refused(what),
        (false, hint) => Error::Input { what, hint },
    }
}

/// As [`failed`], with the file or folder.
pub fn wrong(path: &Path, error: llmopt_text::Error) -> Error {
    match failed(error) {
        Error::Input { what, hint } => {
            Error::Input { what: format!("{what}\n  in `{}`", path.display()), hint }
        }
        other => other,
    }
}

fn tokenizer(source: &Source) -> Result<Tokenizer, Error> {
    let path = source.path_of("tokenizer.json");
    if !is_there(&path) {
        let names = source.side_files().iter().map(|side| side.name.as_str());
        return Err(wrong(source.path(), Tokenizer::missing(names).into()));
    }
    let bytes = read_bytes(&path, TOKENIZER_LIMIT)?;
    Tokenizer::parse(&bytes).map_err(|error: TokenizerError| wrong(&path, error.into()))
}

/// Whether text becomes the same tokens in both models, as far as their files tell: nothing is known of one
/// without a `tokenizer.json`.
///
/// # Errors
/// If one of the files cannot be read.
pub fn same_tokenizer(one: &Source, other: &Source) -> Result<bool, Error> {
    let read = |source: &Source| {
        let path = source.path_of("tokenizer.json");
        is_there(&path).then(|| read_bytes(&path, TOKENIZER_LIMIT)).transpose()
    };
    let (Some(one), Some(other)) = (read(one)?, read(other)?) else { return Ok(true) };
    if one == other {
        return Ok(true);
    }
    // Padding, truncation and what is put before a text differ without another token for any word.
    let parts = |bytes: &[u8]| {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let parts = ["model", "added_tokens", "normalizer", "pre_tokenizer"];
        Some(parts.map(|part| value.get(part).cloned()))
    };
    let (one, other) = (parts(&one), parts(&other));
    Ok(one.is_some() && one == other)
}

fn json_beside(source: &Source, name: &str) -> Result<Option<Value>, Error> {
    let path = source.path_of(name);
    if !is_there(&path) {
        return Ok(None);
    }
    let bytes = read_bytes(&path, CONFIG_LIMIT)?;
    let text = String::from_utf8_lossy(&bytes);
    parse_json(&text).map(Some).map_err(|error| Error::Input {
        what: format!("`{}` is not JSON: {error}", path.display()),
        hint: None,
    })
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

const TOKENIZER_LIMIT: u64 = 256 << 20;
const CONFIG_LIMIT: u64 = 16 << 20;
const TEMPLATE_LIMIT: u64 = 4 << 20;
