//! Matrix products and the vector arithmetic around them: kernels chosen at run time, each with a
//! slow twin.
//!
//! This crate owns GEMM in f32 and in bf16 with f32 accumulation, and elementary functions on
//! slices. It is the only one that may hold `unsafe`. It never knows what a matrix means.
