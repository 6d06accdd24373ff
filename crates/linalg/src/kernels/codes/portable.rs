//! Plain Rust: the number that every kernel must give.

use crate::codes::{CodeKernel, Panel, STEP, STRIP, Segment, Strip};
use llmopt_tensor::simd::{Kernel, dispatch};

pub(super) struct Portable;

impl CodeKernel for Portable {
    fn name(&self) -> &'static str {
        "codes portable"
    }

    fn tile(&self, strip: Strip<'_>, panel: Panel<'_>, out: &mut [[f32; 16]; STRIP]) {
        dispatch(Tile(strip, panel, out));
    }
}

struct Tile<'a>(Strip<'a>, Panel<'a>, &'a mut [[f32; 16]; STRIP]);

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self(strip, panel, out) = self;
        *out = [[0.0; 16]; STRIP];
        for (number, segment) in panel.segments().enumerate() {
            for (row, out) in out.iter_mut().enumerate().take(strip.rows) {
                let fact = number * strip.rows + row;
                let sums = products(panel, segment, strip, row);
                let (scale, inputs) = (strip.scales[fact], strip.sums[fact]);
                for lane in 0..16 {
                    let zero_point = segment
                        .zero_points
                        .map_or(panel.format.offset(), |zero_points| zero_points[lane] as i32);
                    let sum = sums[lane].wrapping_sub(zero_point.wrapping_mul(inputs));
                    out[lane] += sum as f32 * (f32::from_bits(segment.scales[lane]) * scale);
                }
            }
        }
    }
}

/// The sums of codes, counted from the least, times inputs, of one row of inputs.
#[inline(always)]
fn products(panel: Panel<'_>, segment: Segment<'_>, strip: Strip<'_>, row: usize) -> [i32; 16] {
    let (bits, per_line) = (panel.format.bits(), panel.format.columns_of_a_word());
    let width = segment.columns;
    let bytes = &strip.bytes[strip.parts * (strip.rows * segment.start + row * width)..]
        [..strip.parts * width];
    let mut sums = [0i32; 16];
    for column in 0..width {
        let x = match strip.parts {
            2 => i32::from(bytes[column]) * 256 + i32::from(bytes[width + column]),
            _ => i32::from(bytes[column]),
        };
        let line = &segment.codes[column / per_line];
        let (plane, byte) = (column % per_line / 4, column % 4);
        let shift = plane as u32 * bits + 8 * byte as u32;
        for (sum, word) in sums.iter_mut().zip(line) {
            let code = (word >> shift & ((1 << bits) - 1)) as i32;
            *sum = sum.wrapping_add(code * x);
        }
    }
    sums
}

const _: () = assert!(STEP == 16, "a step is a line of codes of two bits");
