//! The command line without a process: what is refused before any file is opened, and with what words.

mod vain;

use crate::failure::Failure;
use crate::{command, exit, parsed};
use std::ffi::OsString;
use std::process::ExitCode;

/// What becomes of a command line. Nothing that it names is there.
fn outcome(args: &str) -> Result<(), Failure> {
    let args = std::iter::once("llmopt").chain(args.split_whitespace()).map(OsString::from);
    command::run(parsed(args)?.command)
}

/// How a command line fails, which is the fault of the request.
#[track_caller]
fn failure(args: &str) -> Failure {
    let result = outcome(args);
    assert_eq!(exit::code(&result), ExitCode::from(2), "{args}: {result:?}");
    result.expect_err("its code is that of a failure")
}

/// Refused with exactly these words.
#[track_caller]
fn refused(args: &str, message: &str, hint: &str) {
    let found = failure(args);
    let found = (found.message(), found.hint());
    assert_eq!(found, (message.to_owned(), Some(hint.to_owned())), "{args}");
}

/// What is said of options that `clap` does not take.
#[track_caller]
fn unparsed_with(args: &str) -> String {
    match failure(args) {
        Failure::Flags(error) => error.to_string(),
        other => panic!("{args}: {other:?}"),
    }
}

/// Not taken, with exactly these words.
#[track_caller]
fn unparsed(args: &str, message: &str) {
    let expected = format!("error: {message}\n\nFor more information, try '--help'.\n");
    assert_eq!(unparsed_with(args), expected, "{args}");
}

#[test]
fn what_is_not_in_this_version_is_refused_by_name() {
    let first = "`llmopt prune` makes a smaller model first, which `quantize` then takes";
    for option in ["--sparsity-max 0.2", "--sparsity-max=0.2"] {
        let message = "`--sparsity-max` is not in this version";
        refused(&format!("quantize model --target-bpw 4 {option}"), message, first);
    }
}

#[test]
fn values_are_refused_with_the_reason_and_with_those_there_are() {
    let check = |args: &str, message: &str, hint: &str| {
        refused(&format!("quantize model {args}"), message, hint);
    };
    let bits = "`--bits` takes 8, 7, 6, 5, 4, 3 or 2";
    check("--bits 1", "there is no `--bits 1`", bits);
    check("--bits 16", "there is no `--bits 16`", bits);
    let schemes = "`--scheme` takes w8a16, w7a16, w6a16, w5a16, w4a16, w3a16, w2a16, w8a8, fp8 or \
                   fp8-block";
    check(
        "--scheme nvfp4",
        "`--scheme nvfp4` is not in this version: micro-scaled floats are not implemented",
        schemes,
    );
    check(
        "--scheme q4_k_m",
        "`--scheme q4_k_m` is not in this version: GGUF is not implemented",
        schemes,
    );
    check("--scheme int8", "there is no `--scheme int8`", schemes);
    check(
        "--method awq+gptq",
        "`--method awq+gptq` is not in this version: it is not implemented",
        "`--method` takes auto, search, rtn, gptq, gptq+cd, qep or qep+cd",
    );
    check(
        "--format gguf",
        "`--format gguf` is not in this version: it is not implemented",
        "`--format` takes compressed-tensors or dense",
    );
    check(
        "--runtime vllm,tgi",
        "there is no `--runtime tgi`",
        "`--runtime` takes transformers, vllm, vllm-cpu, sglang, llama.cpp or mlx",
    );
    check(
        "--report report.html",
        "`--report report.html` does not end in `.json`",
        "reports are JSON; other kinds are not in this version",
    );
    check(
        "--report none/report.json",
        "`--report none/report.json`: there is no folder `none`",
        "make the folder first",
    );
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let check = |args: &str, message: &str, hint: &str| {
        refused(&format!("quantize model {args}"), message, hint);
    };
    check(
        "--bits 8 --scheme w8a8",
        "`--bits` means `--scheme w8a16` here, not `--scheme w8a8`",
        "give one of the two",
    );
    check(
        "--scheme fp8 --group-size 64",
        "`--group-size` does not go with `--scheme fp8`, which has a scale per output channel",
        "group sizes are for `w8a16` to `w2a16`",
    );
    check(
        "--scheme fp8-block --group-size channel",
        "`--group-size` does not go with `--scheme fp8-block`, which has a scale per 128 x 128 block",
        "group sizes are for `w8a16` to `w2a16`",
    );
    check(
        "--scheme fp8 --asymmetric",
        "`--asymmetric` does not go with `--scheme fp8`, which has no zero points",
        "zero points are for `w8a16` to `w2a16`",
    );
    check(
        "--dense-dtype f32",
        "`--dense-dtype` needs `--format dense`",
        "add it, or leave both out",
    );
}

