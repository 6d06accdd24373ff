//! `cargo xtask gen`: facts stated once, and their copies.

use crate::families;
use crate::options::Options;
use crate::repository::{root, text};
use anyhow::{Context, Result, ensure};
use llmopt_arch::Family;
use std::fmt::Write;
use std::fs;

const REPAIR: &str = "`cargo xtask gen` writes it anew";

pub(crate) fn run(mut options: Options) -> Result<()> {
    let only_check = options.flag("--check");
    options.done()?;
    if only_check {
        return check();
    }
    families::write_all(root())?;
    for (path, text) in pages()? {
        fs::write(root().join(path), text).with_context(|| format!("cannot write `{path}`"))?;
    }
    Ok(())
}

/// Fails where a copy is stale.
pub(crate) fn check() -> Result<()> {
    families::check_all(root())?;
    for (path, expected) in pages()? {
        let found = text(path).with_context(|| format!("{path} is missing; {REPAIR}"))?;
        ensure!(found == expected, "{path} is stale; {REPAIR}");
    }
    Ok(())
}

/// Every generated page as it must be.
fn pages() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("docs/cli.md", reference()),
        ("docs/formats.md", page("docs/formats.md", "formats", &formats())?),
        ("README.md", page("README.md", "families", &supported())?),
    ])
}

fn reference() -> String {
    let note =
        "<!-- `cargo xtask gen` writes this from the definition that parses the command line. -->";
    format!("{note}\n\n{}", llmopt::reference())
}

/// The page at `path` with `content` between its markers `name` and `end of name`.
fn page(path: &str, name: &str, content: &str) -> Result<String> {
    replaced(&text(path)?, name, content)
        .with_context(|| format!("`{path}` has no markers `{name}`"))
}

fn replaced(page: &str, name: &str, content: &str) -> Option<String> {
    let begin = format!("<!-- {name}: written by cargo xtask gen -->\n");
    let end = format!("<!-- end of {name} -->");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{content}{end}{after}"))
}

fn formats() -> String {
    let mut text =
        String::from("| format | tensor | dtype | shape | content |\n|---|---|---|---|---|\n");
    for row in llmopt_codec::formats() {
        for part in row.parts {
            let _ = writeln!(
                text,
                "| `{}` | `{}` | {} | {} | {} |",
                row.format, part.name, part.dtype, part.shape, part.content
            );
        }
    }
    for row in llmopt_codec::formats() {
        let _ = writeln!(text, "\n`{}` stores {}.", row.format, row.schemes);
    }
    text
}

fn supported() -> String {
    let mut families: Vec<&Family> = Family::all().iter().collect();
    families.sort_by_key(|family| family.name());
    let mut text = String::from("| family | `model_type` | architectures |\n|---|---|---|\n");
    for family in families {
        let (types, architectures) = (quoted(family.model_types()), quoted(family.architectures()));
        let _ = writeln!(text, "| {} | {types} | {architectures} |", family.name());
    }
    text
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_the_markers_changes() {
        let page = "a\n<!-- x: written by cargo xtask gen -->\nold\n<!-- end of x -->\nb\n";
        let new = replaced(page, "x", "new\n").unwrap();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(replaced(&new, "x", "new\n").unwrap(), new);
        assert!(replaced(page, "y", "new\n").is_none());
    }
}
