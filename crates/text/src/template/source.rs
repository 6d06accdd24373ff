//! A template as the engine takes it.
//!
//! Two things are written in another way, line by line as they were. `{% generation %}` marks what the
//! model itself says; training code asks where those parts lie, and for the text they are nothing but
//! a scope, so the tag becomes `with`. And a slice with a step becomes a call: backwards, the engine
//! reads before the start of what is empty, and does not stop where it should.

/// The method that a slice with a step becomes.
pub(super) const SLICE: &str = "__slice__";

/// The template with what the engine does not take written in another way.
pub(super) fn rewritten(template: &str) -> String {
    // The other line ends are one to Jinja.
    let template = template.replace("\r\n", "\n").replace('\r', "\n");
    let mut text = String::with_capacity(template.len());
    let mut rest = template.as_str();
    while let Some(at) = ["{%", "{{", "{#"].iter().filter_map(|mark| rest.find(mark)).min() {
        text.push_str(&rest[..at]);
        let (part, after) = rest[at..].split_at(end_of_part(&rest[at..]));
        match part.starts_with("{#") || part.len() < 4 {
            true => text.push_str(part),
            false => text.push_str(&renamed(&sliced(part))),
        }
        rest = after;
        if tag_name(part) == "raw" {
            let (raw, after) = rest.split_at(start_of_endraw(rest));
            text.push_str(raw);
            rest = after;
        }
    }
    text + rest
}

/// Where a comment, a tag or an expression ends that starts here.
fn end_of_part(text: &str) -> usize {
    let (mark, nests) = match text.as_bytes()[1] {
        b'#' => return text.find("#}").map_or(text.len(), |at| at + 2),
        b'%' => ("%}", false),
        _ => ("}}", true),
    };
    let mut depth = 0_usize;
    let mut code = Code { rest: &text[2..] };
    while !code.rest.is_empty() {
        if code.rest.starts_with(mark) && (depth == 0 || !nests) {
            return text.len() - code.rest.len() + 2;
        }
        match code.token() {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}

/// Code in pieces: a whole text in quotes, or else one character.
struct Code<'a> {
    rest: &'a str,
}

impl<'a> Code<'a> {
    /// The next piece; there must be one.
    fn token(&mut self) -> &'a str {
        let mut characters = self.rest.chars();
        let first = characters.next().unwrap_or_default();
        let mut length = first.len_utf8().min(self.rest.len());
        if matches!(first, '\'' | '"') {
            let mut escaped = false;
            for character in characters {
                length += character.len_utf8();
                match character {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    _ if character == first => break,
                    _ => {}
                }
            }
        }
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        token
    }
}

/// Code in which slices with a step are calls.
fn sliced(code: &str) -> String {
    let mut text = String::with_capacity(code.len());
    let mut open: Vec<Bracket> = Vec::new();
    let mut code = Code { rest: code };
    while !code.rest.is_empty() {
        let token = code.token();
        match (token, open.last_mut()) {
            ("[" | "(" | "{", _) => open.push(Bracket { at: text.len(), colons: Vec::new() }),
            (":", Some(bracket)) => bracket.colons.push(text.len()),
            ("]" | ")" | "}", _) => {
                let bracket = open.pop();
                if let Some(call) = bracket.filter(|_| token == "]").and_then(|b| b.call(&text)) {
                    text.truncate(call.0);
                    text.push_str(&call.1);
                    continue;
                }
            }
            _ => {}
        }
        text.push_str(token);
    }
    text
}

/// A bracket that was opened, and the colons that belong to it.
struct Bracket {
    at: usize,
    colons: Vec<usize>,
}

impl Bracket {
    /// If it is a slice with a step: where it starts, and the call.
    fn call(&self, text: &str) -> Option<(usize, String)> {
        let [first, second] = self.colons[..] else { return None };
        let parts = [&text[self.at + 1..first], &text[first + 1..second], &text[second + 1..]];
        let part = |part: &str| if part.trim().is_empty() { "none" } else { part }.to_owned();
        Some((self.at, format!(".{SLICE}({})", parts.map(part).join(", "))))
    }
}

/// The name of a tag that holds nothing else.
fn tag_name(part: &str) -> &str {
    let inside = part.strip_prefix("{%").and_then(|part| part.strip_suffix("%}"));
    let blank = |c: char| c.is_whitespace() || matches!(c, '-' | '+');
    inside.unwrap_or_default().trim_matches(blank)
}

fn renamed(part: &str) -> String {
    match tag_name(part) {
        "generation" => part.replacen("generation", "with", 1),
        "endgeneration" => part.replacen("endgeneration", "endwith", 1),
        _ => part.to_owned(),
    }
}

fn start_of_endraw(text: &str) -> usize {
    let is_end = |at: &usize| {
        let end = text[*at..].find("%}").map_or(text.len(), |end| at + end + 2);
        tag_name(&text[*at..end]) == "endraw"
    };
    text.match_indices("{%").map(|(at, _)| at).find(is_end).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        assert_eq!(rewritten(template), expected);
    }

    #[test]
    fn the_tag_is_renamed_and_keeps_its_blanks() {
        check("a{% generation %}b{%- endgeneration -%}c", "a{% with %}b{%- endwith -%}c");
        check("{%generation%}\n{%+\nendgeneration+%}", "{%with%}\n{%+\nendwith+%}");
    }

    #[test]
    fn a_slice_with_a_step_is_a_call() {
        check("{{ a[::-1] }}", "{{ a.__slice__(none, none, -1) }}");
        check(
            "{% for m in a[1:b[2]:c[::2]][0] %}",
            "{% for m in a.__slice__(1, b[2], c.__slice__(none, none, 2))[0] %}",
        );
        check("{{ a[{'k': 1}:'[:]':(-1)] }}", "{{ a.__slice__({'k': 1}, '[:]', (-1)) }}");
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for same in [
            "{{ generation }}",
            "{% set generation = 1 %}{% if generation %}{% endif %}",
            "{# {% generation %} #}",
            "{% raw %}{% generation %}{# {{ a[::-1] }}{% endraw %}",
            "{% generation",
            "{#",
            "{%",
            "{{",
            "{{ '",
            "{% if a == '%}é' %}é{% endif %}",
            "{{ {'a': {'b': 1}} }}[::-1]{{ '[::-1]' }}",
            "{{ a[1:] }}{{ a[:-1] }}{{ [a, {'b': c}] }}{{ \"\\\"[::-1]\" }}",
            "{{ ]})[ }}",
        ] {
            check(same, same);
        }
    }

    #[test]
    fn after_a_comment_or_raw_text_it_counts_again() {
        check("{# #}{% generation %}", "{# #}{% with %}");
        check("{% raw %}{#{% endraw %}{% generation %}", "{% raw %}{#{% endraw %}{% with %}");
    }

    #[test]
    fn line_ends_become_one() {
        check("a\r\nb\rc", "a\nb\nc");
    }
}
