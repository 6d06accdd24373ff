//! Weights to test on.

use llmopt_tensor::{Dtype, decode};
use safetensors::SafeTensors;

/// Where weights come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Normal,
    Laplace,
    /// The linear layers of a small trained model.
    Trained,
}

impl Source {
    pub(crate) const ALL: [Self; 3] = [Self::Normal, Self::Laplace, Self::Trained];

    pub(crate) fn weights(self, count: usize) -> Vec<f32> {
        let mut uniform = uniform(1);
        match self {
            Self::Normal => (0..count)
                .map(|_| ((0..12).map(|_| uniform()).sum::<f64>() - 6.0) as f32 * 0.02)
                .collect(),
            Self::Laplace => (0..count)
                .map(|_| {
                    let x = uniform() - 0.5;
                    (-0.02 * x.signum() * (1.0 - 2.0 * x.abs()).ln()) as f32
                })
                .collect(),
            Self::Trained => trained().into_iter().skip(7 * 128 * 128).take(count).collect(),
        }
    }
}

/// Numbers in (0, 1) from a linear congruential generator.
pub(crate) fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }
}

fn trained() -> Vec<f32> {
    let file = include_bytes!("../../../../testdata/tiny-llama/model.safetensors");
    let tensors = SafeTensors::deserialize(file).expect("a whole file");
    let mut all = Vec::new();
    let mut names = tensors.names();
    names.sort();
    for name in names.into_iter().filter(|name| name.contains("_proj")) {
        let tensor = tensors.tensor(name).expect(name);
        let mut weights = vec![0.0; tensor.data().len() / 2];
        decode(Dtype::BF16, tensor.data(), &mut weights).expect(name);
        all.extend(weights);
    }
    all
}
