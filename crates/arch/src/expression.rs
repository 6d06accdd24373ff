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

impl Expression {
    /// The value, given that of each name. `None` when it overflows, divides by zero or meets a name
    /// without a value.
    pub(crate) fn evaluate(&self, value: impl Fn(&str) -> Option<usize>) -> Option<usize> {
        let product = |factors: &Vec<(Operator, Operand)>| {
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
        };
        self.0.iter().try_fold(0usize, |sum, term| sum.checked_add(product(term)?))
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
    fn names_are_listed_once() {
        let expression = Expression::try_from("a * b + 2 * b * c".to_owned()).unwrap();
        assert_eq!(expression.names(), ["a", "b", "c"]);
    }
}
