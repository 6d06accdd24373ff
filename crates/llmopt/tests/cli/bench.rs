//! Speed: every number is there and agrees with the others, reports come in every form, and what cannot be run
//! is refused. How fast it is, no test can say.

use crate::dir::Dir;
use serde_json::Value;

/// The trained checkpoint and its 4-bit artifact, with an evaluation beside it.
fn with_artifact() -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 4 --group-size 32 -q -o int4");
    let text = "--text tiny-llama/evaluation.txt --window 64 --samples 8";
    dir.done(&format!("eval int4 --against tiny-llama {text} -q --report int4/evaluation.json"));
    dir
}

/// Little enough for a debug build.
const SHORT: &str = "--batch 2,1 --prompt 6 --tokens 5 --runs 3 --memory 256MiB";

fn benched(dir: &Dir, args: &str) -> Value {
    let ran = dir.done(&format!("bench {args} {SHORT} --json -q"));
    assert_eq!(ran.stderr, "");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[track_caller]
fn number(value: &Value, pointer: &str) -> f64 {
    let number = value.pointer(pointer).and_then(Value::as_f64);
    number.unwrap_or_else(|| panic!("{pointer} is no number in {value}"))
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
}

#[test]
fn numbers_of_an_artifact_beside_its_original_agree() {
    let dir = with_artifact();
    let found = benched(&dir, "int4 --against tiny-llama --threads 1");
    assert_eq!(found["protocol"]["batches"], serde_json::json!([1, 2]));
    assert_eq!(found["protocol"]["threads"], 1);
    let models = found["models"].as_array().unwrap();
    let names: Vec<&Value> = models.iter().map(|model| &model["model"]["name"]).collect();
    assert_eq!(names, ["int4", "tiny-llama"]);
    models.iter().for_each(|model| check_model(model, &found));
    for (ours, theirs) in [
        ("/models/0/batches/0", "/models/1/batches/0"),
        ("/models/0/batches/1", "/models/1/batches/1"),
    ] {
        let rate = |of: &str| number(&found, &format!("{of}/tokens_per_second/median"));
        near(number(&found, &format!("{ours}/speed_up")), rate(ours) / rate(theirs));
        assert_eq!(found.pointer(&format!("{theirs}/speed_up")), Some(&Value::Null));
    }
    let evaluation = dir.json("int4/evaluation.json");
    let quality = &models[0]["quality"];
    assert_eq!(quality["kld"], evaluation["comparison"]["kld"]["mean"]);
    assert_eq!(
        (&quality["reference"], &quality["text"]),
        (&"tiny-llama".into(), &"evaluation.txt".into())
    );
    assert_eq!(models[1]["quality"], Value::Null);
}

/// The numbers of a model, among themselves and with the bandwidth.
fn check_model(model: &Value, found: &Value) {
    let bandwidth = number(found, "/bandwidth/all_threads/median");
    assert!(bandwidth > 0.0 && number(found, "/bandwidth/one_thread/low") > 0.0);
    let alone = number(model, "/batches/0/tokens_per_second/median");
    let weights = number(model, "/weights/layers") + number(model, "/weights/head");
    assert!(weights > 1e5, "{model}");
    for (batch, place) in [(1.0, 0), (2.0, 1)] {
        let of = |pointer: &str| number(model, &format!("/batches/{place}/{pointer}"));
        assert_eq!(of("batch"), batch);
        let parts = ["layers", "head", "cache", "embedding"];
        let bytes = parts.map(|part| of(&format!("bytes_per_token/{part}")));
        assert!(((bytes[0] + bytes[1]) * batch - weights).abs() <= 2.0 * batch, "{bytes:?}");
        // Prompts of 6, 5 more: 9 tokens seen in the middle.
        assert_eq!(bytes[2], 9.0 * number(model, "/cache_bytes_per_token"));
        let rate = of("tokens_per_second/median");
        near(of("bytes_per_second"), bytes.iter().sum::<f64>() * rate);
        near(of("bandwidth_share"), of("bytes_per_second") / bandwidth);
        near(of("batching_gain"), rate / alone);
        near(of("tokens_per_core_second") * of("core_seconds_per_1000_tokens"), 1000.0);
        assert!(of("inter_token_p50_seconds") <= of("inter_token_p99_seconds"));
        for spread in ["prompt_tokens_per_second", "tokens_per_second", "first_token_seconds"] {
            let [low, median, high] =
                ["low", "median", "high"].map(|end| of(&format!("{spread}/{end}")));
            assert!(
                0.0 < low && low <= median && median <= high,
                "{spread}: {low} {median} {high}"
            );
        }
        near(of("prompt_tokens_per_second/median"), 6.0 * batch / of("first_token_seconds/median"));
    }
}

#[test]
fn a_model_alone_is_told_on_the_terminal_and_in_every_report() {
    let dir = Dir::with_tiny_llama();
    let reports = "--report a.json --report a.md --report a.html";
    let told = dir.done(&format!("bench tiny-llama {SHORT} {reports}")).stdout;
    for word in ["pp6 t/s", "tg5 t/s", "gain of batching", "of read bandwidth", "kernel", "load "] {
        assert!(told.contains(word), "{word}\n{told}");
    }
    assert!(!told.contains("original"), "{told}");
    let json = dir.json("a.json");
    assert_eq!(json["models"][0]["batches"][0]["speed_up"], Value::Null);
    let text = |name: &str| String::from_utf8(dir.read(name)).unwrap();
    assert!(text("a.md").starts_with("### Speed of `tiny-llama`\n"), "{}", text("a.md"));
    assert!(text("a.html").contains("<svg ") && text("a.html").contains("pp6"));
    // The same model weighs the same in memory, and has the same cache, whatever the seed.
    let other = benched(&dir, "tiny-llama --seed 3");
    assert_eq!(other["models"][0]["weights"], json["models"][0]["weights"]);
    assert_eq!(other["protocol"]["seed"], 3);
}

#[test]
fn weights_that_fit_in_the_cache_are_marked_where_the_system_tells_of_one() {
    let dir = Dir::with_tiny_llama();
    let found = benched(&dir, "tiny-llama");
    let cache = &found["machine"]["last_level_cache"];
    let marked = cache.as_u64().map(|cache| cache > 1 << 20);
    assert_eq!(found["models"][0]["fits_in_cache"].as_bool(), marked, "{cache}");
    let notes = found["notes"].to_string();
    assert_eq!(notes.contains("fit in the last-level cache"), marked == Some(true), "{notes}");
}

#[test]
fn two_models_keep_to_the_smallest_budget_that_they_take() {
    let dir = Dir::with_tiny_llama();
    let args = "bench tiny-llama --against tiny-llama --batch 3 --prompt 20 --tokens 5 --runs 1 --threads 2";
    let refused = dir.run(&format!("{args} --memory 1MiB"));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    let works = refused.stderr.split_once("`--memory ").unwrap().1.split_once('`').unwrap().0;
    let mut child = dir.command(&format!("{args} -q --memory {works}")).spawn().unwrap();
    let peak = crate::memory::resident_peak(&mut child);
    assert!(child.wait().unwrap().success());
    assert!(peak <= works.parse().unwrap(), "{peak} bytes were resident, {works} the bound");
}

#[test]
fn what_cannot_be_run_is_refused() {
    let dir = Dir::with_family("llama");
    dir.done("quantize model --bits 8 -q -o int8");
    let other = Dir::with_tiny_llama();
    let tiny = other.path("tiny-llama");
    dir.refused(
        "bench model --prompt 500 --tokens 90000",
        2,
        "error: a prompt of 500 tokens and 90000 more are beyond the context of `model`, which is \
         256\n\nhint: `--prompt` and `--tokens` take fewer\n",
    );
    dir.refused(
        &format!("bench int8 --against {} {SHORT}", tiny.display()),
        2,
        "error: `int8` has a vocabulary of 96 tokens, `tiny-llama` one of 1024: no prompt is for \
         both\n\nhint: `--against` names the model that the artifact was made from\n",
    );
    dir.refused("bench nowhere", 2, "error: `nowhere` does not exist\n");
    dir.refused("bench model --against nowhere", 2, "error: `nowhere` does not exist\n");
    assert_eq!(dir.names(), ["ids.safetensors", "int8", "model"]);
}
