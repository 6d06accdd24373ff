//! Pruning axes: along what a model can become smaller, and what changes together when it does.
//!
//! An axis is counted in units: intermediate channels, key-value groups, layers. Where the shape of a
//! tensor names a size of the axis, that dimension ranges over its units; so the families' files tell
//! which rows and columns go, and little had to be added to them. Nothing here knows which units are
//! worth keeping, or has seen a weight.

mod axis;
mod bias;
mod coupling;
mod data;
mod edits;
mod error;
mod facts;
mod refused;
mod renamed;
mod shape;
mod slice;
mod span;

pub use axis::Axis;
pub use bias::{Bias, BiasSwitch};
pub use coupling::{Coupling, Part};
pub(crate) use data::Axes;
pub use edits::Edit;
pub use error::AxisError;
pub use facts::{AxisFacts, Units};
pub use shape::Shape;
pub use slice::{Kept, Slice};
