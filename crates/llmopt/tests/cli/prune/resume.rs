//! A pruning run that was stopped goes on, and ends with the same bytes.

use super::TINY;
use crate::dir::Dir;
use std::time::Instant;

#[test]
fn interrupted_in_the_middle_it_does_the_rest_alone() {
    let dir = Dir::with_tiny_llama();
    let args = format!("{TINY} --sparsity 0.3 --axes ffn,heads --threads 2 --json -o out");
    dir.done(&args);
    let expected = dir.tree("out");
    dir.remove("out");

    dir.interrupted(&args, "prune");
    let journal = std::fs::read_to_string(dir.path("out.partial/.journal")).unwrap();
    let done = journal.lines().filter(|line| line.starts_with("{\"facts\"")).count();
    assert!((1..8).contains(&done), "{done} of 8 places before the interruption");
    assert_eq!(dir.names(), ["out.partial", "tiny-llama"]);
    dir.done(&args);
    assert_eq!(dir.names(), ["out", "tiny-llama"]);
    assert!(dir.tree("out") == expected, "the bytes differ");
}

#[test]
fn what_a_choice_among_mixes_left_goes_with_the_next_run_of_one() {
    let dir = Dir::with_tiny_llama();
    let args = format!("{TINY} --sparsity 0.3 --refine 0 --json -o out");
    dir.interrupted(&args, "prune");
    let left = [
        "out.candidate-ffn-heads.partial",
        "out.candidate-ffn-layers.partial",
        "out.candidate-ffn.partial",
        "out.partial",
        "tiny-llama",
    ];
    assert_eq!(dir.names(), left);
    dir.done(&format!("{args} --axes ffn"));
    assert_eq!(dir.names(), ["out", "tiny-llama"]);
}

#[test]
fn killed_at_any_moment_it_ends_with_the_same_bytes() {
    let dir = Dir::with_family("llama-tied");
    let args = "prune model --sparsity 0.25 --axes ffn,heads --align 8 --calibrate ids.safetensors \
                --window 64 --samples 24 -q -o out";
    let started = Instant::now();
    dir.done(args);
    let (whole, expected) = (started.elapsed(), dir.tree("out"));
    dir.remove("out");
    for moment in 1..=16 {
        let mut child = dir.command(args).spawn().unwrap();
        std::thread::sleep(whole * moment / 20);
        // It may be done already; then there is nothing to kill.
        let _ = child.kill();
        child.wait().unwrap();
        if dir.path("out").exists() {
            assert!(dir.tree("out") == expected, "the bytes differ after {moment} kills");
            dir.remove("out");
        }
    }
    dir.done(args);
    assert!(dir.tree("out") == expected, "the bytes differ after all kills");
}
