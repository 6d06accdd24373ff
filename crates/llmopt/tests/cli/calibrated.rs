//! Quantizing with what a model's inputs show: every family, whatever the run may use.

mod bad_input;
mod experts;
mod resume;
mod traps;

use crate::dir::{Dir, testdata};
use serde_json::Value;
use std::fs;

/// The trained checkpoint with a text.
fn with_text() -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    dir
}

/// Quantizes the seeded checkpoint in groups of 16.
const SMALL: &str =
    "quantize model --bits 4 --group-size 16 --runtime transformers --calibrate ids.safetensors -q";

/// What calibration made of each tensor that it reached, by the tensor's name.
fn calibrated(report: &Value) -> Vec<(&str, &Value)> {
    let tensors = report["tensors"].as_array().unwrap().iter();
    let reached = tensors.filter(|tensor| tensor.get("calibrated").is_some());
    reached.map(|tensor| (tensor["name"].as_str().unwrap(), &tensor["calibrated"])).collect()
}

/// The tensors that got something else than was asked for, with the reason.
fn fallbacks(report: &Value) -> Vec<(&str, &str)> {
    let fallbacks = report["fallbacks"].as_array().unwrap().iter();
    fallbacks.map(|one| (one["tensor"].as_str().unwrap(), one["why"].as_str().unwrap())).collect()
}

/// What a dry run says.
fn plan(dir: &Dir, args: &str) -> Value {
    let plan = dir.done(&format!("{args} --dry-run --json")).stdout;
    serde_json::from_str(&plan).unwrap()
}

/// What it says of the memory that calibration takes.
fn memory(dir: &Dir, args: &str) -> Value {
    plan(dir, args)["calibration"]["memory"].clone()
}

/// What `--dtype auto` takes depends on the machine; that the report says which, does not.
#[test]
fn the_report_says_what_inputs_were_rounded_to() {
    let dir = Dir::with_family("llama");
    let taken = |flags: &str| {
        let args = "--window 128 --samples 4 --method gptq --force -o out";
        dir.done(&format!("{SMALL} {args} {flags}"));
        let report = dir.json("out/llmopt.json");
        let kernel = report["calibration"]["kernel"].as_str().unwrap().to_owned();
        let precision = report["recipe"]["calibrate"]["precision"].as_str().unwrap().to_owned();
        assert!(kernel.starts_with(&precision), "{kernel}, not in {precision}");
        kernel
    };
    assert_eq!(taken("--kernel portable --dtype auto"), "f32 portable");
    assert_eq!(taken("--kernel portable --dtype bf16"), "bf16 portable");
    assert!(taken("--dtype f32").starts_with("f32 "));
    let fastest = taken("--dtype auto");
    assert_eq!(taken(""), fastest);
    let native = ["bf16 amx", "bf16 avx512bf16"].contains(&&*fastest);
    assert!(native || fastest.starts_with("f32 "), "{fastest}");
}

#[track_caller]
fn check_resources(family: &str, recipe: &str) {
    let dir = Dir::with_family(family);
    let args = format!("{SMALL} --window 128 --samples 40 {recipe} --force -o out");
    let made = |resources: &str| {
        dir.done(&format!("{args} {resources}"));
        dir.tree("out")
    };
    let expected = made("--threads 1 --memory 1GiB");
    let ample = memory(&dir, &format!("{args} --threads 1 --memory 1GiB"));
    assert_eq!(ample["spills"], false, "{ample}");
    for threads in [1, 2, 4] {
        let ample = plan(&dir, &format!("{args} --threads {threads}"));
        let smallest = &ample["memory"]["smallest"];
        let resources = format!("--threads {threads} --memory {smallest}");
        let tight = memory(&dir, &format!("{args} {resources}"));
        // A choice between artifacts may take more than what leads to it.
        let leaves_room = *smallest != ample["calibration"]["memory"]["smallest"];
        assert!(leaves_room || tight["spills"] == true, "{family} {recipe}: {tight}");
        assert!(!leaves_room || threads < 4, "{family} {recipe}: {tight}");
        let all = [resources, format!("--threads {threads} --memory 1GiB")];
        for resources in all.iter().filter(|_| threads != 2) {
            let found = made(resources);
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (name, bytes) in &found {
                assert!(bytes == &expected[name], "{family} {recipe} {resources}: {name}");
            }
        }
    }
}

rows! {
    threads_and_budgets_do_not_show_in_weights_or_report = check_resources;
    gptq_and_descent("llama", "--method gptq+cd")
    qep_over_whole_blocks("llama", "--method qep+cd --whole-block")
    a_choice_of_methods("llama", "--method auto")
    gptq_of_experts("qwen3_moe", "--method gptq+cd")
    qep_of_experts("qwen3_moe", "--method qep+cd")
}

