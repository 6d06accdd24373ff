//! What a plan counts is what its run does, stage by stage, and grows as the data do.

use llmopt_pipeline::{
    Axis, Calibrate, CalibrationRequest, CalibrationSource, Cancel, EvaluationRequest, Events,
    KernelChoice, Method, Precision, PruneMethod, PruneRecipe, PruneRequest, Recipe, Resources,
    Runtime, Scheme, Smooth, Target, TimeEstimate, Windows, evaluate, plan, plan_evaluation,
    plan_prune, prune, quantize,
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

fn pruned(output: &Path, axes: &[Axis]) -> PruneRequest {
    PruneRequest {
        model: model(),
        output: Some(output.to_owned()),
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
    }
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
        if !["look", "copy", "read back"].contains(&stage) {
            assert!((worked + passed - 1.0).abs() < tolerance, "{stage}: {worked} and {passed}");
        }
    }
    assert!(estimate.stages.iter().all(|stage| stage.seconds > 0.0), "{estimate:#?}");
}

fn quantized(method: &str, data: Option<Calibrate>) {
    quantized_as(recipe(method, data));
}

fn quantized_as(recipe: Recipe) {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Target { output: Some(folder.path().join("out")), ..Target::default() };
    let plan = plan(&model(), &target, &recipe, RESOURCES).expect("a plan");
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
    quantized("qep", Some(Calibrate { sequential: false, ..calibrate(false, 9) }));
    for smooth in [Smooth::LeastNoise, Smooth::Strength(0.5)] {
        let recipe = recipe("auto", Some(calibrate(false, 9)));
        quantized_as(Recipe { smooth: Some(smooth), ..recipe });
    }
}

#[test]
fn evaluating_does_what_was_counted() {
    let request = EvaluationRequest {
        against: Some(model()),
        texts: vec![model().join("evaluation.txt").into()],
        window: Some(48),
        samples: Some(90),
        scratch: std::env::temp_dir(),
        ..EvaluationRequest::new(model())
    };
    let plan = plan_evaluation(&request, RESOURCES).expect("a plan");
    let speed = plan.speed().expect("a speed");
    let estimate = plan.estimate(&speed, None);
    let shares = Shares::default();
    evaluate(&plan, &shares, &Cancel::new()).expect("a run");
    check(&estimate, shares, 0.02);
    let same = Windows { windows: 90, window: 48 };
    let requested = plan.estimate(&speed, Some(same)).seconds;
    assert!(
        (requested / estimate.seconds - 1.0).abs() < 1e-9,
        "{requested} and {}",
        estimate.seconds
    );
}

#[test]
fn pruning_does_what_was_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    for axes in [&[Axis::Ffn][..], &[Axis::Ffn, Axis::Heads]] {
        let plan =
            plan_prune(&pruned(&folder.path().join("out"), axes), RESOURCES).expect("a plan");
        let estimate = plan.estimate(&plan.speed().expect("a speed"), None);
        let shares = Shares::default();
        prune(&plan, &shares, &Cancel::new()).expect("a run");
        // The artifact's runs are counted as the original's, less the share that goes.
        check(&estimate, shares, 0.15);
    }
}

/// Stops a run when something is done in a stage, or notes where one goes on.
struct Stopping {
    cancel: Cancel,
    stage: &'static str,
    at: Mutex<(&'static str, Vec<String>)>,
}

impl Stopping {
    fn in_stage(stage: &'static str) -> Self {
        Self { cancel: Cancel::new(), stage, at: Mutex::default() }
    }

    /// Where a run went on.
    fn places(self) -> Vec<String> {
        self.at.into_inner().expect("no panic").1
    }
}

impl Events for Stopping {
    fn stage_started(&self, stage: &'static str, _bytes: u64) {
        self.at.lock().expect("no panic").0 = stage;
    }

    fn advanced(&self, _bytes: u64, _tensor: &str) {
        if self.at.lock().expect("no panic").0 == self.stage {
            self.cancel.cancel();
        }
    }

    fn resuming(&self, place: &str) {
        let mut at = self.at.lock().expect("no panic");
        let line = format!("{}: {place}", at.0);
        at.1.push(line);
    }
}

#[test]
fn a_run_that_was_stopped_says_where_it_goes_on() {
    let check = |stage, run: &dyn Fn(&Stopping) -> bool, expected: &str| {
        let stopped = Stopping::in_stage(stage);
        assert!(!run(&stopped), "{stage} was done before it could be stopped");
        assert!(stopped.places().is_empty(), "it began at the beginning");
        let resumed = Stopping::in_stage("nowhere");
        assert!(run(&resumed));
        let places = resumed.places();
        assert_eq!(places.len(), 1, "{places:?}");
        assert!(places[0].starts_with(expected), "{places:?}");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let target = |name| Target { output: Some(folder.path().join(name)), ..Target::default() };
    let one = Resources { threads: 1, ..RESOURCES };
    let of = |name, recipe: Recipe| plan(&model(), &target(name), &recipe, one).expect("a plan");
    let plain = of("plain", recipe("search", None));
    let run = |with: &Stopping| quantize(&plain, with, &with.cancel).is_ok();
    check("rewrite", &run, "rewrite: `model.");
    let gptq = of("gptq", recipe("gptq", Some(calibrate(false, 9))));
    let run = |with: &Stopping| quantize(&gptq, with, &with.cancel).is_ok();
    check("calibrate", &run, "calibrate: layer 1 of 4");
    let request = pruned(&folder.path().join("pruned"), &[Axis::Ffn]);
    let pruned = plan_prune(&request, one).expect("a plan");
    let run = |with: &Stopping| prune(&pruned, with, &with.cancel).is_ok();
    check("prune", &run, "prune: `model.layers.1.mlp.down_proj.weight`");
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
