//! The part of a card that is ours: between two comments, so that it can be replaced.

use crate::print;

/// `body` between its markers. What would end it early is no marker any more.
pub(super) fn marked(body: &str) -> String {
    format!("{BEGIN}\n\n{}\n\n{END}\n", body.trim().replace("<!--", "&lt;!--"))
}

/// `text` with `section` in place of the one that it has; at its end, if it has none.
pub(super) fn replaced(text: &str, section: &str, newline: &str) -> String {
    let section = section.replace('\n', newline);
    match found(text) {
        Some((begin, end)) => format!("{}{section}{}", &text[..begin], &text[end..]),
        None => {
            let gap = match text {
                text if text.ends_with(&newline.repeat(2)) => String::new(),
                text if text.ends_with('\n') => newline.to_owned(),
                _ => newline.repeat(2),
            };
            format!("{text}{gap}{section}")
        }
    }
}

/// Where the section begins and ends: from the last beginning that has an end behind it, so that of markers
/// that someone has torn apart nothing between is lost.
fn found(text: &str) -> Option<(usize, usize)> {
    let mut lines = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        lines.push((line.trim(), at, at + line.len()));
        at += line.len();
    }
    let end = lines.iter().rposition(|(line, ..)| *line == END)?;
    let begin = lines[..end].iter().rposition(|(line, ..)| *line == BEGIN)?;
    // Nothing of ours holds another end.
    (!lines[begin..end].iter().any(|(line, ..)| *line == END))
        .then_some((lines[begin].1, lines[end].2))
}

/// A name as a heading: letters that Markdown reads as something else are escaped.
pub(super) fn heading(name: &str) -> String {
    let mut out = String::new();
    for c in print::one_line(name).chars() {
        if MARKUP.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

const BEGIN: &str = "<!-- llmopt -->";
const END: &str = "<!-- /llmopt -->";
const MARKUP: &str = "\\`*_{}[]<>()#+!|~$&";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_in_place_and_nothing_else_is_touched() {
        let section = marked("ours");
        let check = |before: &str, expected: &str| {
            let once = replaced(before, &section, "\n");
            assert_eq!(once, expected);
            assert_eq!(replaced(&once, &section, "\n"), once, "twice");
        };
        check("# A\n", &format!("# A\n\n{section}"));
        check("# A", &format!("# A\n\n{section}"));
        check("# A\n\n", &format!("# A\n\n{section}"));
        let old = "<!-- llmopt -->\nold\n<!-- /llmopt -->\n";
        check(&format!("a\n{old}b\n"), &format!("a\n{section}b\n"));
        // Torn apart: what stands between is somebody's.
        check("<!-- llmopt -->\nb\n", &format!("<!-- llmopt -->\nb\n\n{section}"));
        check(&format!("<!-- llmopt -->\nb\n{old}"), &format!("<!-- llmopt -->\nb\n{section}"));
    }

    #[test]
    fn nothing_in_it_ends_it() {
        let section = marked("`<!-- /llmopt -->`\n<!-- /llmopt -->\n<!-- llmopt -->");
        assert_eq!(section.matches("<!--").count(), 2, "{section}");
    }

    #[test]
    fn names_are_no_markup() {
        assert_eq!(heading("a_b*<x>`"), "a\\_b\\*\\<x\\>\\`");
        assert_eq!(heading("a\nb"), "a\\\\nb");
    }
}
