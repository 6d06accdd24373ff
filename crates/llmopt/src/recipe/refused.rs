//! How a refused recipe is told of: with its file, its line and its column.

use crate::failure::{Failure, Refusal};
use crate::recipe::arguments::Given;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use llmopt_recipe::{Position, Problem};
use std::error::Error;
use std::path::Path;

/// A problem of the recipe `path`.
pub(super) fn of_problem(path: &Path, problem: Problem) -> Failure {
    let place = match &problem.position {
        Position::File { .. } => format!("{}:{}", path.display(), problem.position),
        Position::Override(_) => format!("{} with `{}`", path.display(), problem.position),
    };
    let hint = problem.hint.unwrap_or_else(|| "`llmopt recipe schema` lists all keys".to_owned());
    Refusal::new(format!("{place}: {}", problem.what), hint).into()
}

/// No file, one that cannot be read, or one that is too long.
pub(super) fn unreadable(error: &dyn Error) -> Failure {
    Refusal::new(
        format!("there is no recipe: {error}"),
        "`llmopt recipe init MODEL` writes one; `llmopt run` alone takes `llmopt.toml` in the current folder",
    )
    .into()
}

pub(super) fn no_text(path: &Path, error: &std::string::FromUtf8Error) -> Failure {
    let at = error.utf8_error().valid_up_to();
    let lines = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
    let column = error.as_bytes()[..at].iter().rev().take_while(|byte| **byte != b'\n').count();
    Refusal::new(
        format!("{}:{}:{}: this is no UTF-8", path.display(), lines + 1, column + 1),
        "recipes are TOML, which is UTF-8",
    )
    .into()
}

/// What the command line's parser refused, at the key that it is about.
pub(super) fn of_clap(error: &clap::Error, given: &[Given], at: &Position) -> Problem {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let named = |kind| context(kind).map(|text| bare(&text));
    let option = named(ContextKind::InvalidArg).unwrap_or_default();
    let at = given.iter().find(|given| given.option == option).map_or(at, |given| &given.at);
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::ValueValidation => {
            let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            format!("`{value}` is no value of `{option}`{why}")
        }
        ErrorKind::InvalidValue => {
            let valid = context(ContextKind::ValidValue).unwrap_or_default();
            format!("`{value}` is no value of `{option}`: expected one of {valid}")
        }
        ErrorKind::ArgumentConflict => {
            let other = named(ContextKind::PriorArg).unwrap_or_default();
            format!("`{option}` does not go with `{other}`")
        }
        ErrorKind::MissingRequiredArgument => format!("`{option}` is missing"),
        _ => error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    Problem::new(at, what)
}

/// `samples` of `--samples <N>`
fn bare(option: &str) -> String {
    let name = option.trim_start_matches('-');
    name.split([' ', '=', '[', '<']).next().unwrap_or(name).to_owned()
}

/// What a command's own checks refused, at the first key that the refusal names.
pub(super) fn of_refusal(refusal: Refusal, given: &[Given], at: &Position) -> Problem {
    let names = |given: &&Given| {
        let option = format!("--{}", given.option);
        let mut words = refusal.message.split(['`', ' ', ',']);
        words.any(|word| word == option)
    };
    let at = given.iter().find(names).map_or(at, |given| &given.at);
    Problem::new(at, refusal.message.clone()).with_hint(refusal.hint)
}
