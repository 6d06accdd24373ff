//! Documents: the texts of a file, in order.

use crate::entry::{Entries, Entry};
use crate::error::{DocumentError, kind};
use crate::template::{ChatTemplate, RenderOptions};
use serde_json::{Map, Value};

/// A plain text is one document, taken as it is.
///
/// # Errors
///
/// If it is empty.
pub fn documents_of_text(text: String) -> Result<Vec<String>, DocumentError> {
    match text.is_empty() {
        true => Err(DocumentError::Empty),
        false => Ok(vec![text]),
    }
}

/// Each entry is a document: its `text`, or else its `messages` rendered by the chat template, with no
/// prompt for a next answer.
///
/// # Errors
///
/// If an entry is neither, or cannot be rendered; the error says where it stands.
pub fn documents_of_json(
    json: &str,
    entries: Entries,
    template: Option<&ChatTemplate>,
    options: &RenderOptions,
) -> Result<Vec<String>, DocumentError> {
    let mut documents = Vec::new();
    for (entry, value) in entries.read(json).map_err(|why| DocumentError::NotAnArray { why })? {
        let value = value.map_err(|why| DocumentError::NotJson { entry, why })?;
        documents.push(document(entry, &value, template, options)?);
    }
    if documents.is_empty() { Err(DocumentError::Empty) } else { Ok(documents) }
}

fn document(
    entry: Entry,
    value: &Value,
    template: Option<&ChatTemplate>,
    options: &RenderOptions,
) -> Result<String, DocumentError> {
    let fields = value
        .as_object()
        .ok_or_else(|| DocumentError::NotAnObject { entry, found: kind(value) })?;
    if let Some(text) = present(fields, "text") {
        let wrong = || DocumentError::Kind {
            entry,
            key: "text",
            expected: "text",
            found: kind(text).to_owned(),
        };
        return Ok(text.as_str().ok_or_else(wrong)?.to_owned());
    }
    let messages = present(fields, "messages").ok_or(DocumentError::Neither { entry })?;
    let messages = messages_of(entry, messages)?;
    let template = template.ok_or(DocumentError::NoTemplate { entry })?;
    template.render(messages, options).map_err(|error| DocumentError::Template { entry, error })
}

fn present<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    fields.get(key).filter(|value| !value.is_null())
}

fn messages_of(entry: Entry, value: &Value) -> Result<&[Value], DocumentError> {
    let wrong = |found: String| DocumentError::Kind {
        entry,
        key: "messages",
        expected: "a list of objects",
        found,
    };
    let messages = value.as_array().ok_or_else(|| wrong(kind(value).to_owned()))?;
    match messages.iter().find(|message| !message.is_object()) {
        Some(other) => Err(wrong(format!("a list with {}", kind(other)))),
        None => Ok(messages),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template() -> ChatTemplate {
        let text = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
        ChatTemplate::parse(&json!({}), Some(text)).unwrap().unwrap()
    }

    fn check(jsonl: &str, expected: Result<&[&str], &str>) {
        let found =
            documents_of_json(jsonl, Entries::Lines, Some(&template()), &RenderOptions::default());
        match expected {
            Ok(documents) => assert_eq!(found.unwrap(), documents),
            Err(message) => assert_eq!(found.unwrap_err().to_string(), message),
        }
    }

    #[test]
    fn each_line_is_a_document() {
        check(
            "{\"text\": \"a\\nb\"}\r\n\n  \n{\"text\": \"\", \"messages\": 3}",
            Ok(&["a\nb", ""]),
        );
        check(r#"{"messages": [{"role": "user", "content": "hi"}]}"#, Ok(&["<user>hi"]));
        check(r#"{"text": null, "messages": [{"role": "u"}]}"#, Ok(&["<u>"]));
    }

    #[test]
    fn an_array_is_read_as_lines_are() {
        let read = |json: &str| {
            let found = documents_of_json(
                json,
                Entries::Array,
                Some(&template()),
                &RenderOptions::default(),
            );
            found.map_err(|error| error.to_string())
        };
        let array =
            "[{\"text\": \"a\"},\n {\"messages\": [{\"role\": \"u\", \"content\": \"b\"}]}]";
        assert_eq!(read(array).unwrap(), ["a", "<u>b"]);
        assert_eq!(read("{\"text\": \"a\"}\n{\"text\": \"b\"}\n").unwrap(), ["a", "b"]);
        let check = |json: &str, expected: &str| assert_eq!(read(json).unwrap_err(), expected);
        check("[{\"text\": \"a\"}, {}]", "element 2 has neither `text` nor `messages`");
        check("[\"a\"]", "element 1 is text, expected an object with `text` or `messages`");
        check("[]", "the file holds no document");
        check("[{", "the file is no JSON array: EOF while parsing an object at line 1 column 2");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = r#"{"text": "a"}"#;
        let after = |line: &str| format!("{good}\n\n{line}\n");
        check(&after("{"), Err("line 3 is not JSON: EOF while parsing an object at column 1"));
        let object = "line 3 is a list, expected an object with `text` or `messages`";
        check(&after("[1]"), Err(object));
        check(&after(r#"{"txt": "a"}"#), Err("line 3 has neither `text` nor `messages`"));
        check(&after(r#"{"text": 5}"#), Err("`text` of line 3 is a number, expected text"));
        let list = "`messages` of line 3 is a list with text, expected a list of objects";
        check(&after(r#"{"messages": ["a"]}"#), Err(list));
        let none = "the messages of line 3 cannot be rendered: \
                    a conversation without messages cannot be rendered";
        check(&after(r#"{"messages": []}"#), Err(none));
        check("\n\n", Err("the file holds no document"));
    }

    #[test]
    fn messages_need_a_template() {
        let line = r#"{"messages": [{"role": "u"}]}"#;
        let error =
            documents_of_json(line, Entries::Lines, None, &RenderOptions::default()).unwrap_err();
        let expected = "line 1 has `messages`, but the model has no chat template";
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some());
    }

    #[test]
    fn a_plain_text_is_one_document() {
        assert_eq!(documents_of_text("a\n\nb".to_owned()), Ok(vec!["a\n\nb".to_owned()]));
        assert_eq!(documents_of_text(String::new()), Err(DocumentError::Empty));
    }
}
