//! Options that would do nothing beside the others: refused before any work, with what they need.

use super::{failure, parsed, refused};
use crate::flags::Command;
use crate::vain;
use std::ffi::OsString;

const NO_DRAWS: &str = "`--seed` would do nothing here: it decides what is drawn from the model, and \
                        all data are texts";
const LET_SELF: &str = "leave it out, or let `self` be one of the sources";
const NO_TEMPLATE: &str = "`--date` would do nothing here: only a chat template asks for the day, and \
                           no file holds `messages`";
const MESSAGES: &str = "leave it out; `messages` are in `.jsonl` and `.json` files";

#[test]
fn a_seed_without_draws_and_a_day_without_messages() {
    for command in [
        "quantize m --calibrate a.txt",
        "prune m --sparsity 0.2 --calibrate a.txt",
        "calibrate m --data a.txt -o s.safetensors",
    ] {
        refused(&format!("{command} --seed 0"), NO_DRAWS, LET_SELF);
        refused(&format!("{command} --date 2026-01-31"), NO_TEMPLATE, MESSAGES);
    }
    refused("eval m --text ids.safetensors --date 2026-01-31", NO_TEMPLATE, MESSAGES);
    refused("prune m --sparsity 0.2 --date 2026-01-31", NO_TEMPLATE, MESSAGES);
    refused(
        "generate m Hi --date 2026-01-31",
        "`--date` would do nothing here: only a chat template asks for the day",
        "leave it out, or add `--chat`",
    );
}

#[test]
fn options_of_draws_where_none_is_drawn() {
    for option in ["--seed 7", "--top-k 5", "--top-p 0.5", "--min-p 0.1 --temperature 0"] {
        let name = option.split(' ').next().unwrap();
        refused(
            &format!("generate m Hi {option}"),
            &format!(
                "`{name}` would do nothing here: at `--temperature 0` the likeliest token is taken, and \
                 none is drawn"
            ),
            "leave it out, or give a `--temperature` above 0",
        );
    }
}

#[test]
fn options_of_windows_without_a_text() {
    for option in ["--window 64", "--samples 3", "--bos none", "--date 2026-01-31"] {
        let name = option.split(' ').next().unwrap();
        refused(
            &format!("eval m --tasks t.jsonl {option}"),
            &format!(
                "`{name}` would do nothing here: it says how a text becomes windows, and there is no \
                 `--text`"
            ),
            "leave it out, or give a `--text`: questions go through the model whole, one by one",
        );
    }
}

#[test]
fn options_of_gates_without_one_that_asks() {
    refused(
        "eval m --text a.txt --baseline b.json --gate kld<=1",
        "`--baseline` would do nothing here: no gate is relative to it",
        "leave it out, or give a gate such as `--gate 'kld <= 1.1 * baseline'`",
    );
    let gates = "leave it out, or give a gate such as `--gate 'kld <= 0.03'`";
    for (option, gate) in [
        ("--max-samples 8", ""),
        ("--max-samples 8", "--gate size<=1GB"),
        ("--on-unsure pass", ""),
        ("--on-unsure fail", "--gate bpw<=5"),
    ] {
        let name = option.split(' ').next().unwrap();
        refused(
            &format!("eval m --text a.txt --samples 4 {option} {gate}"),
            &format!(
                "`{name}` would do nothing here: it is for gates that windows may leave unsure, and \
                 there is none"
            ),
            gates,
        );
    }
}

#[test]
fn a_degree_of_parallelism_that_nobody_asks_about() {
    refused(
        "quantize m --tp 2 --runtime transformers",
        "`--tp` would do nothing here: none of the runtimes asked for has rules on how matrices are \
         split over devices",
        "leave it out, or name one that has with `--runtime vllm` or `sglang`",
    );
    refused(
        "quantize m --tp 2 --format dense",
        "`--tp` would do nothing here: dense weights can be split wherever the model's own could",
        "leave it out",
    );
}

#[test]
fn options_of_what_the_axes_leave_as_it_is() {
    for axes in ["heads", "layers", "heads,layers"] {
        refused(
            &format!("prune m --sparsity 0.2 --axes {axes} --align 8"),
            "`--align` would do nothing here: it is for the widths of axis `ffn`, which keeps them all",
            "leave it out, or add `ffn` to `--axes`",
        );
    }
    refused(
        "prune m --sparsity 0.2 --axes heads --refine 5",
        "`--refine` would do nothing here: gate and up projections stay as they are where only heads go",
        "leave it out, or add `ffn` or `layers` to `--axes`",
    );
    refused(
        "prune m --sparsity 0.2 --axes layers --method obs",
        "`--method` would do nothing here: layers are chosen by the divergence of what is left",
        "leave it out, or add `ffn` or `heads` to `--axes`",
    );
}

#[test]
fn options_of_data_that_nothing_looks_at() {
    for option in [
        "--calibrate self",
        "--samples 3",
        "--window 64",
        "--bos none",
        "--seed 0",
        "--date 2026-01-31",
        "--dtype f32",
        "--kernel auto",
        "--scratch .",
    ] {
        let name = option.split(' ').next().unwrap();
        for axes in ["", "--axes ffn,heads"] {
            refused(
                &format!("prune m --sparsity 0.2 --method magnitude --no-refit {axes} {option}"),
                &format!(
                    "`{name}` would do nothing here: `--method magnitude --no-refit` looks at weights \
                     alone, and observes nothing"
                ),
                "leave it out, or choose another method, or refit",
            );
        }
    }
}

/// Each is refused elsewhere, as there is no model: it does something.
#[test]
fn options_that_do_something_are_taken() {
    for args in [
        "quantize m --calibrate a.txt:1 --calibrate self:2 --seed 3",
        "quantize m --calibrate a.JSONL --date 2026-01-31",
        "quantize m --tp 2",
        "prune m --sparsity 0.2 --seed 3 --align 8 --refine 2 --method flap",
        "prune m --sparsity 0.2 --axes layers --refine 2 --samples 4",
        "prune m --sparsity 0.2 --axes ffn,layers --align 8 --method magnitude --no-refit --seed 1",
        "prune m --sparsity 0.2 --axes heads --method magnitude --no-refit --bias --samples 4",
        "eval m --text a.json --date 2026-01-31 --window 64",
        "eval m --text a.txt --tasks t.jsonl --window 64",
        "eval m --text a.txt --samples 4 --max-samples 8 --on-unsure pass --gate ppl<=9",
        "eval m --text a=a.txt --text b=b.jsonl --date 2026-01-31 --on-unsure fail --gate a.ppl<=9",
    ] {
        assert_eq!(failure(args).message(), "`m` does not exist", "{args}");
    }
    for args in [
        "generate m Hi --temperature 0.5 --seed 7 --top-k 5 --top-p 0.5 --min-p 0.1",
        "generate m Hi --chat --date 2026-01-31 --stop x --slots 2 --chunk 3",
        "generate m --requests a.jsonl -o b.jsonl --force --date 2026-01-31 --slots 2",
    ] {
        let words = std::iter::once("llmopt").chain(args.split(' ')).map(OsString::from);
        match parsed(words).expect("known flags").command {
            Command::Generate(flags) => assert_eq!(vain::of_generate(&flags), Ok(()), "{args}"),
            other => panic!("{other:?}"),
        }
    }
}
