//! Faults of the files and their index.

use super::{Case, INDEX, case};
use crate::artifact::Kind;
use serde_json::json;

pub(crate) const CASES: &[Case] = &[
    case("a truncated file", Kind::W4, &[("files", "model.safetensors")], |copy| {
        copy.resize("model.safetensors", -1);
    }),
    case("no config", Kind::W4, &[("files", "config.json")], |copy| {
        copy.remove("config.json");
    }),
    case("a config that is no JSON", Kind::W4, &[("files", "config.json")], |copy| {
        copy.write("config.json", "{");
    }),
    case("a stale file without index", Kind::W4, &[("stale", "old.safetensors")], |copy| {
        copy.duplicate("model.safetensors", "old.safetensors");
    }),
    case(
        "a stale shard beside the index",
        Kind::Sharded,
        &[("stale", "model-00001-of-00003.safetensors")],
        |copy| {
            copy.duplicate("model-00001-of-00002.safetensors", "model-00001-of-00003.safetensors");
        },
    ),
    case(
        "the index names a tensor that is not there",
        Kind::Sharded,
        &[("files", "model.layers.9.norm.weight")],
        |copy| {
            copy.edit(INDEX, |index| {
                let shard = json!("model-00001-of-00002.safetensors");
                index["weight_map"]["model.layers.9.norm.weight"] = shard;
            });
        },
    ),
    case(
        "a tensor that is not in the index",
        Kind::Sharded,
        &[("files", "model.norm.weight")],
        |copy| {
            copy.remove_key(INDEX, "/weight_map", "model.norm.weight");
        },
    ),
    case(
        "a shard that is not there",
        Kind::Sharded,
        &[("files", "model-00001-of-00002.safetensors")],
        |copy| copy.remove("model-00001-of-00002.safetensors"),
    ),
    case("an index without metadata", Kind::Sharded, &[("index", INDEX)], |copy| {
        copy.remove_key(INDEX, "", "metadata");
    }),
    case("shards without index", Kind::Sharded, &[("index", INDEX)], |copy| {
        copy.remove(INDEX);
    }),
    case("a file under another name", Kind::W4, &[("index", "weights.safetensors")], |copy| {
        copy.duplicate("model.safetensors", "weights.safetensors");
        copy.remove("model.safetensors");
    }),
];
