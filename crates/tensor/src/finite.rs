//! NaN and infinity among stored elements, found without decoding them.

use crate::simd::{Kernel, dispatch};
use crate::{Dtype, decode, e4m3_to_f32};

/// An element that is no finite number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotFinite {
    /// How many elements come before it.
    pub index: usize,
    /// NaN or an infinity.
    pub value: f32,
}

/// The first of the elements in `bytes` that is NaN or infinite. Types that hold neither have none.
pub fn first_not_finite(dtype: Dtype, bytes: &[u8]) -> Option<NotFinite> {
    // An exponent of ones is infinity or NaN in IEEE formats; F8_E4M3 keeps one pattern for NaN, and
    // the formats without a negative zero keep its pattern (OCP 8-bit floating point, and ONNX).
    let byte = |flipped: u8, special: u8| {
        first(bytes, move |[byte]: &[u8; 1]| (byte ^ flipped) & special == special)
    };
    let index = match dtype {
        Dtype::F16 => first(bytes, |b| u16::from_le_bytes(*b) & 0x7c00 == 0x7c00),
        Dtype::BF16 => first(bytes, |b| u16::from_le_bytes(*b) & 0x7f80 == 0x7f80),
        Dtype::F32 | Dtype::C64 => {
            first(bytes, |b| u32::from_le_bytes(*b) & 0x7f80_0000 == 0x7f80_0000)
        }
        Dtype::F64 => first(bytes, |b| u64::from_le_bytes(*b) >> 52 & 0x7ff == 0x7ff),
        Dtype::F8E5M2 => byte(0, 0x7c),
        Dtype::F8E4M3 => byte(0, 0x7f),
        Dtype::F8E8M0 => byte(0, 0xff),
        Dtype::F8E4M3Fnuz | Dtype::F8E5M2Fnuz => byte(0x7f, 0xff),
        _ => None,
    }?;
    Some(match dtype {
        // Of a complex number, either half.
        Dtype::C64 => NotFinite { index: index / 2, value: value(Dtype::F32, bytes, index) },
        _ => NotFinite { index, value: value(dtype, bytes, index) },
    })
}

/// The element at `index`, which is not finite.
fn value(dtype: Dtype, bytes: &[u8], index: usize) -> f32 {
    let size = dtype.bits() / 8;
    let element = &bytes[index * size..][..size];
    let mut value = [f32::NAN];
    match (dtype, element) {
        (Dtype::F64, _) => f64::from_le_bytes(element.try_into().expect("eight bytes")) as f32,
        // The upper half of an F16.
        (Dtype::F8E5M2, &[byte]) => half::f16::from_bits(u16::from(byte) << 8).to_f32(),
        (Dtype::F8E4M3, &[byte]) => e4m3_to_f32(byte),
        // Where it cannot be decoded, NaN is all that there is.
        _ => {
            let _ = decode(dtype, element, &mut value);
            value[0]
        }
    }
}

fn first<const N: usize>(bytes: &[u8], is_special: impl Fn(&[u8; N]) -> bool) -> Option<usize> {
    let (elements, _) = bytes.as_chunks::<N>();
    let mut parts = elements.chunks(ELEMENTS).enumerate();
    let (part, elements) = parts.find(|(_, part)| dispatch(AnySpecial(part, &is_special)))?;
    let place = elements.iter().position(is_special)?;
    Some(part * ELEMENTS + place)
}

struct AnySpecial<'a, const N: usize, F>(&'a [[u8; N]], &'a F)
where
    F: Fn(&[u8; N]) -> bool;

impl<const N: usize, F: Fn(&[u8; N]) -> bool> Kernel for AnySpecial<'_, N, F> {
    type Output = bool;

    /// Without leaving early, so that the loop vectorizes.
    #[inline(always)]
    fn run(self) -> bool {
        self.0.iter().fold(false, |any, element| any | (self.1)(element))
    }
}

