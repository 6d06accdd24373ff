//! Mixed precision on a tiny model: sizes to the byte, the same bytes whatever happens, and what is refused.

#![expect(clippy::disallowed_methods, reason = "helpers of tests")]

use llmopt_pipeline::{
    Calibrate, CalibrationRequest, CalibrationSource, Cancel, Error, Events, Goal, GroupSize,
    MixedPlan, MixedRecipe, MixedReport, MixedRequest, Recipe, Report, Resources, Runtime, Scheme,
    Silent, Smooth, Target, Verification, VerifyOptions, plan_mixed, quantize_mixed, verify,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const RESOURCES: Resources = Resources { memory: 1 << 30, threads: 2 };

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama")
}

fn calibrate() -> Calibrate {
    let path = model().join("calibration.txt");
    let data = CalibrationRequest::new(vec![CalibrationSource::File { path, weight: 1.0 }]);
    Calibrate {
        data: CalibrationRequest { samples: 24, window: Some(64), ..data.clone() },
        ..Calibrate::new(data.sources)
    }
}

fn recipe(goal: Goal, widths: &[u8]) -> MixedRecipe {
    let scheme = Scheme::preset("w8a16").expect("a preset");
    let method = "auto".parse().expect("a method");
    let recipe = Recipe { method, calibrate: Some(calibrate()), ..Recipe::new(scheme) };
    MixedRecipe { goal, widths: widths.to_vec(), recipe }
}

fn requested(folder: &Path, recipe: MixedRecipe) -> MixedRequest {
    let target = Target { output: Some(folder.join("mixed")), ..Target::default() };
    MixedRequest { model: model(), target, recipe }
}

fn planned(folder: &Path, recipe: MixedRecipe, threads: usize) -> Result<MixedPlan, Error> {
    plan_mixed(&requested(folder, recipe), Resources { threads, ..RESOURCES })
}

fn made(folder: &Path, recipe: MixedRecipe, threads: usize) -> Report {
    let plan = planned(folder, recipe, threads).expect("a plan");
    quantize_mixed(&plan, &Silent, &Cancel::new()).expect("an artifact")
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable"));
    let content = |path: PathBuf| fs::read(path).expect("a file");
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.map(|entry| (name(&entry), content(entry.path()))).collect()
}

fn bytes(folder: &Path) -> u64 {
    files(folder).values().map(|bytes| bytes.len() as u64).sum()
}

fn mixed(report: &Report) -> &MixedReport {
    report.mixed.as_ref().expect("it tells of the allocation")
}

/// Every file, checked.
fn checked(folder: &Path) -> Verification {
    let runtimes = vec![Runtime::Transformers, Runtime::Vllm];
    let options = VerifyOptions { runtimes, against: Some(model()), quick: false };
    verify(folder, &options, &Silent, &Cancel::new()).expect("it can be checked")
}

#[test]
fn an_allocation_is_better_than_a_uniform_choice_of_at_least_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let bits = 6.2;
    let report = made(folder.path(), recipe(Goal::BitsPerWeight(bits), &[]), 2);
    let found = report.bits_per_weight;
    assert!(found <= bits && found > 0.99 * bits, "{found}");
    let mixed = mixed(&report);
    let solved: Vec<_> = mixed.candidates.iter().filter(|found| found.solved).collect();
    let [uniform, allocated] = solved[..] else { panic!("{solved:?}") };
    assert!(!mixed.is_uniform && mixed.chosen == allocated.name, "{}", mixed.chosen);
    assert!(uniform.name.starts_with("uniform ") && allocated.kld.value < uniform.kld.value);
    let schemes: std::collections::BTreeSet<&str> =
        mixed.units.iter().map(|unit| unit.choice.as_str()).collect();
    assert!(schemes.len() > 2, "{schemes:?}");
    assert!(checked(&folder.path().join("mixed")).faults.is_empty());
}

#[test]
fn a_size_is_that_of_all_files_and_never_exceeded() {
    for size in [940_000, 1_000_003] {
        let folder = tempfile::tempdir().expect("a folder");
        let report = made(folder.path(), recipe(Goal::Size(size), &[2, 3, 4, 8]), 2);
        let found = bytes(&folder.path().join("mixed"));
        assert!(found <= size && found as f64 > 0.97 * size as f64, "{found} of {size}");
        let widths = mixed(&report).units.iter().map(|unit| unit.choice.clone());
        assert!(
            widths.clone().all(|choice| !choice.contains('5')),
            "{:?}",
            widths.collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_quality_is_met_with_its_whole_interval_by_less_than_a_uniform_choice_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = made(folder.path(), recipe(Goal::Kld(0.02), &[]), 2);
    let mixed = mixed(&report);
    let chosen = mixed.candidates.iter().rev().find(|found| found.name == mixed.chosen);
    let chosen = chosen.expect("what was taken was judged");
    assert!(chosen.solved && chosen.kld.high <= 0.02, "{chosen:?}");
    let uniform = mixed.candidates.iter().find(|found| found.solved).expect("one was solved for");
    assert!(chosen.bytes <= uniform.bytes, "{chosen:?} {uniform:?}");
}

/// Cancels when a stage has begun so often.
struct Stopping<'c> {
    at: &'static str,
    left: Mutex<usize>,
    cancel: &'c Cancel,
}

impl Events for Stopping<'_> {
    fn stage_started(&self, stage: &'static str, _: u64) {
        let mut left = self.left.lock().expect("no panic");
        if stage == self.at && *left > 0 {
            *left -= 1;
            if *left == 0 {
                self.cancel.cancel();
            }
        }
    }
}

