//! Statistics as files: made once, added up, used without running the model, and refused when they are
//! not what they should be.

use crate::dir::{Dir, testdata};
use crate::synthetic::safetensors;
use serde_json::Value;
use std::fs;

/// Token ids that no text would have: `first`, `first + step`, ... as far as the vocabulary goes round.
fn ids(dir: &Dir, name: &str, numbers: std::ops::Range<u64>, vocabulary: u64) {
    let id = |i: u64| (i * i * 7 + i / 5) % vocabulary;
    let bytes: Vec<u8> = numbers.flat_map(|i| id(i).to_le_bytes()).collect();
    dir.write(name, &safetensors(&[("input_ids", "I64", &[bytes.len() / 8], bytes)]));
}

/// The trained checkpoint with token ids, and statistics of it with Gram matrices and without.
fn with_statistics() -> Dir {
    let dir = Dir::with_tiny_llama();
    ids(&dir, "ids.safetensors", 0..640, 1024);
    dir.done(&format!("{CALIBRATE} --gram -o grams.safetensors"));
    dir.done(&format!("{CALIBRATE} -o squares.safetensors"));
    dir
}

const CALIBRATE: &str = "calibrate tiny-llama --data ids.safetensors --samples 10 --window 64 -q";
const QUANTIZE: &str = "quantize tiny-llama --bits 4 -q --force -o out --calibrate";

/// The numbers of the tensors whose names end like this, by name.
fn numbers(file: &[u8], ending: &str) -> Vec<(String, Vec<f64>)> {
    let data = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..data]).unwrap();
    let tensors = header.as_object().unwrap().iter().filter(|(name, _)| name.ends_with(ending));
    tensors
        .map(|(name, tensor)| {
            let offset = |end: usize| data + tensor["data_offsets"][end].as_u64().unwrap() as usize;
            let bytes = file[offset(0)..offset(1)].as_chunks().0.iter();
            (name.clone(), bytes.map(|&bytes| f64::from_le_bytes(bytes)).collect())
        })
        .collect()
}

fn report(dir: &Dir) -> Value {
    dir.json("out/llmopt.json")
}

#[test]
fn a_file_depends_on_neither_threads_nor_budget() {
    let check = |family: &str, vocabulary: u64| {
        let dir = Dir::new();
        let model = testdata("families").join(family).display().to_string();
        ids(&dir, "ids.safetensors", 0..6000, vocabulary);
        let args = format!(
            "calibrate {model} --data ids.safetensors --window 128 --gram --force -o s.safetensors"
        );
        let made = |resources: &str| {
            dir.done(&format!("{args} -q {resources}"));
            dir.read("s.safetensors")
        };
        let memory = |resources: &str| -> Value {
            let plan = dir.done(&format!("{args} --dry-run --json {resources}")).stdout;
            serde_json::from_str::<Value>(&plan).unwrap()["memory"].clone()
        };
        let expected = made("--threads 1 --memory 1GiB");
        for threads in [1, 2, 3] {
            let smallest = memory(&format!("--threads {threads}"))["smallest"].clone();
            let tight = format!("--threads {threads} --memory {smallest}");
            let plan = memory(&tight);
            assert_eq!(plan["spills"], true, "{family}: {plan}");
            assert!(made(&tight) == expected, "{family}, {tight}");
        }
    };
    check("llama", 96);
    check("mixtral", 96);
}

