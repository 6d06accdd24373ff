//! The YAML at the beginning of a model card, which the Hugging Face hub reads. It is added to line by line, and what
//! is not understood stays as it is.

use std::fmt::Write;

/// What front matter is to say: keys with their values, and tags.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    keys: Vec<(&'static str, String)>,
    tags: Vec<String>,
}

/// What a card begins with.
#[derive(Debug)]
pub enum FrontMatter<'a> {
    /// Text.
    None,
    /// Something that looks like front matter, and cannot be added to without a risk.
    Unreadable,
    /// Keys at the beginning of lines.
    Read(Found<'a>),
}

/// Front matter that was understood.
#[derive(Debug)]
pub struct Found<'a> {
    /// With the first dashes.
    head: &'a str,
    lines: Vec<Line<'a>>,
    /// From the last dashes on.
    tail: &'a str,
    newline: &'static str,
}

/// A line with its end.
#[derive(Debug)]
struct Line<'a> {
    text: &'a str,
    /// The key that stands at its beginning.
    key: Option<&'a str>,
}

impl Wanted {
    /// Nothing but these tags.
    pub fn new(tags: Vec<String>) -> Self {
        Self { keys: Vec::new(), tags }
    }

    /// The same, and a key whose value is this text.
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.keys.push((key, scalar(value)));
        self
    }

    /// Front matter of its own.
    pub fn fresh(&self) -> String {
        let mut text = "---\n".to_owned();
        let has_base = self.keys.iter().any(|(key, _)| *key == BASE);
        for (key, value) in self.keys.iter().filter(|(key, _)| has_base || *key != RELATION) {
            let _ = writeln!(text, "{key}: {value}");
        }
        let _ = writeln!(text, "tags:");
        for tag in &self.tags {
            let _ = writeln!(text, "- {}", scalar(tag));
        }
        text + "---\n"
    }
}

impl<'a> FrontMatter<'a> {
    /// That of a card.
    pub fn of(text: &'a str) -> Self {
        let blank = text.len() - text.trim_start().len();
        let first = text[blank..].split_inclusive('\n').next().unwrap_or("");
        if first.trim_end() != DASHES {
            return Self::None;
        }
        let head = blank + first.len();
        let mut lines = Vec::new();
        let mut at = head;
        for line in text[head..].split_inclusive('\n') {
            if line.trim_end() == DASHES {
                let newline = if first.ends_with("\r\n") { "\r\n" } else { "\n" };
                let found = Found { head: &text[..head], lines, tail: &text[at..], newline };
                return if found.is_plain() { Self::Read(found) } else { Self::Unreadable };
            }
            let Some(line) = Line::read(line) else { return Self::Unreadable };
            at += line.text.len();
            lines.push(line);
        }
        Self::Unreadable
    }
}

impl<'a> Line<'a> {
    /// A line that front matter may consist of: a key, an item of a list, a comment, nothing, or the inside of
    /// something.
    fn read(text: &'a str) -> Option<Self> {
        let content = text.trim_end();
        let key = key_of(content);
        let begins = |c: char| content.starts_with(c);
        let is_item = content == "-" || content.starts_with("- ");
        let goes_on = content.is_empty() || begins(' ') || begins('#') || is_item;
        (key.is_some() || goes_on).then_some(Self { text, key })
    }

    fn content(&self) -> &'a str {
        self.text.trim_end()
    }

    /// What stands behind its key, without a comment.
    fn value(&self) -> &'a str {
        let value = self.content().split_once(':').map_or("", |(_, value)| value.trim());
        if value.starts_with('#') { "" } else { value.split(" #").next().unwrap_or(value).trim() }
    }
}

/// The key at the beginning of a line.
fn key_of(line: &str) -> Option<&str> {
    let (key, rest) = line.split_once(':')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let begins = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (begins && key.chars().all(plain) && (rest.is_empty() || rest.starts_with(' '))).then_some(key)
}

