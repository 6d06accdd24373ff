//! Ladders: several sizes from one set of statistics, judged in one sweep, and the artifacts that stay.

use crate::dir::Dir;
use serde_json::Value;
use std::fs;

/// The trained model, what it is observed on, and what it is judged on.
fn dir() -> Dir {
    let dir = Dir::with_tiny_llama();
    for (from, to) in [("calibration.txt", "fit.txt"), ("evaluation.txt", "judge.txt")] {
        fs::rename(dir.path("tiny-llama").join(from), dir.path(to)).unwrap();
    }
    dir
}

fn report(dir: &Dir, args: &str) -> Value {
    serde_json::from_str(&dir.done(&format!("{args} --json")).stdout).unwrap()
}

fn klds(report: &Value) -> Vec<(u64, f64)> {
    let rungs = report["rungs"].as_array().unwrap().iter();
    rungs
        .map(|rung| (rung["bits"].as_u64().unwrap(), rung["kld"]["value"].as_f64().unwrap()))
        .collect()
}

const FITTED: &str = "ladder tiny-llama --calibrate fit.txt --samples 24 --window 64";

#[test]
fn rungs_are_judged_as_eval_would_and_smaller_ones_lose_more() {
    let dir = dir();
    let before = dir.names();
    let report = report(&dir, &format!("{FITTED} --bits 3,8,4 --text judge.txt --keep 4,3 -o out"));
    let found = klds(&report);
    assert_eq!(found.iter().map(|rung| rung.0).collect::<Vec<_>>(), [8, 4, 3]);
    assert!(found.is_sorted_by(|a, b| a.1 < b.1), "{found:?}");
    assert_eq!(report["judged_on"]["windows"], 24);
    assert_eq!(report["calibration"]["windows"], 24);
    // What stays is complete and sound, and nothing else is left.
    assert_eq!(before, ["fit.txt", "judge.txt", "tiny-llama"]);
    assert_eq!(dir.names(), ["fit.txt", "judge.txt", "out", "tiny-llama"]);
    let kept: Vec<_> =
        fs::read_dir(dir.path("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    for (rung, name) in [(1, "tiny-llama-w4a16"), (2, "tiny-llama-w3a16")] {
        dir.done(&format!("verify out/{name} --against tiny-llama -q"));
        let eval = format!(
            "eval out/{name} --against tiny-llama --text judge.txt --samples 24 --window 64 --json"
        );
        let evaluated: Value = serde_json::from_str(&dir.done(&eval).stdout).unwrap();
        let rung = &report["rungs"][rung];
        assert_eq!(evaluated["comparison"]["kld"]["mean"], rung["kld"], "{name}");
        assert_eq!(evaluated["comparison"]["top1"], rung["top1"], "{name}");
        assert_eq!(evaluated["artifact"]["bytes"], rung["bytes"], "{name}");
        assert_eq!(evaluated["artifact"]["bits_per_weight"], rung["bits_per_weight"], "{name}");
    }
}

#[test]
fn a_rung_that_stays_is_what_quantize_makes_of_the_statistics() {
    let dir = dir();
    dir.done(&format!("{FITTED} --bits 8,4 --group-size 64 --text judge.txt --keep 4 -o a -q"));
    dir.done("calibrate tiny-llama --data fit.txt --samples 24 --window 64 --gram -o statistics.safetensors -q");
    let quantize = "quantize tiny-llama --calibrate statistics.safetensors --group-size 64 --bits";
    dir.done(&format!("{quantize} 4 -o b/tiny-llama-w4a16 -q"));
    let relative = |tree: &str| {
        let files = dir.tree(tree).into_iter();
        files.map(|(name, bytes)| (name[tree.len()..].to_owned(), bytes)).collect::<Vec<_>>()
    };
    // Record and all.
    assert!(relative("a") == relative("b"));
    // From statistics that are there, the same, on any number of threads.
    dir.done(
        "ladder tiny-llama --calibrate statistics.safetensors --group-size 64 --bits 4 --window 64 --samples 8 \
         --text judge.txt --keep 4 -o c -q --threads 1",
    );
    assert!(relative("c") == relative("b"));
    // Weights alone.
    dir.done("ladder tiny-llama --bits 5 --window 64 --samples 8 --keep 5 --text judge.txt -q");
    dir.done("quantize tiny-llama --bits 5 -o d/tiny-llama-w5a16 -q");
    assert!(
        dir.tree("tiny-llama-w5a16")["tiny-llama-w5a16/model.safetensors"]
            == dir.read("d/tiny-llama-w5a16/model.safetensors")
    );
}

#[test]
fn without_a_text_windows_that_nothing_was_fitted_to_judge() {
    let dir = dir();
    let bits = "--bits 4 --window 64";
    let held_out =
        report(&dir, &format!("ladder tiny-llama --calibrate fit.txt --samples 21 {bits}"));
    let judged_on = &held_out["judged_on"];
    assert_eq!((&judged_on["held_out"], &judged_on["windows"]), (&true.into(), &3.into()));
    assert_eq!(
        (&judged_on["name"], &held_out["calibration"]["windows"]),
        (&"fit.txt".into(), &21.into())
    );
    // Data that have no more windows give some of those.
    let short =
        report(&dir, &format!("ladder tiny-llama --calibrate fit.txt --samples 9999 {bits}"));
    let (judges, fitted) = (&short["judged_on"]["windows"], &short["calibration"]["windows"]);
    let (judges, fitted) = (judges.as_u64().unwrap(), fitted.as_u64().unwrap());
    assert!(judges > 0 && (judges + fitted) / judges == 8, "{judges} {fitted}");
    let builtin = report(&dir, &format!("ladder tiny-llama --samples 14 {bits}"));
    let judged_on = &builtin["judged_on"];
    assert_eq!((&judged_on["name"], &judged_on["windows"]), (&"builtin".into(), &2.into()));
    assert_eq!(builtin.get("calibration"), None);
}

#[test]
fn a_plan_tells_rungs_bytes_and_disk_and_writes_nothing() {
    let dir = dir();
    let before = dir.names();
    let args = format!("{FITTED} --bits 8,4 --keep 4 -o out --dry-run");
    let plan: Value = serde_json::from_str(&dir.done(&format!("{args} --json")).stdout).unwrap();
    let text = dir.done(&args).stdout;
    assert_eq!(dir.names(), before);
    let all: u64 =
        plan["rungs"].as_array().unwrap().iter().map(|r| r["all_bytes"].as_u64().unwrap()).sum();
    let statistics = plan["statistics_bytes"].as_u64().unwrap();
    assert_eq!(plan["disk"]["needed"].as_u64().unwrap(), all + statistics);
    assert!(text.contains("keep     tiny-llama-w4a16 in `out`\n"), "{text}");
    // Predicted bytes are the real ones.
    dir.done(&format!("{FITTED} --bits 8,4 --keep 4 -o out -q"));
    let real = fs::metadata(dir.path("out/tiny-llama-w4a16/model.safetensors")).unwrap().len();
    assert_eq!(plan["rungs"][1]["bytes"].as_u64(), Some(real));
}

#[test]
fn an_interrupted_ladder_leaves_nothing() {
    let dir = dir();
    let before = dir.names();
    let args = "ladder tiny-llama --calibrate fit.txt --samples 200 --window 64 --text judge.txt --bits 8,4 --keep 4 --json";
    for stage in ["observe", "calibrate", "judge"] {
        dir.interrupted_at(args, |event| {
            event["event"] == "stage-started" && event["stage"] == stage
        });
        assert_eq!(dir.names(), before, "{stage}");
    }
}

#[test]
fn reports_are_written_in_every_form() {
    let dir = dir();
    let args = format!(
        "{FITTED} --bits 8,4 --text judge.txt --report a.json --report a.md --report a.html"
    );
    let text = dir.done(&args).stdout;
    assert!(text.contains("\nbits  group size  "), "{text}");
    assert!(text.contains("KL divergence and its interval, logarithmic"), "{text}");
    assert_eq!(dir.json("a.json")["rungs"].as_array().unwrap().len(), 2);
    let read = |name: &str| String::from_utf8(dir.read(name)).unwrap();
    assert!(read("a.md").starts_with("### Sizes of `tiny-llama`\n\n| bits |"), "{}", read("a.md"));
    assert!(read("a.html").contains("<svg "));
}

#[test]
fn what_a_ladder_cannot_do_is_refused() {
    let dir = dir();
    let before = dir.names();
    let check = |args: &str, message: &str, hint: &str| {
        dir.refused(
            &format!("ladder tiny-llama {args}"),
            2,
            &format!("error: {message}\n\nhint: {hint}\n"),
        );
    };
    check("--bits 8,4 --keep 5", "`--keep 5` names no rung of the ladder", "add 5 to `--bits`");
    check(
        "--bits 4 --report gates.xml",
        "`--report gates.xml` ends in no kind of report of a ladder",
        "they end in `.json`, `.md` or `.html`",
    );
    check("--bits 9", "there is no `--bits 9`", "`--bits` takes 8, 7, 6, 5, 4, 3 or 2");
    check(
        "--calibrate fit.txt --seed 3",
        "`--seed` would do nothing here: it decides what is drawn from the model, and all data are texts",
        "leave it out, or let `self` be one of the sources",
    );
    dir.write("tiny-llama-w4a16/config.json", b"{}");
    let ran = dir.run("ladder tiny-llama --bits 4 --keep 4");
    assert_eq!(
        (ran.code, &*ran.stderr),
        (
            Some(2),
            "error: `tiny-llama-w4a16` exists already\n\nhint: `--force` replaces it once the new one is complete; `-o` writes elsewhere\n"
        )
    );
    dir.remove("tiny-llama-w4a16");
    assert_eq!(dir.run("ladder tiny-llama --bits 4 -o out").code, Some(2));
    let ran = dir.run(&format!("{FITTED} --bits 4 --memory 1MiB"));
    assert!(ran.code == Some(2) && ran.stderr.contains("hint: `--memory "), "{}", ran.stderr);
    assert_eq!(dir.names(), before);
}
