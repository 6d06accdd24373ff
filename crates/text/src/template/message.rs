//! Messages as a template sees them, by the rules of Transformers 5.24 (`chat_template_utils.py`).

use serde_json::{Map, Value};

/// Names of what a model thought before it answered, the usual one first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Messages without the keys that are null, which some APIs write for what is not there and templates
/// would print; reasoning under any of its names is there as `reasoning_content` and as `thinking`.
pub(super) fn normalized(messages: &[Value]) -> Vec<Value> {
    let object = |message: &Value| match message {
        Value::Object(fields) => Value::Object(with_reasoning(without_nulls(fields))),
        other => other.clone(),
    };
    messages.iter().map(object).collect()
}

fn without_nulls(fields: &Map<String, Value>) -> Map<String, Value> {
    let kept = fields.iter().filter(|(_, value)| !value.is_null());
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn with_reasoning(fields: Map<String, Value>) -> Map<String, Value> {
    let Some(reasoning) = REASONING.iter().find_map(|name| fields.get(*name)).cloned() else {
        return fields;
    };
    let [usual, older, _] = REASONING;
    let mut all = Map::from_iter([(older.to_owned(), reasoning.clone())]);
    all.extend(fields);
    all.insert(usual.to_owned(), reasoning);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_keys_are_dropped_from_the_message_alone() {
        let call = json!({"role": "assistant", "content": null, "tool_calls": [{"id": null}]});
        let without = json!({"role": "assistant", "tool_calls": [{"id": null}]});
        assert_eq!(normalized(&[call]), [without]);
    }

    #[test]
    fn reasoning_is_there_under_both_names() {
        let message = |key: &str| json!({"role": "assistant", key: "hm"});
        let text = |message: &Value| message.to_string();
        let older = r#"{"thinking":"hm","role":"assistant","reasoning_content":"hm"}"#;
        let all = normalized(&["thinking", "reasoning_content"].map(message));
        assert_eq!(all.iter().map(text).collect::<Vec<_>>(), [older, older]);
        let two = json!({"reasoning": "b", "reasoning_content": null, "thinking": "a"});
        let both = json!({"thinking": "a", "reasoning": "b", "reasoning_content": "a"});
        assert_eq!(normalized(&[two]), [both]);
    }
}
