//! The faults: each is planted in an artifact that has no other.

use crate::artifact::{Copy, Kind, Tensors};
use llmopt_pipeline::Runtime;
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::{Value, json};
use std::fs;

/// A fault and what is to be said about it.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) kind: Kind,
    /// Whether the report stays beside the artifact.
    pub(crate) recorded: bool,
    /// Whether the artifact is held against its source.
    pub(crate) compared: bool,
    pub(crate) plant: fn(&mut Copy),
    /// Code and subject of every fault.
    pub(crate) expected: &'static [(&'static str, &'static str)],
}

const fn case(
    what: &'static str,
    kind: Kind,
    expected: &'static [(&'static str, &'static str)],
    plant: fn(&mut Copy),
) -> Case {
    Case { what, kind, recorded: false, compared: false, plant, expected }
}

const fn recorded(
    what: &'static str,
    kind: Kind,
    expected: &'static [(&'static str, &'static str)],
    plant: fn(&mut Copy),
) -> Case {
    Case { what, kind, recorded: true, compared: false, plant, expected }
}

const fn compared(
    what: &'static str,
    kind: Kind,
    expected: &'static [(&'static str, &'static str)],
    plant: fn(&mut Copy),
) -> Case {
    Case { what, kind, recorded: false, compared: true, plant, expected }
}

const INDEX: &str = "model.safetensors.index.json";
const GROUP: &str = "quantization_config.config_groups.group_0";

pub(crate) const FILES: &[Case] = &[
    case("a truncated file", Kind::W4, &[("files", "model.safetensors")], |copy| {
        let bytes = fs::read(copy.weights()).unwrap();
        fs::write(copy.weights(), &bytes[..bytes.len() - 1]).unwrap();
    }),
    case("no config", Kind::W4, &[("files", "config.json")], |copy| {
        fs::remove_file(copy.file("config.json")).unwrap();
    }),
    case("a config that is no JSON", Kind::W4, &[("files", "config.json")], |copy| {
        fs::write(copy.file("config.json"), "{").unwrap();
    }),
    case("a stale file without index", Kind::W4, &[("stale", "old.safetensors")], |copy| {
        fs::copy(copy.weights(), copy.file("old.safetensors")).unwrap();
    }),
    case(
        "a stale shard beside the index",
        Kind::Sharded,
        &[("stale", "model-00001-of-00003.safetensors")],
        |copy| {
            let stale = copy.file("model-00001-of-00003.safetensors");
            fs::copy(copy.weights(), stale).unwrap();
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
            copy.edit(INDEX, |index| {
                index["weight_map"].as_object_mut().unwrap().remove("model.norm.weight");
            });
        },
    ),
    case(
        "a shard that is not there",
        Kind::Sharded,
        &[("files", "model-00001-of-00002.safetensors")],
        |copy| fs::remove_file(copy.weights()).unwrap(),
    ),
    case("an index without metadata", Kind::Sharded, &[("index", INDEX)], |copy| {
        copy.edit(INDEX, |index| {
            index.as_object_mut().unwrap().remove("metadata");
        });
    }),
    case("shards without index", Kind::Sharded, &[("index", INDEX)], |copy| {
        fs::remove_file(copy.file(INDEX)).unwrap();
    }),
    case("a file under another name", Kind::W4, &[("index", "weights.safetensors")], |copy| {
        fs::rename(copy.weights(), copy.file("weights.safetensors")).unwrap();
    }),
];

