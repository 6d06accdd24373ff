//! What an artifact lost: perplexity, divergence from a reference, agreement, flips, and gates.
//!
//! This crate owns the arithmetic from logits to numbers with confidence intervals. It never knows
//! how an artifact was made, or what computed the logits.

#![forbid(unsafe_code)]
