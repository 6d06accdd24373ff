//! Files of multiple-choice questions: one JSON object a line.

use crate::entry::{Entries, Entry};
use crate::error::{QuestionError, kind};
use serde_json::{Map, Value};

/// A question, what may be answered, and what is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What stands before the answer, as it was written.
    pub context: String,
    /// At least two, none of them blank.
    pub choices: Vec<String>,
    /// The index of the right choice.
    pub answer: usize,
}

/// Reads questions: `question` or `context`, `choices`, and `answer` as an index, a letter, or the
/// text of a choice.
///
/// # Errors
///
/// At the first entry that is not a question; the error says where it stands.
pub fn parse_questions(json: &str, entries: Entries) -> Result<Vec<Question>, QuestionError> {
    let mut questions = Vec::new();
    for (entry, value) in entries.read(json).map_err(|why| QuestionError::NotAnArray { why })? {
        let value = value.map_err(|why| QuestionError::NotJson { entry, why })?;
        questions.push(question(entry, &value)?);
    }
    if questions.is_empty() { Err(QuestionError::Empty) } else { Ok(questions) }
}

fn question(entry: Entry, value: &Value) -> Result<Question, QuestionError> {
    let fields = value
        .as_object()
        .ok_or_else(|| QuestionError::NotAnObject { entry, found: kind(value) })?;
    let context = context(entry, fields)?;
    let choices = choices(entry, fields)?;
    let answer = fields.get("answer").ok_or(QuestionError::Missing { entry, key: "answer" })?;
    let answer = answer_of(entry, answer, &choices)?;
    Ok(Question { context, choices, answer })
}

fn context(entry: Entry, fields: &Map<String, Value>) -> Result<String, QuestionError> {
    let key = ["question", "context"].into_iter().find(|key| fields.contains_key(*key));
    let key = key.ok_or(QuestionError::NoContext { entry })?;
    let text = fields[key].as_str().ok_or_else(|| QuestionError::Kind {
        entry,
        key,
        expected: "text",
        found: kind(&fields[key]).to_owned(),
    })?;
    Ok(text.to_owned())
}

fn choices(entry: Entry, fields: &Map<String, Value>) -> Result<Vec<String>, QuestionError> {
    let value = fields.get("choices").ok_or(QuestionError::Missing { entry, key: "choices" })?;
    let wrong = |found: String| QuestionError::Kind {
        entry,
        key: "choices",
        expected: "a list of texts",
        found,
    };
    let values = value.as_array().ok_or_else(|| wrong(kind(value).to_owned()))?;
    if values.len() < 2 {
        return Err(QuestionError::TooFew { entry, count: values.len() });
    }
    let mut choices = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let choice = value.as_str().ok_or_else(|| wrong(format!("a list with {}", kind(value))))?;
        if choice.trim().is_empty() {
            return Err(QuestionError::EmptyChoice { entry, index });
        }
        choices.push(choice.to_owned());
    }
    Ok(choices)
}

/// The text of a choice comes first: among the choices `A` and `B`, the answer `B` is itself.
fn answer_of(entry: Entry, answer: &Value, choices: &[String]) -> Result<usize, QuestionError> {
    let found = match answer {
        Value::Number(index) => index.as_u64().and_then(|index| usize::try_from(index).ok()),
        Value::String(text) => {
            choices.iter().position(|choice| choice == text).or_else(|| letter(text))
        }
        other => {
            let found = kind(other).to_owned();
            let expected = "an index, a letter or a choice";
            return Err(QuestionError::Kind { entry, key: "answer", expected, found });
        }
    };
    found.filter(|index| *index < choices.len()).ok_or_else(|| QuestionError::Answer {
        entry,
        answer: format!("`{}`", answer.as_str().map_or_else(|| answer.to_string(), str::to_owned)),
        expected: format!("0 to {}", choices.len() - 1),
    })
}

fn letter(text: &str) -> Option<usize> {
    match text.trim().as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<usize, &str>) {
        let file =
            format!("\n{}\n{line}", r#"{"context": "c", "choices": ["x", "y"], "answer": 0}"#);
        match (parse_questions(&file, Entries::Lines), expected) {
            (Ok(found), Ok(answer)) => assert_eq!(found[1].answer, answer, "{line}"),
            (Err(error), Err(message)) => assert_eq!(error.to_string(), message),
            (found, expected) => panic!("{line}: {found:?}, expected {expected:?}"),
        }
    }

    fn answered(answer: &str) -> String {
        format!(r#"{{"question": "q", "choices": ["red", "B", "green"], "answer": {answer}}}"#)
    }

    #[test]
    fn an_answer_is_an_index_a_letter_or_a_choice() {
        check(&answered("0"), Ok(0));
        check(&answered("2"), Ok(2));
        check(&answered(r#""A""#), Ok(0));
        check(&answered(r#""C""#), Ok(2));
        check(&answered(r#""B""#), Ok(1));
        check(&answered(r#""green""#), Ok(2));
    }

    #[test]
    fn an_answer_that_is_none_of_them_is_refused() {
        let wrong =
            |answer: &str| format!("`answer` of line 3 is `{answer}`, but the choices are 0 to 2");
        check(&answered("3"), Err(&wrong("3")));
        check(&answered("-1"), Err(&wrong("-1")));
        check(&answered("1.0"), Err(&wrong("1.0")));
        check(&answered(r#""D""#), Err(&wrong("D")));
        check(&answered(r#""Red""#), Err(&wrong("Red")));
        let kind = "`answer` of line 3 is null, expected an index, a letter or a choice";
        check(&answered("null"), Err(kind));
    }

    #[test]
    fn a_line_that_is_no_question_is_named() {
        check("{", Err("line 3 is not JSON: EOF while parsing an object at column 1"));
        let object = "line 3 is a number, \
                      expected an object with `question`, `choices` and `answer`";
        check("3", Err(object));
        check(r#"{"choices": []}"#, Err("line 3 has neither `question` nor `context`"));
        check(r#"{"question": "q", "answer": 0}"#, Err("line 3 has no `choices`"));
        let few = "`choices` of line 3 has 1, expected at least 2";
        check(r#"{"question": "q", "choices": ["x"], "answer": 0}"#, Err(few));
        let none = "`choices` of line 3 has 0, expected at least 2";
        check(r#"{"question": "q", "choices": [], "answer": 0}"#, Err(none));
        let empty = "choice 1 of line 3 is empty";
        check(r#"{"question": "q", "choices": ["x", " "], "answer": 0}"#, Err(empty));
        let list = "`choices` of line 3 is a list with a number, expected a list of texts";
        check(r#"{"question": "q", "choices": ["x", 1], "answer": 0}"#, Err(list));
        let text = "`question` of line 3 is null, expected text";
        check(r#"{"question": null, "choices": ["x", "y"], "answer": 0}"#, Err(text));
        check(r#"{"context": "", "choices": ["x", "y"]}"#, Err("line 3 has no `answer`"));
        assert_eq!(parse_questions(" \n", Entries::Lines), Err(QuestionError::Empty));
    }
}
