//! Files of requests: the same bytes however they are batched, wherever a run stops; and refusals.

use crate::dir::{Dir, interrupt, progress, testdata};
use crate::synthetic;
use serde_json::{Value, json};

/// A request of a completion.
fn request(id: &str, body: Value) -> Value {
    json!({ "custom_id": id, "method": "POST", "url": "/v1/completions", "body": body })
}

fn jsonl(requests: &[Value]) -> Vec<u8> {
    requests.iter().flat_map(|request| format!("{request}\n").into_bytes()).collect()
}

/// Prompts of many lengths, half of them sampled.
fn sixteen() -> Vec<Value> {
    let one = |n: u64| {
        let tokens: Vec<u64> =
            (0..1 + n * 37 % 90).map(|i| 1 + (i * i * 7 + i * n) % 900).collect();
        let mut body = json!({ "prompt": tokens, "max_tokens": 8 + n * 5 % 31, "logprobs": 1 });
        body["temperature"] = json!([0.0, 0.9][n as usize % 2]);
        body["seed"] = json!(n / 4);
        request(&format!("r{n}"), body)
    };
    (0..16).map(one).collect()
}

fn answers(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The answers to these requests, in a fresh file.
fn answered(dir: &Dir, requests: &[Value], more: &str) -> Vec<Value> {
    dir.write("in.jsonl", &jsonl(requests));
    dir.done(&format!("generate tiny-llama --requests in.jsonl -o out.jsonl --force -q {more}"));
    answers(&dir.read("out.jsonl"))
}

fn choice(answer: &Value) -> &Value {
    assert_eq!(answer["error"], Value::Null, "{answer}");
    &answer["response"]["body"]["choices"][0]
}

fn text(answer: &Value) -> &str {
    choice(answer)["text"].as_str().unwrap()
}

#[test]
fn answers_depend_neither_on_the_batch_nor_on_chunks_nor_on_threads() {
    let dir = Dir::with_tiny_llama();
    let requests = sixteen();
    let expected = answered(&dir, &requests, "");
    assert!(
        expected
            .iter()
            .map(|answer| &answer["custom_id"])
            .eq(requests.iter().map(|r| &r["custom_id"]))
    );
    for (slots, chunk, threads) in
        [(1, 256, 1), (16, 1, 2), (3, 7, 4), (16, 64, 1), (16, 7, 2), (5, 64, 4)]
    {
        let more = format!("--slots {slots} --chunk {chunk} --threads {threads}");
        assert!(answered(&dir, &requests, &more) == expected, "{more}");
    }
    for n in [3, 10] {
        assert_eq!(answered(&dir, &requests[n..=n], "--chunk 7"), expected[n..=n]);
    }
    let backwards: Vec<Value> = requests.iter().rev().cloned().collect();
    assert!(answered(&dir, &backwards, "").into_iter().rev().eq(expected));
}

#[test]
fn rotary_factors_that_follow_the_length_do_not_follow_the_chunk() {
    let dir = Dir::with_family("phi3");
    std::fs::copy(testdata("tiny-llama/tokenizer.json"), dir.path("model/tokenizer.json")).unwrap();
    // Factors change beyond 64 tokens: one passes there as it speaks, one in its prompt, one never.
    let request = |&length: &u64| {
        let prompt: Vec<u64> = (0..length).map(|i| 1 + i * i % 90).collect();
        request(
            &length.to_string(),
            json!({ "prompt": prompt, "max_tokens": 12, "temperature": 0 }),
        )
    };
    dir.write("in.jsonl", &jsonl(&[60, 70, 20].iter().map(request).collect::<Vec<_>>()));
    let run = |more: &str| {
        dir.done(&format!("generate model --requests in.jsonl -o - --kernel portable {more}"))
            .stdout
    };
    let expected = run("");
    assert!(expected.contains(r#""prompt_tokens":60"#), "{expected}");
    for more in ["--chunk 1", "--chunk 7 --slots 2", "--slots 1"] {
        assert_eq!(run(more), expected, "{more}");
    }
}

#[test]
fn a_prompt_goes_on_as_it_does_on_the_command_line() {
    let dir = Dir::with_tiny_llama();
    let body = json!({ "prompt": "Once upon a time", "max_tokens": 20, "temperature": 0.8,
        "top_k": 40, "top_p": 0.9, "min_p": 0.01, "seed": 5 });
    let answer = &answered(&dir, &[request("a", body)], "")[0];
    let mut command = dir.command(
        "generate tiny-llama --json --tokens 20 --temperature 0.8 --top-k 40 --top-p 0.9 --min-p 0.01 \
         --seed 5",
    );
    let output = command.arg("Once upon a time").output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found[0]["text"], text(answer));
    let tokens = |value: &Value| value.as_array().unwrap().len();
    let usage = &answer["response"]["body"]["usage"];
    assert_eq!(usage["prompt_tokens"], tokens(&found[0]["prompt_tokens"]));
    assert_eq!(usage["completion_tokens"], tokens(&found[0]["tokens"]));
}

#[test]
fn seeds_decide_and_without_one_each_request_has_its_own() {
    let dir = Dir::with_tiny_llama();
    let body = |seed: Value| json!({ "prompt": "The", "max_tokens": 24, "seed": seed });
    let seeds = [json!(1), json!(1), json!(2), Value::Null, Value::Null];
    let requests: Vec<Value> = seeds
        .iter()
        .enumerate()
        .map(|(n, seed)| request(&n.to_string(), body(seed.clone())))
        .collect();
    let answers = answered(&dir, &requests, "");
    let texts: Vec<&str> = answers.iter().map(text).collect();
    assert_eq!(texts[0], texts[1]);
    assert!(texts[1] != texts[2] && texts[2] != texts[3] && texts[3] != texts[4], "{texts:?}");
}

#[test]
fn a_stop_string_cuts_the_text() {
    let dir = Dir::with_tiny_llama();
    let body = |stop: Value| json!({ "prompt": "Once upon a time", "max_tokens": 30, "temperature": 0, "stop": stop });
    let whole = answered(&dir, &[request("a", body(json!(null)))], "");
    let whole = text(&whole[0]).to_owned();
    // In the middle, beginning within a token.
    let from = whole.char_indices().nth(whole.chars().count() / 2).unwrap().0;
    let stop: String = whole[from..].chars().take(5).collect();
    let expected = &whole[..whole.find(&stop).unwrap()];
    let requests = [
        request("a", body(json!(stop))),
        request("b", body(json!(["never said", stop]))),
        request("c", body(json!("never said"))),
    ];
    let answers = answered(&dir, &requests, "");
    let found: Vec<_> =
        answers.iter().map(|a| (text(a), choice(a)["finish_reason"].as_str().unwrap())).collect();
    assert_eq!(found, [(expected, "stop"), (expected, "stop"), (&whole, "length")]);
    let said = |n: usize| answers[n]["response"]["body"]["usage"]["completion_tokens"].as_u64();
    assert!(said(0) < said(2), "{answers:?}");
    let mut command = dir.command("generate tiny-llama --tokens 30");
    let output = command.args(["Once upon a time", "--stop", &stop]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("Once upon a time{expected}\n"));
}

/// Logits of every row of a window, as `eval` computes them.
fn logits(dir: &Dir, tokens: &[u64]) -> Vec<Vec<f64>> {
    dir.write("ids.safetensors", &synthetic::ids(tokens.iter().map(|&id| id as i64)));
    let window = tokens.len();
    dir.done(&format!(
        "eval tiny-llama --text ids.safetensors --window {window} --logits logits.safetensors -q"
    ));
    let file = dir.read("logits.safetensors");
    let data = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let floats = file[data..].chunks_exact(4);
    let floats: Vec<f64> =
        floats.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).into()).collect();
    floats.chunks(1024).map(<[f64]>::to_vec).collect()
}

