//! Element types, as safetensors names them.

use std::fmt;

macro_rules! dtypes {
    ($($variant:ident $name:literal $bits:literal $doc:literal,)*) => {
        /// An element type of safetensors 0.8.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Dtype { $(#[doc = $doc] $variant,)* }

        impl Dtype {
            /// Every element type.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in a safetensors header.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Bits per element.
            pub const fn bits(self) -> usize {
                match self { $(Self::$variant => $bits),* }
            }
        }
    };
}

dtypes! {
    Bool "BOOL" 8 "One byte, 0 or 1.",
    F4 "F4" 4 "E2M1, two to a byte.",
    F6E2M3 "F6_E2M3" 6 "Six-bit float.",
    F6E3M2 "F6_E3M2" 6 "Six-bit float.",
    U8 "U8" 8 "Unsigned byte.",
    I8 "I8" 8 "Signed byte.",
    F8E5M2 "F8_E5M2" 8 "Eight-bit float with infinities.",
    F8E4M3 "F8_E4M3" 8 "Eight-bit float without infinities, at most 448.",
    F8E8M0 "F8_E8M0" 8 "A power of two.",
    F8E4M3Fnuz "F8_E4M3FNUZ" 8 "E4M3 with one zero.",
    F8E5M2Fnuz "F8_E5M2FNUZ" 8 "E5M2 with one zero.",
    I16 "I16" 16 "Signed.",
    U16 "U16" 16 "Unsigned.",
    F16 "F16" 16 "IEEE 754 binary16.",
    BF16 "BF16" 16 "The upper half of an F32.",
    I32 "I32" 32 "Signed.",
    U32 "U32" 32 "Unsigned.",
    F32 "F32" 32 "IEEE 754 binary32.",
    C64 "C64" 64 "Two F32, real and imaginary.",
    F64 "F64" 64 "IEEE 754 binary64.",
    I64 "I64" 64 "Signed.",
    U64 "U64" 64 "Unsigned.",
}

impl Dtype {
    /// The type that a safetensors header calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.name() == name)
    }

    /// Whether weights are computed with in this type: F32, F16 or BF16.
    pub const fn is_plain_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_type() {
        for &dtype in Dtype::ALL {
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(Dtype::from_name("I4"), None);
        assert_eq!(Dtype::from_name("E8M0"), None);
    }
}
