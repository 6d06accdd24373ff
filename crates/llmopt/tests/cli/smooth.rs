//! Smoothing: the function stays, the bytes are those of any run, and `verify` makes them again.

use crate::dir::Dir;
use crate::memory::resident_peak;
use serde_json::Value;
use std::time::Instant;

/// The trained checkpoint with its text.
fn with_text() -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    dir
}

const DATA: &str = "--calibrate text.txt --window 128 --samples 24";

/// Quantizes a seeded checkpoint.
const SMALL: &str =
    "quantize model --runtime transformers --calibrate ids.safetensors --window 64 --samples 8 -q";

fn kld(dir: &Dir, artifact: &str) -> f64 {
    let args =
        format!("eval {artifact} --against tiny-llama --text tiny-llama/evaluation.txt --json");
    let told = dir.done(&format!("{args} --window 128 --samples 48")).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    told["comparison"]["kld"]["mean"]["value"].as_f64().unwrap_or_else(|| panic!("{told}"))
}

fn told<'a>(report: &'a Value, what: &str) -> Vec<&'a str> {
    let tensors = report["tensors"].as_array().unwrap().iter();
    tensors.filter(|t| t["what"] == what).map(|t| t["name"].as_str().unwrap()).collect()
}

#[test]
fn threads_budgets_and_attempts_do_not_show_in_the_bytes() {
    let check = |family: &str, recipe: &str| {
        let dir = Dir::with_family(family);
        let args = format!("{SMALL} {recipe} --force -o out");
        let made = |resources: &str| {
            dir.done(&format!("{args} {resources}"));
            dir.tree("out")
        };
        let expected = made("--threads 1 --memory 1GiB");
        let plan = dir.done(&format!("{args} --threads 2 --dry-run --json")).stdout;
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let tight = format!("--threads 2 --memory {}", plan["memory"]["smallest"]);
        for resources in [&*tight, "--threads 4 --memory 1GiB"] {
            assert!(made(resources) == expected, "{family} {recipe} {resources}");
        }
        dir.done("verify out --against model --runtime transformers -q");
    };
    check("llama", "--scheme w8a8 --method gptq --smooth");
    check("llama", "--scheme w8a8 --smooth 0.5");
    check("mixtral", "--scheme fp8 --method qep --smooth");
}

#[test]
fn stopped_at_any_moment_it_ends_with_the_same_bytes() {
    let dir = with_text();
    let args = format!("quantize tiny-llama --scheme w8a8 --smooth --method gptq {DATA} -q -o out");
    let started = Instant::now();
    dir.done(&args);
    let whole = started.elapsed();
    let expected = dir.tree("out");
    dir.remove("out");
    for part in 1..8 {
        let mut child = dir.command(&args).spawn().unwrap();
        std::thread::sleep(whole * part / 8);
        let _ = child.kill();
        child.wait().unwrap();
        if dir.path("out").exists() {
            break;
        }
    }
    if !dir.path("out").exists() {
        dir.done(&args);
    }
    assert!(dir.tree("out") == expected, "the bytes differ");
}

