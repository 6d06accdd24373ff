//! Gates that cannot be understood.

use crate::gate::metric::Metric;
use thiserror::Error;

/// A gate that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GateError {
    /// Something else than a metric, a relation and a bound.
    #[error("`{0}` is not a gate: expected a metric, one of <= < >= >, and a number")]
    Form(String),
    /// Something else than the name of a text or of tasks before the metric.
    #[error("`{part}` in gate `{gate}` names no text: names are letters, digits, `-` and `_`")]
    Part {
        /// The gate.
        gate: String,
        /// What stands in the name's place.
        part: String,
    },
    /// A metric of the artifact, with the name of a text.
    #[error("`{metric}` in gate `{gate}` is of the artifact, not of `{part}`")]
    WholePart {
        /// The gate.
        gate: String,
        /// What it bounds.
        metric: Metric,
        /// The name.
        part: String,
    },
    /// A limit with `baseline` that is not put together as one.
    #[error(
        "`{limit}` is no limit by a baseline in gate `{gate}`: expected `baseline`, with a factor and a \
         distance where wanted, such as `1.1 * baseline` or `baseline - {}`",
        if metric.is_share() { "0.5%" } else { "0.01" }
    )]
    Baseline {
        /// The gate.
        gate: String,
        /// What it bounds.
        metric: Metric,
        /// What stands in the limit's place.
        limit: String,
    },
    /// A metric that does not exist.
    #[error("there is no metric `{metric}` in gate `{gate}`: expected one of {}", Metric::names().join(", "))]
    Metric {
        /// The gate.
        gate: String,
        /// What stands in the metric's place.
        metric: String,
    },
    /// A bound on a share that no share can reach.
    #[error(
        "`{bound}` is no bound for `{metric}` in gate `{gate}`: a share is 0 to 1, or 0% to 100%{}",
        meant(.bound)
    )]
    Share {
        /// The gate.
        gate: String,
        /// What it bounds.
        metric: Metric,
        /// What stands in the bound's place.
        bound: String,
    },
    /// A size that no model has: of a few bytes.
    #[error("`{bound}` in gate `{gate}` is a number of bytes: `{bound}MB` was meant?")]
    Bytes {
        /// The gate.
        gate: String,
        /// What stands in the bound's place.
        bound: String,
    },
    /// A bound that is no number, or has a unit that does not go with the metric.
    #[error("`{bound}` is no bound for `{metric}` in gate `{gate}`: expected {}", metric.unit())]
    Bound {
        /// The gate.
        gate: String,
        /// What it bounds.
        metric: Metric,
        /// What stands in the bound's place.
        bound: String,
    },
}

/// A bound that is written as a percentage, but for the sign.
fn meant(bound: &str) -> String {
    let is_percentage = bound.parse().is_ok_and(|number: f64| number > 1.0 && number <= 100.0);
    if is_percentage { format!("; `{bound}%` was meant?") } else { String::new() }
}
