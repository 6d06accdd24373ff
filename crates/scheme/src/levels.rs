//! What a code stands for before it is scaled.

use crate::Numeric;
use llmopt_tensor::{
    e4m3_from_f32, e4m3_to_f32, i8_from_integer, round_half_even, rounded_to_e4m3,
};

/// The values of the codes of a number format, in units of the scale.
///
/// Integer codes are themselves; an E4M3 code is its bit pattern. The functions are inlined into the
/// kernels that loop over them and vectorize there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// The integers from `low` to `high`.
    Integer {
        /// The least code, -2^(bits-1).
        low: i8,
        /// The greatest code, 2^(bits-1) - 1.
        high: i8,
    },
    /// The values of E4M3.
    E4m3,
}

impl Levels {
    /// The levels of a number format. Widths beyond 8 count as 8.
    pub fn new(numeric: Numeric) -> Self {
        match numeric {
            Numeric::Int { bits } => {
                let high = (1u8 << (bits.clamp(1, 8) - 1)) - 1;
                Self::Integer { low: -(high as i8) - 1, high: high as i8 }
            }
            Numeric::E4m3 => Self::E4m3,
        }
    }

    /// The absolute maximum of the weights is divided by this to give round-to-nearest's scale: half
    /// the number of steps of an integer grid, the greatest value of a float one.
    /// (compressed-tensors computes its scales so.)
    pub fn half_range(self) -> f32 {
        match self {
            Self::Integer { low, high } => (f32::from(high) - f32::from(low)) / 2.0,
            Self::E4m3 => 448.0,
        }
    }

    /// The value of `code`.
    #[inline(always)]
    pub fn value(self, code: i8) -> f32 {
        match self {
            Self::Integer { .. } => f32::from(code),
            Self::E4m3 => e4m3_to_f32(code as u8),
        }
    }

    /// The level nearest to `x`, ties to even, clamped to the range. `x` is in units of the scale.
    #[inline(always)]
    pub fn nearest(self, x: f32) -> f32 {
        match self {
            Self::Integer { low, high } => {
                round_half_even(x.clamp(f32::from(low), f32::from(high)))
            }
            Self::E4m3 => rounded_to_e4m3(x),
        }
    }

    /// The code of a level, as [`Levels::nearest`] returns it.
    #[inline(always)]
    pub fn code(self, level: f32) -> i8 {
        match self {
            Self::Integer { .. } => i8_from_integer(level),
            Self::E4m3 => e4m3_from_f32(level) as i8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_every_width_is_the_nearest_to_its_own_value() {
        for bits in 1..=8u8 {
            let levels = Levels::new(Numeric::Int { bits });
            let half = 1i16 << (bits - 1);
            for code in -half..half {
                let value = levels.value(code as i8);
                assert_eq!(value, f32::from(code));
                assert_eq!(levels.code(levels.nearest(value + 0.4)), code as i8, "{bits} bits");
            }
            assert_eq!(levels.nearest(1e9), f32::from(half - 1));
            assert_eq!(levels.nearest(-1e9), f32::from(-half));
        }
        for code in (-128..=127i8).filter(|code| code & 0x7f != 0x7f) {
            let level = Levels::E4m3.nearest(Levels::E4m3.value(code));
            assert_eq!(Levels::E4m3.code(level), code);
        }
    }

    #[test]
    fn half_ranges_are_those_of_compressed_tensors() {
        assert_eq!(Levels::new(Numeric::Int { bits: 4 }).half_range(), 7.5);
        assert_eq!(Levels::new(Numeric::Int { bits: 8 }).half_range(), 127.5);
        assert_eq!(Levels::new(Numeric::E4m3).half_range(), 448.0);
    }
}
