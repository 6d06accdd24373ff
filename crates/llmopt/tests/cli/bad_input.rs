//! One wrong input of every kind, through the binary: one clear error, the right exit code, nothing
//! written. The checkpoint and arch crates test the kinds in depth.

use crate::dir::Dir;
use crate::synthetic::{self, bf16, file, safetensors};
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn a_wrong_file_is_named_with_what_is_wrong() {
    let check = |bytes: &[u8], message: &str, hint: Option<&str>| {
        let dir = Dir::new();
        dir.write("model.safetensors", bytes);
        let hint = hint.map(|hint| format!("\nhint: {hint}\n")).unwrap_or_default();
        let stderr = format!("error: {message}\n  in `model.safetensors`\n{hint}");
        for command in ["quantize", "quantize --dry-run", "inspect"] {
            dir.refused(&format!("{command} model.safetensors"), 3, &stderr);
            assert_eq!(dir.names(), ["model.safetensors"]);
        }
    };
    let whole = safetensors(&[("a.weight", "BF16", &[4, 4], bf16(16, 1))]);
    let truncated = Some("the file looks truncated; was it downloaded completely?");
    check(
        &whole[..whole.len() - 1],
        "tensor `a.weight` ends at byte 32 of the data, but the file has only 31",
        truncated,
    );
    check(&whole[..20], "the header has 66 bytes, but only 12 follow in the file", truncated);
    check(b"short", "the file has 5 bytes, too few for a safetensors header", None);
    let entry = |name: &str, shape: &str, begin: usize, end: usize| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let two = |first: String, second: String| file(&format!("{{{first},{second}}}"), &[0; 12]);
    check(
        &two(entry("a", "[2]", 0, 8), entry("b", "[2]", 4, 12)),
        "tensor `b` begins at byte 4 of the data, inside `a`, which ends at 8",
        None,
    );
    check(
        &two(entry("a", "[1]", 0, 4), entry("b", "[1]", 8, 12)),
        "tensor `b` begins at byte 8 of the data, but what comes before it ends at 4",
        None,
    );
    check(
        &two(entry("a", "[1]", 0, 4), entry("a", "[2]", 4, 12)),
        "tensor `a` is there twice",
        None,
    );
    check(
        &file(&format!("{{{}}}", entry("a", "[3]", 0, 8)), &[0; 8]),
        "tensor `a` is F32 [3], which takes 12 bytes, but its offsets span 8",
        None,
    );
    check(
        &file(r#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]),
        "tensor `a` has the unknown dtype `F31`",
        None,
    );
}

#[test]
fn a_weight_that_is_not_finite_is_named_with_its_position() {
    let dir = Dir::new();
    let mut weights = bf16(64 * 32, 1);
    // Row 3, column 5 of 32 columns: two bytes each.
    weights[(3 * 32 + 5) * 2..][..2].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    let other = bf16(64 * 32, 2);
    dir.write(
        "model.safetensors",
        &safetensors(&[
            ("model.layers.0.mlp.up_proj.weight", "BF16", &[64, 32], weights),
            ("model.layers.1.mlp.down_proj.weight", "BF16", &[64, 32], other),
        ]),
    );
    dir.refused(
        "quantize model.safetensors -q",
        3,
        "error: tensor `model.layers.0.mlp.up_proj.weight` holds NaN at [3, 5], expected a finite \
         number\n  in `model.safetensors`\n\nhint: the checkpoint is damaged, or was saved \
         while training diverged; `--allow-nonfinite` keeps such tensors as they are\n",
    );
    assert_eq!(dir.names(), ["model.safetensors"]);

    dir.done("quantize model.safetensors -q --allow-nonfinite");
    let report = dir.json("model-w8a16.llmopt.json");
    let what: Vec<_> = report["tensors"].as_array().unwrap().iter().map(|t| &t["what"]).collect();
    assert_eq!(what, ["kept", "w8a16"]);
}

/// Checkpoints of other tools whose config has got lost.
#[test]
fn what_is_quantized_already_is_named_by_its_tensors() {
    let check = |method: &str, first: &str, parts: &[(&str, &str, &[usize], usize)]| {
        let dir = Dir::new();
        let module = "model.layers.0.mlp.up_proj";
        let names: Vec<String> = parts.iter().map(|part| format!("{module}.{}", part.0)).collect();
        let tensors = parts.iter().zip(&names);
        let tensors: Vec<_> = tensors
            .map(|(&(_, dtype, shape, bytes), name)| (name.as_str(), dtype, shape, vec![0; bytes]))
            .collect();
        dir.write("model.safetensors", &safetensors(&tensors));
        dir.refused(
            "quantize model.safetensors -q",
            3,
            &format!(
                "error: the checkpoint is quantized already, by `{method}`, expected F32, F16 or BF16 \
                 weights\n  no `quantization_config` says so, but tensor `{module}.{first}` does\n\n\
                 hint: start from the original checkpoint: quantizing twice adds up both losses\n"
            ),
        );
        assert_eq!(dir.names(), ["model.safetensors"]);
    };
    // 64 inputs, 32 outputs, groups of 32; four bits, eight to a word.
    let (zeros, scales) =
        (("qzeros", "I32", &[2, 4][..], 32), ("scales", "F16", &[2, 32][..], 128));
    let index = ("g_idx", "I32", &[64][..], 256);
    check("gptq", "qweight", &[index, ("qweight", "I32", &[8, 32], 1024), zeros, scales]);
    check("gptq", "qweight", &[("qweight", "I32", &[8, 32], 1024), zeros, scales]);
    check("awq", "qweight", &[("qweight", "I32", &[64, 4], 1024), zeros, scales]);
    let absmax = ("weight.absmax", "U8", &[32][..], 32);
    let map = ("weight.quant_map", "F32", &[16][..], 64);
    check("bitsandbytes", "weight.absmax", &[("weight", "U8", &[1024, 1], 1024), absmax, map]);
    check("bitsandbytes", "SCB", &[("weight", "I8", &[32, 64], 2048), ("SCB", "F32", &[32], 128)]);
    let packed = ("weight_packed", "I32", &[32, 8][..], 1024);
    check("compressed-tensors", "weight_packed", &[packed, ("weight_scale", "F16", &[32, 2], 128)]);
    check("hqq", "W_q", &[("W_q", "U8", &[1024, 1], 1024), ("scale", "F16", &[64, 1], 128)]);
}

#[test]
fn a_wrong_folder_is_named_with_what_is_missing() {
    let weights = safetensors(&[("a.weight", "BF16", &[4, 4], bf16(16, 1))]);
    let check = |files: &[(&str, &[u8])], stderr: &str| {
        let dir = Dir::new();
        for (name, bytes) in files {
            dir.write(&format!("model/{name}"), bytes);
        }
        dir.refused("quantize model -q", 3, stderr);
        assert_eq!(dir.names(), ["model"]);
    };
    check(
        &[("config.json", b"{}"), ("pytorch_model.bin", b"")],
        "error: `model` holds no `.safetensors` file, but `pytorch_model.bin`\n\nhint: convert it to \
         safetensors first: load it with Transformers and call `save_pretrained`\n",
    );
    check(
        &[("model.safetensors", &weights)],
        "error: `model` holds no `config.json`\n\nhint: give the `.safetensors` file itself to go \
         without a `config.json`\n",
    );
    check(
        &[
            ("model.safetensors", &weights),
            ("config.json", br#"{"quantization_config":{"quant_method":"gptq"}}"#),
        ],
        "error: the checkpoint is quantized already, by `gptq`, expected F32, F16 or BF16 \
         weights\n\nhint: start from the original checkpoint: quantizing twice adds up both losses\n",
    );
    check(
        &[
            ("config.json", b"{}"),
            (
                "model.safetensors.index.json",
                br#"{"weight_map":{"a.weight":"../model.safetensors"}}"#,
            ),
        ],
        "error: tensor `a.weight` is mapped to `../model.safetensors`, which is not the plain name of \
         a file in this folder\n  in `model/model.safetensors.index.json`\n",
    );
    check(
        &[
            ("config.json", b"{}"),
            ("model.safetensors.index.json", br#"{"weight_map":{"a.weight":"gone.safetensors"}}"#),
        ],
        "error: the index names `gone.safetensors`, which is not there\n  in \
         `model/model.safetensors.index.json`\n\nhint: was the model downloaded completely, or is the index that of other files?\n",
    );
}

#[test]
fn a_config_that_disagrees_with_the_shapes_is_refused() {
    let dir = Dir::with_tiny_llama();
    let config = String::from_utf8(dir.read("tiny-llama/config.json")).unwrap();
    let config = config.replace(r#""intermediate_size": 384"#, r#""intermediate_size": 400"#);
    dir.write("tiny-llama/config.json", config.as_bytes());
    let ran = dir.run("quantize tiny-llama");
    assert_eq!(ran.code, Some(3));
    assert_eq!(
        ran.stderr,
        "error: tensor `model.layers.0.mlp.gate_proj.weight` has shape [384, 128], but `llama` \
         expects [400, 128]\n  in `model.safetensors`\n\nhint: `intermediate_size` in `config.json` \
         is 400; was this checkpoint pruned, or given tokens, without updating it?\n"
    );
}

#[test]
fn an_output_inside_the_input_is_refused() {
    let dir = Dir::with_tiny_llama();
    let before = dir.tree("tiny-llama");
    dir.refused(
        "quantize tiny-llama -o tiny-llama/out",
        2,
        "error: the output `tiny-llama/out` lies inside the input `tiny-llama`\n\nhint: choose a place \
         outside the input with `-o`\n",
    );
    dir.refused(
        "quantize tiny-llama -o tiny-llama --force",
        2,
        "error: the output `tiny-llama` is the input `tiny-llama`\n\nhint: choose a place outside the \
         input with `-o`\n",
    );
    assert!(dir.tree("tiny-llama") == before);
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let dir = Dir::new();
    for command in ["inspect", "quantize"] {
        dir.refused(&format!("{command} nowhere"), 2, "error: `nowhere` does not exist\n");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 1, 64);
    let path = dir.path("model.safetensors");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        println!("skipped: this user may read every file");
        return;
    }
    dir.refused(
        "quantize model.safetensors",
        3,
        "error: `model.safetensors` cannot be read: Permission denied (os error 13)\n",
    );
}

#[test]
fn a_full_disk_is_found_before_the_work() {
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 4, 1000);
    std::fs::create_dir(dir.path("small")).unwrap();
    let small = dir.path("small");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "llmopt-test"])
        .arg(&small)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: this user may not mount a small file system");
        return;
    }
    let ran = dir.run("quantize model.safetensors -q -o small/out.safetensors");
    let left: Vec<_> = std::fs::read_dir(&small).unwrap().map(|e| e.unwrap().path()).collect();
    let unmounted = std::process::Command::new("umount").arg(&small).status().unwrap();
    assert!(unmounted.success());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("but the disk has only"), "{}", ran.stderr);
    assert!(!left.contains(&small.join("out.safetensors")), "{left:?}");
}

