//! Two examples for the help of each command. A test parses every one of them.

pub(crate) const INSPECT: &str = "\
Examples:
  llmopt inspect Llama-3.1-8B
  llmopt inspect Llama-3.1-8B-w4a16 --json";

pub(crate) const QUANTIZE: &str = "\
Examples:
  llmopt quantize Llama-3.1-8B --bits 4 --calibrate text.jsonl
  llmopt quantize model.safetensors --bits 8";

pub(crate) const PRUNE: &str = "\
Examples:
  llmopt prune --sparsity 0.4
  llmopt prune Llama-3.1-8B --sparsity 25% --axes layers --calibrate text.jsonl";

pub(crate) const RUN: &str = "\
Examples:
  llmopt run
  llmopt run recipe.toml --set stage.prune.sparsity=0.3 --report report.html";

pub(crate) const RECIPE: &str = "\
Examples:
  llmopt recipe init Llama-3.1-8B
  llmopt recipe schema";

pub(crate) const RECIPE_INIT: &str = "\
Examples:
  llmopt recipe init Llama-3.1-8B
  llmopt recipe init Llama-3.1-8B --for edge -o edge.toml";

pub(crate) const RECIPE_SCHEMA: &str = "\
Examples:
  llmopt recipe schema";

pub(crate) const CALIBRATE: &str = "\
Examples:
  llmopt calibrate Llama-3.1-8B --data text.jsonl --gram -o statistics.safetensors
  llmopt calibrate Llama-3.1-8B --data builtin --samples 64 --window 512 -o statistics.safetensors";

pub(crate) const LADDER: &str = "\
Examples:
  llmopt ladder Llama-3.1-8B --bits 8,6,5,4,3 --calibrate text.jsonl --text heldout.txt --report ladder.html
  llmopt ladder Llama-3.1-8B --bits 5,4 --calibrate statistics.safetensors --keep 4 -o artifacts";

pub(crate) const EVAL: &str = "\
Examples:
  llmopt eval Llama-3.1-8B-w4a16 --against Llama-3.1-8B --text test.txt
  llmopt eval Llama-3.1-8B-w4a16 --against Llama-3.1-8B --text chat=chat.jsonl --text code=code.txt --gate \"chat.kld <= 0.03\" --report gates.xml";

pub(crate) const GENERATE: &str = "\
Examples:
  llmopt generate Llama-3.1-8B-w4a16 \"Once upon a time\"
  llmopt generate Llama-3.1-8B-w4a16 --requests requests.jsonl -o answers.jsonl";

pub(crate) const BENCH: &str = "\
Examples:
  llmopt bench Llama-3.1-8B-w4a16 --against Llama-3.1-8B
  llmopt bench Llama-3.1-8B-w4a16 --batch 1,8 --threads 1 --report speed.html";

pub(crate) const VERIFY: &str = "\
Examples:
  llmopt verify Llama-3.1-8B-w4a16 --against Llama-3.1-8B
  llmopt verify Llama-3.1-8B-w4a16 --runtime vllm --quick";

pub(crate) const CARD: &str = "\
Examples:
  llmopt card Llama-3.1-8B-w4a16 --evaluation evaluation.json --base-model meta-llama/Llama-3.1-8B
  llmopt card Llama-3.1-8B-w4a16 --write";

pub(crate) const DIFF: &str = "\
Examples:
  llmopt diff Llama-3.1-8B-w4a16 Llama-3.1-8B
  llmopt diff Llama-3.1-8B-w4a16 Llama-3.1-8B-w8a16 --quick --all";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  llmopt completions bash
  llmopt completions zsh";

/// The commands of an example, without its heading.
pub(crate) fn lines(examples: &str) -> impl Iterator<Item = &str> {
    examples.lines().skip(1).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Command, Flags};
    use crate::request;
    use clap::Parser;

    /// Words as a shell takes them that knows double quotes.
    fn words(line: &str) -> Vec<String> {
        let quoted = line.split('"').enumerate();
        quoted
            .flat_map(|(part, text)| match part % 2 {
                0 => text.split_whitespace().map(str::to_owned).collect(),
                _ => vec![text.to_owned()],
            })
            .collect()
    }

    #[test]
    fn every_command_has_two_and_they_are_requests() {
        for command in crate::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = lines(&help).collect();
            assert_eq!(lines.len(), 2, "{}: {help}", command.get_name());
            for line in lines {
                let begin = format!("llmopt {}", command.get_name());
                assert!(line.starts_with(&begin), "{line}");
                let flags = Flags::try_parse_from(words(line)).expect(line);
                match flags.command {
                    Command::Quantize(flags) => drop(request::recipe(&flags).expect(line)),
                    Command::Prune(flags) => {
                        drop(request::pruned(&flags, "model".into()).expect(line));
                    }
                    _ => {}
                }
            }
        }
    }
}
