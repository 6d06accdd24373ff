//! Commands without a MODEL: the current folder's, and results beside that folder.

use crate::dir::{Dir, Ran};
use crate::synthetic;

/// `llmopt` with `args`, started in the folder `name` of `dir`.
fn run_in(dir: &Dir, name: &str, args: &str) -> Ran {
    Ran::from(dir.command(args).current_dir(dir.path(name)).output().unwrap())
}

/// Runs what must succeed, and whose first line must name the model.
fn done_in(dir: &Dir, name: &str, args: &str) -> Ran {
    let ran = run_in(dir, name, args);
    assert_eq!(ran.code, Some(0), "llmopt {args}\n{}{}", ran.stdout, ran.stderr);
    ran
}

fn first_line(ran: &Ran) -> &str {
    ran.stderr.lines().next().unwrap_or_default()
}

/// The user's own line, on a seeded model: the trained one takes a minute.
#[test]
fn prune_writes_beside_the_current_folder() {
    let dir = Dir::with_family("llama");
    let before = dir.tree("model");
    let ran = done_in(&dir, "model", "prune --sparsity 0.4 --samples 8 --window 16");
    assert_eq!(first_line(&ran), "model  the current folder, `model`");
    assert_eq!(dir.names(), ["ids.safetensors", "model", "model-p40"]);
    assert_eq!(dir.tree("model"), before, "nothing is written inside");
    dir.done("eval model-p40 --against model --text ids.safetensors --window 16");
}

#[test]
fn the_readme_has_the_lines_that_are_tested_here() {
    let readme = include_str!("../../../../README.md");
    for line in ["llmopt prune --sparsity 0.4", "llmopt quantize model.safetensors --bits 8"] {
        assert!(readme.lines().any(|found| found == line), "{line}");
    }
}

/// The user's own line, as the README has it.
#[test]
fn the_line_of_the_readme_prunes_the_current_folder() {
    let dir = Dir::with_family("llama");
    let ran = done_in(&dir, "model", "prune --sparsity 0.4");
    assert_eq!(first_line(&ran), "model  the current folder, `model`");
    let [before, after] =
        ["model", "model-p40"].map(|name| dir.read(&format!("{name}/model.safetensors")).len());
    assert!(after < before, "{after} of {before} bytes");
}

#[test]
fn every_command_finds_the_model_of_the_current_folder() {
    let dir = Dir::with_tiny_llama();
    let inspected = done_in(&dir, "tiny-llama", "inspect");
    assert_eq!(inspected.stderr, "model  the current folder, `tiny-llama`\n");
    assert_eq!(inspected.stdout.lines().nth(1), Some("family       llama"));
    done_in(&dir, "tiny-llama", "quantize --bits 4");
    done_in(
        &dir,
        "tiny-llama",
        "calibrate --data calibration.txt --window 64 --samples 2 -o ../s.safetensors",
    );
    assert_eq!(dir.names(), ["s.safetensors", "tiny-llama", "tiny-llama-w4a16"]);
    // The same artifact as from outside.
    dir.done("quantize tiny-llama --bits 4 -o named");
    assert_eq!(dir.read("tiny-llama-w4a16/model.safetensors"), dir.read("named/model.safetensors"));
    let verified = done_in(&dir, "tiny-llama-w4a16", "verify");
    assert_eq!(first_line(&verified), "model  the current folder, `tiny-llama-w4a16`");
    let quiet = done_in(&dir, "tiny-llama-w4a16", "verify --quiet");
    assert_eq!(quiet.stderr, "");
}

#[test]
fn programs_are_told_in_json() {
    let dir = Dir::with_tiny_llama();
    let ran = done_in(&dir, "tiny-llama", "inspect --json");
    assert_eq!(ran.stderr, "{\"event\":\"model\",\"path\":\".\"}\n");
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found["family"], "llama");
}

#[test]
fn the_one_file_of_a_folder_is_its_model() {
    let dir = Dir::new();
    synthetic::bare(&dir, "folder/weights.safetensors", 2, 128);
    let ran = done_in(&dir, "folder", "quantize --bits 8");
    assert_eq!(
        first_line(&ran),
        "model  `weights.safetensors`, the one `.safetensors` file in the current folder, `folder`"
    );
    assert_eq!(dir.names(), ["folder", "weights-w8a16.llmopt.json", "weights-w8a16.safetensors"]);
    // The second run finds the first one's output, not a second model.
    let again = run_in(&dir, "folder", "quantize --bits 8");
    assert_eq!(again.code, Some(2), "{}", again.stderr);
    assert!(again.stderr.contains("`../weights-w8a16.safetensors` exists"), "{}", again.stderr);
}