#[test]
fn links_of_a_cache_folder_are_followed() {
    let dir = Dir::with_tiny_llama();
    std::fs::create_dir(dir.path("cache")).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        symlink(format!("../tiny-llama/{name}"), dir.path("cache").join(name)).unwrap();
    }
    dir.done("quantize cache -q");
    dir.done("quantize tiny-llama -q");
    let weights = |folder: &str| dir.read(&format!("{folder}/model.safetensors"));
    assert!(weights("cache-w8a16") == weights("tiny-llama-w8a16"));
    assert!(!dir.path("cache-w8a16/tokenizer.json").is_symlink());
}

#[test]
fn odd_shapes_and_values_are_right() {
    let dir = Dir::new();
    let zeros = vec![0; 64 * 32 * 2];
    let huge: Vec<u8> = [0x7f7f_u16; 32].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let tiny: Vec<u8> = [0x0001_u16; 32].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    dir.write(
        "model.safetensors",
        &safetensors(&[
            ("model.layers.0.mlp.up_proj.weight", "BF16", &[64, 32], zeros),
            ("model.layers.1.mlp.up_proj.weight", "BF16", &[1, 32], huge),
            ("model.layers.2.mlp.up_proj.weight", "BF16", &[32, 1], tiny),
            ("model.layers.3.mlp.up_proj.weight", "BF16", &[0, 32], Vec::new()),
            ("model.layers.4.mlp.up_proj.weight", "BF16", &[3, 7], bf16(21, 1)),
        ]),
    );
    for flags in ["--bits 8", "--bits 4", "--bits 4 --asymmetric", "--scheme w8a8", "--scheme fp8"]
    {
        dir.done(&format!("quantize model.safetensors {flags} --runtime transformers -q --force"));
    }
}
