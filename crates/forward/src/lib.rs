//! Running a block's program on batches of hidden states.
//!
//! This crate owns the operations that a program names, and the state that a sequence keeps between
//! calls. It never knows where weights came from or what is done with the hidden states.

#![forbid(unsafe_code)]
