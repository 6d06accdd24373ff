//! Stopped at any moment, the same command ends with the same bytes.

use crate::dir::{Dir, interrupt};
use crate::synthetic::{self, Random};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

#[test]
fn killed_at_fifty_moments_a_run_ends_with_the_same_bytes() {
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 12, 1500);
    let args = "quantize model.safetensors --bits 8 --threads 2 -q -o out.safetensors";
    let started = Instant::now();
    dir.done(args);
    let whole = started.elapsed();
    let expected = outputs(&dir);

    let mut random = Random(7);
    for _ in 0..50 {
        remove_outputs(&dir);
        let mut child = dir.command(args).spawn().unwrap();
        // Up to a quarter of a run at a time: most attempts go on from an earlier one.
        std::thread::sleep(whole * (random.next() % 1000) as u32 / 4000);
        // It may be done already; then there is nothing to kill.
        let _ = child.kill();
        child.wait().unwrap();
    }
    remove_outputs(&dir);
    dir.done(args);
    assert!(outputs(&dir) == expected, "the bytes differ after 50 kills");
    assert_eq!(dir.names(), ["model.safetensors", "out.llmopt.json", "out.safetensors"]);
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_leaves_no_artifact() {
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 12, 1500);
    let args =
        "quantize model.safetensors --bits 4 --runtime transformers --group-size 20 --threads 1";
    let mut child = dir.command(&format!("{args} --json")).spawn().unwrap();
    let mut events = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = events.next().unwrap().unwrap();
    assert!(first.starts_with(r#"{"event":"stage-started","stage":"rewrite","#), "{first}");
    interrupt(&child);
    let told: Vec<String> = events.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{told:#?}");
    let stopping = r#"{"event":"note","text":"stopping after the current band; run the same command again to go on"}"#;
    assert!(told.iter().any(|line| line == stopping), "{told:#?}");
    let ended = r#"{"event":"error","message":"interrupted","hint":"the same command goes on where this one stopped"}"#;
    assert_eq!(told.last().unwrap(), ended);
    assert_eq!(dir.names(), ["model-w4a16.safetensors.partial", "model.safetensors"]);

    dir.done(&format!("{args} -q"));
    let resumed = dir.read("model-w4a16.safetensors");
    dir.remove("model-w4a16.safetensors");
    dir.done(&format!("{args} -q --force"));
    assert!(dir.read("model-w4a16.safetensors") == resumed, "the bytes differ");
}

#[test]
fn another_command_does_not_go_on_with_the_work_of_an_interrupted_one() {
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 4, 1500);
    let args = |method: &str| {
        format!("quantize model.safetensors --method {method} --threads 1 -q -o out.safetensors")
    };
    dir.done(&args("rtn"));
    let expected = outputs(&dir);
    remove_outputs(&dir);
    let mut child = dir.command(&args("search")).spawn().unwrap();
    let patience = Instant::now();
    while !dir.path("out.safetensors.partial").exists() && patience.elapsed().as_secs() < 60 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    let _ = child.kill();
    child.wait().unwrap();
    remove_outputs(&dir);
    dir.done(&args("rtn"));
    assert!(outputs(&dir) == expected, "the bytes differ");
}

fn outputs(dir: &Dir) -> [Vec<u8>; 2] {
    [dir.read("out.safetensors"), dir.read("out.llmopt.json")]
}

/// Published outputs, not the work of an attempt that was stopped.
fn remove_outputs(dir: &Dir) {
    for name in ["out.safetensors", "out.llmopt.json"] {
        if dir.path(name).exists() {
            dir.remove(name);
        }
    }
}