/// Elements that are looked at before it is asked whether one was found.
const ELEMENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Many ones, then the element, at an odd place of an odd part.
    fn among_ones(one: &[u8], element: &[u8]) -> Vec<u8> {
        let mut bytes = one.repeat(ELEMENTS + 7);
        bytes.extend_from_slice(element);
        bytes.extend(one.repeat(9));
        bytes
    }

    fn check(dtype: Dtype, one: &[u8], element: &[u8], expected: Option<f32>) {
        let found = first_not_finite(dtype, &among_ones(one, element));
        assert_eq!(found.map(|found| found.index), expected.map(|_| ELEMENTS + 7), "{dtype}");
        let bits = |value: f32| (value.is_nan(), if value.is_nan() { 0 } else { value.to_bits() });
        assert_eq!(found.map(|found| bits(found.value)), expected.map(bits), "{dtype}");
    }

    #[test]
    fn every_sixteen_bit_pattern_is_judged_as_the_half_crate_does() {
        for pattern in 0..=u16::MAX {
            let bytes = pattern.to_le_bytes();
            let f16 = half::f16::from_bits(pattern);
            let found = first_not_finite(Dtype::F16, &bytes).is_some();
            assert_eq!(found, !f16.is_finite(), "F16 {pattern:#x}");
            let bf16 = half::bf16::from_bits(pattern);
            let found = first_not_finite(Dtype::BF16, &bytes).is_some();
            assert_eq!(found, !bf16.is_finite(), "BF16 {pattern:#x}");
        }
    }

    #[test]
    fn every_eight_bit_pattern_is_judged_by_the_formats_definition() {
        for byte in 0..=u8::MAX {
            let found = |dtype| first_not_finite(dtype, &[byte]).is_some();
            assert_eq!(found(Dtype::F8E4M3), matches!(byte, 0x7f | 0xff), "{byte:#x}");
            assert_eq!(found(Dtype::F8E5M2), byte & 0x7f >= 0x7c, "{byte:#x}");
            assert_eq!(found(Dtype::F8E8M0), byte == 0xff, "{byte:#x}");
            assert_eq!(found(Dtype::F8E4M3Fnuz), byte == 0x80, "{byte:#x}");
            assert_eq!(found(Dtype::F8E5M2Fnuz), byte == 0x80, "{byte:#x}");
            assert!(!found(Dtype::U8) && !found(Dtype::I8) && !found(Dtype::Bool));
        }
    }

    #[test]
    fn the_first_is_found_where_it_stands() {
        let half = |value| half::f16::from_f32(value).to_le_bytes();
        check(Dtype::F16, &half(1.0), &half(f32::NEG_INFINITY), Some(f32::NEG_INFINITY));
        check(Dtype::F16, &half(1.0), &half(65_504.0), None);
        let brain = |value| half::bf16::from_f32(value).to_le_bytes();
        check(Dtype::BF16, &brain(1.0), &brain(f32::NAN), Some(f32::NAN));
        check(Dtype::BF16, &brain(1.0), &brain(3.3e38), None);
        let single = f32::to_le_bytes;
        check(Dtype::F32, &single(1.0), &single(f32::INFINITY), Some(f32::INFINITY));
        check(Dtype::F32, &single(1.0), &single(f32::MAX), None);
        let double = f64::to_le_bytes;
        check(Dtype::F64, &double(1.0), &double(f64::NEG_INFINITY), Some(f32::NEG_INFINITY));
        check(Dtype::F64, &double(1.0), &double(f64::NAN), Some(f32::NAN));
        // Beyond an F32, but a number.
        check(Dtype::F64, &double(1.0), &double(1e300), None);
        check(Dtype::F8E4M3, &[0x38], &[0xff], Some(f32::NAN));
        check(Dtype::F8E5M2, &[0x3c], &[0x7c], Some(f32::INFINITY));
        check(Dtype::I32, &[0; 4], &[0xff; 4], None);
    }

    #[test]
    fn either_half_of_a_complex_number_counts() {
        let values = [1.0, 2.0, 3.0, f32::NAN].map(f32::to_le_bytes).concat();
        assert_eq!(first_not_finite(Dtype::C64, &values).map(|found| found.index), Some(1));
    }
}
