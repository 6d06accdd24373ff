//! From a table to the options of a command.

use crate::flags::{Command, Flags};
use crate::recipe::catalog::is_path;
use crate::recipe::refused::of_clap;
use clap::Parser;
use llmopt_recipe::{Node, Position, Problem, Table, Value};
use std::ffi::OsString;
use std::path::Path;

/// A key that was given, as options.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The option's name, without dashes.
    pub(super) option: String,
    /// Where its key stands.
    pub(super) at: Position,
    words: Vec<OsString>,
}

/// The options of `command` that a table asks for.
pub(super) fn options(command: &str, table: &Table, folder: &Path) -> Vec<Given> {
    let entries = table.entries.iter();
    let given = entries.map(|entry| given(command, (&entry.key, &entry.at), &entry.node, folder));
    given.collect()
}

/// An option that a key asks for, by the values of a node.
pub(super) fn given(
    command: &str,
    (option, at): (&str, &Position),
    node: &Node,
    folder: &Path,
) -> Given {
    let word = |value: &str| {
        let mut word = OsString::from(format!("--{option}="));
        word.push(located(command, option, value, folder));
        word
    };
    let words = match &node.value {
        Value::Flag(true) => vec![OsString::from(format!("--{option}"))],
        Value::Flag(false) => Vec::new(),
        Value::Table(names) => {
            let named = |entry: &llmopt_recipe::Entry| {
                let mut word = OsString::from(format!("--{option}={}=", entry.key));
                word.push(folder.join(entry.node.text().unwrap_or_default()));
                word
            };
            names.entries.iter().map(named).collect()
        }
        _ => node.items().iter().filter_map(Node::text).map(|value| word(&value)).collect(),
    };
    Given { option: option.to_owned(), at: at.clone(), words }
}

/// An option whose value is a path that is known.
pub(super) fn given_path(option: &str, at: &Position, path: &Path) -> Given {
    let mut word = OsString::from(format!("--{option}="));
    word.push(path);
    Given { option: option.to_owned(), at: at.clone(), words: vec![word] }
}

/// A value whose path begins in `folder`, if it is one.
fn located(command: &str, option: &str, value: &str, folder: &Path) -> OsString {
    match option {
        "calibrate" => source(value, folder),
        "text" | "tasks" => match value.split_once('=') {
            Some((name, path)) if !name.contains('/') => {
                let mut named = OsString::from(format!("{name}="));
                named.push(folder.join(path));
                named
            }
            _ => folder.join(value).into(),
        },
        _ if is_path(command, option) => folder.join(value).into(),
        _ => value.into(),
    }
}

/// `builtin` and `self` are no files, whatever their weight.
fn source(value: &str, folder: &Path) -> OsString {
    let name = value.split_once(':').map_or(value, |(name, _)| name);
    match name {
        "builtin" | "self" => value.into(),
        _ => folder.join(value).into(),
    }
}

/// Parses the options of a command about `model` as the command line does.
pub(super) fn parsed(
    command: &str,
    model: &Path,
    given: &[Given],
    at: &Position,
) -> Result<Command, Problem> {
    let words = given.iter().flat_map(|given| given.words.iter().cloned());
    let fixed = [OsString::from("llmopt"), command.into()];
    // Behind `--`, a model may begin with a dash.
    let behind = [OsString::from("--"), model.into()];
    let parsed = Flags::try_parse_from(fixed.into_iter().chain(words).chain(behind));
    parsed.map(|flags| flags.command).map_err(|error| of_clap(&error, given, at))
}