#[test]
fn it_leaves_less_divergence_and_norms_that_verify_makes_again() {
    let dir = with_text();
    let made = |flags: &str, output: &str| {
        let args = format!("quantize tiny-llama --scheme w8a8 --method gptq {DATA} {flags} -q");
        dir.done(&format!("{args} -o {output}"));
        dir.json(&format!("{output}/llmopt.json"))
    };
    let plain = made("", "plain");
    assert_eq!((&plain["smoothing"], &plain["recipe"]["smooth"]), (&Value::Null, &Value::Null));
    let report = made("--smooth", "smooth");
    assert_eq!(report["smoothing"]["strength"], "least-noise");
    assert_eq!(made("--smooth 0.5", "half")["recipe"]["smooth"], 0.5);
    let (plain, smooth) = (kld(&dir, "plain"), kld(&dir, "smooth"));
    assert!(smooth < 0.98 * plain, "{smooth} smoothed, {plain} without");

    // Two norms of each of four layers; queries share values, so that those stay as they are.
    let norms = told(&report, "smoothed");
    assert_eq!(norms.len(), 8, "{norms:?}");
    assert!(norms.iter().all(|name| name.ends_with("layernorm.weight")), "{norms:?}");
    assert_eq!(report["smoothing"]["pairs"].as_array().unwrap().len(), 12);
    let refused = report["smoothing"]["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 4);
    assert_eq!(refused[0]["readers"][0], "model.layers.0.self_attn.o_proj.weight");
    let why = refused[0]["why"].as_str().unwrap();
    assert!(why.starts_with("query heads (4) share value heads (2)"), "{why}");
    let told = dir.done("inspect smooth").stdout;
    assert!(told.contains("inputs, by scales of `--smooth least-noise`"), "{told}");

    dir.done("verify half --against tiny-llama -q");
    dir.done("verify smooth --against tiny-llama -q");
    check_planted(&dir, &report);
}

/// A gain that is off by its last bit, and a scale that is, are faults.
fn check_planted(dir: &Dir, report: &Value) {
    let weights = dir.read("smooth/model.safetensors");
    let length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&weights[8..8 + length]).unwrap();
    let norm = "model.layers.1.input_layernorm.weight";
    let begin = header[norm]["data_offsets"][0].as_u64().unwrap() as usize;
    let mut damaged = weights.clone();
    damaged[8 + length + begin] ^= 1;
    dir.write("smooth/model.safetensors", &damaged);
    let ran = dir.run("verify smooth --against tiny-llama -q");
    let line = format!("changed  {norm}: its bytes are not what the report's scales make");
    assert!(ran.stdout.lines().any(|found| found.starts_with(&line)), "{}", ran.stdout);
    dir.write("smooth/model.safetensors", &weights);

    let faulty = |change: &dyn Fn(&mut Value), code: &str, subject: &str| {
        let mut changed = report.clone();
        change(&mut changed["smoothing"]["pairs"]);
        dir.write("smooth/llmopt.json", changed.to_string().as_bytes());
        let ran = dir.run("verify smooth --against tiny-llama -q");
        assert_eq!(ran.code, Some(3));
        let line = format!("{code}  {subject}: ");
        assert!(ran.stdout.lines().any(|found| found.starts_with(&line)), "{}", ran.stdout);
    };
    // All scales of the first norm, and then of the up projection, are eight times what they were.
    let eightfold = |pair: &mut Value| {
        let digits = pair["scales"].as_str().unwrap().as_bytes().chunks(8);
        let scale = |digits: &[u8]| {
            let bits = u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            let scale = 8.0 * f32::from_bits(bits.swap_bytes());
            format!("{:08x}", scale.to_bits().swap_bytes())
        };
        pair["scales"] = digits.map(scale).collect::<String>().into();
    };
    let (layer, maker) = ("model.layers.0", report["smoothing"]["pairs"][0]["maker"].clone());
    assert_eq!(maker, format!("{layer}.input_layernorm.weight"));
    faulty(&|pairs| eightfold(&mut pairs[0]), "changed", maker.as_str().unwrap());
    let down = format!("{layer}.mlp.down_proj.weight");
    assert_eq!(report["smoothing"]["pairs"][2]["readers"][0], down);
    faulty(&|pairs| eightfold(&mut pairs[2]), "error", &down);
    faulty(&|pairs| pairs[0]["maker"] = "nothing".into(), "record", "smoothing");
    faulty(&|pairs| pairs[1]["readers"] = pairs[0]["readers"].clone(), "record", "smoothing");
    faulty(&|pairs| pairs[0]["scales"] = "00000000".repeat(128).into(), "record", "smoothing");
}

