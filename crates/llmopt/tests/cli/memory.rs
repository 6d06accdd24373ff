//! The budget is kept: what the system says that the process held, against what was promised.

use crate::dir::Dir;
use crate::synthetic;
use serde_json::Value;
use std::fs;
use std::process::Child;
use std::time::Duration;

#[test]
fn the_resident_peak_stays_below_the_prediction_and_the_budget() {
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 12, 2500);
    let check = |recipe: &str| {
        let args =
            format!("quantize model.safetensors {recipe} --threads 2 --memory 64MiB --force");
        let plan = dir.done(&format!("{args} --dry-run --json")).stdout;
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        let predicted = plan["memory"]["predicted_peak"].as_u64().unwrap();
        let mut child = dir.command(&format!("{args} -q -o out.safetensors")).spawn().unwrap();
        let peak = resident_peak(&mut child);
        assert!(child.wait().unwrap().success());
        assert!(predicted <= 64 << 20, "{recipe}: predicted {predicted}");
        assert!(peak <= predicted, "{recipe}: {peak} bytes were resident, predicted {predicted}");
    };
    check("--bits 8 --method rtn");
    check("--bits 4 --group-size 50 --runtime transformers");
    check("--scheme fp8");
}

#[test]
fn the_choice_between_artifacts_keeps_to_a_budget_that_just_suffices() {
    let dir = Dir::with_tiny_llama();
    let args = "quantize tiny-llama --bits 4 --runtime transformers --threads 2 -o out --calibrate self \
                --window 1024 --samples 16 --include model.layers.0.self_attn.q_proj.weight";
    let plan = dir.done(&format!("{args} --dry-run --json")).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let smallest = plan["memory"]["smallest"].as_u64().unwrap();
    assert_eq!(plan["decision"]["memory"]["smallest"], smallest, "{plan}");
    let ran = || {
        let mut child =
            dir.command(&format!("{args} -q --force --memory {smallest}")).spawn().unwrap();
        let peak = resident_peak(&mut child);
        assert!(child.wait().unwrap().success());
        peak
    };
    // A machine with other work maps more of the program itself, which is large with debug information.
    let peak = (0..3).map(|_| ran()).min().unwrap();
    assert!(peak <= smallest, "{peak} bytes were resident, and {smallest} the bound");
}

#[test]
fn a_calibrated_run_keeps_to_its_prediction_in_memory_and_spilled() {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    let check = |method: &str, memory: Option<u64>| {
        let args = format!(
            "quantize tiny-llama --bits 4 --threads 2 --force -o out --calibrate text.txt --window \
             512 --samples 32 --method {method}"
        );
        let planned = |args: &str| -> Value {
            let plan = dir.done(&format!("{args} --dry-run --json")).stdout;
            serde_json::from_str(&plan).unwrap()
        };
        let smallest = |plan: &Value| plan["memory"]["smallest"].as_u64().unwrap();
        let roomy = memory.is_some();
        let memory = memory.unwrap_or_else(|| smallest(&planned(&args)));
        let args = format!("{args} --memory {memory}");
        let plan = planned(&args);
        let predicted = plan["memory"]["predicted_peak"].as_u64().unwrap();
        let planned = &plan["calibration"]["memory"];
        assert!(predicted <= memory, "{method}: {planned}");
        let mut command = dir.command(&format!("{args} -q"));
        if roomy {
            // Far from its bound a run lets glibc keep what was freed, which no plan counts.
            command.env("MALLOC_MMAP_THRESHOLD_", "131072");
        }
        let mut child = command.spawn().unwrap();
        let peak = resident_peak(&mut child);
        assert!(child.wait().unwrap().success());
        assert!(peak <= predicted, "{method}: {peak} bytes were resident, predicted {planned}");
        planned["spills"].as_bool().unwrap()
    };
    for method in ["gptq", "qep+cd", "qep+cd --whole-block", "auto"] {
        assert!(!check(method, Some(1 << 30)), "{method}");
        assert!(check(method, None), "{method}");
    }
}

#[test]
fn a_ladder_keeps_to_the_smallest_budget_that_it_takes() {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    let check = |args: &str| {
        let args = format!(
            "ladder tiny-llama --bits 8,5,4,3 --window 256 --samples 24 --threads 2 {args}"
        );
        let refused = dir.run(&format!("{args} --memory 1MiB")).stderr;
        let works = refused.split_once("`--memory ").unwrap().1.split_once('`').unwrap().0;
        let mut command = dir.command(&format!("{args} -q --memory {works}"));
        let mut child = command.env("MALLOC_MMAP_THRESHOLD_", "131072").spawn().unwrap();
        let peak = resident_peak(&mut child);
        assert!(child.wait().unwrap().success(), "{args}");
        assert!(
            peak <= works.parse().unwrap(),
            "{args}: {peak} bytes were resident, {works} the bound"
        );
    };
    check("--calibrate text.txt --text tiny-llama/evaluation.txt");
    check("--text tiny-llama/evaluation.txt");
}

#[test]
fn answers_keep_to_the_smallest_budget_that_they_take() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 4 --method rtn -o w4 -q --runtime transformers");
    let request = |n: usize| {
        let prompt: Vec<usize> = (0..60 + n * 40).map(|i| 1 + i * i % 900).collect();
        format!(
            "{{\"custom_id\":\"{n}\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{{\"prompt\":{prompt:?},\
             \"max_tokens\":{}}}}}\n",
            40 + n * 20
        )
    };
    dir.write("in.jsonl", (0..12).map(request).collect::<String>().as_bytes());
    for more in ["", "--draft w4 --draft-length 4"] {
        let args = format!(
            "generate tiny-llama --requests in.jsonl -o out.jsonl --force --threads 2 {more}"
        );
        let refused = dir.run(&format!("{args} --memory 1MiB")).stderr;
        let works: u64 =
            refused.split_once("`--memory ").unwrap().1.split_once('`').unwrap().0.parse().unwrap();
        // With as little, long requests are refused; with more, several speak together.
        for memory in [works, works + (8 << 20), works + (32 << 20)] {
            let mut child = dir.command(&format!("{args} -q --memory {memory}")).spawn().unwrap();
            let peak = resident_peak(&mut child);
            assert!(child.wait().unwrap().success(), "{more}");
            assert!(peak <= memory, "{more}: {peak} bytes were resident, {memory} the bound");
        }
    }
}

#[test]
fn a_budget_that_cannot_be_kept_is_refused_with_one_that_can() {
    let dir = Dir::with_tiny_llama();
    let ran = dir.run("quantize tiny-llama --memory 1MiB");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let works = ran.stderr.split_once("`--memory ").unwrap().1.split_once('`').unwrap().0;
    assert_eq!(dir.names(), ["tiny-llama"]);
    dir.done(&format!("quantize tiny-llama -q --threads 4 --memory {works}"));
}

/// The highest resident size that Linux recorded while the process ran.
pub(crate) fn resident_peak(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        peak = peak.max(kib.map_or(0, |kib| kib.trim().parse::<u64>().unwrap() << 10));
        std::thread::sleep(Duration::from_millis(1));
    }
    peak
}
