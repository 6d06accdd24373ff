//! What a plan counts is what its run does, stage by stage, and grows as the data do.

use llmopt_pipeline::{
    Axis, Calibrate, CalibrationRequest, CalibrationSource, Cancel, EvaluationRequest, Events,
    KernelChoice, Method, Precision, PruneMethod, PruneRecipe, PruneRequest, Recipe, Resources,
    Runtime, Scheme, Target, TimeEstimate, Windows, evaluate, plan, plan_evaluation, plan_prune,
    prune, quantize,
};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const RESOURCES: Resources = Resources { memory: 1 << 30, threads: 2 };

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama")
}

fn calibrate(own: bool, samples: usize) -> Calibrate {
    let source = match own {
        true => CalibrationSource::SelfDrawn { weight: 1.0 },
        false => CalibrationSource::File { path: model().join("calibration.txt"), weight: 1.0 },
    };
    let data = CalibrationRequest::new(vec![source]);
    Calibrate {
        data: CalibrationRequest { samples, window: Some(64), ..data },
        sequential: true,
        held_out: true,
        precision: Precision::F32,
        kernel: KernelChoice::Auto,
    }
}

fn recipe(method: &str, calibrate: Option<Calibrate>) -> Recipe {
    let method: Method = method.parse().expect("a method");
    Recipe { method, calibrate, ..Recipe::new(Scheme::preset("w4a16").expect("a preset")) }
}

/// Shares of the stages that ran, in order.
#[derive(Default)]
struct Shares(Mutex<Vec<(&'static str, f64, f64)>>);

impl Events for Shares {
    fn stage_started(&self, stage: &'static str, _bytes: u64) {
        self.0.lock().expect("no panic").push((stage, 0.0, 0.0));
    }

    fn worked(&self, share: f64) {
        self.0.lock().expect("no panic").last_mut().expect("a stage").1 += share;
    }

    fn passed_over(&self, share: f64) {
        self.0.lock().expect("no panic").last_mut().expect("a stage").2 += share;
    }
}

/// Checks that stages are those that were estimated, and that what they do adds up to what was counted.
#[track_caller]
fn check(estimate: &TimeEstimate, shares: Shares, tolerance: f64) {
    let shares = shares.0.into_inner().expect("no panic");
    let names: Vec<&str> = shares.iter().map(|(stage, ..)| *stage).collect();
    let estimated: Vec<&str> = estimate.stages.iter().map(|stage| stage.stage).collect();
    assert_eq!(names, estimated);
    for (stage, worked, passed) in shares {
        // Stages that nothing computes in are told of by their bytes.
        if !["look", "copy", "read back", "hash"].contains(&stage) {
            assert!((worked + passed - 1.0).abs() < tolerance, "{stage}: {worked} and {passed}");
        }
    }
    assert!(estimate.stages.iter().all(|stage| stage.seconds > 0.0), "{estimate:#?}");
}

fn quantized(method: &str, data: Option<Calibrate>) {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Target { output: Some(folder.path().join("out")), ..Target::default() };
    let plan = plan(&model(), &target, &recipe(method, data), RESOURCES).expect("a plan");
    let estimate = plan.estimate(&plan.speed().expect("a speed"), None).expect("an estimate");
    let shares = Shares::default();
    quantize(&plan, &shares, &Cancel::new()).expect("a run");
    check(&estimate, shares, 0.02);
}

#[test]
fn quantizing_does_what_was_counted() {
    quantized("search", None);
    quantized("gptq", Some(calibrate(false, 9)));
    quantized("auto", Some(calibrate(true, 9)));
}

#[test]
fn evaluating_does_what_was_counted() {
    let request = EvaluationRequest {
        artifact: model(),
        against: Some(model()),
        text: Some(model().join("evaluation.txt")),
        tasks: None,
        window: Some(48),
        samples: Some(90),
        bos: false,
        date: None,
        precision: Precision::F32,
        kernel: KernelChoice::Auto,
        gates: Vec::new(),
        logits: None,
        scratch: std::env::temp_dir(),
    };
    let plan = plan_evaluation(&request, RESOURCES).expect("a plan");
    let speed = plan.speed().expect("a speed");
    let estimate = plan.estimate(&speed, None);
    let shares = Shares::default();
    evaluate(&plan, &shares, &Cancel::new()).expect("a run");
    check(&estimate, shares, 0.02);
    let same = Windows { windows: 90, window: 48 };
    let asked = plan.estimate(&speed, Some(same)).seconds;
    assert!((asked / estimate.seconds - 1.0).abs() < 1e-9, "{asked} and {}", estimate.seconds);
}

#[test]
fn pruning_does_what_was_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let request = |axes: &[Axis]| PruneRequest {
        model: model(),
        output: Some(folder.path().join("out")),
        force: true,
        scratch: None,
        recipe: PruneRecipe {
            sparsity: 0.3,
            axes: axes.to_vec(),
            method: PruneMethod::Obs,
            refit: true,
            refine: 2,
            bias: false,
            align: None,
            strict: false,
            calibrate: calibrate(false, 24),
            runtimes: vec![Runtime::Transformers],
        },
    };
    for axes in [&[Axis::Ffn][..], &[Axis::Ffn, Axis::Heads]] {
        let plan = plan_prune(&request(axes), RESOURCES).expect("a plan");
        let estimate = plan.estimate(&plan.speed().expect("a speed"), None);
        let shares = Shares::default();
        prune(&plan, &shares, &Cancel::new()).expect("a run");
        // The artifact's runs are counted as the original's, less the share that goes.
        check(&estimate, shares, 0.15);
    }
}

#[test]
fn twice_the_windows_take_twice_as_long_and_longer_ones_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Target { output: Some(folder.path().join("out")), ..Target::default() };
    let recipe = recipe("gptq", Some(calibrate(false, 16)));
    let plan = plan(&model(), &target, &recipe, RESOURCES).expect("a plan");
    assert_eq!(plan.observed_windows(), Some(Windows { windows: 16, window: 64 }));
    let speed = plan.speed().expect("a speed");
    let seconds = |windows, window| {
        let windows = Windows { windows, window };
        let estimate = plan.estimate(&speed, Some(windows)).expect("an estimate");
        let stage = estimate.stages.iter().find(|stage| stage.stage == "calibrate");
        stage.expect("it calibrates").seconds
    };
    // What does not depend on data falls out of differences.
    let more = seconds(32, 64) - seconds(16, 64);
    let twice = seconds(64, 64) - seconds(32, 64);
    assert!((twice / more - 2.0).abs() < 1e-6, "{more} and {twice}");
    // As many tokens that see more of one another.
    assert!(seconds(16, 128) > seconds(32, 64));
}
