//! A recipe held against the catalog.

use crate::catalog::{Key, Kind, Section};
use crate::nearest::nearest;
use crate::position::{Position, Problem};
use crate::value::{Entry, Node, Table, Value};

/// Checks the table of a whole recipe.
pub(crate) fn section(table: &Table, catalog: &Section) -> Result<(), Problem> {
    keys(table, catalog, &Position::File { line: 1, column: 1 })
}

fn keys(table: &Table, catalog: &Section, at: &Position) -> Result<(), Problem> {
    for entry in &table.entries {
        let key = catalog.key(&entry.key).ok_or_else(|| unknown(entry, catalog))?;
        holds(&entry.node, key)?;
    }
    let missing = |key: &&Key| key.required && table.get(&key.name).is_none();
    match catalog.keys.iter().find(missing) {
        Some(key) => {
            let what = format!("`{}` is missing in {}", key.name, catalog.name);
            Err(Problem::new(at, what).with_hint(key.help.clone()))
        }
        None => Ok(()),
    }
}

/// A key that there is not, with the one that was meant or all there are.
pub(crate) fn unknown(entry: &Entry, catalog: &Section) -> Problem {
    let what = format!("`{}` is no key of {}", entry.key, catalog.name);
    let names = || catalog.keys.iter().map(|key| &*key.name);
    let hint = match nearest(&entry.key, names()) {
        Some(near) => format!("`{near}` was meant?"),
        None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Problem::new(&entry.at, what).with_hint(hint)
}

fn holds(node: &Node, key: &Key) -> Result<(), Problem> {
    let wrong = || wrong(node, key);
    match (&key.kind, &node.value) {
        (Kind::Section(section), Value::Table(table)) => keys(table, section, &node.at),
        (Kind::Alternatives(section), Value::List(items)) => items.iter().try_for_each(|item| {
            let Value::Table(table) = &item.value else { return Err(wrong()) };
            keys(table, section, &item.at)?;
            one(table, section, &item.at)
        }),
        (Kind::Named, Value::Table(table)) => {
            let texts = table.entries.iter().map(|entry| &entry.node);
            texts
                .filter(|node| !matches!(node.value, Value::Text(_)))
                .try_for_each(|_| Err(wrong()))
        }
        (Kind::Named, _) => {
            let is_text = |node: &Node| matches!(node.value, Value::Text(_));
            if node.items().iter().all(is_text) { Ok(()) } else { Err(wrong()) }
        }
        (Kind::List(kind), _) => {
            let is_one = |item: &Node| scalar(kind, &item.value);
            if node.items().iter().all(is_one) { Ok(()) } else { Err(wrong()) }
        }
        (kind, value) if scalar(kind, value) => Ok(()),
        _ => Err(wrong()),
    }
}

/// Whether a value that is no table and no list is of this kind.
fn scalar(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Whole, Value::Whole(number)) => *number >= 0,
        (Kind::Flag | Kind::Switch, Value::Flag(_))
        | (Kind::Scalar(_) | Kind::Switch, Value::Text(_) | Value::Whole(_) | Value::Number(_))
        | (Kind::Day, Value::Text(_) | Value::Day(_)) => true,
        _ => false,
    }
}

fn one(table: &Table, catalog: &Section, at: &Position) -> Result<(), Problem> {
    let names: Vec<&str> = catalog.keys.iter().map(|key| &*key.name).collect();
    let expected = format!("{} holds exactly one of {}", catalog.name, names.join(", "));
    match &table.entries[..] {
        [_] => Ok(()),
        [] => Err(Problem::new(at, format!("{expected}, and this one holds nothing"))),
        [first, second, ..] => Err(Problem::new(
            &second.at,
            format!("{expected}, and this one holds `{}` and `{}`", first.key, second.key),
        )
        .with_hint("begin another `[[stage]]` before it")),
    }
}

fn wrong(node: &Node, key: &Key) -> Problem {
    let found = match &node.value {
        Value::Whole(number) if *number < 0 => number.to_string(),
        Value::List(items) => match items.first() {
            Some(item) => format!("an array with {}", item.value.name()),
            None => "an empty array".to_owned(),
        },
        other => other.name().to_owned(),
    };
    let what = format!("`{}` takes {}, and not {found}", key.name, key.kind.expected());
    Problem::new(&node.at, what)
}

#[cfg(test)]
mod tests {
    use crate::catalog::{Key, Kind, Section};
    use crate::read;

    fn key(name: &str, kind: Kind) -> Key {
        Key { name: name.to_owned(), help: format!("the {name}"), kind, required: name == "model" }
    }

    fn section(name: &str, keys: Vec<Key>) -> Section {
        Section { name: name.to_owned(), help: String::new(), keys }
    }

