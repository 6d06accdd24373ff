//! From TOML to values that know their places.

use crate::position::{Places, Position, Problem};
use crate::value::{Entry, Node, Table, Value};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Parses a recipe.
///
/// # Errors
/// If it is no TOML, or holds a number beyond 64 bits.
pub(crate) fn parse(text: &str) -> Result<Table, Problem> {
    let document = Document(Places::of(text));
    let table = DeTable::parse(text).map_err(|error| document.syntax(&error))?;
    document.table(table.get_ref())
}

/// Parses a value as it may stand behind `=`; all its positions are `at`.
pub(crate) fn parse_value(text: &str, at: &Position) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let mut node = Document(Places::of(text)).node(&value).ok()?;
    place(&mut node, at);
    Some(node)
}

/// Gives a value and everything in it a place.
fn place(node: &mut Node, at: &Position) {
    node.at = at.clone();
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| place(item, at)),
        Value::Table(table) => {
            for entry in &mut table.entries {
                entry.at = at.clone();
                place(&mut entry.node, at);
            }
        }
        _ => {}
    }
}

/// The text that spans refer to.
struct Document(Places);

impl Document {
    fn at(&self, span: Range<usize>) -> Position {
        self.0.at(span.start)
    }

    fn syntax(&self, error: &toml::de::Error) -> Problem {
        let at = self.at(error.span().unwrap_or(0..0));
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        Problem::new(&at, format!("this is no TOML: {what}"))
    }

    fn table(&self, table: &DeTable<'_>) -> Result<Table, Problem> {
        let mut spanned: Vec<_> = table.iter().collect();
        spanned.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let (key, at) = (name.to_string(), self.at(key.span()));
            Ok(Entry { key, at, node: self.node(value)? })
        };
        Ok(Table { entries: spanned.into_iter().map(entry).collect::<Result<_, _>>()? })
    }

    fn node(&self, spanned: &Spanned<DeValue<'_>>) -> Result<Node, Problem> {
        let at = self.at(spanned.span());
        let value = match spanned.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => Value::Whole(whole(number, &at)?),
            DeValue::Float(number) => Value::Number(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(day) => Value::Day(day.to_string()),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => Value::Table(self.table(table)?),
        };
        Ok(Node { value, at })
    }
}

fn whole(number: &DeInteger<'_>, at: &Position) -> Result<i64, Problem> {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| Problem::new(at, format!("`{number}` is beyond 64 bits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_knows_its_place() {
        let text = "# a recipe\nmodel = \"m\"\n\n[[stage]]\n  prune = { sparsity = 0.2, axes = [\"ffn\"] }\n";
        let recipe = parse(text).unwrap();
        let stage = &recipe.get("stage").unwrap().items()[0];
        let Value::Table(stage) = &stage.value else { panic!("{stage:?}") };
        let prune = stage.table("prune").unwrap();
        let places = ["sparsity", "axes"].map(|key| prune.entry(key).unwrap().at.to_string());
        assert_eq!(places, ["5:13", "5:29"]);
        assert_eq!(prune.get("sparsity").unwrap().value, Value::Number("0.2".to_owned()));
        assert_eq!(prune.get("axes").unwrap().items()[0].at.to_string(), "5:37");
    }

    #[test]
    fn what_is_no_toml_has_a_place() {
        let check = |text: &str, expected: &str| {
            assert_eq!(parse(text).unwrap_err().to_string(), expected);
        };
        check(
            "a = 1\nb =\n",
            "2:4: this is no TOML: string values must be quoted, expected literal string",
        );
        check("a = 99999999999999999999\n", "1:5: `99999999999999999999` is beyond 64 bits");
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        let text = "a = [1, \"q\\\"\\\\\\n\", true, 0.5, 2026-01-31, { b = 1 }]\n";
        let value = |text: &str| parse(text).unwrap().get("a").unwrap().value.clone();
        let written = value(text).to_toml();
        assert_eq!(value(&format!("a = {written}")).to_toml(), written);
        assert!(written.contains(r#""q\"\\\u000A""#), "{written}");
    }

    #[test]
    fn numbers_of_any_radix_are_numbers() {
        let recipe = parse("a = 0x10\nb = 1_000\nc = -3\nd = 0b11\n").unwrap();
        let values: Vec<_> = recipe.entries.iter().map(|entry| entry.node.value.clone()).collect();
        assert_eq!(values, [16, 1000, -3, 3].map(Value::Whole));
    }
}
