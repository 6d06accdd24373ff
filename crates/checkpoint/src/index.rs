//! `model.safetensors.index.json`: which file holds which tensor.
//!
//! Its file names come from a stranger. Only plain names of safetensors files in the same folder pass.

use crate::error::{brief, quoted};
use crate::json::from_python;
use crate::raw::MAX_TENSORS;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A parsed index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// A file's name is held once, however many tensors it has.
    weight_map: BTreeMap<String, Arc<str>>,
    has_metadata: bool,
}

impl Index {
    /// Reads an index file's bytes.
    pub fn parse(json: &[u8]) -> Result<Self, IndexError> {
        let text = std::str::from_utf8(json)
            .map_err(|error| IndexError::NotUtf8 { at: error.valid_up_to() })?;
        let raw: RawIndex = from_python(text)
            .map_err(|error| IndexError::Json { message: brief(&error.to_string()) })?;
        let weight_map = raw.weight_map.ok_or(IndexError::NoWeightMap)?.0;
        if weight_map.is_empty() {
            return Err(IndexError::Empty);
        }
        for (tensor, file) in &weight_map {
            refuse_all_but_a_plain_name(tensor, file)?;
        }
        Ok(Self { weight_map, has_metadata: raw.metadata.is_some() })
    }

    /// Tensor name to file name.
    pub fn weight_map(&self) -> &BTreeMap<String, Arc<str>> {
        &self.weight_map
    }

    /// What it says besides its map.
    pub fn facts(&self) -> IndexFacts {
        IndexFacts { has_metadata: self.has_metadata }
    }
}

/// What is left to know of an index once its map was held against the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFacts {
    /// Whether `metadata` is there, without which Transformers does not load the folder.
    pub has_metadata: bool,
}

/// Why an index is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum IndexError {
    #[error("the index is not UTF-8 from its byte {at} on")]
    NotUtf8 { at: usize },
    #[error("the index is not valid: {message}")]
    Json { message: String },
    #[error("the index has no `weight_map`")]
    NoWeightMap,
    #[error("the `weight_map` of the index is empty")]
    Empty,
    #[error(
        "tensor {} is mapped to {}, which is not the plain name of a file in this folder",
        quoted(.tensor),
        quoted(.file)
    )]
    NotPlain { tensor: String, file: String },
    #[error(
        "tensor {} is mapped to {}, which is not a `.safetensors` file",
        quoted(.tensor),
        quoted(.file)
    )]
    NotSafetensors { tensor: String, file: String },
}

#[derive(Deserialize)]
struct RawIndex {
    metadata: Option<IgnoredAny>,
    weight_map: Option<WeightMap>,
}

/// A map of strings in which no key comes twice.
struct WeightMap(BTreeMap<String, Arc<str>>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Files;

        impl<'de> Visitor<'de> for Files {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensor names to file names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut files = BTreeMap::new();
                let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
                while let Some(tensor) = map.next_key::<String>()? {
                    let file = map.next_value::<String>().map_err(|error| {
                        A::Error::custom(format_args!("tensor {}: {error}", quoted(&tensor)))
                    })?;
                    if files.contains_key(&tensor) {
                        return Err(A::Error::custom(format_args!(
                            "tensor {} is mapped twice",
                            quoted(&tensor)
                        )));
                    }
                    if files.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format_args!(
                            "more than {MAX_TENSORS} tensors"
                        )));
                    }
                    let name = names.get(file.as_str()).cloned();
                    let name = name.unwrap_or_else(|| Arc::from(file));
                    names.insert(Arc::clone(&name));
                    files.insert(tensor, name);
                }
                Ok(WeightMap(files))
            }
        }

        deserializer.deserialize_map(Files)
    }
}

fn refuse_all_but_a_plain_name(tensor: &str, file: &str) -> Result<(), IndexError> {
    let owned = || (tensor.to_owned(), file.to_owned());
    // A backslash and a colon are harmless here, but not where the same folder may be read next.
    if matches!(file, "" | "." | "..") || file.contains(['/', '\\', ':', '\0']) {
        let (tensor, file) = owned();
        return Err(IndexError::NotPlain { tensor, file });
    }
    if !file.ends_with(".safetensors") {
        let (tensor, file) = owned();
        return Err(IndexError::NotSafetensors { tensor, file });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(json: &str, expected: Result<&[(&str, &str)], &str>) {
        let found = Index::parse(json.as_bytes());
        let found = found.map(|index| index.weight_map).map_err(|error| error.to_string());
        let expected = expected
            .map(|pairs| pairs.iter().map(|&(a, b)| (a.into(), b.into())).collect())
            .map_err(str::to_owned);
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn tensors_map_to_plain_file_names() {
        check(
            r#"{"metadata":{"total_size":1e9,"x":[{}]},"weight_map":{"b":"m-2.safetensors","a":"m-1.safetensors"},"y":0}"#,
            Ok(&[("a", "m-1.safetensors"), ("b", "m-2.safetensors")]),
        );
    }

    #[test]
    fn numbers_that_are_not_finite_stand_in_the_metadata_and_name_no_file() {
        check(
            r#"{"metadata":{"total_size":NaN,"x":[-Infinity]},"weight_map":{"NaN":"m-1.safetensors"}}"#,
            Ok(&[("NaN", "m-1.safetensors")]),
        );
        let found = Index::parse(br#"{"metadata":{"a":NaN},"weight_map":{"a":NaN}}"#);
        assert!(matches!(found, Err(IndexError::NotSafetensors { .. })), "{found:?}");
    }

    #[test]
    fn every_other_index_is_refused_by_name() {
        let plain = |file: &str| {
            format!(
                "tensor `a` is mapped to `{file}`, which is not the plain name of a file in this folder"
            )
        };
        for file in ["", ".", "..", "../x.safetensors", "/etc/x.safetensors", "a/b.safetensors"] {
            check(&format!(r#"{{"weight_map":{{"a":"{file}"}}}}"#), Err(&plain(file)));
        }
        check(r#"{"weight_map":{"a":"x\\y.safetensors"}}"#, Err(&plain(r"x\y.safetensors")));
        check(r#"{"weight_map":{"a":"x\u0000.safetensors"}}"#, Err(&plain(r"x\0.safetensors")));
        check(
            r#"{"weight_map":{"a":"pytorch_model.bin"}}"#,
            Err("tensor `a` is mapped to `pytorch_model.bin`, which is not a `.safetensors` file"),
        );
        check(
            r#"{"weight_map":{"a":"m.safetensors","a":"n.safetensors"}}"#,
            Err("the index is not valid: tensor `a` is mapped twice at line 1 column 55"),
        );
        check(
            r#"{"weight_map":{"a":7}}"#,
            Err(
                "the index is not valid: tensor `a`: invalid type: integer `7`, expected a string at line 1 column 20",
            ),
        );
        check("{}", Err("the index has no `weight_map`"));
        check(r#"{"weight_map":{}}"#, Err("the `weight_map` of the index is empty"));
        check("[", Err("the index is not valid: EOF while parsing a list at line 1 column 1"));
        check("", Err("the index is not valid: EOF while parsing a value at line 1 column 0"));
        assert_eq!(Index::parse(b"{\"\xff"), Err(IndexError::NotUtf8 { at: 2 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(
            at in 0usize..60, byte: u8, cut in 0usize..80, tail: Vec<u8>
        ) {
            let mut json = br#"{"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#.to_vec();
            json[at] = byte;
            json.truncate(cut);
            json.extend(tail);
            if let Ok(index) = Index::parse(&json) {
                prop_assert!(index.weight_map().values().all(|file| !file.contains('/')));
            }
        }
    }
}
