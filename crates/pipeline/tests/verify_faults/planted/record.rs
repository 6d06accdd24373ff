//! Faults that the report shows.

use super::{Case, Q, patch, recorded, say};
use crate::artifact::Kind;
use serde_json::json;

pub(crate) const CASES: &[Case] = &[
    recorded("a changed bit", Kind::W4, &[("hash", "model.safetensors")], |copy| {
        patch(copy, "model.norm.weight", 0, &[0x11]);
    }),
    recorded("a changed bit in a bare file", Kind::Bare, &[("hash", "out.safetensors")], |copy| {
        patch(copy, "model.norm.weight", 0, &[0x11]);
    }),
    recorded("a longer side file", Kind::W4, &[("size", "tokenizer.json")], |copy| {
        copy.resize("tokenizer.json", 1);
    }),
    recorded("a side file is missing", Kind::W4, &[("record", "tokenizer.json")], |copy| {
        copy.remove("tokenizer.json");
    }),
    recorded("a report of nothing", Kind::W4, &[("record", "llmopt.json")], |copy| {
        copy.write("llmopt.json", "[]");
    }),
    recorded("a file outside is listed", Kind::W4, &[("record", "../../etc/passwd")], |copy| {
        copy.edit("llmopt.json", |report| {
            report["outputs"]["../../etc/passwd"] = json!({"bytes": 1, "sha256": ""});
        });
    }),
    recorded("weights that are not listed", Kind::W4, &[("record", "model.safetensors")], |copy| {
        copy.remove_key("llmopt.json", "/outputs", "model.safetensors");
    }),
    recorded(
        "a tensor of unknown origin",
        Kind::W4,
        &[("conservation", "model.norm.weight")],
        |copy| {
            copy.edit_tensors(|tensors| {
                tensors.retain(|tensor| tensor["name"] != "model.norm.weight")
            });
        },
    ),
    recorded("a tensor that went nowhere", Kind::W4, &[("conservation", "model.extra")], |copy| {
        copy.edit_tensors(|tensors| {
            tensors.push(json!({"name": "model.extra", "what": "kept", "source": "F32 [1]"}))
        });
    }),
    recorded(
        "another scheme",
        Kind::W4,
        &[("conservation", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            say(copy, &format!("{Q}.weight"), "what", "w4a16 g64");
        },
    ),
    recorded("another shape", Kind::W4, &[("conservation", "model.norm.weight")], |copy| {
        say(copy, "model.norm.weight", "source", "BF16 [129]");
    }),
    recorded(
        "quantized, says the report",
        Kind::W4,
        &[("conservation", "model.norm.weight")],
        |copy| {
            say(copy, "model.norm.weight", "what", "w4a16 g128");
        },
    ),
    recorded(
        "merged, says the report",
        Kind::W4,
        &[("conservation", "model.norm.weight")],
        |copy| {
            say(copy, "model.norm.weight", "what", "merged into lm_head.weight");
        },
    ),
];
