//! Pruning and quantizing in one call give the bytes of the two one after the other.

#![expect(clippy::disallowed_methods, reason = "helpers of tests")]

use llmopt_pipeline::{
    Axis, Calibrate, CalibrationRequest, CalibrationSource, Cancel, Error, Events, GroupSize,
    KernelChoice, Method, Precision, PruneMethod, PruneRecipe, PruneRequest, Quantization, Recipe,
    Resources, Runtime, Scheme, Silent, Smooth, Target, plan, plan_prune, prune,
    prune_and_quantize, quantize,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const RESOURCES: Resources = Resources { memory: 1 << 30, threads: 2 };

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama")
}

fn gptq() -> Method {
    "gptq".parse().expect("a method")
}

fn text() -> CalibrationSource {
    CalibrationSource::File { path: model().join("calibration.txt"), weight: 1.0 }
}

fn own() -> CalibrationSource {
    CalibrationSource::SelfDrawn { weight: 1.0 }
}

fn calibrate(source: CalibrationSource, samples: usize) -> Calibrate {
    let data = CalibrationRequest::new(vec![source]);
    Calibrate {
        data: CalibrationRequest { samples, window: Some(128), ..data },
        sequential: true,
        held_out: false,
        precision: Precision::F32,
        kernel: KernelChoice::Auto,
    }
}

fn pruned(folder: &Path, axes: &[Axis], source: CalibrationSource) -> PruneRequest {
    PruneRequest {
        model: model(),
        output: Some(folder.join("pruned")),
        force: false,
        scratch: None,
        recipe: PruneRecipe {
            sparsity: 0.3,
            axes: axes.to_vec(),
            method: PruneMethod::Obs,
            refit: true,
            refine: 1,
            bias: false,
            align: None,
            strict: false,
            calibrate: calibrate(source, 24),
            runtimes: vec![Runtime::Transformers],
        },
    }
}

fn quantized(method: Method, source: CalibrationSource) -> Quantization {
    let scheme = Scheme::preset("w4a16").expect("a preset");
    let calibrate = method.calibrates().then(|| calibrate(source, 8));
    let recipe = Recipe { method, calibrate, ..Recipe::new(scheme) };
    Quantization { target: Target::default(), recipe }
}

/// Every file of a folder, and of those in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable")) {
        let path = entry.path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => {
                let bytes = fs::read(&path).expect("readable");
                files.insert(path, bytes);
            }
        }
    }
    files
}

fn relative(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let inside = |path: PathBuf| path.strip_prefix(folder).map(Path::to_owned).expect("inside");
    files(folder).into_iter().map(|(path, bytes)| (inside(path), bytes)).collect()
}

fn one_after_the_other(
    request: &PruneRequest,
    then: &Quantization,
) -> Result<(), Box<dyn std::error::Error>> {
    let planned = plan_prune(request, RESOURCES)?;
    prune(&planned, &Silent, &Cancel::new())?;
    let planned = plan(planned.output(), &then.target, &then.recipe, RESOURCES)?;
    quantize(&planned, &Silent, &Cancel::new())?;
    Ok(())
}

/// Stages of both, in the order in which they began and ended.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

struct Of<'s> {
    stage: &'static str,
    seen: &'s Seen,
}

impl Of<'_> {
    fn note(&self, what: &str) {
        self.seen.0.lock().expect("no panic").push(format!("{} {what}", self.stage));
    }
}

impl Events for Of<'_> {
    fn stage_started(&self, stage: &'static str, _: u64) {
        self.note(stage);
    }
    fn advanced(&self, _: u64, _: &str) {
        self.note("advanced");
    }
    fn stage_finished(&self, stage: &'static str) {
        self.note(&format!("{stage} done"));
    }
}

/// Both ways give the same folders. Whether the second stage began before the first was through?
fn overlaps(axes: &[Axis], sources: [CalibrationSource; 2], method: Method) -> bool {
    let [chained, apart] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [first, second] = sources;
    let then = quantized(method, second);
    let requested = pruned(apart.path(), axes, first.clone());
    one_after_the_other(&requested, &then).expect("two runs");
    let requested = pruned(chained.path(), axes, first);
    let seen = Seen::default();
    let events: [&dyn Events; 2] =
        [&Of { stage: "prune", seen: &seen }, &Of { stage: "quantize", seen: &seen }];
    prune_and_quantize(&requested, &then, RESOURCES, events, &Cancel::new())
        .expect("a chained run");
    let (chained, apart) = (relative(chained.path()), relative(apart.path()));
    assert!(apart.contains_key(Path::new("pruned-w4a16/model.safetensors")), "{:?}", apart.keys());
    assert!(chained == apart, "{axes:?}: {:?} and {:?}", chained.keys(), apart.keys());
    let seen = seen.0.into_inner().expect("no panic");
    let at = |what: &str| seen.iter().position(|seen| seen == what).expect(what);
    let begun = if method.calibrates() { "quantize calibrate" } else { "quantize rewrite" };
    at(begun) < at("prune prune done")
}

