//! The lines in which two texts differ.

use std::fmt::Write;

/// Lines of `expected` that are gone, marked `-`, lines of `found` that are new, marked `+`, and a few
/// around them.
pub(crate) fn lines(expected: &str, found: &str) -> String {
    let (old, new) = (split(expected), split(found));
    let marked = marked(&old, &new);
    let differs: Vec<usize> = (0..marked.len()).filter(|&at| marked[at].0 != ' ').collect();
    let is_near = |at: usize| differs.iter().any(|&other| at.abs_diff(other) <= AROUND);
    let mut text = String::new();
    let mut last = None;
    for at in (0..marked.len()).filter(|&at| is_near(at)) {
        if last.is_some_and(|last| last + 1 < at) {
            text += "  ...\n";
        }
        let (mark, line) = marked[at];
        let _ = writeln!(text, "  {mark}{line}");
        last = Some(at);
    }
    text
}

/// With their ends, so that a missing one shows.
fn split(text: &str) -> Vec<&str> {
    text.split('\n').collect()
}

/// All lines of both, each with its mark, along a longest common subsequence.
fn marked<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    // common[i][j]: the most lines that old[i..] and new[j..] have in common.
    let mut common = vec![vec![0usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut marked = Vec::new();
    while i < old.len() || j < new.len() {
        let both = i < old.len() && j < new.len();
        if both && old[i] == new[j] {
            marked.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
            marked.push(('-', old[i]));
            i += 1;
        } else {
            marked.push(('+', new[j]));
            j += 1;
        }
    }
    marked
}

/// Equal lines that are shown before and behind a difference.
const AROUND: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_with_what_is_around_them() {
        let numbered = |change: &dyn Fn(usize) -> String| (0..12).map(change).collect::<String>();
        let old = numbered(&|line| format!("{line}\n"));
        let new = numbered(&|line| match line {
            1 => String::new(),
            9 => "nine\n9\n".to_owned(),
            _ => format!("{line}\n"),
        });
        assert_eq!(
            lines(&old, &new),
            "   0\n  -1\n   2\n   3\n  ...\n   7\n   8\n  +nine\n   9\n   10\n"
        );
        assert_eq!(lines(&old, &old), "");
    }

    #[test]
    fn nothing_against_something_is_all_of_it() {
        assert_eq!(lines("", "a\n"), "  +a\n   \n");
        assert_eq!(lines("a", "a\n"), "   a\n  +\n");
    }
}
