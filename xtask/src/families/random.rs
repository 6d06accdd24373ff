//! Values from a seed, the same on every machine: integers, exact floats, and one rounding.

use crate::random::Generator;
use anyhow::Result;
use llmopt_tensor::{TensorMeta, encode};

/// What a tensor is filled with: values around `mean`, spread by `spread` (a standard deviation).
#[derive(Clone, Copy)]
pub(super) struct Fill {
    pub(super) mean: f32,
    pub(super) spread: f32,
}

/// The bytes of a tensor, from its name alone.
pub(super) fn tensor(name: &str, meta: &TensorMeta, fill: Fill) -> Result<Vec<u8>> {
    let mut generator = Generator::new(seed(name));
    let elements = usize::try_from(meta.elements())?;
    let values: Vec<f32> =
        (0..elements).map(|_| fill.mean + fill.spread * normal(&mut generator)).collect();
    let mut bytes = vec![0; usize::try_from(meta.bytes())?];
    encode(meta.dtype(), &values, &mut bytes)?;
    Ok(bytes)
}

/// FNV-1a, 64 bits.
fn seed(name: &str) -> u64 {
    let absorbed = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, absorbed)
}

/// Nearly normal: the sum of three uniform values on [-1, 1], which has variance one.
fn normal(generator: &mut Generator) -> f32 {
    let bits = generator.next();
    // Three numbers of 21 bits; their sum is a whole number that `f32` holds exactly.
    let sum = (0..3).map(|place| (bits >> (21 * place)) & 0x1f_ffff).sum::<u64>();
    sum as f32 / 1_048_576.0 - 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_mean_zero_and_variance_one() {
        let mut generator = Generator::new(1);
        let values: Vec<f64> = (0..100_000).map(|_| f64::from(normal(&mut generator))).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|value| value * value).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