#[test]
fn a_folder_without_a_model_is_described() {
    let check = |dir: &Dir, found: &str| {
        for args in ["inspect", "quantize --bits 8", "prune --sparsity 0.4", "verify"] {
            let ran = run_in(dir, "folder", args);
            let expected = format!(
                "error: there is no MODEL, and the current folder, `folder`, was expected to hold \
                 `config.json` and weights, or exactly one `.safetensors` file: {found}\n\n\
                 hint: give the model's folder or file, or run this in the model's folder\n"
            );
            assert_eq!((ran.code, ran.stderr), (Some(2), expected), "{args}");
        }
    };
    let dir = Dir::new();
    dir.write("folder/notes.txt", b"");
    check(&dir, "it holds neither");
    dir.write("folder/config.json", b"{}");
    check(&dir, "it holds a `config.json`, but no `.safetensors` file");
    dir.remove("folder/config.json");
    synthetic::bare(&dir, "folder/a.safetensors", 1, 64);
    synthetic::bare(&dir, "folder/b.safetensors", 1, 64);
    check(&dir, "it holds 2 `.safetensors` files and no `config.json`");
}

#[test]
fn the_line_for_a_file_works_as_the_readme_has_it() {
    let dir = Dir::with_tiny_llama();
    let ran = run_in(&dir, "tiny-llama", "quantize model.safetensors --bits 8");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(dir.path("tiny-llama/model-w8a16/config.json").is_file());
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 2, 128);
    dir.done("quantize model.safetensors --bits 8");
    assert!(dir.path("model-w8a16.safetensors").is_file());
}

#[test]
fn a_snapshot_in_a_cache_of_the_hub_gets_no_neighbours() {
    let dir = Dir::with_family("llama");
    let snapshot = "hub/models--org--Tiny-Llama/snapshots/0a1b2c3d";
    std::fs::create_dir_all(dir.path("hub/models--org--Tiny-Llama/snapshots")).unwrap();
    std::fs::rename(dir.path("model"), dir.path(snapshot)).unwrap();
    dir.write("work/empty", b"");
    let ran = done_in(&dir, "work", &format!("quantize ../{snapshot} --bits 8"));
    let told = "output  in the current folder: `../hub/models--org--Tiny-Llama/snapshots/0a1b2c3d` is \
                a snapshot in a cache of the Hugging Face hub";
    assert_eq!(first_line(&ran), told);
    done_in(
        &dir,
        "work",
        &format!("prune ../{snapshot} --sparsity 0.33 --axes ffn --method magnitude --no-refit"),
    );
    let made = dir.tree("work");
    assert!(made.contains_key("work/Tiny-Llama-w8a16/config.json"), "{:?}", made.keys());
    assert!(made.contains_key("work/Tiny-Llama-p33/config.json"), "{:?}", made.keys());
    let inside = run_in(&dir, snapshot, "quantize --bits 4");
    assert_eq!(inside.code, Some(2), "{}", inside.stderr);
    assert!(inside.stderr.contains("hint: `-o PATH` says where it goes"), "{}", inside.stderr);
    assert_eq!(
        std::fs::read_dir(dir.path("hub/models--org--Tiny-Llama/snapshots")).unwrap().count(),
        1
    );
}

#[cfg(unix)]
#[test]
fn a_folder_whose_name_is_no_text_keeps_its_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = Dir::with_family("llama");
    let [name, quantized, pruned]: [&[u8]; 3] = [b"caf\xe9", b"caf\xe9-w8a16", b"caf\xe9-p33"];
    let path = |name: &[u8]| dir.path("").join(OsStr::from_bytes(name));
    std::fs::rename(dir.path("model"), path(name)).unwrap();
    for args in ["quantize --bits 8", "prune --sparsity 0.33 --axes ffn --samples 8 --window 16"] {
        let ran = Ran::from(dir.command(args).arg(path(name)).output().unwrap());
        assert_eq!(ran.code, Some(0), "{args}: {}", ran.stderr);
    }
    assert!(path(quantized).join("config.json").is_file());
    assert!(path(pruned).join("config.json").is_file());
}
