//! `run`: a recipe gives the bytes of its commands, goes on where it stopped, and says what is wrong where.

use crate::dir::Dir;
use crate::synthetic::Random;
use std::time::{Duration, Instant};

pub(crate) const RECIPE: &str = r#"
model = "tiny-llama"
output = "out"
threads = 2

[calibrate]
data = "tiny-llama/calibration.txt"
samples = 12
window = 128
dtype = "f32"

[[stage]]
prune = { sparsity = 0.2, axes = ["ffn"] }

[[stage]]
quantize = { bits = 4, method = "gptq" }

[eval]
text = "tiny-llama/evaluation.txt"
window = 128
samples = 8
gates = ["kld <= 5", "size <= 5MB"]
"#;

pub(crate) fn with_recipe(recipe: &str) -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.write("llmopt.toml", recipe.as_bytes());
    dir
}

#[test]
fn a_recipe_gives_the_bytes_of_its_commands() {
    let dir = with_recipe(RECIPE);
    dir.done("run -q");
    let calibrate = "--calibrate tiny-llama/calibration.txt --samples 12 --window 128 --dtype f32 --threads 2 -q";
    dir.done(&format!("prune tiny-llama --sparsity 0.2 --axes ffn {calibrate} -o pruned"));
    dir.done(&format!("quantize pruned --bits 4 --method gptq {calibrate} -o quantized"));
    let (mut found, expected) = (dir.tree("out"), dir.tree("quantized"));
    for (name, bytes) in expected.iter().filter(|(name, _)| !name.ends_with("llmopt.json")) {
        let name = name.replace("quantized", "out");
        assert!(found.remove(&name).as_ref() == Some(bytes), "{name} differs");
    }
    let left: Vec<String> = found.into_keys().collect();
    assert_eq!(left, ["out/README.md", "out/evaluation.json", "out/llmopt.json"]);
    // Nothing else is left, and what was made passes.
    assert_eq!(dir.names(), ["llmopt.toml", "out", "pruned", "quantized", "tiny-llama"]);
    dir.done("verify out");
    let evaluation = dir.json("out/evaluation.json");
    assert_eq!(evaluation["artifact"]["name"], "out");
    assert_eq!(evaluation["gates"][0]["passed"], true);
    // A slash at its end is no part of a folder's name, and a changed recipe is not told as the way back.
    dir.done("run -q -o again/ --set eval.samples=4");
    assert!(dir.read("again/model.safetensors") == dir.read("out/model.safetensors"));
    assert!(!dir.names().iter().any(|name| name.contains("partial")), "{:?}", dir.names());
    let card = |folder: &str| String::from_utf8(dir.read(&format!("{folder}/README.md"))).unwrap();
    assert!(card("out").contains("[[stage]]") && !card("again").contains("[[stage]]"));
}

#[test]
fn killed_at_any_moment_a_recipe_ends_with_the_same_bytes() {
    let dir = with_recipe(RECIPE);
    let started = Instant::now();
    dir.done("run -q");
    let whole = started.elapsed();
    let expected = dir.tree("out");
    dir.remove("out");
    let mut random = Random(11);
    let mut rounds = 0;
    for _ in 0..20 {
        let mut child = dir.command("run -q").spawn().unwrap();
        std::thread::sleep(whole * (random.next() % 1000) as u32 / 2500);
        let _ = child.kill();
        child.wait().unwrap();
        if dir.path("out").exists() {
            assert!(dir.tree("out") == expected, "the bytes differ after {rounds} kills");
            dir.remove("out");
            rounds = 0;
        }
        rounds += 1;
    }
    if !dir.path("out").exists() {
        dir.done("run -q");
    }
    assert!(dir.tree("out") == expected, "the bytes differ after the last kill");
    assert_eq!(dir.names(), ["llmopt.toml", "out", "tiny-llama"]);
}

