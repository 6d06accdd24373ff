//! The catalog as a JSON schema, which editors complete and check recipes by.

use crate::catalog::{Kind, Section};
use serde_json::{Map, Value, json};

/// The schema of a recipe (JSON Schema, draft 7).
pub fn schema(catalog: &Section) -> Value {
    let mut schema = section(catalog);
    if let Value::Object(object) = &mut schema {
        object.shift_insert(
            0,
            "$schema".to_owned(),
            json!("http://json-schema.org/draft-07/schema#"),
        );
        object.shift_insert(1, "title".to_owned(), json!(catalog.name));
    }
    schema
}

fn section(catalog: &Section) -> Value {
    let mut properties = Map::new();
    for key in &catalog.keys {
        let mut property = kind(&key.kind);
        property["description"] = json!(key.help);
        properties.insert(key.name.clone(), property);
    }
    let required = catalog.keys.iter().filter(|key| key.required);
    let required: Vec<&str> = required.map(|key| &*key.name).collect();
    json!({
        "type": "object",
        "description": catalog.help,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn kind(of: &Kind) -> Value {
    match of {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole => json!({ "type": "integer", "minimum": 0 }),
        Kind::Scalar(values) if values.is_empty() => json!({ "type": ["string", "number"] }),
        Kind::Scalar(values) => json!({ "enum": with_numbers(values) }),
        Kind::Switch => json!({ "type": ["boolean", "string", "number"] }),
        Kind::Day => json!({ "type": "string" }),
        Kind::List(of) => {
            json!({ "anyOf": [kind(of), { "type": "array", "items": kind(of) }] })
        }
        Kind::Named => json!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } },
            { "type": "object", "additionalProperties": { "type": "string" } },
        ] }),
        Kind::Section(of) => section(of),
        Kind::Alternatives(of) => {
            let mut item = section(of);
            item["minProperties"] = json!(1);
            item["maxProperties"] = json!(1);
            json!({ "type": "array", "items": item })
        }
    }
}

/// Values that look like numbers may be written as such.
fn with_numbers(values: &[String]) -> Vec<Value> {
    let texts = values.iter().map(|value| json!(value));
    let numbers = values.iter().filter_map(|value| value.parse::<i64>().ok()).map(|n| json!(n));
    texts.chain(numbers).collect()
}
