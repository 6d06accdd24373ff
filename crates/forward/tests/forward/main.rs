//! The forward pass against its definitions.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod attention;
mod families;
mod memory;
mod observed;
mod refusals;
mod support;
