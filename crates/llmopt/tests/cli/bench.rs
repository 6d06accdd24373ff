//! Speed: reports come in every form, the budget is kept, and what cannot be run is refused. How fast it is, no
//! test can say.

use crate::dir::Dir;
use serde_json::Value;

/// Little enough for a debug build.
const SHORT: &str = "--batch 2,1 --prompt 6 --tokens 5 --runs 3 --memory 256MiB";

#[test]
fn an_artifact_is_held_against_its_original_and_its_evaluation() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 4 --group-size 32 -q -o int4");
    let text = "--text tiny-llama/evaluation.txt --window 64 --samples 8 -q";
    dir.done(&format!("eval int4 --against tiny-llama {text} --report int4/evaluation.json"));
    let ran = dir.done(&format!("bench int4 --against tiny-llama {SHORT} --seed 3 --json -q"));
    assert_eq!(ran.stderr, "");
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&found["protocol"]["seed"], &found["tool"]), (&3.into(), &"llmopt".into()));
    for place in 0..2 {
        let rate = |model: usize| {
            let batch = &found["models"][model]["batches"][place];
            batch["tokens_per_second"]["median"].as_f64().unwrap()
        };
        let ratio = found["models"][0]["batches"][place]["speed_up"].as_f64().unwrap();
        assert!((ratio * rate(1) / rate(0) - 1.0).abs() < 1e-9, "{found}");
    }
    let (quality, lost) = (&found["models"][0]["quality"], dir.json("int4/evaluation.json"));
    assert_eq!(quality["kld"], lost["comparison"]["kld"]["mean"]);
    assert_eq!(
        (&quality["reference"], &quality["text"]),
        (&"tiny-llama".into(), &"evaluation.txt".into())
    );
    assert_eq!(found["models"][1]["quality"], Value::Null);
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