impl Found<'_> {
    /// Whether no key is there twice, and nothing comes before the first.
    fn is_plain(&self) -> bool {
        let mut keys: Vec<&str> = self.lines.iter().filter_map(|line| line.key).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        let first = self.lines.iter().find(|line| !is_empty(line));
        keys.len() == all && first.is_none_or(|line| line.key.is_some())
    }

    /// It and the text behind it, with keys and tags that were missing.
    pub fn merged(&self, wanted: &Wanted) -> String {
        let mut out = self.head.to_owned();
        let tags = self.place("tags");
        for (number, line) in self.lines.iter().enumerate() {
            match tags {
                Some((first, end, indent)) if (first..end).contains(&number) => {
                    out += &self.tag_line(number, first, wanted);
                    if number + 1 == end {
                        out += &self.missing_items((first, end, indent), wanted);
                    }
                }
                _ => out.push_str(line.text),
            }
        }
        let has = |key: &str| self.lines.iter().any(|line| line.key == Some(key));
        let has_base = has(BASE) || wanted.keys.iter().any(|(key, _)| *key == BASE);
        for (key, value) in &wanted.keys {
            if !has(key) && (has_base || *key != RELATION) {
                let _ = write!(out, "{key}: {value}{}", self.newline);
            }
        }
        if !has("tags") {
            let _ = write!(out, "tags:{}", self.newline);
            for tag in &wanted.tags {
                let _ = write!(out, "- {}{}", scalar(tag), self.newline);
            }
        }
        out + self.tail
    }

    /// What is kept although it may be true of the original alone: another base model than was asked for, and
    /// results of evaluations.
    pub fn kept(&self, base: Option<&str>) -> Vec<String> {
        let mut kept = Vec::new();
        let place = |key| self.lines.iter().position(|line| line.key == Some(key));
        if let (Some(base), Some(there)) = (base, place(BASE))
            && !self.names(there, base)
        {
            kept.push(format!(
                "`README.md` names another `base_model` than `{base}`, which stays as it is"
            ));
        }
        if place(RESULTS).is_some() {
            kept.push(format!(
                "`{RESULTS}` in `README.md` stays as it is: are these the results of the original?"
            ));
        }
        kept
    }

    /// Whether the value of the key at `first`, or one of its items, is `name`.
    fn names(&self, first: usize, name: &str) -> bool {
        self.lines[first..self.end_of(first)].iter().any(|line| {
            let value = if line.key.is_some() { line.value() } else { item(line).unwrap_or("") };
            value.trim_matches(['[', ']']).split(',').any(|value| unquoted(value) == name)
        })
    }

    /// The lines of a key, from its own to the next one's, and how far its items are indented.
    fn place(&self, key: &str) -> Option<(usize, usize, &str)> {
        let first = self.lines.iter().position(|line| line.key == Some(key))?;
        let end = self.end_of(first);
        let indent = self.lines[first + 1..end].iter().find(|line| item(line).is_some());
        let indent =
            indent.map_or("", |line| &line.text[..line.text.len() - line.text.trim_start().len()]);
        Some((first, end, indent))
    }

    /// Behind the last line of the key at `first` that is not empty.
    fn end_of(&self, first: usize) -> usize {
        let next = self.lines[first + 1..].iter().position(|line| line.key.is_some());
        let mut end = next.map_or(self.lines.len(), |next| first + 1 + next);
        while end > first + 1 && is_empty(&self.lines[end - 1]) {
            end -= 1;
        }
        end
    }

    /// A line of the tags: as it is, but where the list stands on one line.
    fn tag_line(&self, number: usize, first: usize, wanted: &Wanted) -> String {
        let line = &self.lines[number];
        let value = line.value();
        let inside = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let (Some(inside), true) = (inside, number == first) else { return line.text.to_owned() };
        let there: Vec<&str> = inside.split(',').map(unquoted).collect();
        let missing: Vec<String> = wanted.missing(&there);
        if missing.is_empty() {
            return line.text.to_owned();
        }
        let comma = match inside.trim() {
            "" => "",
            text if text.ends_with(',') => " ",
            _ => ", ",
        };
        let list = format!("[{}{comma}{}]", inside.trim_end(), missing.join(", "));
        line.text.replacen(value, &list, 1)
    }

    /// The items that a list over several lines lacks.
    fn missing_items(&self, (first, end, indent): (usize, usize, &str), wanted: &Wanted) -> String {
        if !self.lines[first].value().is_empty() {
            return String::new();
        }
        let items = &self.lines[first + 1..end];
        // Something else than plain items: a list in a list, or an item over several lines.
        if items.iter().any(|line| item(line).is_none() && !is_empty(line)) {
            return String::new();
        }
        let there: Vec<&str> = items.iter().filter_map(item).map(unquoted).collect();
        let missing = wanted.missing(&there).into_iter();
        missing.map(|tag| format!("{indent}- {tag}{}", self.newline)).collect()
    }
}

