//! Lengths of axes, written as sums of products: `heads * head_dim + 2 * kv_heads * head_dim`.

use serde::Deserialize;

/// A sum of products of names and whole numbers. `/` divides what stands to its left in the product,
/// rounding down.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Expression(Vec<Vec<(Operator, Operand)>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Times,
    Over,
}

#[derive(Debug)]
enum Operand {
    Number(usize),
    Name(String),
}

/// A product, cut at the name of its units.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Term<'a> {
    /// The product of what stands before the name.
    pub(crate) copies: usize,
    /// The name; `None` in a term without.
    pub(crate) unit: Option<&'a str>,
    /// The product of what stands after the name, or of the whole term without.
    pub(crate) width: usize,
}

impl Expression {
    /// The value, given that of each name. `None` when it overflows, divides by zero or meets a name
    /// without a value.
    pub(crate) fn evaluate(&self, value: impl Fn(&str) -> Option<usize>) -> Option<usize> {
        self.0.iter().try_fold(0usize, |sum, term| sum.checked_add(product(term, &value)?))
    }

    /// Its terms, each cut at the name that `is_unit` says a dimension is counted in: `2 * kv_heads *
    /// head_dim` at `kv_heads` is 2 copies of `kv_heads` runs of `head_dim`. `None` when a term
    /// divides, or has two such names, or has no value.
    pub(crate) fn terms(
        &self,
        is_unit: impl Fn(&str) -> bool,
        value: impl Fn(&str) -> Option<usize>,
    ) -> Option<Vec<Term<'_>>> {
        self.0.iter().map(|factors| cut_term(factors, &is_unit, &value)).collect()
    }

    /// The names in it, each once, in order of appearance.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for (_, operand) in self.0.iter().flatten() {
            if let Operand::Name(name) = operand
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }
}

fn product(
    factors: &[(Operator, Operand)],
    value: &impl Fn(&str) -> Option<usize>,
) -> Option<usize> {
    factors.iter().try_fold(1usize, |product, (operator, operand)| {
        let operand = match operand {
            Operand::Number(number) => *number,
            Operand::Name(name) => value(name)?,
        };
        match operator {
            Operator::Times => product.checked_mul(operand),
            Operator::Over => product.checked_div(operand),
        }
    })
}

fn cut_term<'a>(
    factors: &'a [(Operator, Operand)],
    is_unit: &impl Fn(&str) -> bool,
    value: &impl Fn(&str) -> Option<usize>,
) -> Option<Term<'a>> {
    let unit = |factor: &'a (Operator, Operand)| match &factor.1 {
        Operand::Name(name) if is_unit(name) => Some(name.as_str()),
        _ => None,
    };
    let Some(place) = factors.iter().position(|factor| unit(factor).is_some()) else {
        return Some(Term { copies: 1, unit: None, width: product(factors, value)? });
    };
    let (before, after) = (&factors[..place], &factors[place + 1..]);
    let divides = factors.iter().any(|(operator, _)| *operator == Operator::Over);
    if divides || after.iter().any(|factor| unit(factor).is_some()) {
        return None;
    }
    let unit = unit(&factors[place]);
    Some(Term { copies: product(before, value)?, unit, width: product(after, value)? })
}

impl TryFrom<String> for Expression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.split('+')
            .map(parsed_product)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a sum of products of names and whole numbers"))
    }
}

fn parsed_product(text: &str) -> Option<Vec<(Operator, Operand)>> {
    let mut words = text.split_whitespace();
    let mut factors = vec![(Operator::Times, parsed_operand(words.next()?)?)];
    while let Some(operator) = words.next() {
        let operator = match operator {
            "*" => Operator::Times,
            "/" => Operator::Over,
            _ => return None,
        };
        factors.push((operator, parsed_operand(words.next()?)?));
    }
    Some(factors)
}

fn parsed_operand(word: &str) -> Option<Operand> {
    if let Ok(number) = word.parse() {
        return Some(Operand::Number(number));
    }
    let is_name = word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_name.then(|| Operand::Name(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<usize>) {
        let expression = Expression::try_from(text.to_owned()).expect(text);
        let value = |name: &str| match name {
            "heads" => Some(6),
            "head_dim" => Some(16),
            "zero" => Some(0),
            "huge" => Some(usize::MAX),
            _ => None,
        };
        assert_eq!(expression.evaluate(value), expected, "{text}");
    }

    #[test]
    fn sums_of_products_are_evaluated() {
        check("128", Some(128));
        check("heads * head_dim", Some(96));
        check("heads * head_dim + 2 * 3 * head_dim", Some(192));
        check("head_dim / heads", Some(2));
        check("huge", Some(usize::MAX));
    }

    #[test]
    fn what_has_no_value_is_none() {
        check("2 * huge", None);
        check("huge + 1", None);
        check("heads / zero", None);
        check("heads * unknown", None);
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "heads *", "* heads", "heads heads", "heads - 1", "heads +", "(heads)"] {
            assert!(Expression::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn terms_are_cut_at_their_units() {
        let check = |text: &str, expected: Option<&[(usize, Option<&str>, usize)]>| {
            let expression = Expression::try_from(text.to_owned()).expect(text);
            let is_unit = |name: &str| name == "heads" || name == "inter";
            let value = |name: &str| if name == "unknown" { None } else { Some(16) };
            let terms = expression.terms(is_unit, value);
            let found = terms.map(|terms| {
                terms.iter().map(|term| (term.copies, term.unit, term.width)).collect::<Vec<_>>()
            });
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("hidden", Some(&[(1, None, 16)]));
        check("inter", Some(&[(1, Some("inter"), 1)]));
        check("2 * inter", Some(&[(2, Some("inter"), 1)]));
        check("heads * head_dim + 2 * hidden / 4", Some(&[(1, Some("heads"), 16), (1, None, 8)]));
        for text in ["inter / 2", "hidden / inter", "heads * inter", "inter * unknown"] {
            check(text, None);
        }
    }

    #[test]
    fn names_are_listed_once() {
        let expression = Expression::try_from("a * b + 2 * b * c".to_owned()).unwrap();
        assert_eq!(expression.names(), ["a", "b", "c"]);
    }
}
