//! Which of a list of targets a module's name matches.
//!
//! A target is the exact path of a module, a regular expression that begins with `re:` and is
//! anchored at the start, or the name of a class. Modules here are linear layers.

use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeMap;

/// Targets, each with the index of what it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    /// Paths and class names.
    names: BTreeMap<String, Entry>,
    /// In the order in which compressed-tensors tries them: that of their texts.
    expressions: Vec<(Regex, Entry)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Place in the list, for vLLM takes the first that matches.
    place: usize,
    value: usize,
}

/// An expression that we cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not an expression, or one that looks around.
    #[error("`{pattern}` is no regular expression that we can match: {why}")]
    Expression {
        /// The expression.
        pattern: String,
        /// What the parser says.
        why: String,
    },
    /// More than any model needs.
    #[error("{0} regular expressions, at most {MOST_EXPRESSIONS} are taken")]
    TooMany(usize),
}

/// Parts of one fused layer that are not treated alike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{first}` and `{other}` are parts of `{module}`, but {}", match .ignored {
    true => "only one of them is in `ignore`",
    false => "are not in the same group",
})]
pub struct FusedConflict {
    /// Whether only some are in `ignore`: vLLM refuses the model then. Of parts in different groups it
    /// takes the first one's for all, without a word.
    pub ignored: bool,
    /// The fused layer.
    pub module: String,
    /// One part.
    pub first: String,
    /// Another part, of another group.
    pub other: String,
}

const MOST_EXPRESSIONS: usize = 1024;

/// Bytes of a compiled expression; those of model names take a few thousand.
const LARGEST_EXPRESSION: usize = 1 << 18;

impl Matcher {
    /// Later entries of the same text replace earlier ones, but keep their place.
    pub(crate) fn new<'a>(
        targets: impl Iterator<Item = (&'a str, usize)>,
    ) -> Result<Self, PatternError> {
        let (mut names, mut texts) = (BTreeMap::new(), BTreeMap::new());
        for (place, (target, value)) in targets.enumerate() {
            let (map, text) = match target.strip_prefix("re:") {
                Some(text) => (&mut texts, text),
                None => (&mut names, target),
            };
            map.entry(text.to_owned()).or_insert(Entry { place, value }).value = value;
        }
        if texts.len() > MOST_EXPRESSIONS {
            return Err(PatternError::TooMany(texts.len()));
        }
        let compile = |(text, entry): (String, Entry)| Ok((expression(&text)?, entry));
        let expressions = texts.into_iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { names, expressions })
    }

    /// What `module` belongs to: by its path, else by an expression, else by its class.
    pub(crate) fn find(&self, module: &str) -> Option<usize> {
        let name = self.names.get(module);
        let expression = || self.matching(module).next();
        // The class itself, then the class that all modules derive from.
        let class = || ["Linear", "Module"].iter().find_map(|&class| self.names.get(class));
        name.or_else(expression).or_else(class).map(|entry| entry.value)
    }

    /// What vLLM finds for `module`: by its own name, else by those of all its `parts`, else by a
    /// piece of its class's name.
    pub(crate) fn find_fused(
        &self,
        module: &str,
        parts: &[&str],
    ) -> Result<Option<usize>, FusedConflict> {
        let class = || {
            let names = self.names.iter();
            let inside = names.filter(|(name, _)| "parallellinear".contains(&name.to_lowercase()));
            inside.map(|(_, entry)| entry).min_by_key(|entry| entry.place).map(|e| e.value)
        };
        match self.first_named(module) {
            Some(found) => Ok(Some(found)),
            None => Ok(self.agreed(module, parts, false)?.or_else(class)),
        }
    }

    /// Whether vLLM finds `module` in this list: by its path, else by the names of all its `parts`.
    pub(crate) fn has_fused(&self, module: &str, parts: &[&str]) -> Result<bool, FusedConflict> {
        let itself = [module];
        let parts = if parts.is_empty() { &itself } else { parts };
        Ok(self.names.contains_key(module) || self.agreed(module, parts, true)?.is_some())
    }

    /// What all `parts` belong to, by path or expression.
    fn agreed(
        &self,
        module: &str,
        parts: &[&str],
        ignored: bool,
    ) -> Result<Option<usize>, FusedConflict> {
        let Some((first, others)) = parts.split_first() else { return Ok(None) };
        let found = self.first_named(first);
        match others.iter().find(|other| self.first_named(other) != found) {
            None => Ok(found),
            Some(other) => Err(FusedConflict {
                ignored,
                module: module.to_owned(),
                first: (*first).to_owned(),
                other: (*other).to_owned(),
            }),
        }
    }

    /// The first target in the list whose path or expression matches.
    fn first_named(&self, module: &str) -> Option<usize> {
        let entries = self.matching(module).chain(self.names.get(module));
        entries.min_by_key(|entry| entry.place).map(|entry| entry.value)
    }

    fn matching(&self, module: &str) -> impl Iterator<Item = &Entry> {
        let matches = |regex: &Regex| regex.is_match(module.as_bytes());
        self.expressions.iter().filter(move |(regex, _)| matches(regex)).map(|(_, entry)| entry)
    }
}

