//! The operations, on plain slices of rows.

pub(crate) mod add;
pub(crate) mod attention;
pub(crate) mod experts;
pub(crate) mod finite;
pub(crate) mod frequencies;
pub(crate) mod gate;
pub(crate) mod norm;
pub(crate) mod product;
pub(crate) mod quantize;
pub(crate) mod rotate;
pub(crate) mod route;
pub(crate) mod split;

/// Partial sums of a row: always so many, whatever the registers of the machine hold.
const LANES: usize = 16;
