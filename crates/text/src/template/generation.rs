//! `{% generation %}`: marks what the model itself says.
//!
//! Training code asks where those parts lie. For the text they are nothing but a scope, so the tag is
//! renamed to one that is known here: `with`.

/// The template with every `generation` renamed, line by line as it was.
pub(super) fn rewritten(template: &str) -> String {
    // The other line ends are one to Jinja.
    let template = template.replace("\r\n", "\n").replace('\r', "\n");
    let mut text = String::with_capacity(template.len());
    let mut rest = template.as_str();
    let mut raw = false;
    while let Some(at) = rest.find("{%").into_iter().chain(rest.find("{#")).min() {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let is_comment = rest.starts_with("{#") && !raw;
        let end = if is_comment { rest.find("#}") } else { Some(0) };
        let tag = Tag::parse(rest).filter(|_| !is_comment);
        match (tag, end) {
            (Some(tag), _) if raw => {
                raw = tag.name != "endraw";
                text.push_str(&rest[..tag.length]);
                rest = &rest[tag.length..];
            }
            (Some(tag), _) => {
                raw = tag.name == "raw";
                text.push_str(&tag.renamed(rest));
                rest = &rest[tag.length..];
            }
            (None, Some(end)) => {
                text.push_str(&rest[..end + 2]);
                rest = &rest[end + 2..];
            }
            (None, None) => break,
        }
    }
    text + rest
}

/// A tag that holds nothing but its name.
struct Tag<'a> {
    name: &'a str,
    start: usize,
    length: usize,
}

impl<'a> Tag<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let inside = text.strip_prefix("{%")?;
        let inside = inside.strip_prefix(['-', '+']).unwrap_or(inside).trim_start();
        let length = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let name = &inside[..length];
        let after = inside[length..].trim_start();
        let after = after.strip_prefix(['-', '+']).unwrap_or(after).strip_prefix("%}")?;
        let start = text.len() - inside.len();
        Some(Self { name, start, length: text.len() - after.len() })
    }

    fn renamed(&self, text: &str) -> String {
        let name = match self.name {
            "generation" => "with",
            "endgeneration" => "endwith",
            other => other,
        };
        let after = &text[self.start + self.name.len()..self.length];
        format!("{}{name}{after}", &text[..self.start])
    }
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
    fn what_only_looks_like_it_stays() {
        for same in [
            "{{ generation }}",
            "{% set generation = 1 %}{% if generation %}{% endif %}",
            "{# {% generation %} #}",
            "{% raw %}{% generation %}{# {% endraw %}",
            "{% generation",
            "{#",
            "{% if a == '{%' %}é{% endif %}",
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
