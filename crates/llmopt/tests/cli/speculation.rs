//! Drafts: the same tokens with one and without, whatever it proposes; and refusals.

use crate::dir::{Dir, testdata};
use serde_json::{Value, json};

/// Requests of several lengths, half of them sampled, one of which repeats itself.
fn requests() -> Vec<u8> {
    let one = |n: u64| {
        let prompt: Vec<u64> = match n {
            5 => (0..40).map(|i| 1 + i % 4).collect(),
            _ => (0..1 + n * 37 % 90).map(|i| 1 + (i * i * 7 + i * n) % 900).collect(),
        };
        let mut body = json!({ "prompt": prompt, "max_tokens": 5 + n * 11 % 41, "logprobs": 1 });
        body["temperature"] = json!([0.0, 0.8][n as usize % 2]);
        json!({ "custom_id": format!("r{n}"), "method": "POST", "url": "/v1/completions", "body": body })
    };
    (0..8).map(one).flat_map(|request: Value| format!("{request}\n").into_bytes()).collect()
}

#[test]
fn what_is_said_with_a_draft_is_what_is_said_without_one() {
    let dir = Dir::with_tiny_llama();
    dir.write("in.jsonl", &requests());
    dir.done("quantize tiny-llama --bits 4 --method rtn -o w4 -q --runtime transformers");
    dir.done(
        "quantize tiny-llama --bits 2 --group-size 32 --method rtn -o w2 -q --runtime transformers",
    );
    let answered = |more: &str| {
        let made = format!("generate tiny-llama --requests in.jsonl -o out.jsonl --force {more}");
        let told = dir.done(&made).stderr;
        (dir.read("out.jsonl"), told)
    };
    let (expected, _) = answered("-q");
    for more in [
        "--draft w4 --draft-length 3",
        "--draft w2 --draft-length 1 --slots 1",
        "--draft w2 --draft-length 16 --slots 3 --chunk 7",
        "--draft tiny-llama --draft-length 4 --threads 1",
        "--draft ngram --draft-length 5 --slots 8 --chunk 1",
        "--draft w4",
    ] {
        let (answers, told) = answered(more);
        assert!(answers == expected, "{more}");
        let note = told.lines().find(|line| line.contains("proposed tokens were accepted"));
        let note = note.unwrap_or_else(|| panic!("{more}: {told}"));
        // The model is its own best draft.
        assert!(!more.contains("tiny-llama") || note.contains("(100.0 %)"), "{more}: {note}");
    }
}

#[test]
fn an_artifact_on_its_codes_is_served_by_another_one() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 8 -o w8 -q");
    dir.done("quantize tiny-llama --bits 4 --method rtn -o w4 -q --runtime transformers");
    let said = |more: &str| {
        let generate = format!("generate w8 Once --tokens 60 --temperature 0.7 --json {more}");
        dir.done(&generate).stdout
    };
    let expected = said("");
    for kernel in ["auto", "avx2", "portable"] {
        let more = format!("--draft w4 --draft-length 4 --kernel {kernel} --threads 2");
        if dir.run(&format!("generate w8 a --tokens 1 --kernel {kernel}")).code == Some(0) {
            // Another kernel may round otherwise where weights are not codes: norms and head are.
            let alone = said(&format!("--kernel {kernel}"));
            assert_eq!(said(&more), alone, "{kernel}");
        }
    }
    assert_eq!(said("--draft w4 --draft-length 4"), expected);
}

#[test]
fn drafts_that_do_not_go_with_the_model_are_refused() {
    let dir = Dir::with_tiny_llama();
    let refused = |args: &str| {
        let ran = dir.run(&format!("generate {args}"));
        assert_eq!(ran.code, Some(2), "{args}: {}", ran.stderr);
        ran.stderr
    };
    let other = testdata("families/qwen3").display().to_string();
    let told = refused(&format!("tiny-llama Once --draft {other}"));
    assert!(told.contains("do not share their tokens"), "{told}");
    let told = refused("tiny-llama Once --draft nowhere");
    assert!(told.contains("nowhere"), "{told}");
    let told = refused("tiny-llama Once --draft-length 3");
    assert!(told.contains("--draft"), "{told}");
    let told = refused("tiny-llama Once --draft ngram --draft-length 17");
    assert!(told.contains("from 1 to 16"), "{told}");
}

#[test]
fn rotary_factors_that_follow_the_length_are_refused_a_draft() {
    let dir = Dir::with_family("phi3");
    std::fs::copy(testdata("tiny-llama/tokenizer.json"), dir.path("model/tokenizer.json")).unwrap();
    let ran = dir.run("generate model Once --draft ngram");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("rotates positions by the length"), "{}", ran.stderr);
}
