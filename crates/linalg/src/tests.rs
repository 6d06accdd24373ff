//! Products against a triple loop in f64.
