//! Stopped at any moment, the same command ends with the same bytes.

use crate::dir::{Dir, interrupt};
use crate::synthetic::{self, Random};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

#[track_caller]
fn check_killed(model: &str, output: &str) {
    let dir = Dir::new();
    synthetic::bare(&dir, model, 12, 1500);
    let model = match model.split_once('/') {
        None => model,
        Some((folder, _)) => {
            dir.write(&format!("{folder}/config.json"), br#"{"model_type":"nobody-knows"}"#);
            folder
        }
    };
    let mut random = Random(7);
    let args = format!("quantize {model} --bits 8 --threads 2 -q -o {output}");
    let started = Instant::now();
    dir.done(&args);
    let whole = started.elapsed();
    let (names, expected) = (dir.names(), taken(&dir));
    for _ in 0..25 {
        let mut child = dir.command(&args).spawn().unwrap();
        // Up to a quarter of a run at a time: most attempts go on from an earlier one.
        std::thread::sleep(whole * (random.next() % 1000) as u32 / 4000);
        // It may be done already; then there is nothing to kill.
        let _ = child.kill();
        child.wait().unwrap();
        taken(&dir);
    }
    dir.done(&args);
    assert_eq!(dir.names(), names);
    assert!(taken(&dir) == expected, "the bytes differ after 25 kills");
}

rows! {
    killed_at_many_moments_a_run_ends_with_the_same_bytes = check_killed;
    of_a_file("model.safetensors", "out.safetensors")
    of_a_folder("model/model.safetensors", "out")
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
    assert!(first.starts_with(r#"{"event":"estimate","seconds":"#), "{first}");
    let second = events.next().unwrap().unwrap();
    assert!(second.contains(r#""event":"stage-started","#), "{second}");
    assert!(second.contains(r#""stage":"rewrite""#), "{second}");
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
fn what_keeps_nothing_says_that_it_starts_over() {
    let dir = Dir::with_tiny_llama();
    let names = dir.names();
    let check = |args: &str, stage: &str| {
        let mut child = dir.command(&format!("{args} --threads 1 --json")).spawn().unwrap();
        let mut events = BufReader::new(child.stderr.take().unwrap()).lines();
        let started =
            events.by_ref().map(Result::unwrap).find(|line| line.contains("stage-started"));
        assert!(started.unwrap().contains(&format!(r#""stage":"{stage}""#)), "{stage}");
        interrupt(&child);
        let told: Vec<String> = events.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{told:#?}");
        assert!(told.contains(&r#"{"event":"note","text":"stopping"}"#.to_owned()), "{told:#?}");
        let ended =
            r#"{"event":"error","message":"interrupted","hint":"the same command starts over"}"#;
        assert_eq!(told.last().unwrap(), ended);
        assert_eq!(dir.names(), names);
    };
    check("eval tiny-llama --text tiny-llama/evaluation.txt", "evaluate");
    check("calibrate tiny-llama --data tiny-llama/calibration.txt -o s.safetensors", "observe");
}

#[test]
fn another_command_does_not_go_on_with_the_work_of_an_interrupted_one() {
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 4, 1500);
    let args = |method: &str| {
        format!("quantize model.safetensors --method {method} --threads 1 -q -o out.safetensors")
    };
    dir.done(&args("rtn"));
    let expected = taken(&dir);
    let mut child = dir.command(&args("search")).spawn().unwrap();
    let patience = Instant::now();
    while !dir.path("out.safetensors.partial").exists() && patience.elapsed().as_secs() < 60 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    let _ = child.kill();
    child.wait().unwrap();
    taken(&dir);
    dir.done(&args("rtn"));
    assert!(taken(&dir) == expected, "the bytes differ");
}

/// Published outputs, which are removed; not the work of an attempt that was stopped.
fn taken(dir: &Dir) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for name in ["out", "out.safetensors", "out.llmopt.json"] {
        if dir.path(name).exists() {
            files.extend(dir.tree(name));
            dir.remove(name);
        }
    }
    files
}
