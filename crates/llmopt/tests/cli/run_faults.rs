//! `run`, when power, disk or source fail: the same command ends with the same bytes, or says what is wrong.

use crate::dir::{Dir, progress};
use crate::run::{RECIPE, with_recipe};
use crate::synthetic::Random;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

type Files = BTreeMap<String, Vec<u8>>;

/// A directory with a recipe, and what it makes.
fn expected() -> (Dir, Files, Duration) {
    // Long enough to be interrupted in its evaluation.
    let dir = with_recipe(&RECIPE.replace("window = 128\nsamples = 8", "window = 64"));
    let started = Instant::now();
    dir.done("run -q");
    let whole = started.elapsed();
    let expected = dir.tree("out");
    dir.remove("out");
    (dir, expected, whole)
}

#[track_caller]
fn check_goes_on(dir: &Dir, expected: &Files, after: &str) {
    dir.done("run -q");
    assert!(dir.tree("out") == *expected, "the bytes differ after {after}");
    assert_eq!(dir.names(), ["llmopt.toml", "out", "tiny-llama"], "{after}");
}

#[test]
fn what_was_not_synced_may_be_lost_with_a_kill() {
    let (dir, expected, whole) = expected();
    let mut random = Random(5);
    for round in 0..12 {
        let mut child = dir.command("run -q").spawn().unwrap();
        std::thread::sleep(whole * (random.next() % 1000) as u32 / 1000);
        let _ = child.kill();
        child.wait().unwrap();
        if dir.path("out").exists() {
            assert!(dir.tree("out") == expected, "the bytes differ in round {round}");
            dir.remove("out");
        } else if dir.path("out.partial").exists() {
            lose_unsynced(&dir.path("out.partial"));
        }
    }
    check_goes_on(&dir, &expected, "the last loss");
}

/// Empties what a loss of power would: files in a staging folder that no journal tells of, and half of a
/// journal's last line. What has got its name, and what is linked to it, was synced before.
fn lose_unsynced(folder: &Path) {
    let journal = fs::read(folder.join(".journal")).unwrap_or_default();
    let told = journal.iter().filter(|&&byte| byte == b'\n').count() > 1;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        let facts = entry.metadata().unwrap();
        if facts.is_dir() {
            if name == "stages" || name.ends_with(".partial") {
                lose_unsynced(&path);
            }
        } else if name == ".journal" {
            let last = journal.split_inclusive(|&byte| byte == b'\n').next_back();
            shorten(&path, facts.len() - last.map_or(0, <[u8]>::len) as u64 / 2);
        } else if facts.nlink() == 1 && !folder.ends_with("stages") {
            let is_weights = name.ends_with(".safetensors");
            if !is_weights || !told {
                shorten(&path, 0);
            }
            // Of weights the length is there, and nothing in it.
            if is_weights {
                shorten(&path, facts.len());
            }
        }
    }
}

fn shorten(path: &Path, bytes: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

/// Interrupts the recipe when both stages are done and the evaluation has begun.
fn interrupted_in_evaluation(dir: &Dir) {
    dir.interrupted_at("run --json", |event| {
        event["event"] == "stage-started" && event["stage"] == "evaluate"
    });
    assert!(dir.path("out.partial/stages/1-quantize").is_dir());
}

#[test]
fn the_lock_of_a_run_that_was_killed_behind_its_last_rename_does_no_harm() {
    let (dir, expected, _) = expected();
    interrupted_in_evaluation(&dir);
    for stage in ["0-prune", "1-quantize"] {
        dir.write(&format!("out.partial/stages/{stage}/.lock"), b"");
    }
    check_goes_on(&dir, &expected, "locks in stages");
    dir.write("out/.lock", b"");
    assert_eq!(dir.run("run -q").code, Some(2));
    assert!(dir.tree("out") == expected, "the lock stayed");
}

#[test]
fn killed_while_it_clears_up_it_takes_no_half_of_a_stage_for_a_whole() {
    let (dir, expected, _) = expected();
    for round in 0..3 {
        interrupted_in_evaluation(&dir);
        // A stage that takes long to remove.
        for number in 0..4000 {
            dir.write(&format!("out.partial/stages/1-quantize.old/{number}"), b"");
            dir.write(&format!("out.partial/stages/0-prune/more/{number}"), b"");
        }
        let mut child = dir.command("run -q").spawn().unwrap();
        let patience = Instant::now();
        let stages = dir.path("out.partial/stages");
        let begun = || {
            let left = |folder: &str| fs::read_dir(stages.join(folder)).map_or(0, Iterator::count);
            left("0-prune/more") < 4000 || left("1-quantize") < expected.len() - 2
        };
        while !begun() && patience.elapsed() < Duration::from_secs(120) {}
        let _ = child.kill();
        child.wait().unwrap();
        if dir.path("out").exists() {
            assert!(dir.tree("out") == expected, "the bytes differ in round {round}");
        } else {
            check_goes_on(&dir, &expected, "a kill while stages were removed");
        }
        dir.remove("out");
    }
}

#[test]
fn where_a_file_gets_no_room_it_says_so_and_goes_on_later() {
    let (dir, expected, _) = expected();
    for blocks in [0, 1, 8, 64, 512, 1024] {
        let command = dir.command("run -q");
        let mut limited = Command::new("sh");
        limited
            .args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\"", &blocks.to_string()])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(dir.path(""));
        let ran = limited.output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(4), "{blocks}: {told}");
        assert!(told.contains("out.partial"), "{blocks}: {told}");
        assert!(!dir.path("out").exists());
    }
    check_goes_on(&dir, &expected, "limits on files");
}

#[test]
fn a_source_that_is_cut_meanwhile_is_named() {
    let (dir, expected, _) = expected();
    let model = dir.path("tiny-llama/model.safetensors");
    let whole = fs::read(&model).unwrap();
    let mut child = dir.command("run --json").spawn().unwrap();
    progress(&mut child, |event| {
        event["event"] == "stage-started" && event["stage"] == "calibrate"
    });
    shorten(&model, 4096);
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    let code = child.wait().unwrap().code();
    assert!([Some(3), Some(4)].contains(&code), "{code:?}\n{told}");
    assert!(told.contains("tiny-llama/model.safetensors"), "{told}");
    // Cut, it is no model any more; as it was, it is.
    assert_eq!(dir.run("run -q").code, Some(3));
    fs::write(&model, &whole).unwrap();
    check_goes_on(&dir, &expected, "a source that was cut");
}
