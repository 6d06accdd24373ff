//! Limits: a number, or one that follows from a baseline.

use crate::gate::error::GateError;
use crate::gate::metric::Metric;

/// What a metric is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    Absolute(f64),
    /// The baseline's value times `factor`, and `offset` more.
    Baseline {
        factor: f64,
        offset: f64,
    },
}

impl Limit {
    /// A limit as it is written in `gate`, and the same in the spelling of reports.
    pub(super) fn read(
        gate: &str,
        metric: Metric,
        written: &str,
    ) -> Result<(Self, String), GateError> {
        match written.split_once(BASELINE) {
            Some((before, after)) => relative(metric, before, after)
                .ok_or_else(|| GateError::Baseline {
                    gate: gate.to_owned(),
                    metric,
                    limit: written.to_owned(),
                })
                .and_then(|(limit, text, distance)| {
                    distance.map_or(Ok(()), |distance| check_bytes(gate, metric, distance))?;
                    Ok((limit, text))
                }),
            None => Ok((Self::Absolute(absolute(gate, metric, written)?), written.to_owned())),
        }
    }

    /// The number, given the baseline's value: NaN where that is needed and there is none.
    pub(super) fn value(self, baseline: Option<f64>) -> f64 {
        match self {
            Self::Absolute(limit) => limit,
            Self::Baseline { factor, offset } => factor * baseline.unwrap_or(f64::NAN) + offset,
        }
    }

    pub(super) fn is_relative(self) -> bool {
        matches!(self, Self::Baseline { .. })
    }
}

fn absolute(gate: &str, metric: Metric, written: &str) -> Result<f64, GateError> {
    let (text, bound) = (gate.to_owned(), written.to_owned());
    let Some(limit) = metric.bound(written) else {
        return Err(GateError::Bound { gate: text, metric, bound });
    };
    if metric.is_share() && !(0.0..=1.0).contains(&limit) {
        return Err(GateError::Share { gate: text, metric, bound });
    }
    check_bytes(gate, metric, written)?;
    Ok(limit)
}

/// Refuses a few bytes: another unit was meant.
fn check_bytes(gate: &str, metric: Metric, written: &str) -> Result<(), GateError> {
    let is_plain = written.ends_with(|last: char| last.is_ascii_digit());
    let few = metric.bound(written).is_some_and(|bound| bound < FEW_BYTES);
    if metric == Metric::Size && is_plain && few {
        return Err(GateError::Bytes { gate: gate.to_owned(), bound: written.to_owned() });
    }
    Ok(())
}

/// A limit around the word `baseline`, its spelling, and the distance as it is written.
fn relative<'a>(
    metric: Metric,
    before: &str,
    after: &'a str,
) -> Option<(Limit, String, Option<&'a str>)> {
    let (times, distance) = after.split_at(sign(after).unwrap_or(after.len()));
    let factor = match (before.trim(), times.trim()) {
        ("", "") => None,
        (before, "") => Some(before.strip_suffix('*')?.trim()),
        ("", times) => Some(times.strip_prefix('*')?.trim()),
        _ => return None,
    };
    let number = |text: &str| text.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0);
    let mut limit = (factor.map_or(Some(1.0), number)?, 0.0);
    let mut text = factor.map(|factor| format!("{factor} * ")).unwrap_or_default() + BASELINE;
    let mut of = None;
    if let Some(written) = distance.get(1..) {
        let (sign, written) = (&distance[..1], written.trim());
        let size = metric.bound(written).filter(|size| *size >= 0.0)?;
        limit.1 = if sign == "-" { -size } else { size };
        text += &format!(" {sign} {written}");
        of = Some(written);
    }
    Some((Limit::Baseline { factor: limit.0, offset: limit.1 }, text, of))
}

/// Where a distance begins: at the first sign that is not that of an exponent.
fn sign(text: &str) -> Option<usize> {
    let is_exponent = |place: usize| text[..place].ends_with(['e', 'E']);
    text.match_indices(['+', '-']).map(|(place, _)| place).find(|&place| !is_exponent(place))
}

const BASELINE: &str = "baseline";
/// Below it a size without a unit was meant in another one.
const FEW_BYTES: f64 = 1000.0;
