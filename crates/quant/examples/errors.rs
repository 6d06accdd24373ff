//! Relative errors of both methods on the linear layers of a model, scheme by scheme.
//!
//! `cargo run --release -p llmopt-quant --example errors -- model.safetensors`

#![expect(clippy::print_stdout, reason = "the table is what it is run for")]

use llmopt_quant::{Nearest, Quantizer, Search};
use llmopt_scheme::{Activations, Granularity, Numeric, Scheme, SquaredError};
use llmopt_tensor::{Dtype, decode};
use ndarray::Array2;
use safetensors::SafeTensors;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: errors MODEL.safetensors")?;
    #[expect(clippy::disallowed_methods, reason = "an example without the checkpoint crate")]
    let file = std::fs::read(path)?;
    let matrices = matrices(&SafeTensors::deserialize(&file)?)?;
    println!(
        "{:<26}{:>8}{:>8}{:>8}{:>8}{:>8}",
        "relative error, percent", "rtn", "search", "lower", "equal", "higher"
    );
    for scheme in schemes() {
        let (mut nearest, mut searched) = (SquaredError::default(), SquaredError::default());
        let (mut lower, mut equal, mut higher) = (0, 0, 0);
        for weights in &matrices {
            let error = |quantizer: &dyn Quantizer| {
                let matrix = quantizer.quantize(weights.view(), &scheme, Dtype::BF16)?;
                Ok::<_, Box<dyn Error>>(
                    matrix.squared_error(weights.as_slice().expect("rows one after the other")),
                )
            };
            let (a, b) = (error(&Nearest)?, error(&Search)?);
            lower += usize::from(b.noise < a.noise);
            equal += usize::from(b.noise == a.noise);
            higher += usize::from(b.noise > a.noise);
            nearest.add(a);
            searched.add(b);
        }
        println!(
            "{:<26}{:>8.4}{:>8.4}{lower:>8}{equal:>8}{higher:>8}",
            scheme.to_string(),
            nearest.relative() * 100.0,
            searched.relative() * 100.0,
        );
    }
    Ok(())
}

fn matrices(tensors: &SafeTensors<'_>) -> Result<Vec<Array2<f32>>, Box<dyn Error>> {
    let mut matrices = Vec::new();
    for (name, tensor) in tensors.iter().filter(|(name, _)| name.contains("_proj")) {
        let &[rows, columns] = tensor.shape() else { continue };
        let dtype = Dtype::from_name(&format!("{:?}", tensor.dtype())).ok_or(name)?;
        let mut weights = vec![0.0; rows * columns];
        decode(dtype, tensor.data(), &mut weights)?;
        matrices.push(Array2::from_shape_vec((rows, columns), weights)?);
    }
    Ok(matrices)
}

fn schemes() -> Vec<Scheme> {
    let row = |weights, granularity, symmetric| Scheme {
        weights,
        granularity,
        symmetric,
        activations: Activations::None,
    };
    let int = |bits| Numeric::Int { bits };
    let block = Granularity::Block { rows: 128, columns: 128 };
    vec![
        row(int(8), Granularity::Channel, true),
        row(int(8), Granularity::Channel, false),
        row(int(8), Granularity::Group(128), true),
        row(int(4), Granularity::Channel, true),
        row(int(4), Granularity::Group(128), true),
        row(int(4), Granularity::Group(32), true),
        row(int(4), Granularity::Group(128), false),
        row(int(3), Granularity::Group(64), true),
        row(Numeric::E4m3, Granularity::Channel, true),
        row(Numeric::E4m3, block, true),
    ]
}
