//! Evaluating artifacts of the trained checkpoint: numbers, gates, reports, refusals.

use crate::dir::Dir;
use serde_json::Value;

/// The trained checkpoint, a text, and its 4-bit artifact.
fn with_artifact() -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/evaluation.txt"));
    dir.done("quantize tiny-llama --bits 4 --group-size 32 -q -o int4");
    dir
}

fn evaluated(dir: &Dir, args: &str) -> Value {
    let ran = dir.done(&format!("eval {args} --json -q"));
    assert_eq!(ran.stderr, "");
    serde_json::from_str(&ran.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Codes on inputs of sixteen bits are the dense twin in f32 to far below what was lost; on inputs of eight bits
/// they are not, and the report says so.
#[test]
fn codes_compute_what_they_stand_for_and_what_eight_bits_cost_is_told() {
    let dir = with_artifact();
    dir.done(
        "quantize tiny-llama --bits 4 --group-size 32 --format dense --dense-dtype f32 -q -o twin",
    );
    let of = |more: &str| {
        let found =
            evaluated(&dir, &format!("int4 --against twin --text text.txt --window 128 {more}"));
        let kld = number(&found["comparison"]["kld"]["mean"]["value"]);
        (kld, found["protocol"]["activations"].clone())
    };
    let (kld, told) = of("");
    assert!((0.0..1e-7).contains(&kld), "{kld}");
    assert_eq!(told, Value::Null);
    let (kld, told) = of("--activations int8");
    assert!((1e-6..1e-2).contains(&kld), "{kld}");
    assert_eq!(told, "int8");
    let ran = dir.run("eval tiny-llama --text text.txt --activations int8");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("no weight is integer codes"), "{}", ran.stderr);
}

#[test]
fn four_bits_lose_something_and_nothing_loses_nothing() {
    let dir = with_artifact();
    let found = evaluated(&dir, "int4 --against tiny-llama --text text.txt --window 128");
    let lost = &found["comparison"];
    let kld = number(&lost["kld"]["mean"]["value"]);
    assert!((1e-4..0.2).contains(&kld), "{kld}");
    assert!(
        number(&lost["kld"]["mean"]["low"]) < kld && kld < number(&lost["kld"]["mean"]["high"])
    );
    assert!((0.8..1.0).contains(&number(&lost["top1"]["value"])), "{lost}");
    let ratio =
        number(&lost["perplexity"]["value"]) / number(&lost["reference_perplexity"]["value"]);
    assert!((ratio - number(&lost["perplexity_ratio"]["value"])).abs() < 1e-9);
    assert_eq!(found["blocks"].as_array().unwrap().len(), 4);
    assert_eq!(found["tensors"].as_array().unwrap().len(), 28);

    let same = evaluated(&dir, "tiny-llama --against tiny-llama --text text.txt --window 128");
    let same = &same["comparison"];
    assert_eq!(same["reference_perplexity"], lost["reference_perplexity"]);
    assert_eq!((number(&same["kld"]["max"]), number(&same["top1"]["value"])), (0.0, 1.0));
    let alone = evaluated(&dir, "int4 --text text.txt --window 128");
    assert_eq!(alone["perplexity"], lost["perplexity"]);
    assert_eq!(alone["comparison"], Value::Null);
}

#[test]
fn threads_and_budgets_do_not_show_in_the_numbers() {
    let dir = with_artifact();
    let args = "int4 --against tiny-llama --text text.txt --window 64 --samples 40";
    let expected = evaluated(&dir, &format!("{args} --threads 1"));
    for resources in ["--threads 2", "--threads 4", "--threads 2 --memory 96MiB"] {
        assert_eq!(evaluated(&dir, &format!("{args} {resources}")), expected, "{resources}");
    }
}

#[test]
fn a_missed_gate_is_exit_code_one_and_a_line() {
    let dir = with_artifact();
    let args = "eval int4 --against tiny-llama --text text.txt --window 128 --samples 8 -q";
    dir.done(&format!("{args} --gate kld<=1 --gate top1>=50% --gate size<=1GB --gate bpw<16"));
    let ran = dir.run(&format!("{args} --gate kld<=1 --gate size<=1kB --gate ppl_ratio<=0.5"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stderr);
    assert!(lines[0].starts_with("missed `size <= 1kB`: size is "), "{}", lines[0]);
    assert!(lines[1].starts_with("missed `ppl_ratio <= 0.5`: ppl_ratio is 1."), "{}", lines[1]);
    let table = dir.run(&args.replace(" -q", " --gate size<=1kB")).stdout;
    assert!(table.contains("MISSED, too much by "), "{table}");
}

#[test]
fn reports_of_every_kind_come_from_one_run() {
    let dir = with_artifact();
    let reports = "--report r.json --report r.md --report r.html --report r.xml";
    let args = format!("int4 --against tiny-llama --text text.txt --samples 8 {reports}");
    let printed = evaluated(&dir, &args);
    assert_eq!(dir.json("r.json"), printed);
    let text = |name: &str| String::from_utf8(dir.read(name)).unwrap();
    assert!(text("r.md").starts_with("### `int4` against `tiny-llama`\n"), "{}", text("r.md"));
    assert!(text("r.html").starts_with("<!DOCTYPE html>"));
    let here = dir.path("").display().to_string();
    assert!(text("r.xml").contains("<testsuite name=\"int4 against tiny-llama\" tests=\"1\""));
    for name in ["r.json", "r.md", "r.html", "r.xml"] {
        assert!(!text(name).contains(here.trim_end_matches('/')), "{name} holds an absolute path");
    }
}

#[test]
fn questions_are_answered_beside_the_reference() {
    let dir = with_artifact();
    let question = |text: &str| {
        format!(r#"{{"question":"{text}","choices":["yes","a longer answer"],"answer":0}}"#) + "\n"
    };
    let lines: String = ["Once upon", "The dog", "A cat sat", "They went"].map(question).concat();
    dir.write("tasks.jsonl", lines.as_bytes());
    let found = evaluated(&dir, "int4 --against tiny-llama --tasks tasks.jsonl");
    assert_eq!(found["protocol"]["tasks"]["questions"], 4);
    for metric in ["flips", "changed"] {
        assert!((0.0..=1.0).contains(&number(&found["choices"][metric]["value"])), "{metric}");
    }
    let alone = evaluated(&dir, "tiny-llama --tasks tasks.jsonl --gate accuracy>=0");
    assert_eq!(alone["accuracy"], found["choices"]["reference"]);

    dir.write("bad.jsonl", (lines + "{\"question\":\"x\",\"answer\":0}\n").as_bytes());
    let ran = dir.run("eval int4 --tasks bad.jsonl");
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("line 5") && ran.stderr.contains("choices"), "{}", ran.stderr);
}

#[test]
fn a_dry_run_says_what_would_be_measured() {
    let dir = with_artifact();
    let args = "eval int4 --against tiny-llama --text text.txt --window 64 --samples 10 --dry-run";
    let told = dir.done(args).stdout;
    assert!(told.contains("text      `text.txt`, 10 windows of 64 tokens\n"), "{told}");
    assert!(told.contains("tokens    640 in 10 sequences\n"), "{told}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let dir = with_artifact();
    let check = |args: &str, message: &str, hint: &str| {
        dir.refused(&format!("eval {args}"), 2, &format!("error: {message}\n\nhint: {hint}\n"));
    };
    check("int4", "there is nothing to measure on", "`--text` gives a text, `--tasks` questions");
    check(
        "int4 --text text.txt --gate kld<=1",
        "the gate `kld <= 1` is on `kld`, which this run does not compute",
        "`--against` would",
    );
    check(
        "int4 --text text.txt --gate flips<=1",
        "the gate `flips <= 1` is on `flips`, which this run does not compute",
        "`--tasks` and `--against` would",
    );
    check(
        "int4 --text text.txt --report r.pdf",
        "`--report r.pdf` ends in no kind of report",
        "reports end in `.json`, `.md`, `.html` or `.xml` (JUnit)",
    );
    check(
        "int4 --text text.txt --report none/r.md",
        "`--report none/r.md`: there is no folder `none`",
        "make the folder first",
    );
    let usage = "\n\nFor more information, try '--help'.\n";
    dir.refused(
        "eval int4 --text text.txt --gate kl<=1",
        2,
        &format!(
            "error: invalid value 'kl<=1' for '--gate <GATE>': there is no metric `kl` in gate \
             `kl<=1`: expected one of ppl, ppl_ratio, kld, kld_p99, top1, flips, accuracy, size, \
             bpw{usage}"
        ),
    );
}

#[test]
fn a_text_that_is_too_short_is_refused_with_both_numbers() {
    let dir = with_artifact();
    dir.write("short.txt", b"Once upon a time");
    let ran = dir.run("eval int4 --text short.txt --window 64");
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("64") && ran.stderr.contains("tokens"), "{}", ran.stderr);
}
