//! What a caller asks for, and how it is told that this machine does not have it.

use std::fmt;
use std::str::FromStr;

/// What the inputs of a product are rounded to. Sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Not rounded.
    F32,
    /// To bfloat16, ties to even.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// Which kernel computes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelChoice {
    /// The fastest that this machine has.
    Auto,
    /// Plain Rust, the same bits on every machine.
    Portable,
    /// The `faer` library; f32 only.
    Faer,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512.
    Avx512,
    /// The bfloat16 dot product of AVX-512; bf16 only.
    Avx512Bf16,
    /// AMX tiles; bf16 only.
    Amx,
}

impl KernelChoice {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Auto, "auto"),
        (Self::Portable, "portable"),
        (Self::Faer, "faer"),
        (Self::Avx2, "avx2"),
        (Self::Avx512, "avx512"),
        (Self::Avx512Bf16, "avx512bf16"),
        (Self::Amx, "amx"),
    ];

    /// The name of every choice.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(|(_, name)| name)
    }

    /// The name of this choice.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(choice, _)| *choice == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for KernelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kernel `{0}` (there are {names})", names = KernelChoice::names().collect::<Vec<_>>().join(", "))]
pub struct Unknown(pub String);

impl FromStr for KernelChoice {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let found = Self::ALL.into_iter().find(|(_, known)| *known == name);
        found.map(|(choice, _)| choice).ok_or_else(|| Unknown(name.to_owned()))
    }
}

/// A kernel that this machine lacks, or that does not compute in this precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel `{kernel}` does not compute in {precision} here: {why} (there are {})", available.join(", "))]
pub struct Unavailable {
    /// The kernel asked for.
    pub kernel: &'static str,
    /// The precision asked for.
    pub precision: Precision,
    /// What is missing.
    pub why: &'static str,
    /// The kernels that this machine has for this precision.
    pub available: Vec<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for (choice, name) in KernelChoice::ALL {
            assert_eq!(name.parse(), Ok(choice));
            assert_eq!(choice.to_string(), name);
        }
        let message = "mkl".parse::<KernelChoice>().map_err(|unknown| unknown.to_string());
        let expected =
            "no kernel `mkl` (there are auto, portable, faer, avx2, avx512, avx512bf16, amx)";
        assert_eq!(message, Err(expected.to_owned()));
    }
}
