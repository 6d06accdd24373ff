//! Recipe files: TOML in which everything knows where it stands, held against a catalog of keys.
//!
//! This crate owns the syntax of recipes: positions of errors, overrides, unknown keys and what was meant,
//! wrong kinds of values, and the JSON schema for editors. It never knows what a key does, or that there is a
//! command line.

#![forbid(unsafe_code)]

mod catalog;
mod check;
mod document;
mod nearest;
mod overrides;
mod position;
mod schema;
mod value;

pub use catalog::{Key, Kind, Section};
pub use position::{Position, Problem};
pub use schema::schema;
pub use value::{Entry, Node, Table, Value};

/// Reads a recipe: `text` with `overrides` such as `stage.0.sparsity=0.3`, held against `catalog`.
///
/// # Errors
/// The first thing that is wrong, with its place: what is not TOML, a key that the catalog does not have, a
/// value of another kind than it says, a required key that is missing, or an override of nothing.
pub fn read(text: &str, overrides: &[String], catalog: &Section) -> Result<Table, Problem> {
    let mut recipe = document::parse(text)?;
    for text in overrides {
        overrides::apply(&mut recipe, text, catalog)?;
    }
    check::section(&recipe, catalog)?;
    Ok(recipe)
}
