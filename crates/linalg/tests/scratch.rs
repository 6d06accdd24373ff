//! What a product allocates, against what `scratch_bytes` promises.

#![expect(unsafe_code, reason = "an allocator that counts")]

use llmopt_linalg::{Gemm, Precision};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Bytes held, and the most that were.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(bytes: isize) {
    HELD.with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[test]
fn a_product_allocates_what_it_promises_at_most() {
    for gemm in [Precision::F32, Precision::Bf16].into_iter().flat_map(Gemm::available) {
        for (m, rows, columns) in [(1, 40, 70), (256, 64, 300), (700, 130, 520), (40, 900, 2100)] {
            let (inputs, weights) = (vec![1.0; m * columns], gemm.pack(rows, columns));
            let mut out = vec![0.0; m * rows];
            let before = HELD.get().0;
            HELD.set((before, before));
            gemm.multiply(&inputs, &weights, 0..rows, &mut out);
            let most = (HELD.get().1 - before) as usize;
            let promised = gemm.scratch_bytes(m, columns);
            assert!(most <= promised, "{}, {m} x {rows} x {columns}: {most}", gemm.name());
        }
    }
}
