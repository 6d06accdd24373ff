//! What is not in this version: refused by name, so that nobody searches for a spelling mistake.

use crate::failure::Refusal;

/// The refusal of a command or an option that is planned.
pub(crate) fn refusal(name: &str) -> Option<Refusal> {
    let find = |table: &[(&str, &str)]| {
        table.iter().find(|(absent, _)| *absent == name).map(|(_, hint)| (*hint).to_owned())
    };
    let hint = find(COMMANDS).or_else(|| find(OPTIONS))?;
    Some(Refusal::new(format!("`{name}` is not in this version"), hint))
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

/// Widths of `--bits`.
pub(crate) const BITS: &[Planned] =
    &[Planned { names: &["5", "6"], why: "only GGUF stores them, which is not implemented" }];

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

const COMMANDS: &[(&str, &str)] = &[("run", THERE_ARE)];

const OPTIONS: &[(&str, &str)] =
    &[("--target-size", CHOOSE), ("--target-bpw", CHOOSE), ("--max-kld", CHOOSE)];

const THERE_ARE: &str = "there are `inspect`, `quantize`, `prune`, `calibrate`, `eval`, `generate`, `verify` and \
     `completions`";
const CHOOSE: &str = "`llmopt inspect MODEL` says what each scheme would weigh";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_values_say_why_and_others_that_there_are_none() {
        let refused = value("--bits", "6", &["8", "4"], BITS);
        assert_eq!(
            refused.message,
            "`--bits 6` is not in this version: only GGUF stores them, which is not implemented"
        );
        assert_eq!(refused.hint, "`--bits` takes 8 or 4");
        assert_eq!(value("--bits", "7", &["8", "4"], BITS).message, "there is no `--bits 7`");
    }

    #[test]
    fn names_that_nobody_plans_are_left_to_clap() {
        assert_eq!(refusal("quantise"), None);
        assert_eq!(refusal("--bit"), None);
    }
}
