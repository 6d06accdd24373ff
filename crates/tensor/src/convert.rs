//! Bytes to `f32` and back.
//!
//! Tensors of a safetensors file may begin at odd addresses, so elements are assembled from bytes,
//! never cast.

use crate::simd::{Kernel, dispatch};
use crate::{Dtype, e4m3_from_f32, e4m3_to_f32};
use half::{bf16, f16};

/// A dtype that is not computed with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a type to compute with (F64, F32, F16, BF16 and F8_E4M3 are)")]
pub struct Unsupported(pub Dtype);

/// Decodes `bytes` into `out`, which is as long as there are elements. Exact, but for F64, which is rounded
/// to nearest, ties to even.
///
/// # Errors
/// [`Unsupported`] for other types than F64, F32, F16, BF16 and F8_E4M3.
pub fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f32]) -> Result<(), Unsupported> {
    debug_assert_eq!(bytes.len() * 8, out.len() * dtype.bits());
    match dtype {
        Dtype::F32 => dispatch(Decode(bytes, out, f32::from_le_bytes)),
        Dtype::BF16 => {
            dispatch(Decode(bytes, out, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)))
        }
        Dtype::F16 => dispatch(Decode(bytes, out, |b| f32_from_f16(u16::from_le_bytes(b)))),
        Dtype::F8E4M3 => dispatch(Decode(bytes, out, |[b]: [u8; 1]| e4m3_to_f32(b))),
        Dtype::F64 => dispatch(Decode(bytes, out, |b| f64::from_le_bytes(b) as f32)),
        other => return Err(Unsupported(other)),
    }
    Ok(())
}

/// Encodes `values` into `out`, rounding to nearest, ties to even; E4M3 saturates.
///
/// # Errors
/// [`Unsupported`] for other types than F64, F32, F16, BF16 and F8_E4M3.
pub fn encode(dtype: Dtype, values: &[f32], out: &mut [u8]) -> Result<(), Unsupported> {
    debug_assert_eq!(out.len() * 8, values.len() * dtype.bits());
    match dtype {
        Dtype::F32 => dispatch(Encode(values, out, f32::to_le_bytes)),
        Dtype::BF16 => dispatch(Encode(values, out, |x| bf16::from_f32(x).to_le_bytes())),
        Dtype::F16 => dispatch(Encode(values, out, |x| f16::from_f32_const(x).to_le_bytes())),
        Dtype::F8E4M3 => dispatch(Encode(values, out, |x| [e4m3_from_f32(x)])),
        Dtype::F64 => dispatch(Encode(values, out, |x| f64::from(x).to_le_bytes())),
        other => return Err(Unsupported(other)),
    }
    Ok(())
}

/// `value` as it comes back after being stored as `dtype`; unchanged for types wider than F32 and
/// for those that hold no fractions.
pub fn rounded(dtype: Dtype, value: f32) -> f32 {
    match dtype {
        Dtype::BF16 => bf16::from_f32(value).to_f32(),
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::F8E4M3 => e4m3_to_f32(e4m3_from_f32(value)),
        _ => value,
    }
}

/// Without branches, unlike the conversion of a single value in `half`, so that the loop vectorizes.
#[inline(always)]
fn f32_from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    // Shifted into place, exponent and significand are 2^-112 of the value, subnormals included.
    let scaled = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    let special = f32::from_bits((magnitude << 13) | 0x7f80_0000);
    let value = if magnitude >= 0x7c00 { special } else { scaled };
    f32::from_bits(value.to_bits() | sign)
}

struct Decode<'a, const N: usize, F>(&'a [u8], &'a mut [f32], F)
where
    F: Fn([u8; N]) -> f32;

impl<const N: usize, F: Fn([u8; N]) -> f32> Kernel for Decode<'_, N, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (out, bytes) in self.1.iter_mut().zip(self.0.as_chunks::<N>().0) {
            *out = (self.2)(*bytes);
        }
    }
}

struct Encode<'a, const N: usize, F>(&'a [f32], &'a mut [u8], F)
where
    F: Fn(f32) -> [u8; N];

impl<const N: usize, F: Fn(f32) -> [u8; N]> Kernel for Encode<'_, N, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (value, out) in self.0.iter().zip(self.1.as_chunks_mut::<N>().0) {
            *out = (self.2)(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes one element with the kernel, at an odd address.
    fn decoded(dtype: Dtype, element: &[u8]) -> f32 {
        let bytes = [&[0xaa], element].concat();
        let mut out = [0.0];
        decode(dtype, &bytes[1..], &mut out).expect("a type to compute with");
        out[0]
    }

    fn encoded(dtype: Dtype, value: f32) -> Vec<u8> {
        let mut out = vec![0; dtype.bits() / 8];
        encode(dtype, &[value], &mut out).expect("a type to compute with");
        out
    }

    /// Equal bits, or both NaN: which NaN is not promised.
    fn same(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    }

    #[test]
    fn all_halves_decode_as_the_half_crate_does_and_come_back() {
        for bits in 0..=u16::MAX {
            let bytes = bits.to_le_bytes();
            let half = decoded(Dtype::F16, &bytes);
            assert!(same(half, f16::from_bits(bits).to_f32()), "F16 {bits:#x}");
            let brain = decoded(Dtype::BF16, &bytes);
            assert!(same(brain, bf16::from_bits(bits).to_f32()), "BF16 {bits:#x}");
            if !half.is_nan() {
                assert_eq!(encoded(Dtype::F16, half), bytes);
            }
            if !brain.is_nan() {
                assert_eq!(encoded(Dtype::BF16, brain), bytes);
            }
        }
    }

    #[test]
    fn stored_values_are_rounded_half_to_even() {
        // 1 + 2^-8 lies between the BF16 neighbours 1 and 1 + 2^-7; 1 + 3 * 2^-8 above an odd one.
        assert_eq!(rounded(Dtype::BF16, 1.003_906_3), 1.0);
        assert_eq!(rounded(Dtype::BF16, 1.011_718_8), 1.015_625);
        assert_eq!(rounded(Dtype::F16, 65_520.0), f32::INFINITY);
        assert_eq!(rounded(Dtype::F32, 0.1), 0.1);
    }

    #[test]
    fn doubles_are_rounded_to_nearest_with_ties_to_even() {
        let check = |value: f64, expected: f32| {
            assert_eq!(decoded(Dtype::F64, &value.to_le_bytes()), expected, "{value}");
        };
        // Half way between 1 and its neighbour 1 + 2^-23, and between that one and the next.
        check(1.0 + 2f64.powi(-24), 1.0);
        check(1.0 + 3.0 * 2f64.powi(-24), 1.0 + 2.0 * f32::EPSILON);
        check(0.1, 0.1);
        check(-1e300, f32::NEG_INFINITY);
        assert_eq!(encoded(Dtype::F64, 0.1), f64::from(0.1f32).to_le_bytes());
    }

    #[test]
    fn other_types_are_refused() {
        assert_eq!(decode(Dtype::I32, &[0; 4], &mut [0.0]), Err(Unsupported(Dtype::I32)));
        assert_eq!(encode(Dtype::I64, &[0.0], &mut [0; 8]), Err(Unsupported(Dtype::I64)));
    }
}