pub(crate) const CONFIGS: &[Case] = &[
    case("no status", Kind::W4, &[("config", "quantization_status")], |copy| {
        copy.configure("quantization_config.quantization_status", Value::Null);
    }),
    case(
        "an unknown key",
        Kind::W4,
        &[("config", "config_groups.group_0.weights.rounding")],
        |copy| copy.configure(&format!("{GROUP}.weights.rounding"), json!("nearest")),
    ),
    case("a format that does not exist", Kind::W4, &[("config", "format")], |copy| {
        copy.configure("quantization_config.format", json!("packed-quantized"));
    }),
    case("no format", Kind::W4, &[("config", "format")], |copy| {
        copy.configure("quantization_config.format", Value::Null);
    }),
    case("no format in a group", Kind::W4, &[("config", "config_groups.group_0.format")], |copy| {
        copy.configure(&format!("{GROUP}.format"), Value::Null)
    }),
    case("an online rotation", Kind::W4, &[("config", "transform_config")], |copy| {
        let rotation = json!({"config_groups": {"u": {"type": "hadamard", "apply": []}}});
        copy.configure("quantization_config.transform_config", rotation);
    }),
    case("a legacy sparse format", Kind::W4, &[("config", "sparsity_config")], |copy| {
        copy.configure("quantization_config.sparsity_config", json!({"targets": ["Linear"]}));
    }),
    case("another method", Kind::W4, &[("config", "quant_method")], |copy| {
        copy.configure("quantization_config.quant_method", json!("gptq"));
    }),
    case(
        "an expression that looks around",
        Kind::W4,
        &[("config", "config_groups.group_0.targets")],
        |copy| copy.configure(&format!("{GROUP}.targets"), json!(["re:(?!lm_head).*"])),
    ),
    case("a group of nothing", Kind::W4, &[("config", "config_groups")], |copy| {
        copy.configure("quantization_config.config_groups", json!({}));
    }),
    case("a config that is no object", Kind::Bare, &[("config", "quantization_config")], |copy| {
        copy.rewrite(|file| {
            file.metadata.insert("quantization_config".to_owned(), "{".to_owned());
        });
    }),
];

const Q: &str = "model.layers.1.self_attn.q_proj";
const DOWN: &str = "model.layers.0.mlp.down_proj";

pub(crate) const MODULES: &[Case] = &[
    case(
        "columns in another order",
        Kind::W4,
        &[("extra", "model.layers.1.self_attn.q_proj.weight_g_idx")],
        |copy| {
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.weight_g_idx"), meta(Dtype::I32, &[128]), vec![0; 512])
            });
        },
    ),
    case(
        "zero points of a symmetric scheme",
        Kind::W4,
        &[("extra", "model.layers.1.self_attn.q_proj.weight_zero_point")],
        |copy| {
            let meta = meta(Dtype::I32, &[16, 1]);
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.weight_zero_point"), meta.clone(), vec![0x88; 64]);
            });
        },
    ),
    case(
        "no zero points in an asymmetric scheme",
        Kind::Asymmetric,
        &[("missing", "model.layers.1.self_attn.q_proj.weight_zero_point")],
        |copy| copy.rewrite(|file| file.remove(&format!("{Q}.weight_zero_point"))),
    ),
    case(
        "no scales",
        Kind::W4,
        &[("missing", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| copy.rewrite(|file| file.remove(&format!("{Q}.weight_scale"))),
    ),
    case(
        "no codes",
        Kind::W4,
        &[("missing", "model.layers.1.self_attn.q_proj.weight_packed")],
        |copy| copy.rewrite(|file| file.remove(&format!("{Q}.weight_packed"))),
    ),
    case(
        "no shape",
        Kind::W8,
        &[("missing", "model.layers.1.self_attn.q_proj.weight_shape")],
        |copy| copy.rewrite(|file| file.remove(&format!("{Q}.weight_shape"))),
    ),
    case(
        "a wrong shape",
        Kind::W4,
        &[("shape", "model.layers.1.self_attn.q_proj.weight_shape")],
        |copy| {
            let shape = [128u64, 136].map(u64::to_le_bytes).concat();
            copy.rewrite(|file| *file.bytes(&format!("{Q}.weight_shape")) = shape.clone());
        },
    ),
    case(
        "rows of one word too few",
        Kind::W4,
        &[("shape", "model.layers.1.self_attn.q_proj.weight_packed")],
        |copy| {
            let meta = meta(Dtype::I32, &[128, 15]);
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.weight_packed"), meta.clone(), vec![0; 128 * 15 * 4]);
            });
        },
    ),
    case(
        "codes of another type",
        Kind::W4,
        &[("dtype", "model.layers.1.self_attn.q_proj.weight_packed")],
        |copy| retype(copy, &format!("{Q}.weight_packed"), Dtype::U32),
    ),
    case(
        "scales of another type",
        Kind::W8,
        &[("dtype", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| retype(copy, &format!("{Q}.weight_scale"), Dtype::I16),
    ),
    case(
        "channel scales of one axis",
        Kind::Fp8,
        &[("shape", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| reshape(copy, &format!("{Q}.weight_scale"), &[128]),
    ),
    case(
        "block scales per channel",
        Kind::Fp8Block,
        &[("shape", "model.layers.0.mlp.down_proj.weight_scale")],
        |copy| reshape(copy, &format!("{DOWN}.weight_scale"), &[3, 1]),
    ),
    case(
        "a dense weight beside the quantized one",
        Kind::W4,
        &[("extra", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            let bytes = vec![0; 128 * 128 * 2];
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.weight"), meta(Dtype::BF16, &[128, 128]), bytes.clone());
            });
        },
    ),
    case(
        "a static scale that the scheme does not have",
        Kind::W8A8,
        &[("extra", "model.layers.1.self_attn.q_proj.input_scale")],
        |copy| {
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.input_scale"), meta(Dtype::BF16, &[1]), vec![0x80, 0x3f]);
            });
        },
    ),
    case(
        "quantized without a config",
        Kind::PartlyDense,
        &[("config", "quantization_config")],
        |copy| {
            copy.configure("quantization_config", Value::Null);
        },
    ),
];