#[test]
fn values_that_are_no_values_are_refused() {
    let check = |args: &str, message: &str| {
        unparsed(&format!("quantize model {args}"), message);
    };
    let number = "expected a number from 1 to 1024";
    check("--threads 0", &format!("invalid value '0' for '--threads <N>': {number}"));
    check("--tp many", &format!("invalid value 'many' for '--tp <N>': {number}"));
    check(
        "--group-size 0",
        "invalid value '0' for '--group-size <N|channel>': a group is a number of columns, or \
         `channel`",
    );
    check(
        "--memory 8Gi",
        "invalid value '8Gi' for '--memory <SIZE>': a size is a number with B, kB, MB, GB, TB, KiB, \
         MiB, GiB or TiB",
    );
}

#[test]
fn a_bench_of_nothing_is_refused() {
    let options = [("--batch <LIST>", 1024), ("--runs <N>", 1024), ("--tokens <N>", 1_u64 << 32)];
    for (option, most) in options {
        let args = format!("bench model {} 0", option.split(' ').next().unwrap());
        let expected = format!("expected a number from 1 to {most}");
        unparsed(&args, &format!("invalid value '0' for '{option}': {expected}"));
    }
    refused(
        "bench model --report speed.xml",
        "`--report speed.xml` ends in no kind of report of a bench",
        "they end in `.json`, `.md` or `.html`",
    );
}

#[test]
fn options_of_other_tools_are_refused_with_the_right_name() {
    let check = |args: &str, option: &str, hint: &str| {
        refused(args, &format!("there is no `{option}` here"), hint);
    };
    let window = "`--window N` is the number of tokens of a window";
    check("quantize model --seqlen 2048", "--seqlen", window);
    check("quantize model --max_seq_length=2048", "--max_seq_length", window);
    check(
        "prune --sparsity 40% --nsamples 8",
        "--nsamples",
        "`--samples N` is the number of windows",
    );
    check("quantize --wbits 4", "--wbits", "`--bits N` is the width of a weight");
    check(
        "quantize --dataset wikitext",
        "--dataset",
        "`--calibrate FILE` observes the model on a file (`calibrate` has `--data`, `eval` has `--text`)",
    );
    let runs = "`--runs N` is the number of runs of which `bench` tells the median";
    check("bench model --repetitions 5", "--repetitions", runs);
    let prompt = "`--prompt N` is the number of tokens of a prompt, in `bench`";
    check("bench model --n-prompt 512", "--n-prompt", prompt);
    unparsed(
        "prune model --sparsity 40",
        "invalid value '40' for '--sparsity <X>': a share is less than 1; `40%` is 0.4",
    );
}

#[test]
fn what_is_missing_is_named() {
    let check = |args: &str, missing: &str| {
        let found = unparsed_with(args);
        assert!(found.contains(&format!("not provided:\n  {missing}")), "{args}: {found}");
    };
    check("eval", "<ARTIFACT>");
    check("generate", "<MODEL>");
    check("bench", "<MODEL>");
    check("prune", "--sparsity <X>");
    for option in [
        "--samples 3",
        "--window 64",
        "--bos window",
        "--seed 1",
        "--date 2026-01-31",
        "--whole-block",
        "--dtype bf16",
        "--kernel auto",
        "--scratch .",
    ] {
        check(&format!("quantize model {option}"), "--calibrate <SOURCE>");
    }
}

#[test]
fn a_method_without_its_data_and_data_without_a_method_are_refused() {
    let check = |args: &str, message: &str, hint: &str| {
        refused(&format!("quantize model --bits 4 {args}"), message, hint);
    };
    for method in ["gptq", "qep+cd", "auto"] {
        check(
            &format!("--method {method}"),
            &format!("`--method {method}` needs calibration data"),
            "`--calibrate FILE` gives them; `--calibrate builtin` takes the text that comes with llmopt",
        );
    }
    check(
        "--method rtn --calibrate text.txt",
        "`--method rtn` does nothing with calibration data",
        "leave `--calibrate` out, or choose another method",
    );
    let sources = "a file, `builtin`, `self`, or any with its weight: `chat.jsonl:0.7`";
    check(
        "--calibrate text.txt:0",
        "`--calibrate text.txt:0`: the weight of `text.txt` is 0, expected a finite number above 0",
        sources,
    );
    check(
        "--calibrate self --kernel gpu",
        "there is no `--kernel gpu`",
        "`--kernel` takes auto, portable, faer, avx2, avx512, avx512bf16 or amx",
    );
}