#[test]
fn log_probabilities_are_those_of_the_softmax_that_eval_sees() {
    let dir = Dir::with_tiny_llama();
    let tokens: Vec<u64> = (0..20).map(|i| 1 + (i * i * 7) % 900).collect();
    let body = json!({ "prompt": tokens, "max_tokens": 1, "seed": 3, "logprobs": 4 });
    let told = &choice(&answered(&dir, &[request("a", body)], "")[0])["logprobs"].clone();
    let said = told["token_logprobs"][0].as_f64().unwrap();
    let likeliest = told["top_logprobs"][0].as_object().unwrap();
    // The window needs a token more, whose own logits nobody asks for.
    let row = &logits(&dir, &[tokens, vec![1]].concat())[19];
    let total = row.iter().map(|logit| logit.exp()).sum::<f64>().ln();
    let mut expected: Vec<f64> = row.iter().map(|logit| logit - total).collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    let near = |a: f64, b: f64| (a - b).abs() < 1e-4;
    assert!(expected.iter().any(|logprob| near(*logprob, said)), "{said}");
    assert!((4..=5).contains(&likeliest.len()), "{likeliest:?}");
    let found: Vec<f64> = likeliest.values().map(|value| value.as_f64().unwrap()).collect();
    assert!(found.iter().zip(&expected).take(4).all(|(a, b)| near(*a, *b)), "{found:?}");
}

