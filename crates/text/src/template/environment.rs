//! Jinja as Transformers sets it up.

use super::date::Date;
use super::slice::slice;
use super::source::SLICE;
use super::{python, strings, value};
use crate::error::TemplateError;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;
use std::io::{self, Write};

/// The environment of one rendering.
pub(super) fn environment(date: Option<Date>) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, _, value| Ok(out.write_str(&python::text(value))?));
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", |why: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, why))
    });
    if let Some(date) = date {
        environment.add_function(STRFTIME_NOW, move |format: &str| strftime(date, format));
    }
    add_filters(&mut environment);
    add_tests(&mut environment);
    environment
}

fn method(state: &State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    if name == SLICE {
        return slice(value, arguments);
    }
    let ours = value.as_str().and_then(|text| strings::method(text, name, arguments));
    ours.unwrap_or_else(|| unknown_method_callback(state, value, name, arguments))
}

/// Many times what the longest conversation takes.
const FUEL: u64 = 10_000_000;

const STRFTIME_NOW: &str = "strftime_now";

fn add_filters(environment: &mut Environment<'_>) {
    environment
        .add_filter("tojson", |value: &Value, options: Kwargs| value::tojson(value, options));
    environment.add_filter("string", |value: &Value| python::text(value));
    environment.add_filter("trim", |value: &Value, characters: Option<&str>| {
        strings::stripped(&python::text(value), characters, true, true)
    });
    environment.add_filter("join", joined);
}

fn add_tests(environment: &mut Environment<'_>) {
    // To Python a text is a sequence of texts, and a dictionary one of keys.
    use ValueKind::{Iterable, Map, Seq, String};
    environment.add_test("sequence", |value: &Value| matches!(value.kind(), Seq | Map | String));
    environment.add_test("iterable", |value: &Value| {
        matches!(value.kind(), Seq | Map | String | Iterable | ValueKind::Undefined)
    });
    // A truth value is a number there.
    environment.add_test("number", |value: &Value| {
        matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
    });
}

fn joined(value: &Value, between: Option<&str>, options: Kwargs) -> Result<String, Error> {
    let attribute: Option<Value> = options.get("attribute")?;
    options.assert_all_used()?;
    let mut texts = Vec::new();
    for item in value.try_iter()? {
        let item = match &attribute {
            Some(attribute) => item.get_item(attribute)?,
            None => item,
        };
        texts.push(python::text(&item));
    }
    Ok(texts.join(between.unwrap_or_default()))
}

fn strftime(date: Date, format: &str) -> Result<String, Error> {
    date.formatted(format).ok_or_else(|| {
        let why = format!("strftime_now('{format}') asks for more than a day tells");
        Error::new(ErrorKind::InvalidOperation, why)
    })
}

/// Whether a template failed because it wanted the day, and there was none.
pub(super) fn wants_date(error: &Error) -> bool {
    let detail = error.detail().unwrap_or_default();
    error.kind() == ErrorKind::UnknownFunction && detail.starts_with(STRFTIME_NOW)
}

/// A text that does not grow beyond a limit.
#[derive(Default)]
pub(super) struct Limited {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Limited {
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn too_long(&self) -> TemplateError {
        TemplateError::TooLong { limit: LIMIT }
    }

    pub(super) fn text(self) -> String {
        String::from_utf8(self.bytes).expect("a template writes text")
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > LIMIT - self.bytes.len() {
            self.is_full = true;
            return Err(io::Error::other("the text is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const LIMIT: usize = 64 << 20;
