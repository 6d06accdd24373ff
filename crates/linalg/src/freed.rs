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

/// Has the allocator keep a few megabytes that were freed, always as many: by itself it learns from what is
/// freed how much to keep, up to 64 MB for each thread. For the beginning of a program.
pub fn keep_little_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        // As `malloc.h` numbers them.
        const TRIM_THRESHOLD: i32 = -1;
        const MMAP_THRESHOLD: i32 = -3;
        // SAFETY: it takes two numbers, and touches nothing that is allocated.
        unsafe {
            mallopt(MMAP_THRESHOLD, 4 << 20);
            mallopt(TRIM_THRESHOLD, 4 << 20);
        }
    }
}
