//! What calls allocate, against what the functions beside them promise.

#![expect(unsafe_code, reason = "an allocator that counts")]

use llmopt_linalg::{Cross, Gemm, KernelChoice, Precision, Symmetric};
use llmopt_prune::{Constant, Moments, Regression, Search};
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

/// Checks what `work` allocates on a pool of one thread, its result included.
fn check<T: Send>(what: &str, promised: u64, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    pool.install(|| {
        let before = HELD.get().0;
        HELD.set((before, before));
        let result = work();
        let most = (HELD.get().1 - before) as u64;
        assert!(most <= promised, "{what}: {most} of {promised}");
        assert!(most * 4 >= promised, "{what}: {most} of {promised}");
        result
    })
}

#[test]
fn regressions_allocate_what_they_promise_at_most() {
    let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("some kernel");
    for (rows, columns, width, step) in
        [(200, 900, 1, 0.05), (700, 640, 128, 0.01), (60, 1000, 1, 0.0), (300, 800, 4, 0.2)]
    {
        let mut gram = Symmetric::zeros(columns);
        for i in 0..columns {
            gram.set(i, i, 2.0 + (i % 7) as f64);
        }
        let (cross, residual) = (Cross::zeros(columns), vec![0.5; rows * columns]);
        let (inputs, drift) = (vec![0.01; columns], vec![0.1; rows]);
        let constant = Some(Constant { tokens: 9, inputs: &inputs, drift: Some(&drift) });
        let weights: Vec<f32> = (0..rows * columns).map(|i| (i % 101) as f32 * 0.01).collect();
        let (cross, residual) = (Some(&cross), Some(&residual[..]));
        let moments = Moments { weights: &weights, gram: &gram, cross, residual, constant };

        let what = format!("{rows} x {columns}");
        let promised = Regression::prepare_bytes(gemm, rows, columns, 1);
        let prepare = || Regression::prepare(gemm, &moments, 0.01);
        let regression = check(&what, promised, prepare).expect("finite moments");
        let search = Search { step, rounds: 2 };
        let promised = Regression::select_bytes(rows, columns, width, &search, 1);
        let keep = (columns - 30) / width - 1;
        let chosen = check(&what, promised, || regression.select(width, keep, &search));
        assert_eq!(chosen.expect("a set").kept.len(), keep);
        let kept: Vec<usize> = (0..columns * 2 / 3).collect();
        let promised = Regression::refit_bytes(rows, columns, kept.len(), 1);
        check(&what, promised, || regression.refit(&kept)).expect("weights");
    }
}
