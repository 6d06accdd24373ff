//! An element of a tensor that is no finite number.

use serde::Serialize;

/// The first element of a tensor that is NaN or infinite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NonFinite {
    /// The tensor.
    pub tensor: String,
    /// Where it stands, outermost axis first.
    pub position: Vec<usize>,
    /// `NaN`, `inf` or `-inf`: JSON has no such numbers.
    pub value: String,
}

/// `NaN at [3, 5]`
impl std::fmt::Display for NonFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:?}", self.value, self.position)
    }
}
