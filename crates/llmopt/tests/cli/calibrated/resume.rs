//! A calibrated run that was stopped goes on, and ends with the same bytes.

use super::{SMALL, with_text};
use crate::dir::{Dir, interrupt};
use crate::synthetic::Random;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

const TINY: &str = "quantize tiny-llama --bits 4 --threads 2 -o out";

/// Events of the stage that observes and rewrites, up to one that `ends` it.
fn progress(child: &mut Child, ends: impl Fn(&Value) -> bool) -> Vec<Value> {
    let lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let mut events: Vec<Value> = Vec::new();
    for line in lines {
        events.push(serde_json::from_str(&line.unwrap()).unwrap());
        if ends(events.last().unwrap()) {
            break;
        }
    }
    events
}

/// Tensors in the journal of the attempt.
fn known(dir: &Dir) -> usize {
    let journal = std::fs::read_to_string(dir.path("out.partial/.journal")).unwrap_or_default();
    journal.lines().filter(|line| line.starts_with("\"tensor ")).count()
}

#[test]
fn interrupted_in_the_middle_it_does_the_rest_alone() {
    let check = |recipe: &str| {
        let dir = with_text();
        let args = format!("{TINY} --window 64 --samples 8 {recipe} --json");
        dir.done(&args);
        let expected = dir.tree("out");
        dir.remove("out");

        let mut child = dir.command(&args).spawn().unwrap();
        progress(&mut child, |event| {
            event["event"] == "advanced" && event["tensor"].as_str().unwrap().contains("layers")
        });
        interrupt(&child);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{recipe}");
        let done = known(&dir);
        assert!((1..28).contains(&done), "{recipe}: {done} of 28 tensors before the interruption");
        assert_eq!(dir.names(), ["out.partial", "text.txt", "tiny-llama"]);

        let mut child = dir.command(&args).spawn().unwrap();
        let calibrated =
            |event: &Value| event["event"] == "stage-finished" && event["stage"] == "calibrate";
        let rest = progress(&mut child, calibrated);
        assert!(child.wait_with_output().unwrap().status.success());
        let advanced = rest.iter().filter(|event| event["event"] == "advanced");
        let done = advanced.map(|event| event["done"].as_u64().unwrap()).max().unwrap_or(0);
        assert!(done < rest[0]["bytes"].as_u64().unwrap(), "{recipe}: nothing was kept: {rest:#?}");
        assert!(dir.tree("out") == expected, "{recipe}: the bytes differ");
    };
    check("--method gptq+cd --calibrate text.txt");
    check("--method qep+cd --calibrate self");
    check("--method gptq+cd --calibrate self --whole-block");
}

#[test]
fn killed_each_time_that_it_got_further_it_ends_with_the_same_bytes() {
    let dir = with_text();
    let args = format!("{TINY} --window 256 --samples 12 --method qep+cd --calibrate text.txt -q");
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

#[test]
fn a_choice_between_artifacts_goes_on_at_any_moment() {
    let dir = Dir::with_family("qwen3_moe");
    let args = format!("{SMALL} --window 64 --samples 16 --method auto --threads 2 -o out");
    let started = Instant::now();
    dir.done(&args);
    let whole = started.elapsed();
    let (names, expected) = (dir.names(), dir.tree("out"));
    let mut random = Random(5);
    for _ in 0..4 {
        dir.remove("out");
        let mut child = dir.command(&args).spawn().unwrap();
        std::thread::sleep(whole * (random.next() % 1000) as u32 / 1000);
        // It may be done already; then there is nothing to kill.
        let _ = child.kill();
        child.wait().unwrap();
        if !dir.path("out").exists() {
            dir.done(&args);
        }
        assert_eq!(dir.names(), names);
        assert!(dir.tree("out") == expected, "the bytes differ");
    }
}
