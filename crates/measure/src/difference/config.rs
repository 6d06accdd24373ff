//! What two configs say differently, key by key.

use llmopt_checkpoint::Config;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A key that has another value, or that only one of the configs has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigDifference {
    /// The key; keys of nested objects are joined by dots.
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
    let of = |config: Option<&Config>| {
        let mut keys = BTreeMap::new();
        if let Some(config) = config {
            flatten("", config.as_map(), &mut keys);
        }
        keys
    };
    between(&of(a), &of(b))
}

fn between(a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>) -> Vec<ConfigDifference> {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differing = keys.into_iter().filter(|key| a.get(*key) != b.get(*key));
    differing
        .map(|key| ConfigDifference {
            key: key.clone(),
            a: a.get(key).cloned(),
            b: b.get(key).cloned(),
        })
        .collect()
}

fn flatten(prefix: &str, map: &Map<String, Value>, keys: &mut BTreeMap<String, Value>) {
    for (key, value) in map {
        let name = format!("{prefix}{key}");
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                flatten(&format!("{name}."), inner, keys);
            }
            _ => {
                keys.insert(name, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_keys_are_compared_one_by_one() {
        let keys = |value: Value| {
            let mut keys = BTreeMap::new();
            flatten("", value.as_object().expect("an object"), &mut keys);
            keys
        };
        let a = keys(json!({"x": 1, "rope": {"type": "a", "factor": 2.0}, "list": [1, 2]}));
        let b = keys(json!({"x": 1, "rope": {"type": "b", "factor": 2.0}, "y": null}));
        let found = between(&a, &b);
        let expected = [
            ("list", Some(json!([1, 2])), None),
            ("rope.type", Some(json!("a")), Some(json!("b"))),
            ("y", None, Some(Value::Null)),
        ];
        let expected =
            expected.map(|(key, a, b)| ConfigDifference { key: key.to_owned(), a, b }).to_vec();
        assert_eq!(found, expected);
        assert!(between(&a, &a).is_empty());
    }
}
