//! Text for people: tables, errors, and the two streams.
//!
//! Whatever comes out of a file may hold control characters; none of them reaches a terminal.

use crate::failure::Failure;
use std::io::{ErrorKind, IsTerminal, Write};

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    /// Nothing but errors.
    pub(crate) quiet: bool,
    /// For programs.
    pub(crate) json: bool,
    /// Standard error shows colours.
    pub(crate) color: bool,
}

impl Default for Console {
    fn default() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { quiet: false, json: false, color: !plain && std::io::stderr().is_terminal() }
    }
}

/// Writes `text` to standard output. A reader that has gone away, as in `llmopt ... | head`, is no
/// failure.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    write(&visible(text))
}

/// Writes the content of a file to standard output: as it is, but to a terminal, which control characters do
/// not reach.
pub(crate) fn content(text: &str) -> Result<(), Failure> {
    match std::io::stdout().is_terminal() {
        true => data(text),
        false => write(text),
    }
}

/// Writes a line of JSON to standard output, to be read at once: as it is, but to a terminal.
pub(crate) fn line(json: &str) -> std::io::Result<()> {
    match std::io::stdout().is_terminal() {
        true => whole(&format!("{}\n", json_escaped(json))),
        false => whole(&format!("{json}\n")),
    }
}

fn write(text: &str) -> Result<(), Failure> {
    match whole(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Standard(error)),
        _ => Ok(()),
    }
}

fn whole(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Writes `value` as a JSON document to standard output.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    write(&document(value)?)
}

/// `value` as a JSON document. What a terminal would not show as it is, is written as JSON's own escape.
pub(crate) fn document(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Standard(std::io::Error::other(error)))?;
    Ok(json_escaped(&text) + "\n")
}

/// `text`, which is JSON, without control characters; outside of strings it has none but line feeds.
fn json_escaped(text: &str) -> String {
    let escape = |c: char, out: &mut String| out.push_str(&format!("\\u{:04x}", u32::from(c)));
    escaped(text, |c| c != '\n' && is_hidden(c), escape)
}

/// Writes a line to standard error. If even that fails, there is nowhere left to say so.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible(text));
}

/// Writes a line of JSON to standard error.
pub(crate) fn event(value: &serde_json::Value) {
    say(&event_line(value));
}

/// `value` on a line.
pub(crate) fn event_line(value: &serde_json::Value) -> String {
    json_escaped(&value.to_string())
}

/// `error: ...`, then a blank line and `hint: ...`.
pub(crate) fn error(message: &str, hint: Option<&str>, color: bool) {
    let (red, cyan, plain) =
        if color { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
    let mut text = format!("{red}error:{plain} {}\n", visible(message));
    if let Some(hint) = hint {
        text += &format!("\n{cyan}hint:{plain} {}\n", visible(hint));
    }
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Lines of a name and what is to be said about it.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts.iter().map(|(name, fact)| format!("{name:<width$}  {}\n", one_line(fact))).collect()
}

/// Columns of text with a heading. A name that begins with `>` is a column of numbers.
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one.
    pub(crate) fn new(columns: &[impl ToString]) -> Self {
        Self { columns: columns.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell.into())).collect());
    }

    /// Whether there is nothing below the heading.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let heading: Vec<String> =
            self.columns.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        let lines = || std::iter::once(&heading).chain(&self.rows);
        let width = |column: usize| {
            lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> =
            (0..heading.len()).map(|column| width(column).unwrap_or(0)).collect();
        for line in lines() {
            let mut text = String::new();
            for ((cell, &width), name) in line.iter().zip(&widths).zip(&self.columns) {
                if name.starts_with('>') {
                    text += &format!("{cell:>width$}  ");
                } else {
                    text += &format!("{cell:<width$}  ");
                }
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// `text` without control characters: each is written as its escape.
fn visible(text: &str) -> String {
    escaped(text, |c| c != '\n' && is_hidden(c), spelled)
}

/// `text` on one line.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text, is_hidden, spelled)
}

fn is_hidden(c: char) -> bool {
    c.is_control() || BIDIRECTIONAL.contains(&c)
}

fn spelled(c: char, out: &mut String) {
    out.extend(c.escape_default());
}

fn escaped(
    text: &str,
    hidden: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String),
) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) { escape(c, &mut out) } else { out.push(c) }
    }
    out
}

/// A path that can be pasted into a shell.
pub(crate) fn shell_word(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// They reorder the rest of a line on screen.
const BIDIRECTIONAL: [char; 9] = [
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}',
    '\u{2069}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_words_left_and_numbers_right() {
        let mut table = Table::new(&["role", ">bytes", "why"]);
        table.row(["norm", "1,024", ""]);
        table.row(["embedding", "8", "kept"]);
        assert_eq!(
            table.to_string(),
            "role       bytes  why\nnorm       1,024\nembedding      8  kept\n"
        );
    }

    #[test]
    fn control_characters_of_names_are_spelled_out() {
        assert_eq!(visible("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\nc");
        assert_eq!(visible("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(one_line("a\nb"), "a\\nb");
    }

    #[test]
    fn documents_are_json_whatever_a_string_holds() {
        let strings = ["\u{85}", "\u{9b}31m", "\u{202e}", "\u{7f}", "\u{0}\n\t\"\\", "é 漢 😀"];
        let text = document(&strings).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !is_hidden(c)), "{text}");
        let back: Vec<String> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, strings);
    }

    #[test]
    fn paths_with_spaces_and_quotes_can_be_pasted() {
        let check = |path, expected: &str| assert_eq!(shell_word(path), expected);
        check("out/Llama-3.1-8B-w4a16", "out/Llama-3.1-8B-w4a16");
        check("my model", "'my model'");
        check("it's", r"'it'\''s'");
        check("", "''");
    }
}