#[test]
fn families_are_smoothed_as_far_as_their_programs_allow() {
    let check = |family: &str, flags: &str, smoothed: &[&str], refused: usize| {
        let dir = Dir::with_family(family);
        dir.done(&format!("{SMALL} --method gptq --smooth {flags} -o out"));
        dir.done("verify out --against model --runtime transformers -q");
        let report = dir.json("out/llmopt.json");
        let first: Vec<&str> = told(&report, "smoothed")
            .into_iter()
            .filter_map(|name| name.split_once("layers.0.").map(|(_, name)| name))
            .collect();
        assert_eq!(first, smoothed, "{family} {flags}");
        assert_eq!(report["smoothing"]["refused"].as_array().unwrap().len(), refused, "{family}");
    };
    let norms = ["input_layernorm.weight", "post_attention_layernorm.weight"];
    check("phi3", "--scheme w8a8", &norms, 2);
    check("gemma", "--scheme w8a8", &norms, 2);
    let biased = [norms[0], "mlp.up_proj.bias", norms[1]];
    check("llama", "--scheme w8a8", &biased, 2);
    check("llama-fp8", "--scheme w4a16 --group-size 16", &norms, 2);
    // Its norms follow the matrices.
    check("olmo2", "--scheme w8a8", &[], 6);
    check("mixtral", "--scheme fp8", &["block_sparse_moe.gate.weight", norms[0], norms[1]], 2);
    // What stays dense is scaled, too, if it makes or reads channels of what does not.
    let exclude = "--scheme w8a8 --exclude *.gate_proj --exclude model.layers.0.mlp.down_proj";
    check("qwen2", exclude, &[norms[0], "mlp.gate_proj.weight", norms[1]], 3);
    check("qwen2", "--bits 8 --exclude *.up_proj", &[norms[0], "mlp.up_proj.weight", norms[1]], 2);
    check("qwen2", "--bits 8 --format dense --dense-dtype source", &norms, 2);
}

#[test]
fn what_cannot_be_smoothed_is_refused() {
    let dir = with_text();
    let refused = |args: &str, expected: &str| {
        let ran = dir.run(&format!("quantize tiny-llama --scheme w8a8 -o out {args}"));
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{args}: {}", ran.stderr);
        assert_eq!(dir.names(), ["statistics.safetensors", "text.txt", "tiny-llama"]);
    };
    dir.done(
        "calibrate tiny-llama --data text.txt --window 64 --samples 4 -q -o statistics.safetensors",
    );
    refused("--smooth", "--calibrate");
    refused(&format!("{DATA} --smooth 1.5"), "expected a strength from 0 to 1");
    refused(&format!("{DATA} --smooth NaN"), "expected a strength from 0 to 1");
    refused(
        "--calibrate statistics.safetensors --smooth",
        "neither the maxima nor the fourth powers",
    );
    let values = format!("{DATA} --smooth --include *.o_proj");
    refused(&values, "finds nothing to smooth in this model");
}

#[test]
fn a_choice_between_artifacts_is_one_between_smoothed_ones() {
    let dir = with_text();
    dir.done(&format!("quantize tiny-llama --bits 4 --smooth {DATA} -q -o out"));
    dir.done("verify out --against tiny-llama -q");
    let auto = dir.json("out/llmopt.json");
    let of = |name: &str| {
        let candidates = auto["decision"]["candidates"].as_array().unwrap().iter();
        let found = candidates.into_iter().find(|candidate| candidate["method"] == name);
        found.unwrap()["kld"]["value"].as_f64().unwrap()
    };
    let plain = dir.done(&format!("quantize tiny-llama --bits 4 {DATA} -q -o plain"));
    assert_eq!(plain.stderr, "");
    let plain = dir.json("plain/llmopt.json");
    let rtn = plain["decision"]["candidates"].as_array().unwrap().iter();
    let rtn = rtn.clone().find(|candidate| candidate["method"] == "rtn").unwrap();
    // Weights rounded without data are others once they are smoothed.
    assert_ne!(rtn["kld"]["value"].as_f64().unwrap(), of("rtn"));
}

#[test]
fn the_resident_peak_stays_below_a_budget_that_just_suffices() {
    let dir = with_text();
    let args = format!("quantize tiny-llama --scheme w8a8 --method gptq --smooth {DATA} -q -o out");
    let plan = dir.done(&format!("{args} --threads 2 --dry-run --json")).stdout;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let smallest = plan["memory"]["smallest"].as_u64().unwrap();
    assert!(plan["smoothing"]["memory"]["smallest"].as_u64() <= Some(smallest), "{plan}");
    let mut command = dir.command(&format!("{args} --threads 2 --memory {smallest}"));
    let mut child = command.spawn().unwrap();
    let peak = resident_peak(&mut child);
    assert!(child.wait().unwrap().success());
    assert!(peak <= smallest, "{peak} bytes were resident, and {smallest} the bound");
}
