//! How an artifact came about: records that begin with the first model, artifacts made once more from them, and
//! models held against each other.

use crate::dir::{Dir, Ran};
use serde_json::{Value, json};

const PRUNE: &str = "prune tiny-llama -q -o pruned --sparsity 0.3 --axes ffn --refine 1 \
                     --calibrate text.txt --samples 24 --window 128";
const QUANTIZE: &str = "quantize pruned -q -o out --bits 4 --method gptq --calibrate text.txt \
                        --samples 8 --window 128";

/// A folder with a model, a text, and what pruning and quantizing make of it.
fn chained() -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    dir.done(PRUNE);
    dir.done(QUANTIZE);
    dir
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_report_tells_how_its_source_was_made() {
    let dir = chained();
    let (first, second) = (dir.json("pruned/llmopt.json"), dir.json("out/llmopt.json"));
    assert_eq!(first.get("made_from"), None);
    let made = &second["made_from"];
    for key in ["tool", "version", "recipe", "inputs", "calibration", "sparsity", "axes"] {
        assert_eq!(made[key], first[key], "{key}");
        assert_ne!(made[key], Value::Null, "{key}");
    }
    for key in ["outputs", "tensors", "pruned", "removed", "layers"] {
        assert_eq!(made.get(key), None, "{key}");
    }
}

#[test]
fn a_report_of_other_files_is_left_out_with_a_note() {
    let dir = chained();
    dir.remove("out");
    let mut report = dir.json("pruned/llmopt.json");
    report["outputs"]["model.safetensors"]["sha256"] = json!("0".repeat(64));
    dir.write("pruned/llmopt.json", report.to_string().as_bytes());
    let ran = dir.done(&QUANTIZE.replace(" -q ", " "));
    assert_eq!(dir.json("out/llmopt.json").get("made_from"), None);
    let note = "`llmopt.json` beside the source is left out of the new report, which does not tell how the \
                source was made: `model.safetensors` has SHA-256";
    assert!(ran.stderr.contains(note), "{}", ran.stderr);
}

#[test]
fn a_chain_is_made_once_more_to_the_byte() {
    let dir = chained();
    let names = dir.names();
    let ran = dir.done("verify out --against tiny-llama --rebuild -q");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let told = json_of(&dir.done("verify out --against tiny-llama --rebuild --json"));
    let rebuilt = &told["rebuilt"];
    assert_eq!(rebuilt["commands"], json!(["prune", "quantize"]));
    let files = rebuilt["files"].as_array().unwrap();
    assert_eq!(files.len(), dir.tree("out").len() - 1, "all but the report");
    assert!(files.iter().all(|file| file["same"] == json!(true)), "{rebuilt}");
    assert_eq!(dir.names(), names, "nothing is left beside it");
}

