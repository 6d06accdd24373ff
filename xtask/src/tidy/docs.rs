//! Paths and links in the documentation.

use crate::repository::{root, text};
use anyhow::Result;
use std::path::Path;

pub(super) fn faults(files: &[String]) -> Result<Vec<String>> {
    let top = |path: &String| path.split('/').next().map(str::to_owned);
    let mut folders: Vec<String> =
        files.iter().filter(|path| path.contains('/')).filter_map(top).collect();
    folders.dedup();
    let exists = |path: &Path| root().join(path).exists();
    let mut faults = Vec::new();
    for path in files.iter().filter(|path| path.ends_with(".md")) {
        faults.extend(of_page(path, &text(path)?, &folders, &exists));
    }
    Ok(faults)
}

fn of_page(
    path: &str,
    page: &str,
    folders: &[String],
    exists: &dyn Fn(&Path) -> bool,
) -> Vec<String> {
    let here = Path::new(path).parent().unwrap_or(Path::new(""));
    let broken = |target: &&str| !exists(&here.join(target));
    let links =
        links(page).filter(broken).map(|link| format!("{path}: the link `{link}` leads nowhere"));
    let missing = |target: &&str| !exists(Path::new(target));
    let paths =
        paths(page, folders).filter(missing).map(|name| format!("{path}: no `{name}` here"));
    links.chain(paths).collect()
}

/// Targets of relative links, without their anchors.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter_map(|target| target.split('#').next());
    files.filter(|target| !target.is_empty() && !target.contains(':'))
}

/// Words in backticks that begin with one of the repository's folders, as far as they name one file
/// or folder: `crates/*/src` is `crates`.
fn paths<'a>(page: &'a str, folders: &'a [String]) -> impl Iterator<Item = &'a str> {
    let quoted = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let words = quoted.flat_map(str::split_whitespace);
    let ours = words.filter(|word| {
        word.split_once('/').is_some_and(|(top, _)| folders.iter().any(|folder| folder == top))
    });
    ours.map(|word| {
        let end = word.find(['*', '{', '<', ':', ',']).unwrap_or(word.len());
        let plain = &word[..end];
        if end < word.len() && word[end..].starts_with(['*', '{', '<']) {
            plain.rsplit_once('/').map_or(plain, |(folder, _)| folder)
        } else {
            plain
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_link_and_a_missing_path_are_named() {
        let page = "See [one](architecture.md#crates), [two](gone.md), [three](https://x.y/z).\n\
                    `crates/tensor/src` and `crates/gone.rs`, `crates/*/none`, `other/path`, crates/plain\n";
        let there = ["docs/architecture.md", "crates/tensor/src", "crates"];
        let exists = |path: &Path| there.iter().any(|known| Path::new(known) == path);
        assert_eq!(
            of_page("docs/page.md", page, &["crates".to_owned()], &exists),
            [
                "docs/page.md: the link `gone.md` leads nowhere",
                "docs/page.md: no `crates/gone.rs` here"
            ]
        );
    }
}
