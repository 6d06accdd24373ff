//! No crate holds more than its share of the lines.

use crate::repository::text;
use anyhow::Result;
use std::collections::BTreeMap;

/// One part in this many is the most for a crate.
const PARTS: usize = 5;

pub(super) fn faults(files: &[String]) -> Result<Vec<String>> {
    let mut lines = BTreeMap::new();
    for path in files {
        if let Some(name) = counted(path) {
            *lines.entry(name).or_default() += text(path)?.lines().count();
        }
    }
    Ok(too_large(&lines))
}

/// The crate whose lines `path` adds to: sources and tests under `crates/`. What tends the
/// repository is no part of the program.
fn counted(path: &str) -> Option<&str> {
    let (name, inside) = path.strip_prefix("crates/")?.split_once('/')?;
    let is_counted = inside.starts_with("src/") || inside.starts_with("tests/");
    (is_counted && inside.ends_with(".rs")).then_some(name)
}

fn too_large(lines: &BTreeMap<&str, usize>) -> Vec<String> {
    let all: usize = lines.values().sum();
    let large = lines.iter().filter(|(_, lines)| **lines * PARTS > all);
    let fault = |(name, lines): (&&str, &usize)| {
        let percent = *lines as f64 / all as f64 * 100.0;
        format!(
            "crates/{name}: {lines} of {all} lines, {percent:.1} %, more than one part in {PARTS}"
        )
    };
    large.map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_fifth_is_a_fault() {
        let lines = [("a", 200), ("b", 201), ("c", 100), ("d", 199), ("e", 300)].into();
        assert_eq!(
            too_large(&lines),
            [
                "crates/b: 201 of 1000 lines, 20.1 %, more than one part in 5",
                "crates/e: 300 of 1000 lines, 30.0 %, more than one part in 5",
            ]
        );
    }

    #[test]
    fn sources_and_tests_of_crates_count() {
        assert_eq!(counted("crates/a/src/b/c.rs"), Some("a"));
        assert_eq!(counted("crates/a/tests/b.rs"), Some("a"));
        assert_eq!(counted("crates/a/src/b.json"), None);
        assert_eq!(counted("crates/a/build.rs"), None);
        assert_eq!(counted("xtask/src/main.rs"), None);
    }
}