#[test]
fn quantizing_goes_by_statistics_without_data() {
    let dir = with_statistics();
    dir.remove("ids.safetensors");
    let check = |arguments: &str, recorded: &str, method: &str| {
        dir.done(&format!("{QUANTIZE} {arguments}"));
        dir.done("verify out -q");
        let report = report(&dir);
        assert_eq!(report["recipe"]["method"], recorded, "{arguments}");
        let tensors = report["tensors"].as_array().unwrap();
        let calibrated: Vec<&Value> =
            tensors.iter().filter_map(|tensor| tensor.get("calibrated")).collect();
        // Seven matrices of each of four blocks.
        assert_eq!(calibrated.len(), 28, "{arguments}");
        for one in calibrated {
            assert_eq!((&one["method"], &one["tokens"]), (&method.into(), &640.into()));
        }
        let name = arguments.split(' ').next().unwrap();
        assert_eq!(report["calibration"]["statistics"][0]["name"], name);
        assert_eq!(report["calibration"]["sources"][0]["name"], "ids.safetensors");
        dir.read("out/model.safetensors")
    };
    let squares = check("squares.safetensors", "search", "search");
    assert_eq!(check("grams.safetensors --method search", "search", "search"), squares);
    let best = check("grams.safetensors", "gptq+cd", "gptq+cd");
    let gptq = check("grams.safetensors --method gptq", "gptq", "gptq");
    assert!(squares != best && best != gptq);
    assert_eq!(check("grams.safetensors --threads 1", "gptq+cd", "gptq+cd"), best);
}

#[test]
fn the_first_site_is_quantized_as_data_would_have_it() {
    // Nothing before it was rewritten, so that both see the same inputs.
    let dir = with_statistics();
    let first = |arguments: &str| {
        dir.done(&format!("{QUANTIZE} {arguments}"));
        let tensors = report(&dir)["tensors"].as_array().unwrap().clone();
        let is_first = |tensor: &&Value| tensor["name"] == "model.layers.0.self_attn.q_proj.weight";
        tensors.iter().find(is_first).unwrap().clone()
    };
    let data = "ids.safetensors --samples 10 --window 64 --method gptq";
    assert_eq!(first("grams.safetensors --method gptq"), first(data));
}

#[test]
fn halves_add_up_to_the_whole() {
    let dir = Dir::with_tiny_llama();
    ids(&dir, "first.safetensors", 0..320, 1024);
    ids(&dir, "second.safetensors", 320..640, 1024);
    ids(&dir, "ids.safetensors", 0..640, 1024);
    dir.done(&format!("{CALIBRATE} --gram -o whole.safetensors"));
    let half = "calibrate tiny-llama --window 64 --gram -q --data";
    dir.done(&format!("{half} first.safetensors -o a.safetensors"));
    dir.done(&format!("{half} second.safetensors -o b.safetensors"));
    dir.done(&format!("{half} second.safetensors --merge a.safetensors -o sum.safetensors"));
    let (sum, whole) = (dir.read("sum.safetensors"), dir.read("whole.safetensors"));
    let tokens = |file: &[u8]| -> Vec<u64> {
        let tensors = numbers(file, ".tokens");
        tensors.iter().map(|(_, tokens)| tokens[0].to_bits()).collect()
    };
    assert_eq!(tokens(&sum), tokens(&whole));
    assert!(tokens(&sum).iter().all(|&tokens| tokens == 640));
    // Sums are in F64, so that squares differ by how they are grouped; products within a piece are in
    // F32, and other tokens stand in a piece.
    for (ending, tolerance) in [(".squares", 1e-12), (".gram", 1e-5)] {
        let (sum, whole) = (numbers(&sum, ending), numbers(&whole, ending));
        assert_eq!(sum.len(), 16, "four sites of each of four blocks");
        for ((name, sum), (other, whole)) in sum.iter().zip(&whole) {
            assert_eq!((name, sum.len()), (other, whole.len()));
            let norm = whole.iter().map(|x| x * x).sum::<f64>().sqrt();
            let distance =
                sum.iter().zip(whole).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
            assert!(distance <= tolerance * norm, "{name}: {distance:e} of {norm:e}");
        }
    }
    // Several files add up as one that was merged does.
    dir.done(&format!("{QUANTIZE} a.safetensors --calibrate b.safetensors"));
    let several = dir.read("out/model.safetensors");
    assert_eq!(report(&dir)["calibration"]["windows"], 10);
    dir.done(&format!("{QUANTIZE} sum.safetensors"));
    assert!(dir.read("out/model.safetensors") == several);
}

