//! Models and texts that an evaluation cannot take: each ends with exit code 3 and a message that names
//! what is wrong.

use crate::dir::Dir;
use crate::synthetic;
use serde_json::{Value, json};

/// The trained checkpoint with a text, to be broken.
fn sound() -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/evaluation.txt"));
    dir.done("eval tiny-llama --text text.txt --window 32 --samples 2 -q");
    dir
}

fn edit(dir: &Dir, name: &str, change: impl Fn(&mut Value)) {
    let mut value = dir.json(name);
    change(&mut value);
    dir.write(name, value.to_string().as_bytes());
}

#[track_caller]
fn check(dir: &Dir, args: &str, expected: &[&str]) {
    let window = if args.contains("--text") { "--window 32" } else { "" };
    let output = dir.command(&format!("eval tiny-llama {window} {args}")).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(expected.iter().all(|part| stderr.contains(part)), "{stderr}");
}

#[test]
fn a_token_that_the_model_does_not_know_is_named() {
    let dir = sound();
    let mut tokens = vec![1; 64];
    tokens[40] = 70_000;
    dir.write("ids.safetensors", &synthetic::ids(tokens.iter().copied()));
    check(
        &dir,
        "--text ids.safetensors",
        &["token 40 has id 70000, but the model knows", "tokens"],
    );
    tokens[40] = -1;
    dir.write("ids.safetensors", &synthetic::ids(tokens.iter().copied()));
    check(&dir, "--text ids.safetensors", &["token 40 has id -1, which none can have"]);
}

#[test]
fn a_token_beyond_the_embedding_refuses_only_texts_that_hold_it() {
    let dir = sound();
    edit(&dir, "tiny-llama/tokenizer.json", |tokenizer| {
        let token = json!({
            "id": 1024, "content": "<new>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true
        });
        tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
    });
    let evaluated = "eval tiny-llama --text text.txt --window 32 --samples 2 --json";
    let unused = dir.done(evaluated).stdout;
    assert_eq!(unused, Dir::done(&sound(), evaluated).stdout);
    dir.write("new.txt", "a <new> b ".repeat(100).as_bytes());
    let expected = ["token `<new>` of id 1024, but the embedding has 1024 rows"];
    check(&dir, "--text new.txt", &expected);
    let question = br#"{"question": "a", "choices": ["b", "<new>"], "answer": 0}"#;
    dir.write("tasks.jsonl", question);
    check(&dir, "--tasks tasks.jsonl", &expected);
    let ran = dir.run("generate tiny-llama <new> --tokens 2");
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains(expected[0]), "{}", ran.stderr);
}

#[test]
fn a_value_that_is_not_finite_is_traced_to_its_weight() {
    let dir = sound();
    let name = "tiny-llama/model.safetensors";
    let mut bytes = dir.read(name);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let entry = &header["model.layers.2.mlp.down_proj.weight"];
    let begin = 8 + length + entry["data_offsets"][0].as_u64().unwrap() as usize;
    // BF16 NaN.
    bytes[begin..begin + 2].copy_from_slice(&[0xc0, 0x7f]);
    dir.write(name, &bytes);
    check(
        &dir,
        "--text text.txt --samples 1",
        &["model.layers.2.mlp.down_proj.weight", "NaN at [0, 0]"],
    );
}

#[test]
fn a_config_that_the_family_does_not_know_is_named_with_its_key() {
    let dir = sound();
    edit(&dir, "tiny-llama/config.json", |config| {
        config["rope_scaling"] = json!({ "rope_type": "spiral", "factor": 2.0 });
    });
    check(&dir, "--text text.txt", &["rope_scaling", "spiral", "llama"]);
}

#[test]
fn a_template_that_fails_is_told_with_its_line() {
    let dir = sound();
    dir.write("chat.jsonl", br#"{"messages": [{"role": "system", "content": "x"}]}"#);
    check(
        &dir,
        "--text chat.jsonl",
        &["line 1 has `messages`, but the model has no chat template"],
    );
    edit(&dir, "tiny-llama/tokenizer_config.json", |config| {
        config["chat_template"] = json!("{{ raise_exception('no system') }}");
    });
    check(&dir, "--text chat.jsonl", &["the messages of line 1", "line 1", "no system"]);
}

#[test]
fn a_question_without_choices_is_told_with_its_line() {
    let dir = sound();
    let good = r#"{"question": "a", "choices": ["b", "c"], "answer": 0}"#;
    dir.write(
        "tasks.jsonl",
        format!("{good}\n{{\"question\": \"a\", \"answer\": 0}}\n").as_bytes(),
    );
    check(&dir, "--tasks tasks.jsonl", &["line 2 has no `choices`", "tasks.jsonl"]);
}
