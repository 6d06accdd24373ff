//! What cannot be calibrated is refused with what is wrong, before anything is written.

use super::{plan, with_text};
use crate::dir::Dir;
use crate::synthetic::edit;

const WINDOWS: &str = "--window 64 --samples 2";

#[track_caller]
fn refused(dir: &Dir, args: &str, code: i32, stderr: &str) {
    let before = dir.names();
    dir.refused(&format!("quantize {args}"), code, stderr);
    assert_eq!(dir.names(), before, "{args}");
}

#[test]
fn a_solver_does_not_take_scales_that_rows_share() {
    let dir = with_text();
    let args = "tiny-llama --scheme fp8-block --runtime transformers --calibrate text.txt --method";
    for method in ["gptq", "qep+cd", "auto"] {
        refused(
            &dir,
            &format!("{args} {method} {WINDOWS}"),
            2,
            "error: `fp8-block` has scales that rows share, which no solver handles\n\nhint: \
             `--method search` does\n",
        );
    }
    dir.done(&format!("quantize {args} search {WINDOWS} -q -o out"));
    dir.done("verify out --runtime transformers -q");
}

#[test]
fn data_that_cannot_be_used_are_named() {
    let dir = with_text();
    dir.write("short.txt", b"too short");
    let args = "tiny-llama --bits 4 --method gptq";
    refused(
        &dir,
        &format!("{args} --calibrate text.txt --calibrate text.txt:2"),
        2,
        "error: `text.txt` is given twice as calibration data\n\nhint: a greater weight gives a source \
         more windows\n",
    );
    refused(
        &dir,
        &format!("{args} --calibrate nowhere.txt"),
        3,
        "error: `nowhere.txt` cannot be read: No such file or directory (os error 2)\n",
    );
    let ran = dir.run(&format!("quantize {args} --calibrate short.txt {WINDOWS}"));
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let parts = [" tokens, and one window takes 64\n  in `short.txt`", "give a longer text"];
    assert!(parts.iter().all(|part| ran.stderr.contains(part)), "{}", ran.stderr);
}

#[test]
fn a_file_without_a_config_cannot_be_run() {
    let dir = with_text();
    dir.write("bare.safetensors", &dir.read("tiny-llama/model.safetensors"));
    refused(
        &dir,
        "bare.safetensors --bits 4 --runtime transformers --method gptq --calibrate text.txt",
        2,
        "error: `bare.safetensors` has no `config.json` beside it: its structure is unknown\n\nhint: \
         give the folder that holds weights and config\n",
    );
}

#[track_caller]
fn check_memory(recipe: &str, part: &str) {
    let dir = with_text();
    let args = format!("tiny-llama --bits 4 --threads 2 {recipe} -q -o out");
    let plan = plan(&dir, &format!("quantize {args}"));
    let smallest = plan["memory"]["smallest"].as_u64().unwrap();
    assert_eq!(plan[part]["memory"]["smallest"], smallest, "what takes most: {plan}");
    for memory in [1 << 20, smallest - 1] {
        refused(
            &dir,
            &format!("{args} --memory {memory}"),
            2,
            &format!(
                "error: {memory} bytes of memory are not enough, expected at least {smallest}\
                 \n\nhint: `--memory {smallest}` works\n"
            ),
        );
    }
    dir.done(&format!("quantize {args} --memory {smallest}"));
    dir.remove("out");
}

rows! {
    too_little_memory_is_refused_with_enough = check_memory;
    a_text("--method gptq --calibrate text.txt --window 64 --samples 2", "calibration")
    whole_blocks_of_drawn_windows(
        "--method qep --calibrate self --window 64 --samples 2 --whole-block", "calibration"
    )
    // Logits of all windows, and little to observe.
    drawing(
        "--method search --calibrate self --samples 4 --runtime transformers --window 1024 \
         --include model.layers.0.self_attn.q_proj.weight",
        "calibration"
    )
    // Those of three models side by side.
    judging(
        "--calibrate text.txt --runtime transformers --samples 2 --window 1024 \
         --include model.layers.0.self_attn.q_proj.weight",
        "decision"
    )
    judging_what_was_drawn_on(
        "--calibrate self --format dense --samples 2 --window 1024 \
         --include model.layers.0.self_attn.q_proj.weight",
        "decision"
    )
}

#[test]
fn a_number_that_overflows_in_a_block_is_traced() {
    let dir = with_text();
    edit(&dir, "tiny-llama/model.safetensors", "layers.1.mlp.gate_proj.weight", |rows| {
        rows.fill(vec![3e38; 128]);
    });
    let before = dir.names();
    let args = "quantize tiny-llama --bits 4 --method gptq --calibrate text.txt -q -o out";
    let ran = dir.run(&format!("{args} {WINDOWS}"));
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let expected =
        "error: `model.layers.1.mlp` made a value of `inner` that is not finite, in row 0";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
    assert_eq!(dir.names(), before);
}
