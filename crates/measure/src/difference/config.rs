//! What two configs say differently, key by key.

use llmopt_checkpoint::Config;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A key that has another value, or that only one of the configs has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigDifference {
    /// The key; keys of objects that both have are joined by dots.
    pub key: String,
    /// The value in A; none, if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Value>,
    /// The value in B; none, if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Value>,
}

/// Every difference, sorted by key. A model without a config has no key.
pub(super) fn differences(a: Option<&Config>, b: Option<&Config>) -> Vec<ConfigDifference> {
    let (nothing, mut found) = (Map::new(), Vec::new());
    let [a, b] = [a, b].map(|config| config.map_or(&nothing, Config::as_map));
    compare("", a, b, &mut found);
    found
}

fn compare(
    prefix: &str,
    a: &Map<String, Value>,
    b: &Map<String, Value>,
    found: &mut Vec<ConfigDifference>,
) {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in keys {
        let key = format!("{prefix}{name}");
        match (a.get(name), b.get(name)) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                compare(&format!("{key}."), a, b, found);
            }
            (a, b) if a != b => found.push(ConfigDifference { key, a: a.cloned(), b: b.cloned() }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_of_objects_are_compared_one_by_one_where_both_have_the_object() {
        let between = |a: Value, b: Value| {
            let map = |value: Value| value.as_object().expect("an object").clone();
            let mut found = Vec::new();
            compare("", &map(a), &map(b), &mut found);
            found
        };
        let a =
            json!({"x": 1, "rope": {"type": "a", "factor": 2.0}, "list": [1, 2], "q": {"bits": 4}});
        let b = json!({"x": 1, "rope": {"type": "b", "factor": 2.0}, "y": null});
        let expected = [
            ("list", Some(json!([1, 2])), None),
            ("q", Some(json!({"bits": 4})), None),
            ("rope.type", Some(json!("a")), Some(json!("b"))),
            ("y", None, Some(Value::Null)),
        ];
        let expected =
            expected.map(|(key, a, b)| ConfigDifference { key: key.to_owned(), a, b }).to_vec();
        assert_eq!(between(a.clone(), b), expected);
        assert!(between(a.clone(), a).is_empty());
    }
}
