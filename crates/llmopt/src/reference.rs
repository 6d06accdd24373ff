//! The command-line reference as Markdown, from the definition that parses the command line.

use crate::flags::examples;
use clap::{Arg, Command};
use std::fmt::Write;

/// The text of `docs/cli.md`.
pub fn reference() -> String {
    let mut root = crate::command();
    root.build();
    let mut text = String::from("# The command line\n\n");
    let _ = writeln!(text, "{}.\n", styled(root.get_about()));
    for command in root.get_subcommands().filter(is_shown) {
        section(&mut text, command);
    }
    text += EVENTS;
    let _ = writeln!(text, "## Exit codes\n");
    let _ = writeln!(text, "| code | meaning |\n|---|---|");
    for line in crate::exit::HELP.lines().skip(1) {
        let (code, meaning) = line.trim().split_once(' ').unwrap_or((line, ""));
        let _ = writeln!(text, "| {code} | {} |", meaning.trim());
    }
    text
}

fn section(text: &mut String, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(text, "## {}\n", command.get_name());
    let _ = writeln!(text, "    {}\n", usage.trim_start_matches("Usage: "));
    let _ = writeln!(text, "{}.\n", styled(command.get_about()));
    let _ = writeln!(text, "| option | meaning | values | default |\n|---|---|---|---|");
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set() && !is_help(arg));
    for arg in shown {
        let (meaning, default) = meaning(arg);
        let _ = writeln!(text, "| {} | {meaning} | {} | {default} |", spelling(arg), values(arg));
    }
    text.push('\n');
    let help = styled_lines(command.get_after_help());
    let examples: Vec<String> = examples::lines(&help).map(|line| format!("    {line}")).collect();
    let _ = writeln!(text, "Examples:\n\n{}\n", examples.join("\n"));
}

/// `help` says what stands here.
fn is_shown(command: &&Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

/// `-o, --output PATH`
fn spelling(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let value = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    if arg.is_positional() {
        return format!("`{value}`");
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let mut spelling = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    if arg.get_action().takes_values() {
        spelling = format!("{spelling} {value}");
    }
    format!("`{}`", spelling.replace('|', "\\|"))
}

/// The help, and the default, which help may have at its end in brackets.
fn meaning(arg: &Arg) -> (String, String) {
    let help = styled(arg.get_help());
    let defaults = arg.get_default_values();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        let values = defaults.iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>();
        return (help, format!("`{}`", values.join(",")));
    }
    match help.strip_suffix(']').and_then(|help| help.split_once(" [default: ")) {
        Some((help, default)) => (help.to_owned(), default.to_owned()),
        None => (help, String::new()),
    }
}

fn values(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return String::new();
    }
    let shown = arg.get_possible_values();
    let shown = shown.iter().filter(|value| !value.is_hide_set());
    shown.map(|value| format!("`{}`", value.get_name())).collect::<Vec<_>>().join(" ")
}

fn is_help(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

fn styled(text: Option<&clap::builder::StyledStr>) -> String {
    styled_lines(text).replace('\n', " ")
}

fn styled_lines(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

const EVENTS: &str = "\
## Events

With `--json`, a run writes a line of JSON to standard error for each of these. `share` is the share of the
whole run that is done, from 0 to 1, and `seconds_left` what is left of it; where there is no estimate,
`share` is that of the stage, and `seconds_left` is missing.

| `event` | when | fields |
|---|---|---|
| `model` | the current folder is the model | `path` |
| `estimate` | before the first stage of `quantize`, `prune` and `eval` | `seconds` of the whole run, and `stages`: each with `stage` and `seconds`, in order |
| `stage-started` | a stage begins | `stage`, `bytes` that it will go through, `share`, `seconds_left` |
| `resuming` | an interrupted run goes on | `stage`, `at`: the layer or tensor, `share`, `seconds_left` |
| `advanced` | a tensor is done; at most five times a second | `done` of the stage's `bytes`, `tensor`, `share`, `seconds_left` |
| `progress` | there was no other line for half a minute | `stage`, `share`, `seconds_left` |
| `stage-finished` | a stage is over | `stage`, `share`, `seconds_left` |
| `note` | something is to be known, and nothing is wrong | `text` |
| `gate-missed` | a gate is missed | `message` |
| `error` | the run fails | `message`, `hint` |

A plan, `--dry-run --json`, has the estimate, too: `estimate`, with `seconds` and `stages`, and where the run
takes more than five minutes by default with `smaller`: `samples` and `window` that would take less, and their
`seconds`.

Without `--json`, where standard error is no terminal, a line says that a stage begins, and another how far the
run is whenever there was none for half a minute.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_its_row() {
        let text = reference();
        for row in [
            "| `-o, --output PATH` | Where the artifact goes |  | the input's name with the scheme appended |",
            "| `--bits N` | Bits of a weight: short for `--scheme wNa16` | `8` `7` `6` `5` `4` `3` `2` | 8 |",
            "| `--force` | Replace an existing output, once the new one is complete |  |  |",
            "| 3 | the input is wrong: a file, a shape, a model family, or an artifact with faults |",
        ] {
            assert!(text.lines().any(|line| line == row), "no `{row}` in\n{text}");
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        crate::command().debug_assert();
    }
}
