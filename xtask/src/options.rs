//! What follows a word on the command line.

use anyhow::{Context, Result, ensure};
use std::str::FromStr;

/// Arguments that nobody has taken yet.
pub(crate) struct Options(Vec<String>);

impl Options {
    pub(crate) fn new(arguments: impl IntoIterator<Item = String>) -> Self {
        Self(arguments.into_iter().collect())
    }

    /// Takes `--name`, and says whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|argument| argument != name);
        self.0.len() < before
    }

    /// Takes `--name VALUE`.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else {
            return Ok(None);
        };
        ensure!(at + 1 < self.0.len(), "`{name}` wants a value");
        let value = self.0.drain(at..=at + 1).nth(1).context("two were there")?;
        let parsed = value.parse().ok().with_context(|| format!("`{name}` cannot be `{value}`"))?;
        Ok(Some(parsed))
    }

    /// Everything left, none of which may be an option.
    pub(crate) fn words(self) -> Result<Vec<String>> {
        let unknown = self.0.iter().find(|argument| argument.starts_with('-'));
        ensure!(unknown.is_none(), "unknown option `{}`", unknown.map_or("", String::as_str));
        Ok(self.0)
    }

    /// Refuses whatever is left.
    pub(crate) fn done(self) -> Result<()> {
        let rest = self.words()?;
        ensure!(rest.is_empty(), "unknown argument `{}`", rest.join(" "));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        Options::new(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_and_values_are_taken_in_any_order() {
        let mut options = options("speed --runs 3 --check memory");
        assert!(options.flag("--check"));
        assert_eq!(options.value::<u32>("--runs").unwrap(), Some(3));
        assert_eq!(options.value::<u32>("--seed").unwrap(), None);
        assert_eq!(options.words().unwrap(), ["speed", "memory"]);
    }

    #[test]
    fn what_is_left_or_no_value_is_refused() {
        assert!(options("--what").done().is_err());
        assert!(options("what").done().is_err());
        assert!(options("--runs").value::<u32>("--runs").is_err());
        assert!(options("--runs x").value::<u32>("--runs").is_err());
    }
}
