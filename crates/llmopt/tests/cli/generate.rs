//! Generation: the same tokens every time, alone or together, and refusals.

use crate::dir::Dir;
use serde_json::Value;

fn generated(dir: &Dir, args: &[&str]) -> Vec<Value> {
    let mut command = dir.command("generate tiny-llama --json");
    let output = command.args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    found.as_array().unwrap().clone()
}

#[test]
fn prompts_go_on_together_as_they_do_alone() {
    let dir = Dir::with_tiny_llama();
    let prompts = ["Once upon a time", "The", "In the year 1886, the city of"];
    let together = generated(
        &dir,
        &[prompts[0], prompts[1], prompts[2], "--tokens", "24", "--kernel", "portable"],
    );
    for (prompt, expected) in prompts.into_iter().zip(&together) {
        let alone = generated(&dir, &[prompt, "--tokens", "24", "--kernel", "portable"]);
        assert_eq!(&alone[0], expected);
        assert_eq!(expected["prompt"], prompt);
        assert!(!expected["text"].as_str().unwrap().is_empty());
    }
}

#[test]
fn draws_follow_the_seed_and_not_the_threads() {
    let dir = Dir::with_tiny_llama();
    let drawn = |seed: &str, threads: &str| {
        let more = ["--temperature", "1.2", "--seed", seed, "--threads", threads];
        generated(&dir, &[&["The"], &more[..]].concat())
    };
    assert_eq!(drawn("1", "1"), drawn("1", "4"));
    assert_ne!(drawn("1", "1"), drawn("2", "1"));
}

#[test]
fn what_cannot_be_said_is_refused() {
    let dir = Dir::with_tiny_llama();
    let check = |args: &[&str], code, expected: &str| {
        let output = dir.command("generate tiny-llama").args(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    };
    check(&["Hi", "--tokens", "100000"], 2, "are beyond the model's context of");
    check(&["Hi", "--chat"], 2, "the model has no chat template");
    check(&["Hi", "--memory", "1MiB"], 2, "bytes of memory are not enough");
    check(&["Hi", "--temperature=-1"], 2, "expected a number from 0 to 100");
    check(&[""], 2, "a prompt has no tokens");
    dir.remove("tiny-llama/tokenizer.json");
    check(&["Hi"], 3, "`tokenizer.json` is missing");
}
