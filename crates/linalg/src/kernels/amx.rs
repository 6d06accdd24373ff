//! AMX: tiles of 32 rows by two panels, of which a step multiplies 32 columns.
//!
//! The instructions have no stable intrinsics, so the loop is written in assembly. Subnormal numbers
//! are taken for zero. Linux hands out the tiles' registers on request, once for a process.

#![expect(unsafe_code, reason = "instructions that the compiler does not know")]

use super::portable::PairRows;
use super::{Found, Panelled, checked};
use crate::driver::{Micro, Panels, Tile};
use crate::packed::Layout;
use llmopt_tensor::simd::dispatch;
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::marker::PhantomData;
use std::sync::LazyLock;

pub(crate) fn find() -> Found {
    static FOUND: LazyLock<Found> = LazyLock::new(|| {
        if !processor_has_it() {
            return Err("this machine has no AMX-BF16");
        }
        if !permitted() {
            return Err("the system does not permit AMX");
        }
        checked(Panelled { micro: Amx(()), layout: Layout::Pairs { step: STEP } })
    });
    *FOUND
}

/// Proof that the processor has AMX-BF16 and that the system permits it.
#[derive(Clone, Copy)]
struct Amx(());

/// Lines of a panel that make a tile.
const STEP: usize = 16;
const ROWS: usize = 32;

impl Micro for Amx {
    type Guard = Configured;
    const ROWS: usize = ROWS;
    const WORDS: usize = 1;
    const BLOCK_ROWS: usize = 512;
    const BLOCK_LINES: usize = 256;
    const BLOCK_PANELS: usize = 16;

    fn guard(self) -> Configured {
        Configured::new(self)
    }

    fn panels(_: usize) -> usize {
        2
    }

    fn pack(self, inputs: &[f32], columns: usize, words: &mut [u32]) {
        dispatch(PairRows { inputs, columns, words });
    }

    /// What is smaller than the full tile is computed aside.
    fn tile(self, inputs: &[u32], weights: Panels<'_>, out: Tile<'_>) {
        if out.rows == ROWS && weights.count == 2 {
            return tile(inputs, weights, out);
        }
        let width = 16 * weights.count;
        let mut aside = [0.0; 32 * ROWS];
        for (aside, out) in
            aside.chunks_exact_mut(32).zip(out.out.chunks(out.stride)).take(out.rows)
        {
            aside[..width].copy_from_slice(&out[..width]);
        }
        let whole = Tile { out: &mut aside, stride: 32, rows: ROWS, first: out.first };
        tile(inputs, weights, whole);
        for (aside, out) in
            aside.chunks_exact(32).zip(out.out.chunks_mut(out.stride)).take(out.rows)
        {
            out[..width].copy_from_slice(&aside[..width]);
        }
    }
}

/// All rows by two panels; a single panel is multiplied twice.
fn tile(inputs: &[u32], weights: Panels<'_>, out: Tile<'_>) {
    super::assert_fits(inputs.len(), ROWS, weights, &out, (ROWS, weights.count));
    assert!(weights.depth > 0 && weights.depth.is_multiple_of(STEP) && out.stride >= 32);
    assert!(out.out.len() >= (ROWS - 1) * out.stride + 32);
    let second = (weights.count - 1) * weights.stride;
    // SAFETY: this runs under `Configured`. Each of depth / 16 steps reads 2 KiB of inputs and 1 KiB of
    // each panel, of which there are as many by `assert_fits`; 32 rows of 32 elements, `stride` apart,
    // are in `out`.
    unsafe {
        asm!(
            "test {first:e}, {first:e}",
            "jnz 2f",
            "tileloadd tmm0, [{upper} + {stride}]",
            "tileloadd tmm1, [{upper} + {stride} + 64]",
            "tileloadd tmm2, [{lower} + {stride}]",
            "tileloadd tmm3, [{lower} + {stride} + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "tileloadd tmm6, [{left} + {line}]",
            "tileloadd tmm4, [{inputs} + {line}]",
            "tileloadd tmm7, [{right} + {line}]",
            "tileloadd tmm5, [{inputs} + {line} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {inputs}, 2048",
            "add {left}, 1024",
            "add {right}, 1024",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{upper} + {stride}], tmm0",
            "tilestored [{upper} + {stride} + 64], tmm1",
            "tilestored [{lower} + {stride}], tmm2",
            "tilestored [{lower} + {stride} + 64], tmm3",
            first = in(reg) u32::from(out.first),
            upper = in(reg) out.out.as_mut_ptr(),
            lower = in(reg) out.out.as_mut_ptr().add(16 * out.stride),
            stride = in(reg) 4 * out.stride,
            line = in(reg) 64usize,
            inputs = inout(reg) inputs.as_ptr() => _,
            left = inout(reg) weights.lines.as_ptr() => _,
            right = inout(reg) weights.lines.as_ptr().add(second) => _,
            steps = inout(reg) weights.depth / STEP => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// The tiles of this thread, each of 16 rows of 64 bytes, until dropped.
struct Configured(PhantomData<*const ()>);

impl Configured {
    fn new(_: Amx) -> Self {
        #[repr(C, align(64))]
        struct Configuration {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            bytes_per_row: [u16; 16],
            rows: [u8; 16],
        }
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            bytes_per_row: [0; 16],
            rows: [0; 16],
        };
        configuration.bytes_per_row[..8].fill(64);
        configuration.rows[..8].fill(16);
        // SAFETY: the processor has AMX, the system permits it, and this is a configuration of 64
        // bytes in the form that the instruction reads.
        unsafe {
            asm!(
                "ldtilecfg [{}]", in(reg) &raw const configuration,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly),
            );
        }
        Self(PhantomData)
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: the processor has AMX, and nothing of this thread uses its tiles any more.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem),
            );
        }
    }
}

/// AMX-TILE and AMX-BF16, and a system that saves the tiles' registers.
fn processor_has_it() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    const TILE_STATE: u32 = 0b11 << 17;
    // Leaf 0 is on every x86-64 processor and names the last leaf.
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    features & BF16_AND_TILE == BF16_AND_TILE && saved_states() & TILE_STATE == TILE_STATE
}

/// The lower half of XCR0.
fn saved_states() -> u32 {
    let states;
    // SAFETY: the caller has seen OSXSAVE, so that the instruction and register 0 exist.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") states, out("edx") _, options(nomem, nostack));
    }
    states
}

/// Asks Linux for the tiles' registers: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA)`.
fn permitted() -> bool {
    let status: i64;
    // SAFETY: this call takes two numbers and touches no memory of the program.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") 158i64 => status,
            in("rdi") 0x1023,
            in("rsi") 18,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    status == 0
}