    fn catalog() -> Section {
        let quantize = section(
            "`quantize`",
            vec![
                key("bits", Kind::Scalar(Vec::new())),
                key("group-size", Kind::Scalar(Vec::new())),
                key("samples", Kind::Whole),
                key("strict", Kind::Flag),
                key("exclude", Kind::List(Box::new(Kind::Scalar(Vec::new())))),
                key("smooth", Kind::Switch),
                key("date", Kind::Day),
            ],
        );
        let prune = section("`prune`", vec![key("sparsity", Kind::Scalar(Vec::new()))]);
        let stage = section(
            "a stage",
            vec![key("prune", Kind::Section(prune)), key("quantize", Kind::Section(quantize))],
        );
        let eval = section("`eval`", vec![key("text", Kind::Named)]);
        section(
            "the recipe",
            vec![
                key("model", Kind::Scalar(Vec::new())),
                key("stage", Kind::Alternatives(stage)),
                key("eval", Kind::Section(eval)),
            ],
        )
    }

    #[test]
    fn a_recipe_of_every_kind_of_value_is_read() {
        let text = "model = \"m\"\n[[stage]]\nprune = { sparsity = 0.2 }\n[[stage]]\n[stage.quantize]\nbits = 4\n\
            group-size = \"channel\"\nsamples = 8\nstrict = true\nexclude = [\"a\", \"b\"]\nsmooth = 0.5\n\
            date = 2026-01-31\n[eval]\ntext = { chat = \"a.txt\" }\n";
        read(text, &[], &catalog()).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_was_meant() {
        let check = |text: &str, expected: &str| {
            let problem = read(&format!("model = \"m\"\n{text}"), &[], &catalog()).unwrap_err();
            let hint = problem.hint.iter().map(|hint| format!(" ({hint})"));
            assert_eq!(format!("{problem}{}", hint.collect::<String>()), expected, "{text}");
        };
        check("modle = 1", "2:1: `modle` is no key of the recipe (`model` was meant?)");
        check(
            "[[stage]]\nquantize = { group_size = 4 }",
            "3:14: `group_size` is no key of `quantize` (`group-size` was meant?)",
        );
        check(
            "[[stage]]\nprune = { axes = 4 }",
            "3:11: `axes` is no key of `prune` (there are sparsity)",
        );
        check(
            "[[stage]]\nquantize = { samples = \"many\" }",
            "3:24: `samples` takes a whole number from 0 on, and not a string",
        );
        check(
            "[[stage]]\nquantize = { samples = -1 }",
            "3:24: `samples` takes a whole number from 0 on, and not -1",
        );
        check(
            "[[stage]]\nquantize = { strict = 1 }",
            "3:23: `strict` takes true or false, and not a whole number",
        );
        check(
            "[[stage]]\nquantize = { exclude = [\"a\", {}] }",
            "3:24: `exclude` takes a string or a number, or an array of these, and not an array with a string",
        );
        check(
            "[[stage]]\nprune = {}\nquantize = {}",
            "4:1: a stage holds exactly one of prune, quantize, and this one holds `prune` and `quantize` (begin another `[[stage]]` before it)",
        );
        check(
            "[[stage]]",
            "2:1: a stage holds exactly one of prune, quantize, and this one holds nothing",
        );
        check("[stage]\nprune = {}", "2:1: `stage` takes an array of tables, and not a table");
        check(
            "[eval]\ntext = { chat = 1 }",
            "3:8: `text` takes a string, an array of strings, or a table of them, and not a table",
        );
    }

    #[test]
    fn a_key_that_must_be_there_is_missed() {
        let problem = read("", &[], &catalog()).unwrap_err();
        assert_eq!(problem.to_string(), "1:1: `model` is missing in the recipe");
    }

    #[test]
    fn overrides_reach_every_stage_by_number_and_by_name() {
        let text = "model = \"m\"\n[[stage]]\nprune = { sparsity = 0.2 }\n[[stage]]\nquantize = { bits = 4 }\n";
        let check = |set: &str, expected: &str| {
            let found = match read(text, &[set.to_owned()], &catalog()) {
                Ok(recipe) => format!("{recipe:?}"),
                Err(problem) => problem.to_string(),
            };
            assert!(found.contains(expected), "{set}: {found}");
        };
        check("stage.0.sparsity=0.3", "Number(\"0.3\")");
        check("stage.0.prune.sparsity=0.3", "Number(\"0.3\")");
        check("stage.prune.sparsity=40%", "Text(\"40%\")");
        check("stage.quantize.exclude=[\"x\"]", "Text(\"x\")");
        check("model=other", "Text(\"other\")");
        check("eval.text=a.txt", "Text(\"a.txt\")");
        check("stage.2.bits=4", "--set stage.2.bits=4: there is no stage 2: they are 0 to 1");
        check("stage.smooth.bits=4", "--set stage.smooth.bits=4: there is no stage `smooth`");
        check("stage.1.bots=4", "--set stage.1.bots=4: `bots` is no key of `quantize`");
        check("bits", "--set bits: an override is KEY=VALUE, such as stage.0.sparsity=0.3");
        check("model.x=1", "--set model.x=1: `model` has no keys");
    }
}