#[test]
fn a_changed_stage_begins_anew_and_those_before_it_stay() {
    let dir = with_recipe(RECIPE);
    let pruned = |dir: &Dir| dir.path("out.partial/stages/0-prune").is_dir();
    let mut child = dir.command("run -q").spawn().unwrap();
    let patience = Instant::now();
    while !pruned(&dir) && patience.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    child.wait().unwrap();
    assert!(pruned(&dir), "pruning was not complete");
    let ran = dir.done("run --set stage.quantize.bits=8");
    assert!(
        ran.stderr.contains("stage 1 and what is behind it begin anew: stages.1.quantize."),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("1 of 2 stages were done before"), "{}", ran.stderr);
    dir.remove("out");
    dir.done("run -q --set stage.quantize.bits=8 -o other");
    dir.done("run -q --set stage.quantize.bits=8");
    assert!(dir.read("out/model.safetensors") == dir.read("other/model.safetensors"));
}

#[test]
fn a_missed_gate_keeps_the_artifact_or_discards_it() {
    let dir = with_recipe(RECIPE);
    let missed = dir.run("run -q --set eval.gates=[\"kld<=1e-9\"]");
    assert_eq!(missed.code, Some(1), "{}", missed.stderr);
    assert!(missed.stderr.contains("kld <= 1e-9"), "{}", missed.stderr);
    assert_eq!(dir.json("out/evaluation.json")["gates"][0]["passed"], false);
    dir.remove("out");
    let discarded =
        dir.run("run --on-miss discard --report r.json --set eval.gates=[\"kld<=1e-9\"]");
    assert_eq!(discarded.code, Some(1), "{}", discarded.stderr);
    assert_eq!(dir.names(), ["llmopt.toml", "r.json", "tiny-llama"]);
}

#[track_caller]
fn check_refused(change: &str, expected: &str) {
    let (from, to) = change.split_once(" -> ").unwrap();
    assert!(RECIPE.contains(from), "{from}");
    let dir = with_recipe(&RECIPE.replacen(from, to, 1));
    let ran = dir.run("run");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().next().unwrap(), format!("error: llmopt.toml:{expected}"));
    assert_eq!(dir.names(), ["llmopt.toml", "tiny-llama"]);
}

rows! {
    what_is_wrong_is_told_with_line_and_column = check_refused;
    an_unknown_key("sparsity = 0.2 -> sparsty = 0.2", "13:11: `sparsty` is no key of `prune`")
    a_missing_key("sparsity = 0.2, -> ", "13:9: `sparsity` is missing in `prune`")
    a_wrong_kind("samples = 12 -> samples = true", "8:11: `samples` takes a whole number from 0 on, and not true or false")
    a_value_that_is_too_large("sparsity = 0.2 -> sparsity = 2", "13:11: `2` is no value of `sparsity`: a share is less than 1; `2%` is 0.02")
    a_value_that_there_is_not("\"gptq\" -> \"gptk\"", "16:24: there is no `--method gptk`")
    a_contradiction("method = \"gptq\" -> scheme = \"w8a8\"", "16:14: `--bits` means `--scheme w4a16` here, not `--scheme w8a8`")
    a_gate_that_is_none("kld <= 5 -> kld = 5", "22:1: `kld = 5` is no value of `gate`: `kld = 5` is not a gate: expected a metric, one of <= < >= >, and a number")
    data_for_nothing("quantize = { bits = 4, method = \"gptq\" } -> smooth = {}", "16:1: `smooth` needs a stage behind it that quantizes")
    no_toml("[[stage]] -> [[stage]", "12:9: this is no TOML: unclosed array table, expected `]`")
}

#[test]
fn a_recipe_to_begin_with_plans_for_every_purpose() {
    let dir = Dir::with_tiny_llama();
    for purpose in ["server", "desktop", "edge"] {
        dir.done(&format!("recipe init tiny-llama --for {purpose} --force"));
        dir.done("run --dry-run");
    }
    let ran = dir.run("recipe init tiny-llama");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let schema: serde_json::Value =
        serde_json::from_str(&dir.done("recipe schema").stdout).unwrap();
    let stage = &schema["properties"]["stage"]["items"]["properties"];
    assert_eq!(stage["quantize"]["properties"]["strict"]["type"], "boolean");
    assert_eq!(stage["prune"]["required"][0], "sparsity");
}