pub(crate) const IGNORED: &[Case] = &[
    case("the head is not in `ignore`", Kind::W4, &[("ignore", "lm_head")], |copy| {
        copy.ignore(|list| list.retain(|entry| !entry.as_str().unwrap().contains("lm_head")));
    }),
    case(
        "the head of a tied model is not in `ignore`",
        Kind::Tied,
        &[("ignore", "lm_head")],
        |copy| {
            copy.ignore(Vec::clear);
        },
    ),
    case(
        "a dense linear is not in `ignore`",
        Kind::PartlyDense,
        &[("ignore", "model.layers.0.mlp.down_proj")],
        |copy| copy.ignore(|list| list.retain(|entry| entry != DOWN)),
    ),
    case(
        "routers are not in `ignore`",
        Kind::Mixtral,
        &[
            ("ignore", "model.layers.0.block_sparse_moe.gate"),
            ("ignore", "model.layers.1.block_sparse_moe.gate"),
        ],
        |copy| copy.ignore(|list| list.retain(|entry| !entry.as_str().unwrap().contains("gate"))),
    ),
    case("a quantized linear is in `ignore`", Kind::W4, &[("ignore", DOWN)], |copy| {
        copy.ignore(|list| list.push(json!(DOWN)));
    }),
    case(
        "one of q, k and v is in `ignore`",
        Kind::W4,
        &[("ignore", Q), ("fused", "model.layers.1.self_attn.qkv_proj")],
        |copy| copy.ignore(|list| list.push(json!(Q))),
    ),
    case(
        "k in other groups than q and v",
        Kind::W4,
        &[("fused", "model.layers.1.self_attn.qkv_proj")],
        |copy| {
            let k = "model.layers.1.self_attn.k_proj";
            copy.rewrite(|file| {
                let scales = file.bytes(&format!("{k}.weight_scale")).clone();
                let repeated = scales.chunks(2).flat_map(|scale| scale.repeat(4)).collect();
                file.insert(&format!("{k}.weight_scale"), meta(Dtype::BF16, &[64, 4]), repeated);
            });
            copy.edit("config.json", |config| {
                let groups = &mut config["quantization_config"]["config_groups"];
                let mut group = groups["group_0"].clone();
                group["targets"] = json!([k]);
                group["weights"]["group_size"] = json!(32);
                groups["group_1"] = group;
            });
        },
    ),
    case("rows merged in the middle of a block", Kind::Fp8Block, &[("runtime", "vllm")], |copy| {
        copy.options.runtimes = vec![Runtime::Vllm]
    }),
];

