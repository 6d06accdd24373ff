//! What is not in this version: refused by name, so that nobody searches for a spelling mistake.

use crate::failure::Refusal;

/// The refusal of an option that is planned, or that only other tools have.
pub(crate) fn refusal(name: &str) -> Option<Refusal> {
    let find = |table: &[(&str, &str)]| {
        table.iter().find(|(absent, _)| *absent == name).map(|(_, hint)| (*hint).to_owned())
    };
    if let Some(hint) = find(OPTIONS) {
        return Some(Refusal::new(format!("`{name}` is not in this version"), hint));
    }
    let spelled = name.replace('_', "-");
    let (_, here) = ELSEWHERE.iter().find(|(names, _)| names.contains(&spelled.as_str()))?;
    Some(Refusal::new(format!("there is no `{name}` here"), *here))
}

/// The refusal of a value of an option: planned for a reason, or unknown.
pub(crate) fn value(option: &str, value: &str, known: &[&str], planned: &[Planned]) -> Refusal {
    let hint = format!("`{option}` takes {}", list(known));
    match planned.iter().find(|planned| planned.names.contains(&value)) {
        Some(Planned { why, .. }) => {
            Refusal::new(format!("`{option} {value}` is not in this version: {why}"), hint)
        }
        None => Refusal::new(format!("there is no `{option} {value}`"), hint),
    }
}

/// Values that later versions will take.
pub(crate) struct Planned {
    names: &'static [&'static str],
    why: &'static str,
}

/// `a`, `a or b`, `a, b or c`
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// Names of `--scheme`. The GGUF types are those that llama.cpp's own quantizer lists.
pub(crate) const SCHEMES: &[Planned] = &[
    Planned {
        names: &["nvfp4a16", "mxfp4a16", "nvfp4", "mxfp4", "mxfp8"],
        why: "micro-scaled floats are not implemented",
    },
    Planned {
        names: &[
            "q8_0", "q6_k", "q5_0", "q5_1", "q5_k", "q5_k_s", "q5_k_m", "q4_0", "q4_1", "q4_k",
            "q4_k_s", "q4_k_m", "q3_k", "q3_k_s", "q3_k_m", "q3_k_l", "q2_k", "q2_k_s", "iq4_nl",
            "iq4_xs", "iq3_m", "iq3_s", "iq3_xs", "iq3_xxs", "iq2_m", "iq2_s", "iq2_xs", "iq2_xxs",
            "iq1_m", "iq1_s", "tq1_0", "tq2_0",
        ],
        why: "GGUF is not implemented",
    },
];

/// Names of `--method`.
pub(crate) const METHODS: &[Planned] = &[Planned {
    names: &["awq", "smoothquant", "awq+gptq", "smoothquant+gptq", "hqq"],
    why: "it is not implemented",
}];

/// Names of `--format`.
pub(crate) const FORMATS: &[Planned] =
    &[Planned { names: &["gptq", "awq", "gguf", "mlx"], why: "it is not implemented" }];

/// Names of `--axes`.
pub(crate) const AXES: &[Planned] =
    &[Planned { names: &["experts", "vocab"], why: "it is not implemented" }];

const OPTIONS: &[(&str, &str)] = &[("--sparsity-max", PRUNE_FIRST)];

