//! Rounding that every processor does alike, without branches, so that loops over it vectorize.

/// 1.5 * 2^23: added and taken away again, it leaves no bit below one.
const MAGIC: f32 = 12_582_912.0;

/// The nearest integer, ties to even. Exact for `|x| < 2^22`; callers clamp first.
#[inline(always)]
pub fn round_half_even(x: f32) -> f32 {
    (x + MAGIC) - MAGIC
}

/// `x`, an integer within the range of `i8`. Unlike `x as i8`, which saturates, a loop over it
/// needs one addition and keeps the lowest byte.
#[inline(always)]
pub fn i8_from_integer(x: f32) -> i8 {
    (x + MAGIC).to_bits() as i8
}

/// `x` rounded to the nearest integer, ties to even, where that is within the range of `i16`.
#[inline(always)]
pub fn i16_nearest(x: f32) -> i16 {
    (x + MAGIC).to_bits() as i16
}

/// The nearest E4M3 value, ties to even, clamped to ±448. NaN stays NaN.
#[inline(always)]
pub fn rounded_to_e4m3(x: f32) -> f32 {
    rounded_to_e4m3_without_negative_zero(x).copysign(x)
}

/// Like [`rounded_to_e4m3`], in three instructions fewer, but zero is always positive.
#[inline(always)]
pub fn rounded_to_e4m3_without_negative_zero(x: f32) -> f32 {
    let x = x.clamp(-448.0, 448.0);
    // A significand has three bits, but below 2^-6 the values are multiples of 2^-9.
    let binade = (x.to_bits() & 0x7f80_0000).max((127 - 6) << 23);
    let magic = f32::from_bits(binade + (MAGIC / 8.0).to_bits() - 1f32.to_bits());
    (x + magic) - magic
}

/// The E4M3 code nearest to `x`: sign, four bits of exponent with bias 7, three of significand.
/// Values beyond ±448 saturate; NaN becomes the code 0x7f.
#[inline(always)]
pub fn e4m3_from_f32(x: f32) -> u8 {
    let rounded = rounded_to_e4m3(x);
    let sign = (rounded.to_bits() >> 24) as u8 & 0x80;
    let magnitude = rounded.abs();
    let normal = ((magnitude.to_bits() >> 20) as i32 - ((127 - 7) << 3)) as u8;
    let subnormal = (magnitude * 512.0 + MAGIC).to_bits() as u8;
    let code = if magnitude < 1.0 / 64.0 { subnormal } else { normal };
    if rounded.is_nan() { 0x7f } else { sign | code }
}

/// The value of an E4M3 code. 0x7f and 0xff are NaN; there are no infinities.
#[inline(always)]
pub fn e4m3_to_f32(code: u8) -> f32 {
    let magnitude = u32::from(code & 0x7f);
    let normal = f32::from_bits((magnitude << 20) + ((127 - 7) << 23));
    let subnormal = magnitude as f32 * (1.0 / 512.0);
    let value = if magnitude < 8 { subnormal } else { normal };
    let value = if magnitude == 0x7f { f32::NAN } else { value };
    if code & 0x80 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the definition: the sign, then 2^(e-7) * (1 + m/8), or 2^-6 * m/8 when e is 0.
    fn e4m3_by_definition(code: u8) -> f64 {
        let (exponent, mantissa) = (i32::from(code >> 3 & 15), f64::from(code & 7));
        let magnitude = match exponent {
            0 => mantissa / 8.0 * 2f64.powi(-6),
            _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
        };
        if code & 0x80 == 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn every_e4m3_code_has_its_value_and_comes_back() {
        for code in (0..=255u8).filter(|code| code & 0x7f != 0x7f) {
            assert_eq!(f64::from(e4m3_to_f32(code)), e4m3_by_definition(code), "{code:#x}");
            assert_eq!(e4m3_from_f32(e4m3_to_f32(code)), code, "{code:#x}");
        }
        assert!(e4m3_to_f32(0x7f).is_nan() && e4m3_to_f32(0xff).is_nan());
    }

    #[test]
    fn e4m3_rounds_to_the_nearest_value_and_ties_to_the_even_code() {
        for code in 0..0x7eu8 {
            let (low, high) = (e4m3_to_f32(code), e4m3_to_f32(code + 1));
            let middle = (low + high) / 2.0;
            let even = if code % 2 == 0 { code } else { code + 1 };
            assert_eq!(e4m3_from_f32(middle), even, "{middle}");
            assert_eq!(e4m3_from_f32(-middle), even | 0x80, "-{middle}");
            assert_eq!(e4m3_from_f32(middle.next_down()), code, "below {middle}");
            assert_eq!(e4m3_from_f32(middle.next_up()), code + 1, "above {middle}");
        }
        assert_eq!(e4m3_from_f32(f32::INFINITY), 0x7e);
        assert_eq!(e4m3_from_f32(-1e9), 0xfe);
        assert_eq!(e4m3_from_f32(f32::NAN), 0x7f);
        assert_eq!(e4m3_from_f32(-0.0), 0x80);
    }

    #[test]
    fn every_i8_is_read_off_its_float() {
        for integer in i8::MIN..=i8::MAX {
            assert_eq!(i8_from_integer(f32::from(integer)), integer);
        }
        assert_eq!(i8_from_integer(-0.0), 0);
    }

    #[test]
    fn ties_go_to_even() {
        for (x, expected) in [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, 0.0), (-3.5, -4.0)] {
            assert_eq!(round_half_even(x), expected);
        }
        for x in (-40_000..40_000).map(|i| i as f32 * 0.0625) {
            assert_eq!(round_half_even(x), x.round_ties_even(), "{x}");
        }
    }
}