pub(crate) const MODELS: &[Case] = &[
    case("a norm is missing", Kind::W4, &[("missing", "model.norm.weight")], |copy| {
        copy.rewrite(|file| file.remove("model.norm.weight"));
    }),
    case(
        "a whole linear is missing",
        Kind::W4,
        &[("missing", "model.layers.0.mlp.down_proj.weight")],
        |copy| {
            copy.rewrite(|file| {
                for part in ["weight_packed", "weight_scale", "weight_shape"] {
                    file.remove(&format!("{DOWN}.{part}"));
                }
            });
        },
    ),
    case("a tensor of no model", Kind::W4, &[("unknown", "model.layers.0.extra")], |copy| {
        copy.rewrite(|file| {
            file.insert("model.layers.0.extra", meta(Dtype::F32, &[1]), vec![0; 4])
        });
    }),
    case(
        "fewer layers than counted",
        Kind::W4,
        &[("missing", "model.layers.4.input_layernorm.weight")],
        |copy| {
            copy.configure("num_hidden_layers", json!(5));
        },
    ),
    case("more layers than counted", Kind::W4, &[("layers", "num_hidden_layers")], |copy| {
        copy.configure("num_hidden_layers", json!(3));
    }),
    case("another width", Kind::W4, &[("shape", "model.layers.0.mlp.gate_proj.weight")], |copy| {
        copy.configure("intermediate_size", json!(256));
    }),
    case("absurd sizes", Kind::W4, &[("model", "hidden_size")], |copy| {
        copy.configure("hidden_size", json!(-1));
    }),
    case("another tied head", Kind::W4, &[("tied", "lm_head.weight")], |copy| {
        copy.configure("tie_word_embeddings", json!(true));
    }),
    case("a quantized head of a tied model", Kind::WithHead, &[("tied", "lm_head")], |copy| {
        copy.configure("tie_word_embeddings", json!(true));
    }),
    case("no head, but not tied", Kind::Tied, &[("missing", "lm_head.weight")], |copy| {
        copy.configure("tie_word_embeddings", json!(false));
    }),
];