#[test]
fn statistics_of_the_model_itself_need_no_data() {
    let dir = Dir::with_tiny_llama();
    let args = "calibrate tiny-llama --data self --samples 4 --window 32 --force -o s.safetensors";
    let told = dir.done(args).stderr;
    assert!(told.contains("observed  128 tokens in 1 run\n"), "{told}");
    assert!(
        told.contains("next      llmopt quantize tiny-llama --calibrate s.safetensors"),
        "{told}"
    );
    let first = dir.read("s.safetensors");
    dir.done(&format!("{args} -q --seed 1"));
    assert!(dir.read("s.safetensors") != first);
    let json: Value = serde_json::from_str(&dir.done(&format!("{args} --json")).stdout).unwrap();
    assert_eq!((&json["sites"], &json["gram"]), (&16.into(), &false.into()));
    assert_eq!(json["runs"][0]["data"]["sources"][0]["sweeps"], 4);
    assert!(dir.read("s.safetensors") == first);
}

#[test]
fn statistics_of_another_model_are_refused() {
    let dir = with_statistics();
    let check = |what: &str| {
        let ran = dir.run(&format!("{QUANTIZE} grams.safetensors"));
        assert_eq!(ran.code, Some(2), "{what}: {}", ran.stderr);
        let expected = "`grams.safetensors` holds statistics of `tiny-llama` (";
        assert!(ran.stderr.contains(expected), "{what}: {}", ran.stderr);
        let hint = "hint: `llmopt calibrate` makes statistics of this model";
        assert!(ran.stderr.contains(hint), "{what}: {}", ran.stderr);
        assert!(!dir.path("out").exists(), "{what}");
    };
    let weights = dir.read("tiny-llama/model.safetensors");
    let mut trained = weights.clone();
    *trained.last_mut().unwrap() ^= 1;
    dir.write("tiny-llama/model.safetensors", &trained);
    check("a weight differs");
    dir.write("tiny-llama/model.safetensors", &weights);
    let config = String::from_utf8(dir.read("tiny-llama/config.json")).unwrap();
    let config = config.replace("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 1e-04");
    dir.write("tiny-llama/config.json", config.as_bytes());
    check("the config differs");
}

#[test]
fn what_statistics_cannot_do_is_refused() {
    let dir = with_statistics();
    let check = |arguments: &str, message: &str, hint: &str| {
        let arguments = format!("{QUANTIZE} {arguments}");
        dir.refused(&arguments, 2, &format!("error: {message}\n\nhint: {hint}\n"));
    };
    check(
        "squares.safetensors --method gptq",
        "`--method gptq` needs Gram matrices, and `squares.safetensors` has none",
        "`llmopt calibrate --gram` keeps them; `--method search` does without",
    );
    check(
        "grams.safetensors --method qep+cd",
        "`--method qep+cd` compares the model as it is rewritten with the original, which statistics \
         cannot show",
        "give data with `--calibrate`; with statistics there are `search`, `gptq` and `gptq+cd`",
    );
    check(
        "grams.safetensors --calibrate ids.safetensors",
        "`grams.safetensors` holds statistics and `ids.safetensors` is data: they do not mix",
        "`llmopt calibrate` makes statistics of data, which add up with others",
    );
    check(
        "grams.safetensors:0.5",
        "`grams.safetensors` holds statistics, which have no weight: they add up",
        "leave the number behind the colon out",
    );
    for option in ["--window 32", "--samples 128", "--bos none", "--seed 0", "--date 2026-01-31"] {
        let name = option.split(' ').next().unwrap();
        check(
            &format!("grams.safetensors {option}"),
            &format!("`{name}` would do nothing here: the data of statistics are chosen already"),
            "leave it out: `llmopt calibrate` takes it",
        );
    }
    check(
        "grams.safetensors --whole-block",
        "`--whole-block` does nothing with statistics, which were taken so",
        "leave it out",
    );
    check(
        "grams.safetensors --scratch .",
        "`--scratch` would do nothing here: with statistics the model is not run, and has no hidden \
         states",
        "leave it out",
    );
    let check = |arguments: &str, message: &str, hint: &str| {
        let arguments = format!("{CALIBRATE} {arguments}");
        dir.refused(&arguments, 2, &format!("error: {message}\n\nhint: {hint}\n"));
    };
    check(
        "-o new.safetensors --merge grams.safetensors",
        "`grams.safetensors` has Gram matrices, which would be lost",
        "`--gram` keeps them",
    );
    check(
        "-o new.safetensors --gram --merge squares.safetensors",
        "`squares.safetensors` has no Gram matrices to add to",
        "without `--gram`, second moments are merged",
    );
    check(
        "-o tiny-llama/new.safetensors",
        "`tiny-llama/new.safetensors` is in the folder of the model",
        "loaders would take it for one of the model's files",
    );
    check(
        "-o new.json",
        "`new.json` does not end in `.safetensors`",
        "statistics are a safetensors file",
    );
    check(
        "--data grams.safetensors -o new.safetensors",
        "`grams.safetensors` holds statistics and `ids.safetensors` is data: they do not mix",
        "`llmopt calibrate` makes statistics of data, which add up with others",
    );
    assert_eq!(dir.run(&format!("{CALIBRATE} -o grams.safetensors")).code, Some(2));
    assert!(!dir.names().iter().any(|name| name.starts_with("new") || name == "out"));
}

