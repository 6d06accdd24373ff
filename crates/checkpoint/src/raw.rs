//! The JSON of a safetensors header, before anything it says is believed.
//!
//! Reads names in the order of the file and keeps repeated ones, so that [`crate::Header`] can refuse
//! them by name; a JSON map would have lost one silently.

use crate::HeaderError;
use crate::error::{brief, quoted};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// What the header says, in its own order.
#[derive(Debug, Default)]
pub(crate) struct RawHeader<'a> {
    pub(crate) tensors: Vec<(String, RawTensor<'a>)>,
    pub(crate) metadata: Option<RawMetadata>,
}

/// One tensor's description.
#[derive(Debug, Deserialize)]
pub(crate) struct RawTensor<'a> {
    #[serde(borrow)]
    pub(crate) dtype: Cow<'a, str>,
    pub(crate) shape: Shape,
    pub(crate) data_offsets: (u64, u64),
}

/// Axis lengths, of which there are not absurdly many.
#[derive(Debug)]
pub(crate) struct Shape(pub(crate) Box<[usize]>);

/// The value of `__metadata__`.
#[derive(Debug)]
pub(crate) enum RawMetadata {
    /// As the format wants it.
    Texts(BTreeMap<String, String>),
    /// It has the keys of a tensor.
    Tensor,
    /// This key's value is no string.
    NotText(String),
}

impl<'a> RawHeader<'a> {
    /// The header in `text`.
    pub(crate) fn read(text: &'a str) -> Result<Self, HeaderError> {
        serde_json::from_str(text)
            .map_err(|error| HeaderError::Json { message: brief(&error.to_string()) })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawHeader<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut header = RawHeader::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == RESERVED {
                        if header.metadata.is_some() {
                            return Err(A::Error::custom("`__metadata__` occurs twice"));
                        }
                        header.metadata = Some(map.next_value()?);
                        continue;
                    }
                    if header.tensors.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format_args!(
                            "more than {MAX_TENSORS} tensors"
                        )));
                    }
                    let tensor = map.next_value().map_err(|error| {
                        A::Error::custom(format_args!("tensor {}: {error}", quoted(&name)))
                    })?;
                    header.tensors.push((name, tensor));
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Axes;

        impl<'de> Visitor<'de> for Axes {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of axis lengths")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut axes = Vec::with_capacity(4);
                while let Some(axis) = seq.next_element()? {
                    if axes.len() == MAX_AXES {
                        return Err(A::Error::custom(format_args!("more than {MAX_AXES} axes")));
                    }
                    axes.push(axis);
                }
                Ok(Shape(axes.into()))
            }
        }

        deserializer.deserialize_seq(Axes)
    }
}

impl<'de> Deserialize<'de> for RawMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = RawMetadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`__metadata__` to be a map of strings")
            }

            // The reference reader takes null for an empty map.
            fn visit_unit<E>(self) -> Result<RawMetadata, E> {
                Ok(RawMetadata::Texts(BTreeMap::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMetadata, A::Error> {
                let mut texts = BTreeMap::new();
                let mut other = None;
                let mut offsets = false;
                while let Some(key) = map.next_key::<String>()? {
                    match map.next_value()? {
                        Text(Some(_)) if texts.contains_key(&key) => {
                            return Err(A::Error::custom(format_args!(
                                "{} occurs twice in `__metadata__`",
                                quoted(&key)
                            )));
                        }
                        Text(Some(text)) => drop(texts.insert(key, text)),
                        Text(None) => {
                            offsets |= key == "data_offsets";
                            other.get_or_insert(key);
                        }
                    }
                }
                Ok(match other {
                    _ if offsets => RawMetadata::Tensor,
                    Some(key) => RawMetadata::NotText(key),
                    None => RawMetadata::Texts(texts),
                })
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

/// A JSON value of which only a string matters.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Some(text.to_owned())))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
                Ok(Text(None))
            }

            // A number whose spelling is kept arrives as a map, too.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// The name that no tensor can have.
pub(crate) const RESERVED: &str = "__metadata__";

/// Ten times what the largest known model folders hold, in one file.
pub(crate) const MAX_TENSORS: usize = 1 << 20;

/// As many as the readers in use can index.
const MAX_AXES: usize = 64;
