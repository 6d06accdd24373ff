//! No long cycle of files that name one another, within a crate.
//!
//! A file names another where it writes the name of an item that is defined there: in `use`, in a
//! path, in `impl`. Imports and re-exports are followed to the definition; a module's name and a
//! method's are none. What only tests see does not count.

mod components;
mod modules;
mod references;
mod source;

use crate::repository::text;
use anyhow::Result;
use modules::{Files, Modules};
use references::{Cycle, References};

/// As many files as one can still read as a whole.
const LONGEST: usize = 7;

pub(super) fn faults(files: &[String]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (root, references) in crates(files)? {
        faults.extend(long_cycles(&root, &references));
    }
    Ok(faults)
}

fn long_cycles(root: &str, references: &References) -> Vec<String> {
    let long = references.cycles().into_iter().filter(|cycle| cycle.len() > LONGEST);
    let fault = |cycle: Cycle<'_>| {
        let size = cycle.len();
        format!("{root}: {size} files name one another, more than {LONGEST}\n{cycle}")
    };
    long.map(fault).collect()
}

/// Prints every cycle of every crate, the short ones too.
pub(super) fn print(files: &[String]) -> Result<()> {
    for (root, references) in crates(files)? {
        let cycles = references.cycles();
        println!("{root}: {} files, {} cycles", references.files(), cycles.len());
        cycles.iter().for_each(|cycle| println!("{cycle}"));
    }
    Ok(())
}

/// Each crate by its root.
fn crates(files: &[String]) -> Result<Vec<(String, References)>> {
    let sources = files.iter().filter(|path| path.ends_with(".rs") && path.contains("src/"));
    let sources: Files =
        sources.map(|path| Ok((path.clone(), text(path)?))).collect::<Result<_>>()?;
    let is_root = |path: &&String| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    let roots = sources.keys().filter(is_root);
    roots.map(|root| Ok((root.clone(), Modules::of(root, &sources)?.references()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate whose `count` files name one another in a ring.
    fn ring(count: usize) -> Files {
        let root = (0..count).map(|i| format!("mod f{i}; pub use f{i}::S{i};")).collect();
        let file = |i: usize| {
            let text = format!("use crate::S{}; pub struct S{i};", (i + 1) % count);
            (format!("src/f{i}.rs"), text)
        };
        (0..count).map(file).chain([("src/lib.rs".to_owned(), root)]).collect()
    }

    fn faults_of(files: &Files) -> Vec<String> {
        let references = Modules::of("src/lib.rs", files).unwrap().references().unwrap();
        long_cycles("src/lib.rs", &references)
    }

    #[test]
    fn eight_files_in_a_ring_are_a_fault_and_seven_are_none() {
        assert!(faults_of(&ring(7)).is_empty());
        let faults = faults_of(&ring(8));
        let begin = "src/lib.rs: 8 files name one another, more than 7\n  \
                     8 files: f0.rs f1.rs f2.rs f3.rs f4.rs f5.rs f6.rs f7.rs\n    \
                     1 without an edge: f0.rs -> f1.rs (S1)\n";
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with(begin), "{}", faults[0]);
    }

    /// Re-exports tie nothing: the root names every file, and none names the root.
    #[test]
    fn the_root_is_in_no_ring() {
        let references = Modules::of("src/lib.rs", &ring(3)).unwrap().references().unwrap();
        assert!(references.to_string().contains("lib.rs -> f0.rs (S0)"));
        assert_eq!(references.cycles().iter().map(Cycle::len).collect::<Vec<_>>(), [3]);
    }
}
