//! Flags: what is refused before any file is opened, and with what words.

use crate::dir::Dir;

#[test]
fn what_is_not_in_this_version_is_refused_by_name() {
    let dir = Dir::new();
    let commands = "there are `inspect`, `quantize`, `prune`, `calibrate`, `eval`, `generate`, `verify` and `completions`";
    let check = |args: &str, message: &str, hint: &str| {
        dir.refused(args, 2, &format!("error: {message}\n\nhint: {hint}\n"));
    };
    check("run model --anything", "`run` is not in this version", commands);
    let weights = "`llmopt inspect MODEL` says what each scheme would weigh";
    for option in ["--target-size", "--target-bpw", "--max-kld"] {
        let message = format!("`{option}` is not in this version");
        check(&format!("quantize model {option} 1"), &message, weights);
        check(&format!("quantize model {option}=1"), &message, weights);
    }
}

#[test]
fn values_are_refused_with_the_reason_and_with_those_there_are() {
    let dir = Dir::new();
    let check = |args: &str, message: &str, hint: &str| {
        let args = format!("quantize model {args}");
        dir.refused(&args, 2, &format!("error: {message}\n\nhint: {hint}\n"));
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
    let dir = Dir::new();
    let check = |args: &str, message: &str, hint: &str| {
        let args = format!("quantize model {args}");
        dir.refused(&args, 2, &format!("error: {message}\n\nhint: {hint}\n"));
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
    let dir = Dir::new();
    let check = |args: &str, message: &str| {
        let expected = format!("error: {message}\n\nFor more information, try '--help'.\n");
        dir.refused(&format!("quantize model {args}"), 2, &expected);
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
fn options_of_other_tools_are_refused_with_the_right_name() {
    let dir = Dir::new();
    let check = |args: &str, option: &str, hint: &str| {
        let expected = format!("error: there is no `{option}` here\n\nhint: {hint}\n");
        dir.refused(args, 2, &expected);
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
    let expected = "error: invalid value '40' for '--sparsity <X>': a share is less than 1; `40%` is 0.4\n\n\
                    For more information, try '--help'.\n";
    dir.refused("prune model --sparsity 40", 2, expected);
}

#[test]
fn what_is_missing_is_named() {
    let dir = Dir::new();
    for (args, missing) in
        [("eval", "<ARTIFACT>"), ("generate", "<MODEL>"), ("prune", "--sparsity <X>")]
    {
        let ran = dir.run(args);
        assert_eq!(ran.code, Some(2), "{args}");
        assert!(ran.stderr.contains(&format!("not provided:\n  {missing}")), "{}", ran.stderr);
    }
}

#[test]
fn errors_are_lines_of_json_for_programs() {
    Dir::new().refused(
        "quantize model --json --bits 9",
        2,
        "{\"event\":\"error\",\"message\":\"there is no `--bits 9`\",\"hint\":\"`--bits` takes 8, 7, 6, 5, 4, 3 or 2\"}\n",
    );
}

#[test]
fn colour_is_asked_for() {
    Dir::new().refused(
        "quantize model --bits 9 --color always",
        2,
        "\x1b[1;31merror:\x1b[0m there is no `--bits 9`\n\n\x1b[36mhint:\x1b[0m `--bits` takes 8, 7, 6, 5, 4, 3 or 2\n",
    );
}

#[test]
fn help_shows_what_works() {
    let help = Dir::new().done("--help").stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        commands,
        [
            "inspect",
            "quantize",
            "prune",
            "calibrate",
            "eval",
            "generate",
            "verify",
            "completions",
            "help"
        ]
    );
    let of_quantize = Dir::new().done("help quantize").stdout;
    assert!(of_quantize.contains("\nExamples:\n  llmopt quantize "), "{of_quantize}");
    assert!(help.contains("  130  interrupted"), "{help}");
}

#[test]
fn completions_know_every_option() {
    let dir = Dir::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = dir.done(&format!("completions {shell}")).stdout;
        for word in ["group-size", "calibrate", "whole-block", "inspect", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains("max-kld"), "{shell}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = dir.done(&format!("completions {shell}")).stdout;
        assert!(script.contains("fp8-block") && script.contains("search"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = Dir::new();
    let mut child = dir.command("completions zsh").spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}
