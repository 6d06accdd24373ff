//! Mixes of sources, and what is refused.

use super::*;
use llmopt_checkpoint::write_file;
use llmopt_forward::Engine;
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_run::{Cancel, Resources, Silent};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

fn tiny() -> Variant {
    Variant::open(&testdata("tiny-llama")).expect("a model")
}

/// A request for windows of 8 tokens.
fn request(sources: &[&str], samples: usize) -> CalibrationRequest {
    let sources = sources.iter().map(|text| text.parse().expect("a source")).collect();
    CalibrationRequest { samples, window: Some(8), ..CalibrationRequest::new(sources) }
}

fn taken(request: &CalibrationRequest) -> Result<(Vec<Vec<u32>>, CalibrationFacts), Error> {
    let variant = tiny();
    let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("a kernel");
    let run = Run {
        engine: &Engine::new(gemm),
        resources: Resources { memory: 1 << 30, threads: 1 },
        scratch: &std::env::temp_dir(),
        events: &Silent,
        cancel: &Cancel::new(),
    };
    CalibrationSet::read(request, &variant)?.taken(&variant, run)
}

/// A file of token ids `first`, `first + 1`, ...
fn ids(folder: &TempDir, name: &str, first: u32, count: u32) -> String {
    let bytes: Vec<u8> = (first..first + count).flat_map(u32::to_le_bytes).collect();
    let header = format!(
        r#"{{"input_ids":{{"dtype":"U32","shape":[{count}],"data_offsets":[0,{}]}}}}"#,
        bytes.len()
    );
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes].concat();
    let path = folder.path().join(format!("{name}.safetensors"));
    write_file(&path, &file).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

/// The first ids of the windows, and what the reader is told.
fn firsts(request: &CalibrationRequest) -> (Vec<u32>, Vec<String>) {
    let (windows, facts) = taken(request).expect("windows");
    assert!(windows.iter().all(|window| window.len() == 8));
    assert_eq!(facts.windows, windows.len());
    (windows.iter().map(|window| window[0]).collect(), facts.notes)
}

#[test]
fn a_mix_takes_each_source_from_its_start_and_spreads_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (ids(&folder, "a", 0, 100), ids(&folder, "b", 500, 100));
    let mixed = |samples| firsts(&request(&[&format!("{a}:0.75"), &format!("{b}:0.25")], samples));
    assert_eq!(mixed(4), (vec![0, 8, 500, 16], Vec::new()));
    assert_eq!(mixed(8).0, [0, 8, 500, 16, 24, 32, 508, 40]);
}

#[test]
fn what_is_missing_is_made_up_for_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (ids(&folder, "a", 0, 17), ids(&folder, "b", 500, 39));
    let short = "`a.safetensors` has 2 windows of the 3 that are its part";
    let (found, notes) = firsts(&request(&[&a, &b], 6));
    assert_eq!(found, [500, 0, 508, 516, 8, 524]);
    assert_eq!(notes, [short]);
    let (found, notes) = firsts(&request(&[&a, &b], 8));
    assert_eq!(found.len(), 6);
    let all = "6 windows of 8 tokens are all that there is; 8 are wanted";
    assert_eq!(notes, [&short.replace('3', "4"), all]);
}

#[test]
fn facts_name_the_windows_of_each_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = ids(&folder, "a", 0, 20);
    let (windows, facts) = taken(&request(&[&a, "self:2"], 3)).expect("windows");
    let [file, own] = &facts.sources[..] else { panic!("{facts:?}") };
    assert_eq!(
        (file.name.as_str(), file.windows, file.text_tokens),
        ("a.safetensors", 1, Some(20))
    );
    let bytes: Vec<u8> = (0..8_u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(file.sha256, llmopt_checkpoint::sha256(&bytes));
    assert_eq!((own.name.as_str(), own.windows, own.seed), ("self", 2, Some(0)));
    // `self` at 1/4 and 3/4, the file in the middle.
    assert_eq!(windows[1], [0, 1, 2, 3, 4, 5, 6, 7]);
    let json = serde_json::to_value(&facts).expect("JSON");
    assert_eq!(json["sources"][1]["sweeps"], 4);
    assert_eq!(json["sources"][0].get("seed"), None);
}

