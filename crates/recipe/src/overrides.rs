//! Overrides: `stage.0.sparsity=0.3`, `stage.quantize.bits=4`, `output=deploy`.

use crate::catalog::{Key, Kind, Section};
use crate::document::parse_value;
use crate::position::{Position, Problem};
use crate::value::{Entry, Node, Table, Value};

/// Changes `recipe` as `text` says. What is set is checked later, as everything is.
///
/// # Errors
/// If it is no override, or goes to a place that there is not.
pub(crate) fn apply(recipe: &mut Table, text: &str, catalog: &Section) -> Result<(), Problem> {
    let at = Position::Override(text.to_owned());
    let form = || Problem::new(&at, "an override is KEY=VALUE, such as stage.0.sparsity=0.3");
    let (path, value) = text.split_once('=').ok_or_else(form)?;
    let path: Vec<&str> = path.split('.').map(str::trim).collect();
    if path.iter().any(|key| key.is_empty()) {
        return Err(form());
    }
    let value = value.trim();
    let plain = || Node { value: Value::Text(value.to_owned()), at: at.clone() };
    let node = parse_value(value, &at).unwrap_or_else(plain);
    set(recipe, &path, node, catalog)
}

fn set(table: &mut Table, path: &[&str], node: Node, catalog: &Section) -> Result<(), Problem> {
    let at = node.at.clone();
    match path {
        [] => Ok(()),
        [key] => {
            *value_of(table, key, &at) = node;
            Ok(())
        }
        [key, rest @ ..] => match catalog.key(key).map(|key| &key.kind) {
            Some(Kind::Section(section)) => {
                set(table_of(value_of(table, key, &at), key)?, rest, node, section)
            }
            Some(Kind::Named) => {
                set(table_of(value_of(table, key, &at), key)?, rest, node, &no_keys(key))
            }
            Some(Kind::Alternatives(section)) => {
                in_alternative(value_of(table, key, &at), rest, node, section)
            }
            Some(_) => Err(Problem::new(&at, format!("`{key}` has no keys"))),
            None => {
                let entry = Entry { key: (*key).to_owned(), at, node };
                Err(crate::check::unknown(&entry, catalog))
            }
        },
    }
}

/// A table of names, which nothing is known of.
fn no_keys(name: &str) -> Section {
    Section { name: format!("`{name}`"), help: String::new(), keys: Vec::new() }
}

/// Sets what `path` says in one of an array's tables, which is named by its number or by the key that it
/// alone holds. That key may be left out of the path behind a number.
fn in_alternative(
    array: &mut Node,
    path: &[&str],
    node: Node,
    catalog: &Section,
) -> Result<(), Problem> {
    let at = node.at.clone();
    let Value::List(items) = &mut array.value else { return Ok(()) };
    let [first, rest @ ..] = path else { return Ok(()) };
    let number = match first.parse::<usize>() {
        Ok(number) => number,
        Err(_) => named(items, first).map_err(|what| Problem::new(&at, what))?,
    };
    let last = items.len().wrapping_sub(1);
    let Some(Value::Table(item)) = items.get_mut(number).map(|item| &mut item.value) else {
        let what = match last {
            usize::MAX => "there are no stages".to_owned(),
            last => format!("there is no stage {number}: they are 0 to {last}"),
        };
        return Err(Problem::new(&at, what));
    };
    let key = item.entries.first().map(|entry| entry.key.clone()).unwrap_or_default();
    let rest = rest.strip_prefix(&[&*key]).unwrap_or(rest);
    let Some(Key { kind: Kind::Section(section), .. }) = catalog.key(&key) else { return Ok(()) };
    match rest {
        [] => Err(Problem::new(&at, format!("which key of stage {number} is missing"))),
        _ => set(table_of(value_of(item, &key, &at), &key)?, rest, node, section),
    }
}

/// The number of the only table that holds this key.
fn named(items: &[Node], key: &str) -> Result<usize, String> {
    let holds =
        |item: &Node| matches!(&item.value, Value::Table(table) if table.get(key).is_some());
    let mut found = items.iter().enumerate().filter(|(_, item)| holds(item));
    match (found.next(), found.next()) {
        (Some((number, _)), None) => Ok(number),
        (Some((first, _)), Some((second, _))) => {
            Err(format!("stages {first} and {second} are both `{key}`: say which by its number"))
        }
        (None, _) => Err(format!("there is no stage `{key}`")),
    }
}

/// The value of a key, which is made if there is none.
fn value_of<'t>(table: &'t mut Table, key: &str, at: &Position) -> &'t mut Node {
    let found = table.entries.iter().position(|entry| entry.key == key);
    let number = found.unwrap_or_else(|| {
        let node = Node { value: Value::Table(Table::default()), at: at.clone() };
        table.entries.push(Entry { key: key.to_owned(), at: at.clone(), node });
        table.entries.len() - 1
    });
    &mut table.entries[number].node
}

fn table_of<'n>(node: &'n mut Node, key: &str) -> Result<&'n mut Table, Problem> {
    let at = node.at.clone();
    match &mut node.value {
        Value::Table(table) => Ok(table),
        _ => Err(Problem::new(&at, format!("`{key}` is no table"))),
    }
}
