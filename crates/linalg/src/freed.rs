//! Memory that was freed, given back to the system.
//!
//! glibc keeps what is freed for allocations of the same size to come. Where the next stage of a run
//! allocates other sizes, what it kept would be resident beside them, and no plan counts it.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the C library's call has no safe form")
)]

/// Gives memory that the allocator keeps back to the system, where it is one that keeps some. What is
/// allocated next is slower for it: for the turn from one stage of a run to the next.
pub fn give_back_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(kept: usize) -> i32;
        }
        // SAFETY: it takes a number, and touches nothing that is allocated.
        unsafe { malloc_trim(0) };
    }
}
