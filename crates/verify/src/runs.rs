//! Ascending numbers as text: `0-11 13 15-21`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes each run of neighbours as its first and last number.
pub(crate) fn write<S: Serializer>(numbers: &[usize], serializer: S) -> Result<S::Ok, S::Error> {
    let runs = numbers.chunk_by(|number, next| number + 1 == *next);
    let texts = runs.map(|run| match (run[0], run[run.len() - 1]) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    serializer.serialize_str(&texts.collect::<Vec<_>>().join(" "))
}

/// Reads what [`write()`] wrote.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut numbers = Vec::new();
    for run in text.split_whitespace() {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let number = |text: &str| text.parse::<usize>().map_err(D::Error::custom);
        numbers.extend(number(first)?..=number(last)?);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn neighbours_are_written_as_runs_and_read_back() {
        for (numbers, text) in [
            (vec![], ""),
            (vec![4], "4"),
            (vec![0, 1, 2, 5, 7, 8], "0-2 5 7-8"),
            (vec![9, 10], "9-10"),
        ] {
            let written = write(&numbers, serde_json::value::Serializer).unwrap();
            assert_eq!(written, Value::from(text));
            assert_eq!(read(written).unwrap(), numbers);
        }
        assert!(read(Value::from("1-x")).is_err());
    }
}
