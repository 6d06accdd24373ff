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

/// From now on gives large blocks back to the system as soon as they are freed, where the allocator is one that
/// would come to keep them: glibc raises the size from which on it does not, with every such block that is
/// freed. What it has kept so far goes back, too. Allocating is slower for it: for runs whose bound leaves no room
/// for what nobody uses. It is a setting of the whole process, and the program's to make.
pub fn keep_nothing_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        /// `M_MMAP_THRESHOLD` of `malloc.h`.
        const MMAP_THRESHOLD: i32 = -3;
        // SAFETY: it takes two numbers, and touches nothing that is allocated.
        unsafe { mallopt(MMAP_THRESHOLD, 128 << 10) };
    }
    give_back_freed();
}