#[test]
fn the_bytes_are_the_same_on_other_threads_and_after_any_interruption() {
    let [whole, broken] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let asked = || recipe(Goal::BitsPerWeight(6.0), &[2, 3, 4]);
    made(whole.path(), asked(), 1);
    let stops = [
        ("observe", 1),
        ("calibrate", 2),
        ("rewrite", 3),
        ("probe", 1),
        ("search", 1),
        ("search", 2),
        ("judge", 1),
        ("calibrate", 2),
        ("judge", 2),
    ];
    for (at, times) in stops {
        let cancel = Cancel::new();
        let stopping = Stopping { at, left: Mutex::new(times), cancel: &cancel };
        let plan = planned(broken.path(), asked(), 2).expect("a plan");
        let stopped = quantize_mixed(&plan, &stopping, &cancel);
        assert!(matches!(stopped, Err(Error::Paused)), "{at} {times}: {:?}", stopped.err());
    }
    made(broken.path(), asked(), 2);
    let [whole, broken] = [whole, broken].map(|folder| files(&folder.path().join("mixed")));
    assert!(whole.keys().eq(broken.keys()), "{:?}", broken.keys());
    let differs = whole.iter().find(|(name, bytes)| broken[*name] != **bytes);
    assert!(differs.is_none(), "{:?}", differs.map(|(name, _)| name));
}

#[test]
fn weights_alone_decide_where_nothing_is_observed() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = recipe(Goal::BitsPerWeight(6.2), &[2, 3, 4, 8]);
    let plain = Recipe { calibrate: None, ..asked.recipe.clone() };
    let report = made(folder.path(), MixedRecipe { recipe: plain, ..asked }, 2);
    assert!(report.calibration.is_none() && report.bits_per_weight <= 6.2);
    assert_eq!(mixed(&report).judged_on.name, "builtin");
}

#[test]
fn what_cannot_be_is_refused_by_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |recipe: MixedRecipe| match planned(folder.path(), recipe, 1) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it is planned"),
    };
    let check = |recipe: MixedRecipe, expected: &[&str]| {
        let found = refused(recipe);
        assert!(expected.iter().all(|part| found.contains(part)), "{found}");
    };
    check(recipe(Goal::Size(1000), &[]), &["1000 bytes", "cannot be reached", "smallest is"]);
    check(recipe(Goal::BitsPerWeight(20.0), &[]), &["needs no quantization", "the model has 16.0"]);
    check(recipe(Goal::Kld(f64::NAN), &[]), &["no positive number"]);
    check(recipe(Goal::BitsPerWeight(-1.0), &[]), &["no positive number"]);
    let change = |change: fn(&mut Recipe)| {
        let mut asked = recipe(Goal::BitsPerWeight(6.2), &[3]);
        change(&mut asked.recipe);
        asked
    };
    check(change(|recipe| recipe.runtimes = vec![Runtime::VllmCpu]), &["w3a16", "4 bits alone"]);
    check(change(|recipe| recipe.smooth = Some(Smooth::LeastNoise)), &["weights alone"]);
    check(change(|recipe| recipe.group_size = GroupSize::Columns(7)), &["no width", "divides"]);
    check(
        change(|recipe| recipe.scheme = Scheme::preset("w8a8").expect("a preset")),
        &["integer weights alone", "w8a8"],
    );
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_memory_that_is_planned_for_suffices() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = || recipe(Goal::BitsPerWeight(6.8), &[3, 4]);
    let request = requested(folder.path(), asked());
    let plan = |memory| plan_mixed(&request, Resources { memory, threads: 1 });
    let Err(Error::Budget { given: 1000, smallest }) = plan(1000) else {
        panic!("a thousand bytes are not enough")
    };
    assert!(plan(smallest - 1).is_err());
    let plan = plan(smallest).expect("the smallest works");
    quantize_mixed(&plan, &Silent, &Cancel::new()).expect("an artifact");
}