#[test]
fn what_differs_is_named_with_its_tensors() {
    let dir = chained();
    // What `run` adds to an artifact.
    dir.write("out/evaluation.json", b"{}");
    let mut report = dir.json("out/llmopt.json");
    report["outputs"]["evaluation.json"] = json!({
        "bytes": 2,
        "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    });
    dir.write("out/llmopt.json", report.to_string().as_bytes());
    dir.done("verify out -q");
    // The last byte of the file belongs to one tensor.
    let mut weights = dir.read("out/model.safetensors");
    *weights.last_mut().unwrap() ^= 1;
    dir.write("out/model.safetensors", &weights);
    let ran = dir.run("verify out --against tiny-llama --rebuild --json -q");
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let rebuilt = &json_of(&ran)["rebuilt"];
    assert_eq!(rebuilt["not_rebuilt"], json!(["evaluation.json"]));
    let differing: Vec<&Value> =
        rebuilt["files"].as_array().unwrap().iter().filter(|file| file["same"] != true).collect();
    assert_eq!(differing.len(), 1, "{rebuilt}");
    assert_eq!(differing[0]["name"], "model.safetensors");
    assert_eq!(differing[0]["tensors"].as_array().unwrap().len(), 1, "{}", differing[0]);
    let ran = dir.run("verify out --against tiny-llama --rebuild --quick -q");
    let expected = "error: `out` is not what its record makes: 1 file differs\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(3), expected), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("differs      model.safetensors: its SHA-256 is "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("not rebuilt  evaluation.json: "), "{}", ran.stdout);
}

#[test]
fn data_are_found_by_name_or_given_and_must_be_the_same() {
    let dir = chained();
    dir.write("elsewhere/renamed.txt", &dir.read("text.txt"));
    dir.remove("text.txt");
    let rebuild = "verify out --against tiny-llama --rebuild --quick -q";
    dir.refused(
        rebuild,
        2,
        "error: `text.txt`, on which the model was observed, lies neither in the current folder nor beside \
         `tiny-llama`\n\nhint: `--data FILE` says where it is\n",
    );
    dir.done(&format!("{rebuild} --data elsewhere/renamed.txt"));
    let mut other = dir.read("elsewhere/renamed.txt");
    other[..6].copy_from_slice(b"Others");
    dir.write("text.txt", &other);
    let ran = dir.run(rebuild);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let begin =
        "error: `text.txt` is not what `prune` observed the model on: its windows have SHA-256 ";
    assert!(ran.stderr.starts_with(begin), "{}", ran.stderr);
    dir.write("elsewhere/text.txt", &dir.read("elsewhere/renamed.txt"));
    dir.done(&format!("{rebuild} --data elsewhere/text.txt"));
    let ran = dir.run(&format!("{rebuild} --data elsewhere/renamed.txt"));
    let begin = "error: `--data elsewhere/renamed.txt` would do nothing here\n";
    assert!(ran.stderr.starts_with(begin), "{}", ran.stderr);
}

#[test]
fn another_model_and_no_record_are_refused_by_name() {
    let dir = chained();
    let ran = dir.run("verify out --against pruned --rebuild --quick -q");
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let begin = "error: `pruned` is not the model that the artifact was made from: ";
    assert!(ran.stderr.starts_with(begin), "{}", ran.stderr);
    dir.remove("out/llmopt.json");
    let ran = dir.run("verify out --against tiny-llama --rebuild --quick -q");
    assert!(ran.stderr.contains("there is no `llmopt.json` beside `out`"), "{ran:?}");
    let ran = dir.run("verify out --rebuild");
    assert!(ran.stderr.contains("--against <MODEL>"), "{ran:?}");
}

#[test]
fn a_choice_between_mixes_and_methods_is_made_once_more() {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    dir.done(
        "prune tiny-llama -q -o pruned --sparsity 0.3 --refine 1 --calibrate text.txt --calibrate self:0.5 \
         --samples 24 --window 128",
    );
    dir.done(
        "quantize pruned -q -o out --bits 4 --smooth 0.5 --calibrate text.txt --samples 16 --window 128",
    );
    dir.done("verify out --against tiny-llama --rebuild --quick -q");
}

#[test]
fn a_file_alone_is_made_once_more() {
    let dir = Dir::with_tiny_llama();
    dir.write("w.safetensors", &dir.read("tiny-llama/model.safetensors"));
    dir.done("quantize w.safetensors -q -o small.safetensors --bits 4 --method rtn");
    let ran = dir.done("verify small.safetensors --against w.safetensors --rebuild --quick");
    assert!(ran.stdout.contains("rebuilt  quantize\nsame     1 file, byte for byte\n"), "{ran:?}");
}

#[test]
fn the_first_model_of_a_chain_is_held_against_what_is_known_of_it() {
    let dir = chained();
    let ran = dir.done("verify out --against tiny-llama");
    assert!(ran.stdout.contains("files held against the report's beginning        2"), "{ran:?}");
    assert!(ran.stderr.contains("what the source of this artifact was made from"), "{ran:?}");
    dir.done("verify out --against pruned -q");
    let mut weights = dir.read("tiny-llama/model.safetensors");
    *weights.last_mut().unwrap() ^= 1;
    dir.write("tiny-llama/model.safetensors", &weights);
    let ran = dir.run("verify out --against tiny-llama -q");
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stdout.starts_with("against  model.safetensors: its SHA-256 is "), "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
}

#[test]
fn a_manifest_lists_every_file_but_itself() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama -q -o out --method rtn");
    dir.write("out/.hidden", b"hidden");
    dir.write("out/.git/HEAD", b"git");
    let ran = dir.done("verify out -q --manifest out/manifest.json");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    dir.done("verify out -q --manifest out/manifest.json");
    let manifest = dir.json("out/manifest.json");
    assert_eq!(manifest["subject"][0]["name"], "out");
    let resources = manifest["predicate"]["resources"].as_array().unwrap();
    let names: Vec<&str> = resources.iter().map(|file| file["name"].as_str().unwrap()).collect();
    let tree = dir.tree("out");
    let files = tree.keys().map(|name| name.strip_prefix("out/").unwrap());
    let expected: Vec<&str> =
        files.filter(|name| !["manifest.json", ".git/HEAD"].contains(name)).collect();
    assert_eq!(names, expected);
    for (name, told) in dir.json("out/llmopt.json")["outputs"].as_object().unwrap() {
        let file = resources.iter().find(|file| file["name"] == name.as_str()).unwrap();
        assert_eq!(file["digest"], told["sha256"], "{name}");
    }
    // What is not sound gets none.
    dir.write("out/tokenizer.json", b"{}");
    assert_eq!(dir.run("verify out -q --manifest other.json").code, Some(3));
    assert!(!dir.path("other.json").exists());
    let ran = dir.run("verify tiny-llama/model.safetensors -q --manifest other.json");
    assert!(ran.stderr.contains("is a file, and a manifest is of a folder"), "{ran:?}");
}
