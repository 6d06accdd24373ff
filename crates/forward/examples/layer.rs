//! Times one layer of a llama: `cargo run --release --example layer [f32|bf16] [threads]`.
//!
//! The same matrix products are timed alone, so the difference is what everything else costs.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it measures, and says what it found"
)]

use llmopt_arch::Model;
use llmopt_arch::program::{Operation, Phase, Program};
use llmopt_forward::{Batch, Engine, Linear, Matrix, State, Taps, Weights};
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_tensor::{Dtype, TensorMeta};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const TOKENS: usize = 4096;
const SEQUENCE: usize = 512;
const STEP: usize = 1;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let precision = match arguments.first().map(String::as_str) {
        Some("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    let threads = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    let engine = Engine::new(Gemm::new(precision, KernelChoice::Auto).unwrap());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    println!("{}, {threads} threads", engine.gemm().name());
    pool.install(|| measure(&engine, threads));
}

fn measure(engine: &Engine, threads: usize) {
    let program = program();
    let batch = Batch::of_lengths([SEQUENCE; TOKENS / SEQUENCE]);
    let hidden = Matrix::from_values(TOKENS, program.hidden, noise(TOKENS * program.hidden));
    let mut taps = Taps::new(hidden.unwrap());
    for phase in &program.blocks[0].phases {
        let weights = weights(engine, phase);
        let products = best(|| products(engine, phase, &weights, TOKENS));
        let whole = best(|| {
            engine.run(&program, phase, &weights, &batch, &mut taps, None).unwrap();
        });
        let rest = 100.0 * (whole.as_secs_f64() / products.as_secs_f64() - 1.0);
        let bytes = engine.working_bytes(&program, phase, &batch, threads).unwrap();
        println!(
            "{}: {whole:.1?}, its products alone {products:.1?}: {rest:.1} % more; {} MB of working memory",
            phase.name,
            bytes / 1_000_000
        );
    }
    steps(engine, &program);
}

/// One token at a time after a prompt.
fn steps(engine: &Engine, program: &Program) {
    let mut state = State::new(program, 1);
    let mut run = |phase: &Phase, weights: &Weights, batch: &Batch| {
        let hidden = noise(batch.tokens() * program.hidden);
        let hidden = Matrix::from_values(batch.tokens(), program.hidden, hidden).unwrap();
        let (mut taps, state) = (Taps::new(hidden), Some((&mut state, 0)));
        let start = Instant::now();
        engine.run(program, phase, weights, batch, &mut taps, state).unwrap();
        start.elapsed()
    };
    let [attention, mlp] = [0, 1].map(|number| &program.blocks[0].phases[number]);
    let [first, second] = [attention, mlp].map(|phase| weights(engine, phase));
    run(attention, &first, &Batch::of_lengths([2048]));
    for (phase, weights) in [(attention, &first), (mlp, &second)] {
        let mut most = Duration::MAX;
        for token in 0..20 {
            let start = if phase.name == attention.name { 2048 + token } else { 0 };
            let batch = Batch::new(vec![llmopt_forward::Sequence { start, length: STEP }]);
            most = most.min(run(phase, weights, &batch));
        }
        let products = best(|| products(engine, phase, weights, STEP));
        println!(
            "{}, one token after 2048: {most:.1?}, its products alone {products:.1?}",
            phase.name
        );
    }
}

/// The matrix products of a phase, shared among threads as the engine does.
fn products(engine: &Engine, phase: &Phase, weights: &Weights, tokens: usize) {
    for linear in phase.operations.iter().filter_map(Operation::linear) {
        let packed = &weights.linears[&linear.weight].packed;
        let inputs = vec![0.5; tokens * linear.columns];
        let mut outputs = vec![0.0; tokens * linear.rows];
        if tokens == 1 {
            outputs.par_chunks_mut(128).enumerate().for_each(|(panel, out)| {
                engine.gemm().multiply(&inputs, packed, panel * 128..panel * 128 + out.len(), out);
            });
            continue;
        }
        let inputs = inputs.par_chunks(256 * linear.columns);
        outputs.par_chunks_mut(256 * linear.rows).zip(inputs).for_each(|(outputs, inputs)| {
            engine.gemm().multiply(inputs, packed, 0..linear.rows, outputs);
        });
    }
}

fn best(mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..3).map(time).min().unwrap()
}

fn program() -> Program {
    let config = r#"{
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048,
        "intermediate_size": 8192, "num_hidden_layers": 1, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 64, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "max_position_embeddings": 4096, "rope_theta": 500000.0, "tie_word_embeddings": false
    }"#;
    let config: serde_json::Map<_, _> = serde_json::from_str(config).unwrap();
    let shapes: [(&str, &[usize]); 12] = [
        ("embed_tokens", &[64, 2048]),
        ("layers.0.input_layernorm", &[2048]),
        ("layers.0.self_attn.q_proj", &[2048, 2048]),
        ("layers.0.self_attn.k_proj", &[512, 2048]),
        ("layers.0.self_attn.v_proj", &[512, 2048]),
        ("layers.0.self_attn.o_proj", &[2048, 2048]),
        ("layers.0.post_attention_layernorm", &[2048]),
        ("layers.0.mlp.gate_proj", &[8192, 2048]),
        ("layers.0.mlp.up_proj", &[8192, 2048]),
        ("layers.0.mlp.down_proj", &[2048, 8192]),
        ("norm", &[2048]),
        ("lm_head", &[64, 2048]),
    ];
    let name = |part: &str| match part {
        "lm_head" => "lm_head.weight".to_owned(),
        part => format!("model.{part}.weight"),
    };
    let meta = |shape: &[usize]| TensorMeta::new(Dtype::BF16, shape).unwrap();
    let tensors: BTreeMap<String, TensorMeta> =
        shapes.iter().map(|(part, shape)| (name(part), meta(shape))).collect();
    Model::bind(Some(&config), &tensors).unwrap().program().unwrap()
}

fn weights(engine: &Engine, phase: &Phase) -> Weights {
    let mut weights = Weights::default();
    for operation in &phase.operations {
        match operation {
            Operation::Linear(linear) => {
                let mut made = Linear::new(engine.gemm().pack(linear.rows, linear.columns));
                let scale = 1.0 / (linear.columns as f32).sqrt();
                made.packed.bands_mut(64).into_par_iter().for_each(|mut band| {
                    let values = noise(band.rows().len() * linear.columns);
                    band.fill(&values.iter().map(|x| x * scale).collect::<Vec<f32>>());
                });
                weights.linears.insert(linear.weight.clone(), made);
            }
            Operation::Norm { weight, width, .. } => {
                weights.vectors.insert(weight.clone(), vec![1.0; *width]);
            }
            _ => {}
        }
    }
    weights
}

fn noise(length: usize) -> Vec<f32> {
    (0..length).map(|i| (i * 7919 % 2003) as f32 / 1001.0 - 1.0).collect()
}
