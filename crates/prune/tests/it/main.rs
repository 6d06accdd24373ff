//! What regressions promise, asked through their interface alone.

mod baselines;
mod gated;
mod inputs;
mod numerics;
mod refit;
mod selection;
mod traps;
mod twin;
