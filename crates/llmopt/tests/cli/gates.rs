//! Gates that know their intervals and baselines, texts with names, and what CI jobs are shown.

use crate::dir::{Dir, Ran};
use serde_json::Value;

/// The trained checkpoint, two texts, questions, and its 4-bit artifact.
fn with_artifact() -> Dir {
    let dir = Dir::with_tiny_llama();
    let text = dir.read("tiny-llama/evaluation.txt");
    dir.write("a.txt", &text[..text.len() / 2]);
    dir.write("b.txt", &text[text.len() / 2..]);
    let question = |text: &str| {
        format!(r#"{{"question":"{text}","choices":["yes","a longer answer"],"answer":0}}"#) + "\n"
    };
    dir.write("t.jsonl", ["Once upon", "The dog", "A cat"].map(question).concat().as_bytes());
    dir.done("quantize tiny-llama --bits 4 --group-size 32 -q -o int4");
    dir
}

fn evaluated(dir: &Dir, args: &str) -> Value {
    let ran = dir.run(&format!("eval int4 --against tiny-llama --window 32 --json -q {args}"));
    assert!([Some(0), Some(1)].contains(&ran.code), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A limit in the middle of the interval: most likely so many windows leave it open, and more do, too.
fn open_limit(dir: &Dir, args: &str, metric: &str) -> f64 {
    number(&evaluated(dir, args).pointer(metric).unwrap()["value"])
}

#[test]
fn more_windows_give_the_numbers_of_a_run_that_took_them_at_once() {
    let dir = with_artifact();
    // Neither are the first windows of a text a batch, nor do both texts have as many.
    dir.write("b.txt", &dir.read("b.txt")[..900]);
    let on = "--text a=a.txt --text b=b.txt --tasks t.jsonl --samples";
    // Beyond the first batch, too, over which blocks run alone.
    for (samples, most) in [(4, 40), (70, 200)] {
        let of_a = "/texts/0/comparison/kld/mean";
        let limit = open_limit(&dir, &format!("{on} {samples}"), of_a);
        let gates = format!("--gate a.kld<={limit} --gate kld<=9 --gate accuracy>=0.5");
        let args = format!("{on} {samples} --max-samples {most} {gates}");
        let mut more = evaluated(&dir, &args);
        let windows = |text: usize| number(&more["texts"][text]["protocol"]["windows"]["windows"]);
        let taken = windows(0) as usize;
        assert!(samples < taken && taken <= most && windows(1) < 40.0, "{taken}");
        let note = more["notes"].as_array().unwrap().last().unwrap().as_str().unwrap();
        assert!(note.starts_with(&format!("`a.kld <= {limit}` was unsure on ")), "{note}");
        let mut at_once = evaluated(&dir, &format!("{on} {taken} {gates}"));
        for evaluation in [&mut more, &mut at_once] {
            evaluation["notes"] = Value::Null;
        }
        assert_eq!(more, at_once, "{samples}");
    }
    // The bound that is said to do does for all that may be taken.
    let args = format!(
        "eval int4 --against tiny-llama --window 32 {on} 4 --max-samples 200 --gate a.kld<=1e-9 -q"
    );
    let refused = dir.run(&format!("{args} --memory 1MB --json")).stderr;
    let hint = serde_json::from_str::<Value>(&refused).unwrap()["hint"].to_string();
    let enough: String = hint.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(dir.run(&format!("{args} --memory {enough}")).code, Some(1), "{hint}");
    // Nothing is open: no more are taken.
    let sure = evaluated(&dir, &format!("{on} 4 --max-samples 40 --gate kld<=9"));
    assert_eq!(sure["texts"][0]["protocol"]["windows"]["windows"], 4);
}

#[test]
fn an_unsure_gate_counts_as_was_asked_and_says_so() {
    let dir = with_artifact();
    let on = "--text a.txt --samples 6";
    let limit = open_limit(&dir, on, "/comparison/kld/mean");
    let gate = format!("{on} --gate kld<={limit}");
    let outcome = evaluated(&dir, &gate)["gates"][0].clone();
    assert_eq!((&outcome["verdict"], &outcome["passed"]), (&"unsure".into(), &false.into()));
    assert!(number(&outcome["interval"][0]) < limit && limit < number(&outcome["interval"][1]));
    assert_eq!(number(&outcome["limit"]), limit);
    let run = |args: &str| dir.run(&format!("eval int4 --against tiny-llama --window 32 {args}"));
    let missed = run(&format!("{gate} -q"));
    assert_eq!((missed.code, missed.stdout.as_str()), (Some(1), ""));
    assert!(missed.stderr.starts_with(&format!("missed `kld <= {limit}`: kld is ")));
    assert!(missed.stderr.contains(" (95 % interval "), "{}", missed.stderr);
    assert!(missed.stderr.ends_with("; unsure, counted as failed\n"), "{}", missed.stderr);
    let passed = run(&format!("{gate} --on-unsure pass"));
    assert_eq!(passed.code, Some(0), "{}", passed.stderr);
    assert!(passed.stdout.contains("unsure, counted as passed\n"), "{}", passed.stdout);
}

#[test]
fn gates_are_held_against_a_stored_evaluation() {
    let dir = with_artifact();
    let on = "--text a.txt --samples 8 --tasks t.jsonl";
    let stored = evaluated(&dir, &format!("{on} --report stored.json"));
    dir.write("folder/evaluation.json", &dir.read("stored.json"));
    let gates = "--gate kld<=3*baseline --gate kld<=baseline-0.0001 --gate size<=baseline \
                 --gate flips<=baseline+50%";
    for baseline in ["stored.json", "folder"] {
        let found = evaluated(&dir, &format!("{on} --baseline {baseline} {gates}"));
        let kld = number(&stored["comparison"]["kld"]["mean"]["value"]);
        let gate = |number: usize| &found["gates"][number];
        assert_eq!(number(&gate(0)["limit"]), 3.0 * kld);
        assert_eq!(
            (gate(0)["verdict"].as_str(), number(&gate(0)["baseline"])),
            (Some("pass"), kld)
        );
        assert_eq!(number(&gate(1)["limit"]), kld - 0.0001);
        assert_eq!(
            (gate(1)["passed"].as_bool(), gate(2)["passed"].as_bool()),
            (Some(false), Some(true))
        );
        assert_eq!(gate(0)["gate"], "kld <= 3 * baseline");
    }
    // Every metric is found where reports have it.
    let names = "ppl ppl_ratio kld kld_p99 top1 flips accuracy size bpw";
    let gates: String = names.split(' ').map(|name| format!(" --gate {name}<=baseline")).collect();
    let same = evaluated(&dir, &format!("{on} --baseline stored.json{gates}"));
    for gate in same["gates"].as_array().unwrap() {
        assert_eq!(number(&gate["limit"]), number(&gate["value"]), "{gate}");
    }
    let run = |args: &str| dir.run(&format!("eval int4 --against tiny-llama --window 32 {args}"));
    let check = |args: &str, code: i32, expected: &str| {
        let Ran { code: found, stdout, stderr } = run(args);
        assert_eq!((found, stdout.as_str()), (Some(code), ""), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    };
    let kld = "--baseline stored.json --gate kld<=baseline";
    check(
        "--text a.txt --samples 8 --gate kld<=baseline",
        2,
        "is relative to a baseline, and there is none",
    );
    check(
        &format!("--text a.txt --samples 9 {kld}"),
        2,
        "means nothing: windows of the text: 8, now 9\n",
    );
    check(&format!("--text b.txt --samples 8 {kld}"), 2, "sha256 of the text: ");
    check(&format!("--text a.txt --samples 8 --dtype bf16 {kld}"), 2, "dtype: f32, now bf16");
    check(
        &format!("--text x=a.txt --samples 8 {} --gate x.kld<=baseline", &kld[..22]),
        2,
        "has no `x.kld`",
    );
    check("--text a.txt --baseline a.txt --gate kld<=baseline", 3, "`a.txt` is no evaluation");
    // It may have taken as many windows as this run may take.
    let more = "--text a.txt --samples 4 --max-samples 8";
    assert!(
        run(&format!("{more} -q --baseline stored.json --gate kld<=9*baseline")).code == Some(0)
    );
}

#[test]
fn a_relative_gate_is_decided_on_the_windows_of_its_baseline() {
    let dir = with_artifact();
    let on = |samples: usize| format!("--text a.txt --samples {samples}");
    let open = open_limit(&dir, &on(4), "/comparison/kld/mean");
    for (stored, taken) in [(4, 4), (8, 8)] {
        evaluated(&dir, &format!("{} --report {stored}.json", on(stored)));
        let more = format!("{} --max-samples 16 --baseline {stored}.json", on(4));
        // An open gate of its own has more windows taken; the relative one stays where its baseline is.
        let gates = format!("--gate kld<=1.01*baseline --gate kld<={open}");
        let found = evaluated(&dir, &format!("{more} {gates}"));
        let stored = dir.json(&format!("{stored}.json"));
        let (gate, kld) = (&found["gates"][0], &stored["comparison"]["kld"]["mean"]["value"]);
        assert_eq!((&gate["value"], &gate["baseline"]), (kld, kld));
        assert!(number(&found["protocol"]["text"]["windows"]["windows"]) > f64::from(taken));
        // Alone it takes just those.
        let found = evaluated(&dir, &format!("{more} --gate kld<=1.01*baseline"));
        assert_eq!(number(&found["protocol"]["text"]["windows"]["windows"]), f64::from(taken));
    }
}

#[test]
fn texts_and_tasks_have_names_and_figures_of_their_own() {
    let dir = with_artifact();
    let on = "--text a=a.txt --text b=b.txt --tasks t=t.jsonl --tasks u=t.jsonl --samples 6";
    let gates = "--gate b.kld<=9 --gate a.ppl<=1 --gate u.accuracy>=0 --gate kld<=9";
    let found = evaluated(&dir, &format!("{on} {gates}"));
    let alone = evaluated(&dir, "--text b.txt --tasks t.jsonl --samples 6");
    assert_eq!(found["texts"][1]["comparison"], alone["comparison"]);
    assert_eq!(found["texts"][1]["protocol"], alone["protocol"]["text"]);
    assert_eq!(found["tasks"][0]["choices"], alone["choices"]);
    assert_eq!(found["protocol"]["text"], Value::Null);
    let kld = |of: &Value| number(&of["comparison"]["kld"]["mean"]["value"]);
    let mean = (kld(&found["texts"][0]) + kld(&found["texts"][1])) / 2.0;
    assert!((kld(&found) / mean - 1.0).abs() < 1e-9, "texts of as many windows");
    assert_eq!(alone.get("texts"), None);
    let passed: Vec<bool> =
        found["gates"].as_array().unwrap().iter().map(|gate| gate["passed"] == true).collect();
    assert_eq!(passed, [true, false, true, true]);
    assert_eq!(found["gates"][0]["value"], found["texts"][1]["comparison"]["kld"]["mean"]["value"]);
    let run = |args: &str| dir.run(&format!("eval int4 --against tiny-llama --window 32 {args}"));
    let table = run(on).stdout;
    assert!(
        table.contains("\ntext  windows  perplexity  perplexity ratio  KL divergence, mean  "),
        "{table}"
    );
    assert!(table.contains("\ntasks  questions  accuracy  "), "{table}");
    let plan = run(&format!("{on} --max-samples 12 --gate kld<=1 --dry-run")).stdout;
    assert!(plan.contains("b: `b.txt`, 6 windows of 32 tokens\n"), "{plan}");
    assert!(
        plan.contains("while a gate is, up to 24 windows of text are taken in all\n"),
        "{plan}"
    );
    let check = |args: &str, message: &str, hint: &str| {
        let command = format!("eval int4 --against tiny-llama {args}");
        dir.refused(&command, 2, &format!("error: {message}\n\nhint: {hint}\n"));
    };
    check(
        "--text a.txt --text b=b.txt",
        "`a.txt` has no name, and there are several of its kind",
        "give it one: `--text NAME=a.txt`",
    );
    check(
        "--text a=a.txt --tasks a=t.jsonl",
        "there are two files of the name `a`",
        "each text and each file of questions has a name of its own",
    );
    check(
        "--text a=a.txt --gate c.kld<=1",
        "the gate `c.kld <= 1` is on `c`, and no `--text` has that name",
        "`--text` has a",
    );
    check(
        "--text a.txt --samples 8 --max-samples 4 --gate kld<=1",
        "`--max-samples 4` is less than `--samples 8`",
        "a run begins with `--samples`, and takes up to `--max-samples` while a gate is unsure",
    );
}

#[test]
fn a_job_is_shown_what_was_missed() {
    let dir = with_artifact();
    let args = "eval int4 --against tiny-llama --text a.txt --window 32 --samples 6 --json -q \
                --gate size<=1kB --gate kld<=9 --report r.xml";
    let run = |args: &str, summary: &str| {
        let mut command = dir.command(args);
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", summary);
        Ran::from(command.output().unwrap())
    };
    dir.write("summary.md", b"# Before\n");
    let ran = run(args, "summary.md");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    serde_json::from_str::<Value>(&ran.stdout).expect("nothing but the evaluation");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(
        lines[0].starts_with("::error title=llmopt%3A size <= 1kB::size is "),
        "{}",
        ran.stderr
    );
    assert!(lines.len() == 2 && lines[1].contains("gate-missed"), "{}", ran.stderr);
    let summary = String::from_utf8(dir.read("summary.md")).unwrap();
    assert!(
        summary.starts_with("# Before\n### `int4` against `tiny-llama`\n\n**1 of 2 gates missed**")
    );
    let xml = String::from_utf8(dir.read("r.xml")).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\""), "{xml}");
    dir.remove("r.xml");
    let ran = run(args, "none/summary.md");
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("`none/summary.md` cannot be written"), "{}", ran.stderr);
    assert_eq!(String::from_utf8(dir.read("r.xml")).unwrap(), xml);
    // Without a job there are neither annotations nor a summary.
    assert!(!dir.run(args).stderr.contains("::"));
}