/// Every weight is multiplied once in each stream: the one that is rewritten and, where methods compare
/// with it, the original's.
#[test]
fn a_block_is_run_once_per_stream() {
    let check = |family: &str, recipe: &str, original: Option<f64>, rewritten: f64| {
        let dir = Dir::with_family(family);
        let args = format!("{SMALL} --window 128 --samples 40 {recipe} --json -o out");
        let told: Value = serde_json::from_str(&dir.done(&args).stdout).unwrap();
        let runs = &told["block_runs"];
        assert_eq!(runs.get("original").and_then(Value::as_f64), original, "{family} {recipe}");
        assert_eq!(runs["rewritten"], rewritten, "{family} {recipe}");
        // What an attempt did is nothing that the artifact depends on.
        assert_eq!(dir.json("out/llmopt.json").get("block_runs"), None);
    };
    for family in ["llama", "gemma3_text", "mixtral", "qwen3_moe"] {
        check(family, "--method gptq", None, 1.0);
        check(family, "--method qep+cd", Some(1.0), 1.0);
        // Candidates share the streams.
        check(family, "--method auto", Some(1.0), 1.0);
    }
    // As it was found and as it was written, but for the last block, which nothing comes behind.
    let linears = (64.0 + 2.0 * 8.0 + 64.0) * 64.0 + 3.0 * 96.0 * 64.0;
    let last = linears - 96.0 * 64.0;
    let twice = (2.0 * linears + last) / (linears + last);
    check("llama", "--method qep --whole-block", Some(1.0), twice);
}

/// Quantizes a seeded checkpoint of whose blocks so many matrices are quantized.
#[track_caller]
fn check_family(family: &str, matrices: usize) {
    let dir = Dir::with_family(family);
    dir.done(&format!("{SMALL} --window 64 --samples 8 --method gptq+cd -o out"));
    dir.done("verify out --runtime transformers -q");
    let report = dir.json("out/llmopt.json");
    assert_eq!(fallbacks(&report), []);
    let reached = calibrated(&report);
    assert_eq!(reached.len(), matrices);
    for (tensor, facts) in reached {
        assert_eq!(facts["method"], "gptq+cd", "{tensor}");
        let error = facts["output_error"].as_f64().unwrap();
        assert!((1e-4..0.2).contains(&error), "{tensor} {facts}");
    }
}

rows! {
    every_family_is_quantized_and_verified = check_family;
    gemma("gemma", 14)
    gemma2("gemma2", 14)
    gemma3("gemma3", 14)
    gemma3_text("gemma3_text", 14)
    granite("granite", 14)
    llama("llama", 14)
    llama_fp8("llama-fp8", 14)
    llama_tied("llama-tied", 14)
    mistral("mistral", 14)
    mixtral("mixtral", 26)
    olmo2("olmo2", 14)
    phi3("phi3", 8)
    qwen2("qwen2", 14)
    qwen3("qwen3", 14)
    qwen3_moe("qwen3_moe", 26)
}

#[test]
fn every_folder_of_a_family_is_quantized_and_verified() {
    let folders = fs::read_dir(testdata("families")).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut folders: Vec<String> =
        folders.map(|entry| name(entry).to_str().unwrap().replace('-', "_")).collect();
    folders.sort();
    let mut rows = every_family_is_quantized_and_verified::NAMES.to_vec();
    rows.sort_unstable();
    assert_eq!(folders, rows);
}

#[test]
fn artifacts_that_are_judged_take_room_on_the_disk() {
    let dir = with_text();
    let data = "--calibrate text.txt --window 64 --samples 4";
    let planned = |args: &str| plan(&dir, &format!("quantize tiny-llama --bits 4 {args}"));
    // All files of an artifact, not its weights alone.
    let bytes = |args: &str| planned(args)["disk"]["needed"].as_u64().unwrap();
    let (rival, plan) = (bytes("--method rtn"), planned(data));
    assert_eq!(plan["decision"]["alternative_bytes"], rival);
    let files = plan["files"].as_array().unwrap().iter();
    let own: u64 = files.map(|file| file["bytes"].as_u64().unwrap()).sum();
    assert_eq!(plan["disk"]["needed"], own + rival);
    let told = dir.done(&format!("quantize tiny-llama --bits 4 {data} --dry-run")).stdout;
    let disk = "disk    2.05 MiB needed (1.03 MiB by 1 other artifact until one is chosen), ";
    assert!(told.lines().any(|line| line.starts_with(disk)), "{told}");
    let decide = "decide  between auto, rtn, on 1 window held out";
    assert!(told.lines().any(|line| line == decide), "{told}");
    let alone = planned(&format!("--method gptq {data}"));
    assert_eq!((&alone["decision"], &alone["disk"]["needed"]), (&Value::Null, &own.into()));
}

