//! Which file of a crate names items of which other, and what would break its cycles.

use super::components::{Edges, components, largest};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

/// Lines of advice of one kind, and names in a line.
const ADVICE: usize = 10;
const NAMES: usize = 4;

/// Who names whom.
#[derive(Debug)]
pub(super) struct References {
    /// Files below the crate's folder.
    files: Vec<String>,
    /// Names that the first file takes from the second.
    names: BTreeMap<(usize, usize), BTreeSet<String>>,
}

impl References {
    /// None yet among `files` in `folder`.
    pub(super) fn new(files: &[String], folder: &str) -> Self {
        let below = |file: &String| {
            file.strip_prefix(folder).unwrap_or(file).trim_start_matches('/').to_owned()
        };
        Self { files: files.iter().map(below).collect(), names: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, from: usize, to: usize, name: String) {
        if from != to {
            self.names.entry((from, to)).or_default().insert(name);
        }
    }

    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Files that reach one another, the longest cycle first.
    pub(super) fn cycles(&self) -> Vec<Cycle<'_>> {
        let edges: Edges = self.names.keys().copied().collect();
        let cycles = components(&edges).into_iter().filter(|files| files.len() > 1);
        cycles.map(|files| self.cycle(files.into_iter().collect())).collect()
    }

    fn cycle(&self, files: BTreeSet<usize>) -> Cycle<'_> {
        let is_inside = |edge: &(usize, usize)| files.contains(&edge.0) && files.contains(&edge.1);
        let edges = self.names.keys().copied().filter(is_inside).collect();
        Cycle { references: self, files, edges }
    }

    fn edge(&self, (from, to): (usize, usize)) -> String {
        let names = &self.names[&(from, to)];
        let shown: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
        let more = names.len() - shown.len();
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        format!("{} -> {} ({}{more})", self.files[from], self.files[to], shown.join(", "))
    }
}

impl Display for References {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.keys().try_for_each(|edge| writeln!(f, "{}", self.edge(*edge)))
    }
}

/// Files that reach one another.
pub(super) struct Cycle<'a> {
    references: &'a References,
    files: BTreeSet<usize>,
    edges: Edges,
}

impl Cycle<'_> {
    /// How many files are in it.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Each edge, and how many files the largest cycle has without it.
    fn cuts(&self) -> Vec<(usize, String)> {
        let cut = |edge: &(usize, usize)| {
            let mut rest = self.edges.clone();
            rest.remove(edge);
            (largest(&rest), self.references.edge(*edge))
        };
        self.ranked(self.edges.iter().map(cut))
    }

    /// Each item, and how many files the largest cycle has once it is in a file that names no other.
    fn moves(&self) -> Vec<(usize, String)> {
        let names = |edge: &(usize, usize)| &self.references.names[edge];
        let items: BTreeSet<(usize, &String)> = self
            .edges
            .iter()
            .flat_map(|edge| names(edge).iter().map(|name| (edge.1, name)))
            .collect();
        let moved = |(file, item): (usize, &String)| {
            let is_only_this = |edge: &(usize, usize)| {
                edge.1 == file && names(edge).len() == 1 && names(edge).contains(item)
            };
            let rest = self.edges.iter().copied().filter(|edge| !is_only_this(edge)).collect();
            (largest(&rest), format!("{item} of {}", self.references.files[file]))
        };
        self.ranked(items.into_iter().map(moved))
    }

    /// What shrinks the cycle, the most effective first.
    fn ranked(&self, changes: impl Iterator<Item = (usize, String)>) -> Vec<(usize, String)> {
        let mut changes: Vec<_> = changes.filter(|(size, _)| *size < self.len()).collect();
        changes.sort();
        changes.truncate(ADVICE);
        changes
    }
}

impl Display for Cycle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.iter().map(|file| self.references.files[*file].as_str());
        let files: BTreeSet<&str> = files.collect();
        let files: Vec<&str> = files.into_iter().collect();
        write!(f, "  {} files: {}", files.len(), files.join(" "))?;
        let advice = [("without an edge", self.cuts()), ("with an item in a leaf", self.moves())];
        for (change, changes) in advice {
            for (size, what) in changes {
                write!(f, "\n    {size} {change}: {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` and `b` name each other by one item each, `b`, `c`, `d` go round, `e` is named alone.
    fn references() -> References {
        let files = ["a", "b", "c", "d", "e"].map(|name| format!("src/{name}.rs"));
        let mut references = References::new(&files, "src");
        let edges = [(0, 1, "B"), (1, 0, "A"), (1, 2, "C"), (2, 3, "D"), (3, 1, "B"), (3, 1, "b")];
        for (from, to, name) in edges.into_iter().chain([(0, 4, "E"), (2, 2, "own")]) {
            references.add(from, to, name.to_owned());
        }
        references
    }

    #[test]
    fn edges_name_their_items() {
        let mut references = references();
        assert_eq!(references.edge((3, 1)), "d.rs -> b.rs (B, b)");
        "vwxyz".chars().for_each(|name| references.add(0, 4, name.to_string()));
        assert_eq!(references.edge((0, 4)), "a.rs -> e.rs (E, v, w, x, and 2 more)");
        assert_eq!(references.to_string().lines().count(), 6);
    }

    #[test]
    fn a_cycle_is_described_by_what_would_break_it() {
        let references = references();
        let cycles: Vec<String> = references.cycles().iter().map(Cycle::to_string).collect();
        let expected = "  4 files: a.rs b.rs c.rs d.rs
    2 without an edge: b.rs -> c.rs (C)
    2 without an edge: c.rs -> d.rs (D)
    2 without an edge: d.rs -> b.rs (B, b)
    3 without an edge: a.rs -> b.rs (B)
    3 without an edge: b.rs -> a.rs (A)
    2 with an item in a leaf: C of c.rs
    2 with an item in a leaf: D of d.rs
    3 with an item in a leaf: A of a.rs
    3 with an item in a leaf: B of b.rs";
        assert_eq!(cycles, [expected]);
    }
}
