//! Two models side by side, tensor by tensor and as a whole: how each is stored, how far apart they are, and what
//! was measured of both.
//!
//! Nothing is run. Weights are decoded as their loaders would, band by band, and compared as numbers.

mod config;
mod quality;
mod side;
mod tensors;

pub use config::ConfigDifference;
pub(crate) use quality::Evaluation;
pub use quality::{GateDifference, MetricDifference, QualityDifference};
pub use side::{ModelSide, StoredTensor};
pub use tensors::TensorDifference;

use crate::difference::side::Side;
use llmopt_run::{Cancel, Error, Events, Resources};
use serde::Serialize;
use std::path::Path;

/// What differs between two models, A and B. It holds no clock, no host name and no absolute path.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// `llmopt`.
    pub tool: &'static str,
    /// The version that ran.
    pub version: &'static str,
    /// The first.
    pub a: ModelSide,
    /// The second, which errors are relative to.
    pub b: ModelSide,
    /// `|A - B| / |B|` over all tensors that were compared together; none, if none was.
    pub relative_error: Option<f64>,
    /// Keys of `config.json` that have another value, sorted.
    pub config: Vec<ConfigDifference>,
    /// What was measured of both on the same text; none, where that is not known.
    pub quality: Option<QualityDifference>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Every tensor of either, sorted by name. A quantized matrix is one tensor.
    pub tensors: Vec<TensorDifference>,
}

/// Holds the models at `a` and `b` against each other: folders or files, dense or quantized. A `quick` look reads
/// headers only.
///
/// # Errors
/// If one cannot be read or understood.
pub fn differ(
    (a, b): (&Path, &Path),
    quick: bool,
    resources: Resources,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Difference, Error> {
    let (a, b) = (Side::open(a)?, Side::open(b)?);
    let mut notes = Vec::new();
    let pairs = tensors::pairs(&a, &b, &mut notes)?;
    let (tensors, relative_error) = match quick {
        true => (pairs.iter().map(|pair| pair.told(&a, &b, None)).collect(), None),
        false => tensors::compared(&pairs, (&a, &b), resources, (events, cancel))?,
    };
    Ok(Difference {
        tool: "llmopt",
        version: env!("CARGO_PKG_VERSION"),
        relative_error,
        config: config::differences(a.config(), b.config()),
        quality: quality::difference(&a, &b, &mut notes)?,
        a: a.facts(),
        b: b.facts(),
        notes,
        tensors,
    })
}