#[test]
fn damaged_files_are_refused() {
    let dir = with_statistics();
    let sound = dir.read("grams.safetensors");
    let check = |what: &str, damaged: &[u8], expected: &str| {
        dir.write("grams.safetensors", damaged);
        let ran = dir.run(&format!("{QUANTIZE} grams.safetensors"));
        assert_eq!(ran.code, Some(3), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{what}: {}", ran.stderr);
        assert!(!dir.path("out").exists(), "{what}");
    };
    let data = 8 + u64::from_le_bytes(sound[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(sound[..data].to_vec().split_off(8)).unwrap();
    let with_header = |from: &str, to: &str| {
        let changed = header.replacen(from, to, 1);
        assert_ne!(changed, header, "{from}");
        [&(changed.len() as u64).to_le_bytes(), changed.as_bytes(), &sound[data..]].concat()
    };
    for at in [data, data + 8, data + 5000, sound.len() - 1] {
        let mut flipped = sound.clone();
        flipped[at] ^= 1;
        check("a bit differs", &flipped, "is not what was written: its SHA-256 differs");
    }
    let mut endless = sound.clone();
    endless[data + 8..data + 16].copy_from_slice(&f64::NAN.to_le_bytes());
    check("NaN", &endless, "the sum of squares of feature 0 is NaN, expected 0 to 1e100");
    check("cut off", &sound[..sound.len() - 8], "but the file has only");
    check(
        "another version",
        &with_header("statistics\":\"1\"", "statistics\":\"2\""),
        "is `2`, expected `1`",
    );
    let renamed = with_header("layers.0.mlp.down_proj.weight.squares", "layers.9.squares");
    check("a tensor is missing", &renamed, "there is no tensor `model.layers.0.mlp.down_proj");
    let shaped = with_header("\"shape\":[8256]", "\"shape\":[86,96]");
    check("another shape", &shaped, "expected F64 [8256]");
    check("no list of sites", &with_header("\"sites\":", "\"sights\":"), "have no `sites`");
    let swapped = with_header(
        r#"\"model.layers.0.self_attn.k_proj.weight\""#,
        r#"\"model.layers.0.self_attn.o_proj.weight\""#,
    );
    check("a weight reads two sites", &swapped, "reads two sites");
}

#[test]
fn a_run_that_is_refused_leaves_no_file() {
    let dir = Dir::with_tiny_llama();
    ids(&dir, "ids.safetensors", 0..640, 1024);
    let before = dir.names();
    let ran = dir.run(&format!("{CALIBRATE} -o s.safetensors --memory 1MiB"));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: `--memory "), "{}", ran.stderr);
    let path = dir.path("tiny-llama/model.safetensors");
    let mut weights = fs::read(&path).unwrap();
    let data = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    weights[data..].fill(0xff);
    fs::write(&path, weights).unwrap();
    assert_eq!(dir.run(&format!("{CALIBRATE} -o s.safetensors")).code, Some(3));
    assert_eq!(dir.names(), before);
}