#[test]
fn tokens_and_offsets_are_those_of_the_text() {
    let dir = Dir::with_tiny_llama();
    let body = json!({ "prompt": "The", "max_tokens": 40, "seed": 3, "logprobs": 0 });
    let answers = answered(&dir, &[request("a", body)], "");
    let told = &choice(&answers[0])["logprobs"];
    let tokens: Vec<&str> =
        told["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(tokens.concat(), text(&answers[0]));
    let begins = |n: usize| tokens[..n].concat().chars().count();
    let offsets: Vec<usize> = (0..tokens.len()).map(begins).collect();
    assert_eq!(told["text_offset"], json!(offsets));
}

#[test]
fn messages_go_through_the_chat_template() {
    let dir = Dir::with_tiny_llama();
    dir.write(
        "tiny-llama/chat_template.jinja",
        b"{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}".as_slice(),
    );
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    let chat = |id: &str, body: Value| json!({ "custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body });
    let short = json!({ "messages": messages, "max_completion_tokens": 9, "temperature": 0,
        "logprobs": true, "top_logprobs": 2, "model": "mine" });
    let long = json!({ "messages": messages, "temperature": 0 });
    let text = request("c", json!({ "prompt": "user: Hi\n", "max_tokens": 9, "temperature": 0 }));
    let answers = answered(&dir, &[chat("a", short), chat("b", long), text], "");
    let body = &answers[0]["response"]["body"];
    assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!("mine")));
    assert_eq!(choice(&answers[0])["message"]["content"], choice(&answers[2])["text"]);
    let told = choice(&answers[0])["logprobs"]["content"].as_array().unwrap();
    assert!(
        !told.is_empty() && told.iter().all(|t| t["top_logprobs"].as_array().unwrap().len() == 2)
    );
    // Without a limit it may fill the context, of 256 tokens.
    let usage = &answers[1]["response"]["body"]["usage"];
    let ends = choice(&answers[1])["finish_reason"] == "stop";
    assert!(ends || usage["total_tokens"] == 256, "{usage}");
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_bytes() {
    let dir = Dir::with_tiny_llama();
    let requests: Vec<Value> = (0..24)
        .map(|n| request(&n.to_string(), json!({ "prompt": "The", "max_tokens": 150 })))
        .chain([request("wrong", json!({ "prompt": "x", "echo": true }))])
        .collect();
    dir.write("in.jsonl", &jsonl(&requests));
    let args = "generate tiny-llama --requests in.jsonl --json -o";
    dir.done(&format!("{args} whole.jsonl --threads 2"));
    let expected = dir.read("whole.jsonl");
    let begun = format!("{args} out.jsonl --slots 2 --threads 1");
    for kill in [true, false] {
        let mut child = dir.command(&begun).spawn().unwrap();
        progress(&mut child, |event| event["event"] == "advanced");
        if kill {
            child.kill().unwrap()
        } else {
            interrupt(&child)
        }
        let code = child.wait().unwrap().code();
        assert_eq!(code, if kill { None } else { Some(130) });
        assert!(!dir.path("out.jsonl").exists());
    }
    // The beginning of a line that was never ended.
    let mut partial = dir.read("out.jsonl.partial");
    partial.extend(br#"{"id":"batch"#);
    dir.write("out.jsonl.partial", &partial);
    let ran = dir.done(&format!("{args} out.jsonl --threads 4 --chunk 7"));
    assert!(ran.stderr.contains(r#""event":"resuming""#), "{}", ran.stderr);
    assert!(dir.read("out.jsonl") == expected);
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&summary["requests"], &summary["errors"]), (&json!(25), &json!(1)));
    assert_eq!(dir.names(), ["in.jsonl", "out.jsonl", "tiny-llama", "whole.jsonl"]);
}

#[test]
fn what_is_left_of_other_requests_is_not_gone_on_with() {
    let dir = Dir::with_tiny_llama();
    let body = |most: usize| json!({ "prompt": "The", "max_tokens": most });
    let requests: Vec<Value> = (0..9).map(|n| request(&n.to_string(), body(150))).collect();
    dir.write("in.jsonl", &jsonl(&requests));
    let args = "generate tiny-llama --requests in.jsonl -o out.jsonl --slots 1 --json";
    dir.interrupted_at(args, |event| event["event"] == "advanced");
    dir.write("in.jsonl", &jsonl(&[request("0", body(3))]));
    let ran = dir.run(args);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("`out.jsonl.partial` is in the way"), "{}", ran.stderr);
    dir.done(&format!("{args} --force"));
    assert_eq!(answers(&dir.read("out.jsonl")).len(), 1);
    let ran = dir.run(args);
    assert!(ran.code == Some(2) && ran.stderr.contains("exists already"), "{}", ran.stderr);
}

#[test]
fn standard_input_and_output_do_as_well() {
    use std::io::Write;
    let dir = Dir::with_tiny_llama();
    let requests = sixteen();
    let expected = answered(&dir, &requests, "");
    let mut command = dir.command("generate tiny-llama --requests - -o -");
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&jsonl(&requests)).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(answers(&output.stdout), expected);
}

#[test]
fn a_request_that_cannot_be_answered_says_why_and_the_others_go_on() {
    let dir = Dir::with_tiny_llama();
    let requests = [
        request("a", json!({ "prompt": "The", "max_tokens": 3 })),
        request("b", json!({ "prompt": "The", "suffix": "." })),
        request("c", json!({ "prompt": "The", "max_tokens": 1000 })),
        request("d", json!({ "prompt": "" })),
        request("e", json!({ "prompt": [5000] })),
        json!({ "custom_id": "f", "method": "POST", "url": "/v1/chat/completions",
            "body": { "messages": [{ "role": "user", "content": "Hi" }] } }),
        request("g", json!({ "prompt": "The", "max_tokens": 3 })),
    ];
    let answers = answered(&dir, &requests, "");
    let why: Vec<&str> =
        answers.iter().map(|answer| answer["error"]["message"].as_str().unwrap_or("")).collect();
    assert_eq!(why[1], "`suffix` is not supported");
    assert!(why[2].ends_with("1000 more are beyond the model's context of 256"), "{}", why[2]);
    assert_eq!(why[3], "a prompt has no tokens");
    assert!(why[4].contains("but the embedding has 1024 rows"), "{}", why[4]);
    assert_eq!(why[5], "the model has no chat template");
    assert!(why[0].is_empty() && why[6].is_empty(), "{why:?}");
    let status = |n: usize| answers[n]["response"]["status_code"].as_u64();
    assert_eq!((status(0), status(1)), (Some(200), Some(400)));
}

#[test]
fn a_request_that_can_never_fit_says_so() {
    let dir = Dir::with_tiny_llama();
    // The cache of 256 tokens, and room for the log-probabilities of 240.
    let large = json!({ "prompt": "The", "max_tokens": 240, "logprobs": 20 });
    let small = json!({ "prompt": "The", "max_tokens": 3 });
    let requests = [request("large", large), request("small", small)];
    dir.write("in.jsonl", &jsonl(&requests));
    let run = |memory: &str| {
        dir.run(&format!(
            "generate tiny-llama --requests in.jsonl -o - --slots 1 --memory {memory}"
        ))
    };
    let ran = run("1MiB");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let least: u64 = ran
        .stderr
        .split("at least ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let answers = answers(run(&least.to_string()).stdout.as_bytes());
    let why = answers[0]["error"]["message"].as_str().unwrap();
    assert!(why.contains("take more memory than there is"), "{why}");
    assert_eq!(answers[1]["error"], Value::Null);
}

#[test]
fn a_file_with_a_line_that_is_no_request_is_refused_before_anything_runs() {
    let dir = Dir::with_tiny_llama();
    let good = request("a", json!({ "prompt": "The" })).to_string();
    let check = |lines: &str, expected: &str| {
        dir.write("in.jsonl", lines.as_bytes());
        let ran = dir.run("generate tiny-llama --requests in.jsonl -o out.jsonl");
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert_eq!(dir.names(), ["in.jsonl", "tiny-llama"]);
    };
    check("", "there are no requests in `in.jsonl`");
    check(&format!("{good}\nhello\n"), "line 2 of `in.jsonl` is not JSON");
    check(&format!("{good}\n{good}\n"), "line 2 of `in.jsonl` has the `custom_id` of line 1: `a`");
    dir.write("in.jsonl", good.as_bytes());
    let refused = |args: &str, expected: &str| {
        let ran = dir.run(&format!("generate tiny-llama {args}"));
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    refused("--requests in.jsonl", "--output <FILE>");
    refused("--requests in.jsonl -o out.jsonl Hi", "cannot be used with '[PROMPT]...'");
    refused("--requests in.jsonl -o out.jsonl --tokens 3", "cannot be used with '--tokens <N>'");
    refused("--requests in.jsonl -o in.jsonl --force", "is the file of requests");
    refused("--requests in.jsonl -o out.jsonl --memory 1MiB", "bytes of memory are not enough");
    assert_eq!(dir.names(), ["in.jsonl", "tiny-llama"]);
}