/// Options as other tools of this field spell them, and what does the same here.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["--dataset", "--calibration-data", "--calib-data", "--calibration-dataset"],
        "`--calibrate FILE` observes the model on a file (`calibrate` has `--data`, `eval` has `--text`)",
    ),
    (
        &[
            "--seqlen",
            "--seq-len",
            "--sequence-length",
            "--max-seq-length",
            "--max-seq-len",
            "--max-length",
        ],
        "`--window N` is the number of tokens of a window",
    ),
    (
        &["--num-samples", "--nsamples", "--n-samples", "--num-calibration-samples"],
        "`--samples N` is the number of windows",
    ),
    (&["--wbits", "--w-bit", "--w-bits", "--num-bits"], "`--bits N` is the width of a weight"),
    (
        &["--groupsize", "--q-group-size", "--w-group-size"],
        "`--group-size N` is the number of columns that share a scale; -1 is `channel`",
    ),
    (&["--sym", "--symmetric"], "scales are symmetric unless `--asymmetric` is given"),
    (&["--no-sym", "--asym", "--zero-point"], "`--asymmetric` gives every scale a zero point"),
    (
        &["--sparsity-ratio", "--pruning-ratio", "--prune-ratio"],
        "`--sparsity X` is the share of the blocks' parameters that goes: 0.4 or 40%",
    ),
    (
        &[
            "--out",
            "--output-dir",
            "--save",
            "--save-dir",
            "--save-path",
            "--outfile",
            "--output-file",
        ],
        "`-o PATH` or `--output PATH` says where the result goes",
    ),
    (
        &["--model", "--model-id", "--model-path", "--model-name-or-path"],
        "the model needs no option: `llmopt inspect MODEL`",
    ),
    (&["--modules-to-not-convert"], "`--exclude PATTERN` keeps what matches as it is"),
    (&["--targets"], "`--include PATTERN` quantizes only what matches"),
    (&["--reference"], "`--against MODEL` names the original"),
    (&["--n-prompt"], "`--prompt N` is the number of tokens of a prompt, in `bench`"),
    (&["--n-gen"], "`--tokens N` is the number of tokens that are decoded"),
    (&["--repetitions"], "`--runs N` is the number of runs of which `bench` tells the median"),
    (
        &["--max-tokens", "--max-new-tokens", "--n-predict"],
        "`--tokens N` is the number of tokens at most",
    ),
    (
        &["--draft-model", "--model-draft", "--assistant-model", "--speculative-config"],
        "`--draft DRAFT` proposes tokens, in `generate`",
    ),
    (
        &["--num-speculative-tokens", "--draft-max", "--num-draft-tokens"],
        "`--draft-length N` is the number of tokens proposed at a time",
    ),
    (&["--max-num-seqs", "--parallel"], "`--slots N` is the number of sequences at a time"),
    (&["--max-num-batched-tokens", "--ubatch-size"], "`--chunk N` is the number of rows of a step"),
    (&["--input-file"], "`--requests FILE` is the file of requests, `-o FILE` that of the answers"),
    (&["--overwrite"], "`--force` replaces an existing output"),
    (&["--device", "--gpu"], "llmopt runs on the processor; `--threads N` says how much of it"),
    (
        &["--desc-act", "--act-order", "--actorder"],
        "activation order is not in this version; `--method gptq+cd` or `qep+cd` go over the codes again",
    ),
];

const PRUNE_FIRST: &str = "`llmopt prune` makes a smaller model first, which `quantize` then takes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_values_say_why_and_others_that_there_are_none() {
        let refused = value("--scheme", "nvfp4", &["fp8", "w8a8"], SCHEMES);
        assert_eq!(
            refused.message,
            "`--scheme nvfp4` is not in this version: micro-scaled floats are not implemented"
        );
        assert_eq!(refused.hint, "`--scheme` takes fp8 or w8a8");
        let unknown = value("--scheme", "w9a16", &["fp8", "w8a8"], SCHEMES);
        assert_eq!(unknown.message, "there is no `--scheme w9a16`");
    }

    #[test]
    fn names_that_nobody_plans_are_left_to_clap() {
        assert_eq!(refusal("quantise"), None);
        assert_eq!(refusal("--bit"), None);
    }

    #[test]
    fn what_other_tools_call_otherwise_is_no_option_of_ours_and_names_one() {
        let command = crate::command();
        let ours: Vec<String> = command
            .get_subcommands()
            .flat_map(|command| command.get_arguments())
            .flat_map(|arg| arg.get_long_and_visible_aliases().unwrap_or_default())
            .map(|name| format!("--{name}"))
            .collect();
        for (names, here) in ELSEWHERE {
            for name in *names {
                assert!(!ours.iter().any(|ours| ours == name), "{name}");
                assert!(refusal(name).is_some(), "{name}");
            }
            let named = here.split(['`', ' ']).filter(|word| word.starts_with("--"));
            named.for_each(|name| assert!(ours.iter().any(|ours| ours == name), "{name}: {here}"));
        }
    }
}
