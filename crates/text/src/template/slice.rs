//! Slices with a step, as Python takes them.

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind};

/// What a slice with a step was rewritten to: `value[start:stop:step]`.
pub(super) fn slice(value: &Value, arguments: &[Value]) -> Result<Value, Error> {
    let (start, stop, step): (Option<i64>, Option<i64>, Option<i64>) = from_args(arguments)?;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::new(ErrorKind::InvalidOperation, "the step of a slice is 0"));
    }
    match value.kind() {
        ValueKind::String => {
            let characters: Vec<char> = value.as_str().unwrap_or_default().chars().collect();
            let places = places(start, stop, step, characters.len());
            Ok(Value::from(places.map(|place| characters[place]).collect::<String>()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            let places = places(start, stop, step, items.len());
            Ok(places.map(|place| items[place].clone()).collect())
        }
        kind => Err(Error::new(ErrorKind::InvalidOperation, format!("{kind} cannot be sliced"))),
    }
}

/// The places that a slice of so many items takes.
fn places(
    start: Option<i64>,
    stop: Option<i64>,
    step: i64,
    count: usize,
) -> impl Iterator<Item = usize> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    // Backwards, the places go from the last item to the one before the first.
    let (low, high) = if step > 0 { (0, count) } else { (-1, count - 1) };
    let clamped = |place: i64| {
        let place = if place < 0 { place.saturating_add(count) } else { place };
        place.clamp(low, high)
    };
    let (first, end) = if step > 0 { (low, high) } else { (high, low) };
    let (start, stop) = (start.map_or(first, clamped), stop.map_or(end, clamped));
    let inside = move |place: &i64| if step > 0 { *place < stop } else { *place > stop };
    let places = std::iter::successors(Some(start), move |place| place.checked_add(step));
    places.take_while(inside).filter_map(|place| usize::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected places are Python's.
    fn check(slice: [Option<i64>; 3], count: usize, expected: &[usize]) {
        let [start, stop, step] = slice;
        let found: Vec<usize> = places(start, stop, step.unwrap(), count).collect();
        assert_eq!(found, expected, "{slice:?} of {count}");
    }

    #[test]
    fn places_are_those_of_python() {
        check([None, None, Some(-1)], 3, &[2, 1, 0]);
        check([None, None, Some(-1)], 0, &[]);
        check([Some(4), Some(0), Some(-1)], 3, &[2, 1]);
        check([Some(1), Some(3), Some(-1)], 5, &[]);
        check([None, Some(-3), Some(-1)], 5, &[4, 3]);
        check([Some(-9), None, Some(2)], 5, &[0, 2, 4]);
        check([Some(1), Some(9), Some(3)], 5, &[1, 4]);
        check([Some(i64::MIN), Some(i64::MAX), Some(i64::MAX)], 2, &[0]);
        check([Some(i64::MAX), Some(i64::MIN), Some(i64::MIN)], 2, &[1]);
    }
}
