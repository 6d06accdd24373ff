//! How the command line answers, in its words, its streams and its exit codes. What is refused before any
//! file is opened is tested beside the flags.

use crate::dir::Dir;

#[test]
fn what_is_refused_is_an_error_with_a_hint_on_standard_error() {
    let dir = Dir::new();
    let check = |args: &str, stderr: &str| dir.refused(args, 2, stderr);
    let first = "hint: `llmopt prune` makes a smaller model first, which `quantize` then takes";
    check(
        "quantize model --target-bpw 4 --sparsity-max 0.2",
        &format!("error: `--sparsity-max` is not in this version\n\n{first}\n"),
    );
    check(
        "quantize model --format dense --tp 2",
        "error: `--tp` would do nothing here: dense weights can be split wherever the model's own \
         could\n\nhint: leave it out\n",
    );
    check(
        "quantize model --threads 0",
        "error: invalid value '0' for '--threads <N>': expected a number from 1 to 1024\n\nFor more \
         information, try '--help'.\n",
    );
    check("quantize nowhere", "error: `nowhere` does not exist\n");
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
        // Others go on with what a command is about.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        commands,
        [
            "inspect",
            "quantize",
            "prune",
            "run",
            "recipe",
            "calibrate",
            "ladder",
            "eval",
            "generate",
            "bench",
            "verify",
            "card",
            "diff",
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
        for word in ["group-size", "calibrate", "max-kld", "inspect", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains("sparsity-max"), "{shell}");
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
