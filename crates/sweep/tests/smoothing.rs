//! A smoothed model computes what it did before, whatever the scales.

use llmopt_forward::{Engine, Matrix};
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_model::{ScaledPair, Smoothing, Variant};
use llmopt_run::{Cancel, Error, Resources, Silent};
use llmopt_sweep::{Judge, Reading, Run, judging, planned};
use std::path::Path;
use std::sync::Arc;

/// The greatest logit, and the greatest difference between those of two models.
#[derive(Default)]
struct Difference {
    greatest: f32,
    difference: f32,
}

impl Judge for Difference {
    fn after_layer(&mut self, _: usize, _: &[&Matrix]) -> Result<(), Error> {
        Ok(())
    }

    fn logits(&mut self, _: usize, _: usize, logits: &[&Matrix]) -> Result<(), Error> {
        for (before, after) in logits[0].values().iter().zip(logits[1].values()) {
            self.greatest = self.greatest.max(before.abs());
            self.difference = self.difference.max((before - after).abs());
        }
        Ok(())
    }
}

/// Every pair of a model, with scales from a third to three.
fn pairs(variant: &Variant) -> Vec<ScaledPair> {
    let program = variant.program();
    let pairs = program.blocks.iter().flat_map(|block| program.smoothing(block).pairs);
    let scale = |channel: usize| 3f32.powf((channel * 37 % 101) as f32 / 50.0 - 1.0);
    pairs.map(|pair| ScaledPair::new(&pair, (0..pair.channels).map(scale).collect())).collect()
}

#[test]
fn the_function_of_every_family_is_kept() {
    let check = |model: &str, expected: usize| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(model);
        let original = Variant::open(&path).expect("a model");
        let pairs = pairs(&original);
        assert_eq!(pairs.len(), expected, "{model}");
        let smoothing = Smoothing::new(original.source(), pairs, |_| None).expect("scales");
        let smoothed = original.clone().smoothed(Arc::new(smoothing));
        let engine = Engine::new(Gemm::new(Precision::F32, KernelChoice::Auto).expect("a kernel"));
        let tokens = |window: u32| (0..40).map(|i| (i * i * 7 + i * window + 3) % 96).collect();
        let batches = judging(&(1..4).map(tokens).collect::<Vec<Vec<u32>>>());
        let resources = Resources { memory: 1 << 30, threads: 2 };
        let variants = [original, smoothed];
        let both = variants.iter().collect::<Vec<_>>();
        let memory = planned(&both, &batches, &engine, 0, resources).expect("room");
        let (scratch, cancel) = (std::env::temp_dir(), Cancel::new());
        let run =
            Run { engine: &engine, resources, scratch: &scratch, events: &Silent, cancel: &cancel };
        let mut found = Difference::default();
        let reading = Reading { variants: &variants, batches: &batches, memory: &memory, run };
        reading.sweep(&mut found).expect("logits");
        let Difference { greatest, difference } = found;
        assert!(greatest > 0.1, "{model}");
        assert!(difference > 0.0, "{model}: nothing was scaled");
        assert!(difference < 1e-4 * greatest, "{model}: {difference} of {greatest}");
    };
    check("tiny-llama", 12);
    check("families/gemma", 6);
    check("families/gemma3_text", 6);
    check("families/granite", 6);
    check("families/mixtral", 10);
    check("families/olmo2", 2);
    check("families/phi3", 6);
    check("families/qwen2", 6);
    check("families/qwen3_moe", 10);
}