#[test]
fn on_texts_both_go_through_the_blocks_in_one_sweep() {
    assert!(overlaps(&[Axis::Ffn], [text(), text()], gptq()));
    assert!(overlaps(&[Axis::Ffn, Axis::Layers], [own(), text()], Method::Auto));
}

#[test]
fn what_needs_the_pruned_model_whole_waits_for_it() {
    assert!(!overlaps(&[Axis::Ffn], [text(), own()], gptq()));
    assert!(!overlaps(&[Axis::Ffn], [text(), text()], Method::Rtn));
    assert!(!overlaps(&[], [text(), text()], gptq()));
}

#[test]
fn scales_are_found_on_the_pruned_model() {
    let [chained, apart] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let then = quantized(gptq(), text());
    let recipe = Recipe { smooth: Some(Smooth::LeastNoise), ..then.recipe.clone() };
    let then = Quantization { recipe, ..then };
    let requested = |folder: &Path| pruned(folder, &[Axis::Ffn], text());
    one_after_the_other(&requested(apart.path()), &then).expect("two runs");
    let silent: [&dyn Events; 2] = [&Silent, &Silent];
    prune_and_quantize(&requested(chained.path()), &then, RESOURCES, silent, &Cancel::new())
        .expect("a chained run");
    assert!(relative(chained.path()) == relative(apart.path()));
}

/// Cancels at an event of the second stage.
struct Stopping<'c> {
    after: usize,
    advanced: Mutex<usize>,
    cancel: &'c Cancel,
}

impl Events for Stopping<'_> {
    fn advanced(&self, _: u64, _: &str) {
        let mut advanced = self.advanced.lock().expect("no panic");
        *advanced += 1;
        if *advanced == self.after {
            self.cancel.cancel();
        }
    }
}

#[test]
fn an_interrupted_chain_goes_on_where_both_stopped() {
    let [chained, apart] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let then = quantized(gptq(), text());
    one_after_the_other(&pruned(apart.path(), &[Axis::Ffn], text()), &then).expect("two runs");
    let requested = pruned(chained.path(), &[Axis::Ffn], text());
    let mut counts = Vec::new();
    for after in [2, 3, usize::MAX] {
        let cancel = Cancel::new();
        let second = Stopping { after, advanced: Mutex::new(0), cancel: &cancel };
        let made = prune_and_quantize(&requested, &then, RESOURCES, [&Silent, &second], &cancel);
        match after {
            usize::MAX => assert!(made.is_ok(), "{:?}", made.err()),
            _ => assert!(matches!(made, Err(Error::Paused)), "{:?}", made.err()),
        }
        counts.push(*second.advanced.lock().expect("no panic"));
    }
    assert!(relative(chained.path()) == relative(apart.path()));
    let whole = tempfile::tempdir().expect("a folder");
    let cancel = Cancel::new();
    let second = Stopping { after: usize::MAX, advanced: Mutex::new(0), cancel: &cancel };
    let requested = pruned(whole.path(), &[Axis::Ffn], text());
    prune_and_quantize(&requested, &then, RESOURCES, [&Silent, &second], &cancel).expect("a run");
    let whole = *second.advanced.lock().expect("no panic");
    assert!(counts[2] < whole, "{counts:?} of {whole}: nothing was done again");
}

#[test]
fn memory_is_shared_and_refusals_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let requested = pruned(folder.path(), &[Axis::Ffn], text());
    let then = quantized(gptq(), text());
    let silent: [&dyn Events; 2] = [&Silent, &Silent];
    let run = |then: &Quantization, memory| {
        let resources = Resources { memory, threads: 1 };
        prune_and_quantize(&requested, then, resources, silent, &Cancel::new())
    };
    let Err(Error::Budget { given: 1000, smallest }) = run(&then, 1000) else {
        panic!("a thousand bytes are not enough")
    };
    let recipe = Recipe { group_size: GroupSize::Columns(96), strict: true, ..then.recipe.clone() };
    let strict = Quantization { recipe, ..then.clone() };
    let Err(error) = run(&strict, 1 << 30) else { panic!("groups of 96 divide no row") };
    assert!(error.to_string().contains("96"), "{error}");
    assert!(files(folder.path()).is_empty());
    run(&then, smallest).expect("the smallest works");
}