#[test]
fn an_output_head_is_not_observed_and_listed() {
    let dir = with_text();
    let args = "quantize tiny-llama --bits 4 --calibrate text.txt --window 64 --samples 4 --lm-head \
                --method gptq -o out";
    let why = "search on the weights alone, because its inputs are not observed";
    let refused = format!("error: tensor `lm_head.weight`: {why}, and `--strict` forbids it\n");
    dir.refused(&format!("{args} --strict"), 2, &refused);
    let closing = dir.done(args).stderr;
    let schemes = told(&closing, "schemes").expect("schemes");
    assert!(schemes.ends_with(" in 29 matrices; 1 fallback"), "{closing}");
    assert_eq!(told(&closing, "fallback"), Some(&*format!("`lm_head.weight`: {why}")));
    dir.done("verify out -q");
    let report = dir.json("out/llmopt.json");
    assert_eq!(fallbacks(&report), [("lm_head.weight", why)]);
    assert_eq!(calibrated(&report).len(), 28);
}

/// What the closing lines say of something.
#[track_caller]
fn told<'a>(closing: &'a str, what: &str) -> Option<&'a str> {
    let line = closing.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
    line.map(str::trim)
}

#[test]
fn errors_are_those_of_outputs_where_inputs_were_observed_and_of_weights_where_not() {
    let dir = with_text();
    let made = |args: &str| {
        let closing = dir.done(&format!("quantize tiny-llama {args} --force -o out")).stderr;
        let error = told(&closing, "error").unwrap_or_else(|| panic!("{closing}")).to_owned();
        (error, told(&closing, "calibrate").map(str::to_owned), dir.json("out/llmopt.json"))
    };
    let data = "--calibrate text.txt --window 64 --samples 16";

    let (error, worth, report) = made(&format!("--bits 4 {data}"));
    let on = "of outputs, on windows held out: ";
    assert!(error.starts_with(on), "{error}");
    assert_eq!(worth, None);
    assert_eq!(report["output_error"]["windows"], "held-out");
    let errors = |report: &Value, pointer: &str| -> Vec<f64> {
        let error = |(_, facts): (&str, &Value)| facts.pointer(pointer)?.as_f64();
        calibrated(report).into_iter().filter_map(error).collect()
    };
    let held_out = errors(&report, "/held_out/output_error");
    assert_eq!(held_out.len(), 28);
    let mean = held_out.iter().sum::<f64>() / 28.0;
    assert!((report["output_error"]["mean"].as_f64().unwrap() / mean - 1.0).abs() < 1e-12);
    // Two of sixteen windows.
    assert!(calibrated(&report).iter().all(|(_, facts)| facts["held_out"]["tokens"] == 128));
    // What codes are fitted to they fit better.
    let fitted = errors(&report, "/output_error");
    assert!(fitted.iter().sum::<f64>() < held_out.iter().sum(), "{fitted:?} {held_out:?}");

    let (error, worth, report) = made(&format!("--bits 4 {data} --method gptq"));
    assert!(error.starts_with("of outputs, on the windows of the calibration: "), "{error}");
    assert_eq!((worth, &report["output_error"]["windows"]), (None, &"calibration".into()));
    assert!(errors(&report, "/held_out/output_error").is_empty());

    let (error, worth, report) = made("--bits 4");
    assert!(error.starts_with("of weights, not of outputs: "), "{error}");
    assert_eq!(report.get("output_error"), None);
    let worth = worth.expect("what calibration would be worth");
    assert!(worth.contains("`--calibrate FILE --force` leaves about a quarter"), "{worth}");
    assert!(worth.contains("`--calibrate builtin --force`"), "{worth}");

    let (error, worth, _) = made("--bits 8");
    assert!(error.starts_with("of weights, not of outputs: "), "{error}");
    assert_eq!(worth, None, "at 8 bits there is little to gain");
}

/// Calibrated artifacts have larger errors of weights and smaller ones of outputs than those of fewer
/// means: the figure that is shown ranks them as their divergence does.
#[test]
fn the_error_that_is_shown_ranks_methods_as_divergence_does() {
    let dir = with_text();
    let made = |method: &str| {
        let data = "--calibrate text.txt --window 128 --samples 32";
        dir.done(&format!("quantize tiny-llama --bits 3 {data} --method {method} -q -o {method}"));
        let eval = format!("eval {method} --against tiny-llama --text tiny-llama/evaluation.txt");
        let ran = dir.done(&format!("{eval} --window 128 --samples 32 --json -q"));
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        let report = dir.json(&format!("{method}/llmopt.json"));
        let kld = found["comparison"]["kld"]["mean"]["value"].as_f64().unwrap();
        (kld, report["output_error"]["mean"].as_f64().unwrap(), found)
    };
    let (plain, better) = (made("gptq"), made("qep+cd"));
    assert!(better.0 < plain.0 && better.1 < plain.1, "{better:?} {plain:?}");
    let record = &better.2["record"];
    assert_eq!(
        (&record["method"], &record["outputs_on"]),
        (&"qep+cd".into(), &"calibration".into())
    );
    assert_eq!(record["calibration"]["sources"][0]["name"], "text.txt");
    assert_eq!(record["recipe"]["calibrate"]["window"], 128);
    assert!(better.2["tensors"].as_array().unwrap().iter().all(|t| t["output_error"].is_f64()));
}