#[test]
fn texts_are_cut_by_the_models_own_tokenizer() {
    let text = testdata("tiny-llama/calibration.txt");
    let text = text.to_str().expect("UTF-8");
    let plain = CalibrationRequest { samples: 3, ..request(&[text], 3) };
    let (windows, _) = taken(&plain).expect("windows");
    let set = CalibrationSet::read(&CalibrationRequest { window: None, ..plain.clone() }, &tiny());
    assert_eq!(set.expect("a set").window(), 256);
    let (with_bos, _) = taken(&CalibrationRequest { bos: true, ..plain }).expect("windows");
    assert_eq!(with_bos[0][1..], windows[0][..7]);
    assert_eq!(with_bos[1][1], windows[0][7]);
}

#[test]
fn the_built_in_text_is_mixed_like_a_file() {
    let (windows, facts) = taken(&request(&["builtin:3", "self"], 4)).expect("windows");
    let [builtin, own] = &facts.sources[..] else { panic!("{facts:?}") };
    assert_eq!((builtin.name.as_str(), builtin.windows, builtin.seed), ("builtin", 3, None));
    assert!(builtin.text_tokens > Some(100_000), "{:?}", builtin.text_tokens);
    assert_eq!((own.windows, own.text_tokens, own.text_sha256.as_ref()), (1, None, None));
    let (alone, _) = taken(&request(&["builtin"], 3)).expect("windows");
    // `self` falls on the middle, and ties go to the first source.
    assert_eq!([&windows[0], &windows[1], &windows[3]], [&alone[0], &alone[1], &alone[2]]);
    assert_eq!(builtin.text_sha256.as_deref(), Some(&*builtin::sha256()));
    let twice = CalibrationSet::read(&request(&["builtin", "builtin:2"], 4), &tiny());
    assert!(twice.expect_err("twice").to_string().contains("`builtin` is given twice"));
}

#[test]
fn bad_sources_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, unknown) = (ids(&folder, "a", 0, 20), ids(&folder, "b", 1020, 20));
    let short = ids(&folder, "short", 0, 7);
    let check = |request: CalibrationRequest, expected: &str| {
        let error = CalibrationSet::read(&request, &tiny()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    };
    check(request(&[], 4), "there is nothing to calibrate on");
    check(request(&["nowhere.txt"], 4), "nowhere.txt");
    check(request(&[&a, &a], 4), "`a.safetensors` is given twice");
    check(request(&["self", "self:2"], 4), "`self` is given twice");
    check(request(&[&short], 4), "the text has 7 tokens, and one window takes 8");
    check(request(&[&unknown], 4), "token 4 has id 1024, but the model knows 1024 tokens");
    check(
        request(&["self", &format!("{a}:0.01")], 4),
        "`a.safetensors`, with weight 0.01, gets none",
    );
    check(request(&["self"], 0), "0 samples were asked for");
    check(request(&[&a], 0), "0 samples were asked for");
    let narrow = |source| CalibrationRequest { window: Some(1), ..request(&[source], 4) };
    check(narrow("self"), "a window of 1 tokens");
    check(narrow(&a), "a window of 1 tokens");
    let weighted = CalibrationSource::File { path: PathBuf::from(&a), weight: f64::NAN };
    check(CalibrationRequest::new(vec![weighted]), "the weight of `a.safetensors` is NaN");
}

#[test]
fn windows_beyond_the_context_are_noted() {
    let long = CalibrationRequest { window: Some(300), ..request(&["self"], 1) };
    let set = CalibrationSet::read(&long, &tiny()).expect("a set");
    assert_eq!(set.notes, ["windows of 300 tokens are longer than the model's context of 256"]);
}
