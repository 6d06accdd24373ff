//! A calibrated run that was stopped goes on, and ends with the same bytes.

use super::with_text;
use crate::dir::{Dir, progress};
use crate::synthetic::{Tensor, bf16, safetensors};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TINY: &str = "quantize tiny-llama --bits 4 --threads 2 -o out";

/// Tensors in the journal of the attempt.
fn known(dir: &Dir) -> usize {
    let journal = std::fs::read_to_string(dir.path("out.partial/.journal")).unwrap_or_default();
    journal.lines().filter(|line| line.starts_with("{\"facts\"")).count()
}

#[track_caller]
fn check_interrupted(recipe: &str) {
    let dir = with_text();
    let args = format!("{TINY} --window 64 --samples 16 {recipe} --json");
    dir.done(&args);
    let expected = dir.tree("out");
    dir.remove("out");

    dir.interrupted(&args, "calibrate");
    let done = known(&dir);
    assert!((1..28).contains(&done), "{recipe}: {done} of 28 tensors before the interruption");
    assert_eq!(dir.names(), ["out.partial", "text.txt", "tiny-llama"]);

    let mut child = dir.command(&args).spawn().unwrap();
    let calibrated =
        |event: &Value| event["event"] == "stage-finished" && event["stage"] == "calibrate";
    let events = progress(&mut child, calibrated);
    assert!(child.wait_with_output().unwrap().status.success());
    let resuming = events.iter().find(|event| event["event"] == "resuming").expect("it says so");
    let at = resuming["at"].as_str().unwrap();
    assert!(at.starts_with("layer ") && at.ends_with(" of 4"), "{recipe}: {at}");
    assert_eq!(resuming["stage"], "calibrate");
    // What was done is done: shares go on from there, and end where the stage does.
    let started = events.iter().find(|event| event["stage"] == "calibrate").unwrap();
    let share = |event: &Value| event["share"].as_f64().unwrap();
    assert!(at == "layer 1 of 4" || share(resuming) > share(started), "{recipe}: {resuming}");
    assert!(share(events.last().unwrap()) > share(resuming), "{recipe}");
    let mut rest = events.iter().skip_while(|event| event["stage"] != "calibrate");
    let all = rest.next().unwrap()["bytes"].as_u64().unwrap();
    let done = rest.filter_map(|event| event["done"].as_u64()).max().unwrap_or(0);
    assert!(done < all, "{recipe}: nothing was kept of {all} bytes");
    assert!(dir.tree("out") == expected, "{recipe}: the bytes differ");
}

rows! {
    interrupted_in_the_middle_it_does_the_rest_alone = check_interrupted;
    gptq("--method gptq+cd --calibrate text.txt")
    qep_of_drawn_windows("--method qep+cd --calibrate self")
    whole_blocks_of_drawn_windows("--method gptq+cd --calibrate self --whole-block")
}