impl Wanted {
    /// The tags that are not among these, as they are written.
    fn missing(&self, there: &[&str]) -> Vec<String> {
        let missing = self.tags.iter().filter(|tag| !there.contains(&tag.as_str()));
        missing.map(|tag| scalar(tag)).collect()
    }
}

/// The item of a list on this line, without a comment.
fn item<'a>(line: &Line<'a>) -> Option<&'a str> {
    let content = line.content().trim_start();
    let item = if content == "-" { Some("") } else { content.strip_prefix("- ") };
    item.map(|item| item.split(" #").next().unwrap_or(item).trim())
}

/// Nothing, or a comment.
fn is_empty(line: &Line<'_>) -> bool {
    let content = line.content().trim_start();
    content.is_empty() || content.starts_with('#')
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inside = |quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or(inside('\'')).unwrap_or(text)
}

/// Whether it can be the name of a repository on the hub: `owner/name`, or `name` alone.
pub fn is_repository(name: &str) -> bool {
    let part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let ends = ['-', '.'];
        !part.is_empty()
            && part.chars().all(plain)
            && !part.starts_with(ends)
            && !part.ends_with(ends)
            && !part.contains("--")
            && !part.contains("..")
    };
    name.len() <= MOST_LETTERS && name.split('/').count() <= 2 && name.split('/').all(part)
}

/// A value that YAML reads as this text.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    match is_word && !NOT_TEXT.contains(&text.to_ascii_lowercase().as_str()) {
        true => text.to_owned(),
        // JSON is YAML.
        false => serde_json::Value::from(text).to_string(),
    }
}

