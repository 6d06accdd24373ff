//! Names as a user gives them: of a tensor, of its module, or of many at once.

use globset::{Glob, GlobMatcher};
use llmopt_arch::Model;
use llmopt_codec::NamePattern;
use llmopt_run::Error;

/// The patterns of an option.
#[derive(Debug)]
pub(crate) struct Patterns {
    option: &'static str,
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    names: Names,
}

/// Which names a pattern means.
#[derive(Debug)]
enum Names {
    /// Those that a shell's wildcards match whole.
    Glob(GlobMatcher),
    /// `re:` and a regular expression, anchored at the start, as in a compressed-tensors `ignore` list.
    Expression(NamePattern),
}

impl Patterns {
    /// Parses the patterns that were given to `option`.
    ///
    /// # Errors
    /// One of them is neither a glob nor a regular expression.
    pub(crate) fn new(option: &'static str, texts: &[String]) -> Result<Self, Error> {
        let patterns = texts.iter().map(|text| Pattern::new(option, text));
        Ok(Self { option, patterns: patterns.collect::<Result<_, _>>()? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether one of them means `tensor`: by its full name, or by that of its module.
    pub(crate) fn is_match(&self, tensor: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_match(tensor))
    }

    /// Refuses a pattern that means no tensor of the model: a misspelt name would change nothing, and
    /// nobody would know.
    pub(crate) fn check_all_match(&self, model: &Model) -> Result<(), Error> {
        let names: Vec<&str> = model.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
        let is_idle = |pattern: &&Pattern| !names.iter().any(|name| pattern.is_match(name));
        match self.patterns.iter().find(is_idle) {
            None => Ok(()),
            Some(pattern) => Err(Error::RefusedWithHint {
                what: format!("`{} {}` matches no tensor of the model", self.option, pattern.text),
                hint: pattern.advice(&names),
            }),
        }
    }

    /// Refuses a pattern that means none of `tensors`, which are those that the option can change.
    pub(crate) fn check_all_mean<'a>(
        &self,
        tensors: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), Error> {
        let is_idle = |pattern: &&Pattern| !tensors.clone().any(|tensor| pattern.is_match(tensor));
        match self.patterns.iter().find(is_idle) {
            None => Ok(()),
            Some(pattern) => Err(Error::RefusedWithHint {
                what: format!(
                    "`{} {}` matches no matrix that can be quantized",
                    self.option, pattern.text
                ),
                hint: "weights of linear layers, the embedding and the output head can be"
                    .to_owned(),
            }),
        }
    }
}

impl Pattern {
    fn new(option: &str, text: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::Refused(format!("`{option} {text}`: {why}"));
        let names = match text.strip_prefix("re:") {
            Some(expression) => Names::Expression(
                NamePattern::new(expression).map_err(|error| invalid(error.to_string()))?,
            ),
            None => {
                let glob = Glob::new(text).map_err(|error| invalid(error.kind().to_string()))?;
                Names::Glob(glob.compile_matcher())
            }
        };
        Ok(Self { text: text.to_owned(), names })
    }

    fn is_match(&self, tensor: &str) -> bool {
        let is_meant = |name: &str| match &self.names {
            Names::Glob(glob) => glob.is_match(name),
            Names::Expression(expression) => expression.is_match(name),
        };
        is_meant(tensor) || module(tensor).is_some_and(is_meant)
    }

    /// What may have been meant.
    fn advice(&self, names: &[&str]) -> String {
        const SPELLINGS: &str = "a pattern is a full name of a tensor or module, a glob such as \
                                 `*.down_proj`, or `re:` and a regular expression such as \
                                 `re:.*down_proj`";
        if matches!(self.names, Names::Expression(_)) {
            return SPELLINGS.to_owned();
        }
        let all = names.iter().flat_map(|name| [Some(*name), module(name)]).flatten();
        let near = all.map(|name| (distance(&self.text, name), name)).min();
        match near.filter(|(distance, _)| *distance <= self.text.chars().count() / 3) {
            Some((_, name)) => format!("the nearest name is `{name}`"),
            None => SPELLINGS.to_owned(),
        }
    }
}

/// The module that a weight or bias belongs to.
fn module(tensor: &str) -> Option<&str> {
    tensor.strip_suffix(".weight").or_else(|| tensor.strip_suffix(".bias"))
}

/// Levenshtein's distance: insertions, deletions and substitutions that make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut costs: Vec<usize> = (0..=b.len()).collect();
    for (row, from) in a.chars().enumerate() {
        let mut diagonal = row;
        costs[0] = row + 1;
        for (column, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = costs[column + 1];
            costs[column + 1] = substituted.min(diagonal + 1).min(costs[column] + 1);
        }
    }
    costs[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_meant_by_their_names_and_their_modules() {
        let check = |pattern: &str, tensor: &str, expected| {
            let patterns = Patterns::new("--exclude", &[pattern.to_owned()]).expect(pattern);
            assert_eq!(patterns.is_match(tensor), expected, "{pattern} {tensor}");
        };
        let down = "model.layers.0.mlp.down_proj.weight";
        check(down, down, true);
        check("model.layers.0.mlp.down_proj", down, true);
        check("*.down_proj", down, true);
        check("*down_proj*", down, true);
        check("down_proj", down, false);
        check("re:.*down_proj", down, true);
        check("re:.*down_proj$", down, true);
        check("re:.*down_proj.weight$", down, true);
        check("re:down_proj", down, false);
        check(r"re:model\.layers\.(0|1)\.", down, true);
        check(r"re:model\.layers\.[1-9]\.", down, false);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_option() {
        let check = |pattern: &str, expected: &str| {
            let error = Patterns::new("--exclude", &[pattern.to_owned()]).expect_err(pattern);
            assert_eq!(error.to_string(), expected);
        };
        check("a[b", "`--exclude a[b`: unclosed character class; missing ']'");
        check(
            "re:(",
            "`--exclude re:(`: `(` is no regular expression that we can match: error: unclosed group",
        );
    }

    /// By hand: kitten to sitting is the usual example.
    #[test]
    fn distances_count_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("donw_proj", "down_proj"), 2);
        assert_eq!(distance("same", "same"), 0);
    }
}
