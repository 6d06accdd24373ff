//! JSON as a template sees it, and back.

use super::python;
use minijinja::value::{Kwargs, Value as Rendered, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::{Number, Value};

/// A JSON value for a template; keys keep their order.
pub(super) fn of(json: &Value) -> Rendered {
    match json {
        Value::Null => Rendered::from(()),
        Value::Bool(value) => Rendered::from(*value),
        Value::Number(number) => of_number(number),
        Value::String(text) => Rendered::from(text.as_str()),
        Value::Array(values) => list(values),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), of(value))).collect()
        }
    }
}

/// A list of JSON values for a template.
pub(super) fn list(values: &[Value]) -> Rendered {
    values.iter().map(of).collect::<Vec<Rendered>>().into()
}

fn of_number(number: &Number) -> Rendered {
    if let Some(value) = number.as_i64() {
        return Rendered::from(value);
    }
    match number.as_str().parse::<i128>() {
        Ok(value) => Rendered::from(value),
        Err(_) => Rendered::from(number.as_f64().unwrap_or(f64::INFINITY)),
    }
}

/// The filter `tojson` of Transformers: Python's `json.dumps` without HTML in mind.
pub(super) fn tojson(value: &Rendered, options: Kwargs) -> Result<String, Error> {
    let indent: Option<Rendered> = options.get("indent")?;
    let separators: Option<Rendered> = options.get("separators")?;
    let mut writer = Writer {
        text: String::new(),
        indent: indent.map(indent_of).transpose()?.flatten(),
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        between: if_some(&separators, 0)?,
        after_key: if_some(&separators, 1)?.unwrap_or_else(|| ": ".to_owned()),
    };
    options.assert_all_used()?;
    writer.value(value, 0)?;
    Ok(writer.text)
}

fn indent_of(value: Rendered) -> Result<Option<String>, Error> {
    if value.is_none() || value.is_undefined() {
        return Ok(None);
    }
    match value.as_str() {
        Some(text) => Ok(Some(text.to_owned())),
        None => Ok(Some(" ".repeat(usize::from(u8::try_from(value)?)))),
    }
}

fn if_some(separators: &Option<Rendered>, index: usize) -> Result<Option<String>, Error> {
    match separators {
        Some(pair) if !pair.is_none() => {
            let text = pair.get_item_by_index(index)?;
            let wrong = || Error::new(ErrorKind::InvalidOperation, "separators are two texts");
            Ok(Some(text.as_str().ok_or_else(wrong)?.to_owned()))
        }
        _ => Ok(None),
    }
}

struct Writer {
    text: String,
    indent: Option<String>,
    ascii: bool,
    sorted: bool,
    between: Option<String>,
    after_key: String,
}

impl Writer {
    fn value(&mut self, value: &Rendered, depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson of a value too deep"));
        }
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => self.text.push_str(&value.to_string()),
            ValueKind::Number => self.number(f64::try_from(value.clone())?),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Map => self.map(value, depth)?,
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Rendered> = value.try_iter()?.collect();
                self.items(['[', ']'], items.len(), depth, |writer, index| {
                    writer.value(&items[index], depth + 1)
                })?;
            }
            kind => {
                let why = format!("tojson of {kind}, which is not JSON");
                return Err(Error::new(ErrorKind::InvalidOperation, why));
            }
        }
        Ok(())
    }

    fn map(&mut self, value: &Rendered, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Rendered> = value.try_iter()?.collect();
        if self.sorted {
            keys.sort();
        }
        self.items(['{', '}'], keys.len(), depth, |writer, index| {
            let key = &keys[index];
            match key.kind() {
                ValueKind::String => writer.string(key.as_str().unwrap_or_default()),
                ValueKind::None => writer.string("null"),
                ValueKind::Bool => writer.string(if key.is_true() { "true" } else { "false" }),
                _ => writer.string(&python::text(key)),
            }
            let after_key = writer.after_key.clone();
            writer.text.push_str(&after_key);
            writer.value(&value.get_item(key)?, depth + 1)
        })
    }

    fn items(
        &mut self,
        [open, close]: [char; 2],
        count: usize,
        depth: usize,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.text.push(open);
        for index in 0..count {
            if index > 0 {
                // Lines need no blank at their end.
                let usual = if self.indent.is_some() { "," } else { ", " };
                let between = self.between.clone().unwrap_or_else(|| usual.to_owned());
                self.text.push_str(&between);
            }
            self.line(depth + 1);
            item(self, index)?;
        }
        if count > 0 {
            self.line(depth);
        }
        self.text.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.text.push('\n');
            self.text.push_str(&indent.repeat(depth));
        }
    }

    fn number(&mut self, value: f64) {
        let text = match value {
            _ if value.is_nan() => "NaN".to_owned(),
            f64::INFINITY => "Infinity".to_owned(),
            f64::NEG_INFINITY => "-Infinity".to_owned(),
            _ => python::float(value),
        };
        self.text.push_str(&text);
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                '\0'..' ' => self.escape(character),
                '\u{7f}'.. if self.ascii && character != '\u{7f}' => self.escape(character),
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }

    fn escape(&mut self, character: char) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            self.text.push_str(&format!("\\u{unit:04x}"));
        }
    }
}

/// Deeper than any conversation, and within the stack.
const DEPTH: usize = 200;
