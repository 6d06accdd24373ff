//! Habits of the Rust sources.

use crate::repository::text;
use anyhow::Result;

/// A file holds one idea; beyond this many lines it holds several.
const LONGEST: usize = 600;

/// Crates that may hold `unsafe`.
const UNSAFE: [&str; 1] = ["crates/linalg/src/lib.rs"];

/// What may not be written, and why. In two parts, so that this file does not contain it.
const UNWANTED: [((&str, &str), &str); 2] = [
    (("#[should", "_panic"), "a test says which error it expects; compare it"),
    (("#[ig", "nore]"), "write the reason: `= \"...\"`"),
];

pub(super) fn faults(files: &[String]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files.iter().filter(|path| path.ends_with(".rs")) {
        faults.extend(of_source(path, &text(path)?));
    }
    Ok(faults)
}

fn of_source(path: &str, source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !source.starts_with("//! ") {
        faults.push(format!("{path}: the first line is not `//!` and what the module is for"));
    }
    if path.ends_with("src/lib.rs")
        && !UNSAFE.contains(&path)
        && !source.contains("#![forbid(unsafe_code)]")
    {
        faults.push(format!("{path}: `#![forbid(unsafe_code)]` is missing"));
    }
    let lines = source.lines().count();
    if lines > LONGEST && path.contains("/src/") {
        faults.push(format!("{path}: {lines} lines, more than {LONGEST}"));
    }
    for ((first, second), why) in UNWANTED {
        let unwanted = format!("{first}{second}");
        if source.contains(&unwanted) {
            faults.push(format!("{path}: `{unwanted}`: {why}"));
        }
    }
    if path.starts_with("crates/arch/src/") {
        faults.extend(tolerant(source).map(|name| {
            format!("{path}: `{name}` reads family data without `deny_unknown_fields`")
        }));
    }
    faults
}

/// Structs with named fields that serde fills and that would skip a field nobody reads.
fn tolerant(source: &str) -> impl Iterator<Item = &str> {
    let derived = source.split("#[derive(").skip(1);
    derived.filter_map(|item| {
        let (traits, item) = item.split_once(")]")?;
        let (attributes, rest) = item.split_once("struct ")?;
        let name = rest.split(|c: char| !c.is_alphanumeric()).next()?;
        let named_fields = rest[name.len()..].trim_start().starts_with('{');
        let next_item_is_it = !attributes.contains(['{', ';']);
        let reads = traits.split(", ").any(|name| name == "Deserialize");
        let strict = attributes.contains("deny_unknown_fields");
        (reads && named_fields && next_item_is_it && !strict).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! Good.\n#![forbid(unsafe_code)]\n";

    #[track_caller]
    fn check(path: &str, source: &str, expected: &[&str]) {
        let found = of_source(path, source);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (fault, part) in found.iter().zip(expected) {
            assert!(fault.contains(part), "{fault}");
        }
    }

    #[test]
    fn each_habit_is_named() {
        check("crates/a/src/lib.rs", GOOD, &[]);
        check("crates/a/src/lib.rs", "//! Good.\n", &["forbid(unsafe_code)"]);
        check("crates/a/src/b.rs", "use std;\n", &["first line"]);
        check("crates/a/src/b.rs", &format!("//! Long.\n{}", "\n".repeat(LONGEST)), &["601 lines"]);
        let bad = format!("//! Test.\n{}{}]\n", UNWANTED[0].0.0, UNWANTED[0].0.1);
        check("crates/a/tests/b.rs", &bad, &["compare it"]);
    }

    #[test]
    fn only_strict_structs_read_family_data() {
        let strict =
            "//! F.\n#[derive(Debug, Deserialize)]\n#[serde(deny_unknown_fields)]\nstruct A {\n}";
        let tolerant = "//! F.\n#[derive(Debug, Deserialize)]\npub struct Loose {\n}";
        let tuple = "//! F.\n#[derive(Deserialize)]\nstruct B(String);";
        let other = "//! F.\n#[derive(Deserialize)]\nenum C { D }\nstruct E {}";
        check("crates/arch/src/family.rs", strict, &[]);
        check("crates/arch/src/family.rs", tolerant, &["`Loose`"]);
        check("crates/arch/src/family.rs", tuple, &[]);
        check("crates/arch/src/family.rs", other, &[]);
        check("crates/codec/src/family.rs", tolerant, &[]);
    }
}