/// Whether `target`, a path or an expression, holds for any of `modules`. An expression that is none
/// holds for nothing.
pub fn any_matches<'a>(target: &str, mut modules: impl Iterator<Item = &'a str>) -> bool {
    let matcher = Matcher::new(std::iter::once((target, 0)));
    matcher.is_ok_and(|matcher| modules.any(|module| matcher.first_named(module).is_some()))
}

/// A regular expression over names of modules or tensors.
#[derive(Clone, Debug)]
pub struct NamePattern(Regex);

impl NamePattern {
    /// The expression of a target, without the `re:` before it.
    ///
    /// # Errors
    /// It is none, or looks around.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        expression(text).map(Self)
    }

    /// Whether it matches from the start of `name` on, as Python's `re.match` does.
    pub fn is_match(&self, name: &str) -> bool {
        self.0.is_match(name.as_bytes())
    }
}

/// Anchored as Python's `re.match` does.
pub(crate) fn expression(text: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(&format!(r"\A(?:{text})"))
        .unicode(false)
        .size_limit(LARGEST_EXPRESSION)
        .dfa_size_limit(LARGEST_EXPRESSION)
        .build()
        .map_err(|error| PatternError::Expression {
            pattern: text.chars().take(60).collect(),
            why: match error {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                error => error.to_string().lines().last().unwrap_or_default().to_owned(),
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(targets: &[&str]) -> Matcher {
        let entries = targets.iter().enumerate().map(|(i, &target)| (target, i));
        Matcher::new(entries).expect("patterns")
    }

    /// The expected places are those of compressed-tensors 0.19.
    #[test]
    fn paths_come_before_expressions_and_expressions_before_classes() {
        let check = |targets: &[&str], module, expected| {
            assert_eq!(matcher(targets).find(module), expected, "{targets:?} {module}");
        };
        let all = ["Linear", "re:.*down_proj", "a.down_proj"];
        check(&all, "a.down_proj", Some(2));
        check(&all, "b.down_proj", Some(1));
        check(&all, "b.up_proj", Some(0));
        check(&all[1..], "b.up_proj", None);
        // Expressions are tried by their texts, not by their places.
        check(&["re:b.*", "re:.*x"], "bx", Some(1));
        check(&["Linear", "Linear"], "m", Some(1));
        check(&["Module"], "m", Some(0));
        check(&["linear"], "m", None);
    }

    #[test]
    fn expressions_are_anchored_at_the_start_only() {
        let check = |target, module, expected| {
            assert_eq!(matcher(&[target]).find(module).is_some(), expected, "{target} {module}");
        };
        check("re:lm_head", "lm_head", true);
        check("re:lm_head", "model.lm_head", false);
        check("re:lm", "lm_head", true);
        check("re:.*lm_head", "model.lm_head", true);
        check("re:.*mlp.gate$", "model.layers.0.mlp.gate", true);
        check("re:.*mlp.gate$", "model.layers.0.mlp.gate_proj", false);
        check("re:a|b", "xb", false);
        check(r"re:model\.layers\.\d+\.mlp", "model.layers.17.mlp.up_proj", true);
    }

    #[test]
    fn a_target_holds_for_any_of_several_modules() {
        let check = |target, expected| {
            assert_eq!(any_matches(target, ["a.b", "c.d"].into_iter()), expected, "{target}");
        };
        check("c.d", true);
        check("re:c", true);
        check("re:d", false);
        check("re:(", false);
        check("Linear", false);
    }

    #[test]
    fn parts_of_a_fused_layer_must_agree() {
        let matcher = matcher(&["re:.*q_proj", "re:.*k_proj", "re:.*qk_proj", "re:.*[gu]_proj$"]);
        let agreed = |module, parts: &[&str]| matcher.find_fused(module, parts);
        assert_eq!(agreed("a.gu_proj", &["a.g_proj", "a.u_proj"]), Ok(Some(3)));
        assert_eq!(agreed("a.qk_proj", &["a.q_proj", "a.k_proj"]), Ok(Some(1)));
        assert_eq!(agreed("a.o_proj", &[]), Ok(None));
        let error = agreed("a.qv", &["a.q_proj", "a.v_proj"]).expect_err("v is not there");
        assert_eq!(
            error.to_string(),
            "`a.q_proj` and `a.v_proj` are parts of `a.qv`, but are not in the same group"
        );
        let error =
            matcher.has_fused("a.qv", &["a.q_proj", "a.v_proj"]).expect_err("v is not there");
        assert_eq!(
            error.to_string(),
            "`a.q_proj` and `a.v_proj` are parts of `a.qv`, but only one of them is in `ignore`"
        );
    }

    #[test]
    fn what_cannot_be_matched_is_refused() {
        let check = |pattern: &str| {
            let error = Matcher::new([(pattern, 0)].into_iter()).expect_err(pattern);
            assert!(error.to_string().starts_with('`'), "{error}");
        };
        check("re:(unclosed");
        check("re:(?!.*lm_head).*");
        check("re:((a{100}){100}){100}");
        let many: Vec<String> = (0..=MOST_EXPRESSIONS).map(|i| format!("re:{i}")).collect();
        let error = Matcher::new(many.iter().map(|text| (text.as_str(), 0))).expect_err("many");
        assert_eq!(error, PatternError::TooMany(1025));
    }
}
