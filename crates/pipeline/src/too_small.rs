//! Matrices so small that their scales cannot be stored: they would be zero to a runtime that flushes
//! subnormal numbers, and codes on the least scale there is stand for nothing.
//!
//! No header tells, and to look for them beforehand would read every weight twice. The sweep itself
//! knows when it is through; what it finds then stays dense in a second one.

use crate::plan::Plan;
use llmopt_quant::least_scale;
use llmopt_rewrite::Records;
use llmopt_run::Error;
use llmopt_scheme::{Levels, Scheme, SquaredError};
use std::collections::BTreeMap;

/// Refuses what was written if a matrix lost more than rounding to it.
///
/// # Errors
/// [`Error::TooSmall`] with every such matrix, and what is the matter with it.
pub(crate) fn refused(plan: &Plan, records: &Records) -> Result<(), Error> {
    let places = plan.places().zip(records.errors(&plan.artifact));
    let found: BTreeMap<String, String> = places
        .filter_map(|((entry, place), error)| {
            let scheme = place.scheme()?;
            let least = least_scale(place.scale_dtype).ok()?;
            let scale = scale_of(&scheme, error, entry.meta.elements());
            let is_lost = scale < f64::from(least) && error.relative() > ORDINARY;
            let why = || {
                format!(
                    "is so small that its scales cannot be stored in {}: {scale:.1e} is below {least:.1e}",
                    place.scale_dtype
                )
            };
            is_lost.then(|| (entry.name.clone(), why()))
        })
        .collect();
    if found.is_empty() { Ok(()) } else { Err(Error::TooSmall(found)) }
}

/// The scale that brings the root mean square of the weights to the farthest level: less than those of
/// most tiles, which follow their greatest weight. Tiles beside others that are far greater do not
/// count: what they lose is nothing beside the others.
fn scale_of(scheme: &Scheme, error: SquaredError, elements: u64) -> f64 {
    let root_mean_square = (error.signal / elements.max(1) as f64).sqrt();
    root_mean_square / f64::from(Levels::new(scheme.weights).half_range())
}

/// Of an F16 matrix, weights are whole multiples of the least scale: what loses nothing is not lost.
const ORDINARY: f64 = 0.01;