pub(crate) const DATA: &[Case] = &[
    case(
        "a scale is NaN",
        Kind::W4,
        &[("scale", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| {
            patch(copy, &format!("{Q}.weight_scale"), 20, &[0xc0, 0x7f]);
        },
    ),
    case(
        "a scale is infinite",
        Kind::Fp8,
        &[("scale", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| {
            patch(copy, &format!("{Q}.weight_scale"), 20, &[0x80, 0x7f]);
        },
    ),
    case(
        "a scale is zero",
        Kind::W8A8,
        &[("scale", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| {
            patch(copy, &format!("{Q}.weight_scale"), 20, &[0, 0]);
        },
    ),
    case(
        "a block's scale is zero",
        Kind::Fp8Block,
        &[("scale", "model.layers.0.mlp.down_proj.weight_scale")],
        |copy| {
            patch(copy, &format!("{DOWN}.weight_scale"), 2, &[0, 0]);
        },
    ),
    case(
        "a code is NaN",
        Kind::Fp8,
        &[("code", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            patch(copy, &format!("{Q}.weight"), 777, &[0xff]);
        },
    ),
    case(
        "a dense weight is NaN",
        Kind::PartlyDense,
        &[("nonfinite", "model.layers.0.mlp.down_proj.weight")],
        |copy| {
            patch(copy, &format!("{DOWN}.weight"), 20, &[0xc0, 0x7f]);
        },
    ),
];

pub(crate) const RECORDS: &[Case] = &[
    recorded("a changed bit", Kind::W4, &[("hash", "model.safetensors")], |copy| {
        patch(copy, "model.norm.weight", 0, &[0x11]);
    }),
    recorded("a changed bit in a bare file", Kind::Bare, &[("hash", "out.safetensors")], |copy| {
        patch(copy, "model.norm.weight", 0, &[0x11]);
    }),
    recorded("a longer side file", Kind::W4, &[("size", "tokenizer.json")], |copy| {
        let mut bytes = fs::read(copy.file("tokenizer.json")).unwrap();
        bytes.push(b'\n');
        fs::write(copy.file("tokenizer.json"), bytes).unwrap();
    }),
    recorded("a side file is missing", Kind::W4, &[("record", "tokenizer.json")], |copy| {
        fs::remove_file(copy.file("tokenizer.json")).unwrap();
    }),
    recorded("a report of nothing", Kind::W4, &[("record", "llmopt.json")], |copy| {
        fs::write(copy.file("llmopt.json"), "[]").unwrap();
    }),
    recorded("a file outside is listed", Kind::W4, &[("record", "../../etc/passwd")], |copy| {
        copy.edit("llmopt.json", |report| {
            report["outputs"]["../../etc/passwd"] = json!({"bytes": 1, "sha256": ""});
        });
    }),
    recorded("weights that are not listed", Kind::W4, &[("record", "model.safetensors")], |copy| {
        copy.edit("llmopt.json", |report| {
            report["outputs"].as_object_mut().unwrap().remove("model.safetensors");
        });
    }),
    recorded(
        "a tensor of unknown origin",
        Kind::W4,
        &[("conservation", "model.norm.weight")],
        |copy| {
            copy.edit("llmopt.json", |report| {
                let tensors = report["tensors"].as_array_mut().unwrap();
                tensors.retain(|tensor| tensor["name"] != "model.norm.weight");
            });
        },
    ),
    recorded("a tensor that went nowhere", Kind::W4, &[("conservation", "model.extra")], |copy| {
        copy.edit("llmopt.json", |report| {
            let tensors = report["tensors"].as_array_mut().unwrap();
            tensors.push(json!({"name": "model.extra", "what": "kept", "source": "F32 [1]"}));
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
        &[("conservation", "model.norm.weight"), ("conservation", "model.norm.weight")],
        |copy| {
            say(copy, "model.norm.weight", "what", "merged into lm_head.weight");
        },
    ),
];

pub(crate) const AGAINST: &[Case] = &[
    compared("a bit of a kept tensor", Kind::W4, &[("changed", "model.norm.weight")], |copy| {
        patch(copy, "model.norm.weight", 0, &[0x11]);
    }),
    compared(
        "a kept tensor of another type",
        Kind::W4,
        &[("changed", "model.norm.weight")],
        |copy| {
            retype(copy, "model.norm.weight", Dtype::F16);
        },
    ),
    compared(
        "swapped nibbles",
        Kind::W4,
        &[("error", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            copy.rewrite(|file| {
                let codes = file.bytes(&format!("{Q}.weight_packed"));
                codes.iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
            });
        },
    ),
    compared(
        "rows in another order",
        Kind::W8,
        &[("error", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            copy.rewrite(|file| file.bytes(&format!("{Q}.weight_packed")).rotate_left(128));
        },
    ),
    compared(
        "shifted zero points",
        Kind::Asymmetric,
        &[("error", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            copy.rewrite(|file| {
                let zeros = file.bytes(&format!("{Q}.weight_zero_point"));
                zeros.iter_mut().for_each(|byte| *byte = byte.wrapping_sub(0x33));
            });
        },
    ),
    compared(
        "scales of the neighbours",
        Kind::Fp8,
        &[("error", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            copy.rewrite(|file| {
                let scales = file.bytes(&format!("{Q}.weight_scale"));
                scales.chunks_mut(2).for_each(|scale| scale[0] ^= 0x40);
            });
        },
    ),
    compared("a lost tensor", Kind::Bare, &[("lost", "model.norm.weight")], |copy| {
        copy.rewrite(|file| file.remove("model.norm.weight"));
    }),
    compared("an added tensor", Kind::Bare, &[("added", "model.extra")], |copy| {
        copy.rewrite(|file| file.insert("model.extra", meta(Dtype::F32, &[1]), vec![0; 4]));
    }),
];

fn meta(dtype: Dtype, shape: &[usize]) -> TensorMeta {
    TensorMeta::new(dtype, shape).unwrap()
}

fn retype(copy: &Copy, name: &str, dtype: Dtype) {
    change(copy, name, |old| meta(dtype, old.shape()));
}

fn reshape(copy: &Copy, name: &str, shape: &[usize]) {
    change(copy, name, |old| meta(old.dtype(), shape));
}

fn change(copy: &Copy, name: &str, change: impl Fn(&TensorMeta) -> TensorMeta) {
    copy.rewrite(|file: &mut Tensors| {
        let (old, bytes) = file.tensors[name].clone();
        file.insert(name, change(&old), bytes);
    });
}

/// Overwrites bytes of a tensor.
fn patch(copy: &Copy, name: &str, at: usize, bytes: &[u8]) {
    copy.rewrite(|file| file.bytes(name)[at..at + bytes.len()].copy_from_slice(bytes));
}

/// Changes what the report says of a tensor.
fn say(copy: &Copy, name: &str, key: &str, text: &str) {
    copy.edit("llmopt.json", |report| {
        let tensors = report["tensors"].as_array_mut().unwrap();
        let tensor = tensors.iter_mut().find(|tensor| tensor["name"] == name).unwrap();
        tensor[key] = json!(text);
    });
}