#[test]
fn killed_each_time_that_it_got_further_it_ends_with_the_same_bytes() {
    let dir = with_text();
    let args = format!(
        "{TINY} --window 256 --samples 48 --method qep+cd --calibrate text.txt --dtype f32 -q"
    );
    let mut kills = 0;
    for goal in [1, 8, 15] {
        let mut child = dir.command(&args).spawn().unwrap();
        let patience = Instant::now();
        while known(&dir) < goal && patience.elapsed().as_secs() < 120 {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        kills += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(kills > 0, "it was done before it could be killed");
    dir.done(&format!("{args} --force"));
    let resumed = dir.tree("out");
    dir.remove("out");
    dir.done(&args);
    assert!(dir.tree("out") == resumed, "the bytes differ after {kills} kills");
}

/// Interrupts a choice between artifacts when the first of them is written, and lets it go on from
/// every part of its journal whose length is among `cuts`.
fn check_cuts(dir: &Dir, args: &str, cuts: impl Iterator<Item = usize>) {
    let args = format!("{args} --method auto --threads 2 --json -o out");
    dir.done(&args);
    let (names, expected) = (dir.names(), dir.tree("out"));
    dir.remove("out");
    dir.interrupted_at(&args, |event| {
        event["event"] == "stage-finished" && event["stage"] == "rewrite"
    });
    let partial = dir.tree("out.partial");
    let journal = std::str::from_utf8(&partial["out.partial/.journal"]).unwrap();
    let lines: Vec<&str> = journal.split_inclusive('\n').collect();
    for cut in cuts.take_while(|&cut| cut <= lines.len()) {
        partial.iter().for_each(|(name, bytes)| dir.write(name, bytes));
        dir.write("out.partial/.journal", lines[..cut].concat().as_bytes());
        dir.done(&args);
        assert_eq!(dir.names(), names);
        assert!(dir.tree("out") == expected, "from {cut} of {} lines", lines.len());
        dir.remove("out");
    }
}

#[test]
fn sites_that_are_written_in_part_are_done_again() {
    let dir = Dir::with_family("llama");
    let args = "quantize model --bits 4 --group-size 16 --runtime transformers --calibrate \
                ids.safetensors --window 64 --samples 16";
    check_cuts(&dir, args, (2..).step_by(5));
}

#[test]
fn matrices_that_are_written_in_part_are_done_again() {
    let dir = wide();
    let args = "quantize model --bits 4 --group-size 16 --runtime transformers --calibrate \
                ids.safetensors --window 16 --samples 8 --exclude *.down_proj.weight";
    // The heading, and a line for each tensor and for each band.
    let attention = 1 + 4 * 2;
    check_cuts(&dir, args, attention..=attention + 2 * 3);
}

/// A model whose gate and up are so tall that each is written in two bands.
fn wide() -> Dir {
    let dir = Dir::with_family("qwen3");
    let mut config = dir.json("model/config.json");
    config["num_hidden_layers"] = json!(1);
    config["intermediate_size"] = json!(8_448);
    config["tie_word_embeddings"] = json!(false);
    dir.write("model/config.json", config.to_string().as_bytes());
    let shapes: &[(&str, &[usize])] = &[
        ("lm_head.weight", &[96, 64]),
        ("model.embed_tokens.weight", &[96, 64]),
        ("model.layers.0.input_layernorm.weight", &[64]),
        ("model.layers.0.mlp.down_proj.weight", &[64, 8_448]),
        ("model.layers.0.mlp.gate_proj.weight", &[8_448, 64]),
        ("model.layers.0.mlp.up_proj.weight", &[8_448, 64]),
        ("model.layers.0.post_attention_layernorm.weight", &[64]),
        ("model.layers.0.self_attn.k_norm.weight", &[16]),
        ("model.layers.0.self_attn.k_proj.weight", &[48, 64]),
        ("model.layers.0.self_attn.o_proj.weight", &[64, 96]),
        ("model.layers.0.self_attn.q_norm.weight", &[16]),
        ("model.layers.0.self_attn.q_proj.weight", &[96, 64]),
        ("model.layers.0.self_attn.v_proj.weight", &[48, 64]),
        ("model.norm.weight", &[64]),
    ];
    let tensor = |(seed, &(name, shape)): (u64, &(&'static str, &'static [usize]))| -> Tensor<'_> {
        (name, "BF16", shape, bf16(shape.iter().product(), seed))
    };
    let tensors: Vec<Tensor<'_>> = (1..).zip(shapes).map(tensor).collect();
    dir.write("model/model.safetensors", &safetensors(&tensors));
    dir
}

#[test]
fn what_a_choice_between_methods_left_goes_with_the_next_run_of_one() {
    let dir = Dir::with_family("llama");
    let before = dir.names();
    let args = "quantize model --bits 4 --group-size 16 --runtime transformers --calibrate \
                ids.safetensors --window 64 --samples 16 --json -o out";
    dir.interrupted_at(&format!("{args} --method auto"), |event| {
        event["event"] == "stage-finished" && event["stage"] == "rewrite"
    });
    let names = dir.names();
    let begun: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| name.starts_with("out")).collect();
    assert_eq!(begun, ["out.candidate-rtn.partial", "out.partial"]);
    dir.done(&format!("{args} --method gptq"));
    dir.remove("out");
    assert_eq!(dir.names(), before);
}

#[test]
fn work_of_a_run_with_other_options_is_begun_anew_and_that_is_said() {
    let dir = with_text();
    let args = format!("{TINY} --calibrate text.txt --window 64 --samples 16 --method gptq --json");
    dir.interrupted(&args, "calibrate");
    let says_so = |samples: usize| {
        let options = "--calibrate text.txt --window 64 --method gptq --force";
        let args = format!("{TINY} {options} --samples {samples}");
        let output = dir.command(&args).output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).contains("begun anew")
    };
    assert!(says_so(15));
    assert!(!says_so(15));
}
