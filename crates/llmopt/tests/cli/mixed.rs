//! Mixed precision by the command line: what is planned, what is told at the end, and what is refused.

use crate::dir::Dir;
use serde_json::Value;

const OBSERVED: &str = "--calibrate tiny-llama/calibration.txt --samples 16 --window 64";

#[test]
fn a_plan_says_what_is_chosen_from_and_what_is_to_be_beaten() {
    let dir = Dir::with_tiny_llama();
    let asked = format!("quantize tiny-llama --target-bpw 7.4 --widths 3,4,8 {OBSERVED} --dry-run");
    let plan = dir.done(&asked).stdout;
    for part in ["tiny-llama-mixed", "w3a16-g32", "w8a16", "uniform w4a16", "time", "units"] {
        assert!(plan.contains(part), "{part} in\n{plan}");
    }
    let plan: Value = serde_json::from_str(&dir.done(&format!("{asked} --json")).stdout).unwrap();
    let choices: Vec<&str> =
        plan["choices"].as_array().unwrap().iter().filter_map(|of| of["name"].as_str()).collect();
    assert_eq!(choices, ["w3a16", "w3a16-g32", "w4a16", "w4a16-g32", "w8a16"]);
    assert!(plan["smallest"].as_u64() < plan["largest"].as_u64());
    assert!(plan["estimate"]["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(dir.names(), ["tiny-llama"]);
}

#[test]
fn an_artifact_is_sound_tells_of_every_unit_and_is_made_once_more_from_its_record() {
    let dir = Dir::with_tiny_llama();
    let asked = format!("quantize tiny-llama --target-bpw 6.8 --widths 3,4 {OBSERVED}");
    let told = dir.done(&asked).stderr;
    for part in ["wrote", "judged", "qkv_proj", "down_proj", "solved for", "uniform w3a16"] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    assert_eq!(dir.names(), ["tiny-llama", "tiny-llama-mixed"]);
    dir.done("verify tiny-llama-mixed --against tiny-llama -q");
    dir.done(
        "verify tiny-llama-mixed --against tiny-llama --rebuild --data tiny-llama/calibration.txt -q",
    );
    let record = std::fs::read(dir.path("tiny-llama-mixed/llmopt.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let units = record["mixed"]["units"].as_array().unwrap();
    assert!(units.iter().all(|unit| unit["probe_kld"].as_f64().is_some_and(|kld| kld > 0.0)));
    assert!(record["bits_per_weight"].as_f64().unwrap() <= 6.8);
}

#[test]
fn a_recipe_asks_for_it_by_the_same_names() {
    let recipe = r#"
model = "tiny-llama"
output = "out"

[calibrate]
data = "tiny-llama/calibration.txt"
samples = 16
window = 64

[[stage]]
quantize = { target-bpw = 6.8, widths = [3, 4] }
"#;
    let dir = Dir::with_tiny_llama();
    dir.write("llmopt.toml", recipe.as_bytes());
    dir.done("run -q");
    dir.done(&format!("quantize tiny-llama --target-bpw 6.8 --widths 3,4 {OBSERVED} -o alone -q"));
    let (run, alone) = (dir.tree("out"), dir.tree("alone"));
    let weights = |tree: &std::collections::BTreeMap<String, Vec<u8>>, folder: &str| {
        tree.get(&format!("{folder}/model.safetensors")).cloned()
    };
    assert!(weights(&run, "out").is_some() && weights(&run, "out") == weights(&alone, "alone"));
    let planned = dir.done("run --force --dry-run").stdout;
    assert!(planned.contains("bits for each parameter"), "{planned}");
}

#[test]
fn goals_that_do_not_go_together_are_refused() {
    let dir = Dir::with_tiny_llama();
    let check = |args: &str, expected: &[&str]| {
        let found = dir.run(&format!("quantize tiny-llama {args}"));
        assert_eq!(found.code, Some(2), "{args}: {}", found.stderr);
        assert!(expected.iter().all(|part| found.stderr.contains(part)), "{}", found.stderr);
    };
    check("--target-bpw 5 --bits 4", &["--target-bpw", "--bits"]);
    check("--target-bpw 5 --scheme w8a8", &["--target-bpw", "--scheme"]);
    check("--target-bpw 5 --max-kld 0.1", &["--target-bpw", "--max-kld"]);
    check("--widths 3", &["required", "--target-size"]);
    check("--target-bpw 5 --widths 9", &["there is no `--widths 9`"]);
    check("--target-bpw nan", &["no positive number"]);
    check("--target-size 10kB", &["10000 bytes", "cannot be reached", "smallest"]);
    check("--target-bpw 30", &["needs no quantization"]);
    check("--target-bpw 6.8 --format dense", &["dense", "save no bytes"]);
    check("--target-bpw 6.8 -o out.safetensors", &["is a file", "makes a folder"]);
    check("--target-bpw 6.8 --runtime vllm-cpu --widths 3", &["w3a16", "4 bits alone"]);
    assert_eq!(dir.names(), ["tiny-llama"]);
}
