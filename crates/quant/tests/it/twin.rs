//! The slow twin of the search, from the definition and in f64: every scale that can be stored, both
//! signs, every zero point.

use llmopt_scheme::{Numeric, Scheme};
use llmopt_tensor::{Dtype, e4m3_to_f32, rounded};

/// The least squared error that a tile can have.
pub(crate) fn least_error(weights: &[f32], scheme: Scheme, scale_dtype: Dtype) -> f64 {
    let weights: Vec<f64> = weights.iter().copied().map(f64::from).collect();
    let magnitude = weights.iter().fold(0.0, |a: f64, w| a.max(w.abs()));
    let (levels, reaches) = match scheme.weights {
        Numeric::Int { bits } => {
            let half = f64::from(1 << (bits - 1));
            ((0..1 << bits).map(|i| f64::from(i) - half).collect(), half * 0.45..half * 3.0)
        }
        Numeric::E4m3 => (e4m3(), 224.0..470.0),
    };
    let (least, greatest) = (magnitude / reaches.end, magnitude / reaches.start);
    let mut best = f64::INFINITY;
    for scale in scales(scale_dtype, least, greatest) {
        for scale in [scale, -scale] {
            for zero in zeros(&weights, &levels, scheme, scale) {
                let (error, refitted) = errors(&weights, &levels, scale, zero);
                // F32 scales are as good as continuous: the best one for the codes is one of them.
                best = best.min(if scale_dtype == Dtype::F32 { refitted } else { error });
            }
        }
    }
    best
}

fn scales(dtype: Dtype, least: f64, greatest: f64) -> Vec<f64> {
    let stored = |steps: i32| {
        let ratio = (greatest / least).powf(1.0 / f64::from(steps));
        let scales = (0..=steps).map(|step| least * ratio.powi(step));
        let mut scales: Vec<f64> = scales.map(|s| f64::from(rounded(dtype, s as f32))).collect();
        scales.dedup();
        scales
    };
    // Finer than BF16 values lie.
    stored(if dtype == Dtype::F32 { 1500 } else { 800 })
}

/// All of them, or with 256 those that leave the tile about where the codes are.
fn zeros(weights: &[f64], levels: &[f64], scheme: Scheme, scale: f64) -> Vec<f64> {
    if scheme.symmetric {
        return vec![0.0];
    }
    let least = weights.iter().copied().fold(0.0, f64::min);
    let greatest = weights.iter().copied().fold(0.0, f64::max);
    let ideal = -0.5 - (least + greatest) / 2.0 / scale;
    let near = |zero: &f64| levels.len() <= 16 || (zero - ideal).abs() < 6.0;
    levels.iter().copied().filter(near).collect()
}

/// The squared error at `scale`, and at the best scale for the levels that it rounds to.
fn errors(weights: &[f64], levels: &[f64], scale: f64, zero: f64) -> (f64, f64) {
    let (mut error, mut square, mut cross, mut weight_square) = (0.0, 0.0, 0.0, 0.0);
    for &weight in weights {
        let level = nearest(levels, weight / scale + zero) - zero;
        error += (weight - scale * level) * (weight - scale * level);
        cross += weight * level;
        square += level * level;
        weight_square += weight * weight;
    }
    let refitted = weight_square - if square > 0.0 { cross * cross / square } else { 0.0 };
    (error, refitted)
}

/// The level nearest to `x`. `levels` ascend.
fn nearest(levels: &[f64], x: f64) -> f64 {
    let above = levels.partition_point(|&level| level < x).clamp(1, levels.len() - 1);
    let (a, b) = (levels[above - 1], levels[above]);
    if x - a <= b - x { a } else { b }
}

fn e4m3() -> Vec<f64> {
    let finite = (0..=255u8).filter(|code| code & 0x7f != 0x7f && *code != 0x80);
    let mut levels: Vec<f64> = finite.map(|code| f64::from(e4m3_to_f32(code))).collect();
    levels.sort_by(f64::total_cmp);
    levels
}
