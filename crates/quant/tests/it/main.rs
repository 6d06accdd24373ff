//! What the quantizers promise, asked through their interface alone.

mod edges;
mod inputs;
mod quality;
mod smooth;
mod solver;
mod solver_twin;
mod traps;
mod twin;
mod weights;

use llmopt_scheme::{Activations, Granularity, Numeric, Scheme};

fn scheme(weights: Numeric, granularity: Granularity, symmetric: bool) -> Scheme {
    Scheme { weights, granularity, symmetric, activations: Activations::None }
}

fn int(bits: u8) -> Numeric {
    Numeric::Int { bits }
}