/// Words that YAML takes for something else.
const NOT_TEXT: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
/// As the hub has it.
const MOST_LETTERS: usize = 96;
const BASE: &str = "base_model";
const RELATION: &str = "base_model_relation";
const RESULTS: &str = "model-index";
const DASHES: &str = "---";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(front: &str, expected: &str) {
        let wanted = Wanted::new(vec!["llmopt".to_owned(), "int4".to_owned()])
            .with(BASE, "a/b")
            .with(RELATION, "quantized")
            .with("library_name", "transformers");
        let FrontMatter::Read(found) = FrontMatter::of(front) else { panic!("{front}") };
        let once = found.merged(&wanted);
        assert_eq!(once, expected);
        let FrontMatter::Read(again) = FrontMatter::of(&once) else { panic!("{once}") };
        assert_eq!(again.merged(&wanted), once, "twice");
    }

    const KEYS: &str =
        "base_model: a/b\nbase_model_relation: quantized\nlibrary_name: transformers\n";

    #[test]
    fn missing_keys_and_tags_are_added_and_nothing_else_changes() {
        let tags = "tags:\n- llmopt\n- int4\n";
        check(
            "---\nlicense: mit # ours\n---\n# A\n",
            &format!("---\nlicense: mit # ours\n{KEYS}{tags}---\n# A\n"),
        );
        check("---\n---\n", &format!("---\n{KEYS}{tags}---\n"));
        check(
            "---\ntags:\n  - a\n  - \"int4\" # b\n\nlibrary_name: other\n---\n",
            "---\ntags:\n  - a\n  - \"int4\" # b\n  - llmopt\n\nlibrary_name: other\nbase_model: a/b\n\
             base_model_relation: quantized\n---\n",
        );
        check(
            "---\ntags: [a, 'int4'] # x\n---\n",
            &format!("---\ntags: [a, 'int4', llmopt] # x\n{KEYS}---\n"),
        );
        check("---\ntags: []\n---\n", &format!("---\ntags: [llmopt, int4]\n{KEYS}---\n"));
        check(
            "---\ntags:\nmodel-index:\n- name: x\n  results:\n    - {a: b}\n---\n",
            &format!(
                "---\ntags:\n- llmopt\n- int4\nmodel-index:\n- name: x\n  results:\n    - {{a: b}}\n{KEYS}---\n"
            ),
        );
        // One tag without a list, and a list over several lines: as they are.
        check("---\ntags: a\n---\n", &format!("---\ntags: a\n{KEYS}---\n"));
        check("---\ntags: [a,\n  b]\n---\n", &format!("---\ntags: [a,\n  b]\n{KEYS}---\n"));
    }

    #[test]
    fn lines_end_as_they_did() {
        let windows = |text: &str| text.replace('\n', "\r\n");
        check(
            &windows("---\ntags:\n- a\n---\ntext\n"),
            &windows(&format!("---\ntags:\n- a\n- llmopt\n- int4\n{KEYS}---\ntext\n")),
        );
    }

    #[test]
    fn what_is_not_understood_is_told_apart() {
        for text in ["", "# A\n---\na: b\n---\n", "text", "----\n"] {
            assert!(matches!(FrontMatter::of(text), FrontMatter::None), "{text}");
        }
        for text in [
            "---\n",
            "---\na: b\n",
            "---\n{a: b}\n---\n",
            "---\n\"tags\": []\n---\n",
            "---\na: b\na: c\n---\n",
            "---\n- a\n---\n",
            "---\n\ttags: a\n---\n",
            "---\nhttp://x\n---\n",
            "---\n? a\n: b\n---\n",
            "---\n%YAML 1.2\n---\n",
            "---\ntags: [\na\n]\n---\n",
        ] {
            assert!(matches!(FrontMatter::of(text), FrontMatter::Unreadable), "{text}");
        }
    }

    #[test]
    fn values_are_text_to_yaml() {
        let check = |text, expected: &str| assert_eq!(scalar(text), expected);
        check("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B");
        check("1e5", "\"1e5\"");
        check("no", "\"no\"");
        check("a: b # c\n", "\"a: b # c\\n\"");
    }

    #[test]
    fn names_of_repositories_are_told_from_paths() {
        for name in ["gpt2", "meta-llama/Llama-3.1-8B", "a_b/c.d"] {
            assert!(is_repository(name), "{name}");
        }
        for name in ["", "/a", "a/", "a/b/c", "a b", "./a", "../a", "a--b", "-a", "a\n", "é", "a:b"]
        {
            assert!(!is_repository(name), "{name}");
        }
    }

    #[test]
    fn what_may_be_true_of_the_original_alone_is_told() {
        let kept = |front: &str, base| {
            let FrontMatter::Read(found) = FrontMatter::of(front) else { panic!("{front}") };
            found.kept(base).len()
        };
        let list = "---\nbase_model:\n- \"x/y\"\n- a/b\n---\n";
        assert_eq!([kept(list, Some("a/b")), kept(list, Some("a/c")), kept(list, None)], [0, 1, 0]);
        let one = "---\nbase_model: a/b # c\n---\n";
        assert_eq!([kept(one, Some("a/b")), kept(one, Some("c"))], [0, 1]);
        assert_eq!(kept("---\nbase_model: [a/b, 'x/y']\n---\n", Some("x/y")), 0);
        assert_eq!(kept("---\nmodel-index:\n- name: x\n---\n", None), 1);
    }
}
