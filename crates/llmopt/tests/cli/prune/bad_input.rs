//! What cannot be pruned is refused with what is wrong, before anything is written.

use crate::dir::Dir;

#[track_caller]
fn refused(dir: &Dir, args: &str, message: &str, hint: &str) {
    refused_with(dir, args, 2, message, hint);
}

#[track_caller]
fn refused_with(dir: &Dir, args: &str, code: i32, message: &str, hint: &str) {
    let before = dir.names();
    let hint = if hint.is_empty() { String::new() } else { format!("\nhint: {hint}\n") };
    dir.refused(&format!("prune {args}"), code, &format!("error: {message}\n{hint}"));
    assert_eq!(dir.names(), before, "{args}");
}

#[test]
fn a_sparsity_outside_the_range_or_out_of_reach() {
    let dir = Dir::with_family("llama-tied");
    for sparsity in ["0", "-0.1", "0.91"] {
        refused(
            &dir,
            &format!("model --sparsity={sparsity}"),
            &format!(
                "`--sparsity {sparsity}` is out of range, expected more than 0 and at most 0.9"
            ),
            "0.2 removes a fifth of the blocks' parameters",
        );
    }
    let nearest = "ask for one of these, or for a smaller `--align` or other `--axes`";
    refused(
        &dir,
        "model --sparsity 0.4 --axes heads",
        "`--sparsity 0.4` cannot be reached along heads; within reach: 0.1992",
        nearest,
    );
    refused(
        &dir,
        "model --sparsity 0.5 --align 64 --axes ffn",
        "`--sparsity 0.5` cannot be reached along ffn in steps of 64; within reach: 0.1992",
        nearest,
    );
}

#[test]
fn an_axis_that_the_family_lacks() {
    let check = |family: &str, message: &str| {
        let dir = Dir::with_family(family);
        let message = format!("axis `heads` of `{family}` cannot be pruned: {message}");
        refused(&dir, "model --sparsity 0.2 --axes heads", &message, "");
    };
    check("llama", "`num_key_value_heads` is 1, and loaders accept no smaller number");
    check("olmo2", "`self_attn.q_norm` normalizes over all of it");
    check("qwen2", "vLLM ignores `head_dim` and divides `hidden_size` by `num_attention_heads`");
    let dir = Dir::with_family("qwen3");
    refused(
        &dir,
        "model --sparsity 0.2 --axes ffn --bias",
        "`--bias`: `qwen3` has no place for a bias behind axis `ffn`",
        "leave it out: the refit is by weights alone then",
    );
}

#[test]
fn a_model_that_is_quantized_already() {
    let original = "prune the original checkpoint, then quantize what comes out";
    let dir = Dir::with_family("llama-fp8");
    let message = "the checkpoint is quantized already, by `fp8`: codes cannot be cut";
    refused_with(&dir, "model --sparsity 0.2", 3, message, original);
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama -q -o eight");
    let message = message.replace("fp8", "compressed-tensors");
    refused_with(&dir, "eight --sparsity 0.2", 3, &message, original);
}

#[test]
fn fewer_tokens_than_the_refit_needs() {
    let dir = Dir::with_tiny_llama();
    refused(
        &dir,
        "tiny-llama --axes ffn --sparsity 0.2 --window 32 --samples 4 --calibrate tiny-llama/calibration.txt",
        "128 tokens to calibrate on are fewer than the refit needs: 384, one for each column of the \
         widest matrix",
        "more `--samples`, a longer `--window`, or more text",
    );
}

#[test]
fn a_file_without_its_config() {
    let dir = Dir::with_tiny_llama();
    dir.write("bare.safetensors", &dir.read("tiny-llama/model.safetensors"));
    refused(
        &dir,
        "bare.safetensors --sparsity 0.2",
        "`bare.safetensors` has no `config.json` beside it: without its structure nothing tells \
         which rows and columns change together",
        "give the folder that holds weights and config",
    );
}

#[test]
fn experts_with_too_few_tokens_are_listed_and_strict_forbids_them() {
    let dir = Dir::with_family("mixtral");
    let args =
        "model --sparsity 0.25 --align 8 --calibrate ids.safetensors --window 16 --samples 2";
    let ran = dir.run(&format!("prune {args} --strict -q -o out"));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("and `--strict` forbids it"), "{}", ran.stderr);
    dir.done(&format!("prune {args} -q -o out"));
    let report = dir.json("out/llmopt.json");
    let places = report["pruned"].as_array().unwrap();
    let fallen: Vec<_> = places.iter().filter(|place| place.get("fallback").is_some()).collect();
    assert!(!fallen.is_empty(), "{report}");
    for place in fallen {
        let why = place["fallback"].as_str().unwrap();
        let start = format!("by magnitude, and not refitted: expert {} saw ", place["expert"]);
        assert!(why.starts_with(&start), "{why}");
    }
}

#[test]
fn an_output_that_exists_is_not_touched() {
    let dir = Dir::with_tiny_llama();
    dir.write("tiny-llama-p20/notes.txt", b"mine");
    let ran = dir.run("prune tiny-llama --sparsity 0.2 --method magnitude --no-refit -q");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("tiny-llama-p20` exists already"), "{}", ran.stderr);
    assert_eq!(dir.read("tiny-llama-p20/notes.txt"), b"mine");
}
