//! What matrices are made of.

/// An `f32` or an `f64`.
pub trait Real: faer::traits::RealField + Copy + Default + Into<f64> + Send + Sync {
    /// The nearest number of this kind.
    fn nearest(value: f64) -> Self;
}

impl Real for f32 {
    fn nearest(value: f64) -> Self {
        value as Self
    }
}

impl Real for f64 {
    fn nearest(value: f64) -> Self {
        value
    }
}
