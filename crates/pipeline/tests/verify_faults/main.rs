//! `verify` names every fault that is planted in a sound artifact, and finds none in a sound one.

#![expect(clippy::disallowed_methods, reason = "faults are planted in files")]

mod artifact;
mod planted;

use artifact::{Copy, Kind, Tensors, faults, made};
use llmopt_pipeline::{
    Blame, Cancel, DenseDtype, Error, Events, Format, Method, Recipe, Resources, Runtime, Scheme,
    Silent, Target, VerifyOptions, plan, quantize, verify,
};
use planted::Case;
use std::path::{Path, PathBuf};

#[test]
fn sound_artifacts_have_no_fault() {
    for kind in Kind::all() {
        let mut copy = Copy::of(kind);
        copy.options.against = Some(kind.source());
        assert_eq!(copy.faults(), [], "{kind:?}");
        copy.options.quick = true;
        assert_eq!(copy.faults(), [], "{kind:?}, quick");
        assert_eq!(Copy::unrecorded(kind).faults(), [], "{kind:?} without report");
    }
}

#[test]
fn every_family_makes_a_sound_artifact() {
    let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/families");
    for family in std::fs::read_dir(families).expect("there are families") {
        let family = family.expect("an entry").path();
        for preset in ["w8a16", "w4a16", "fp8"] {
            let folder = tempfile::tempdir().expect("a folder");
            let output = folder.path().join("out");
            let mut recipe = Recipe::new(Scheme::preset(preset).expect("a preset"));
            recipe.runtimes = vec![Runtime::Transformers];
            recipe.method = Method::Rtn;
            made(&family, &output, &recipe);
            let options = VerifyOptions {
                runtimes: recipe.runtimes,
                against: Some(family.clone()),
                quick: false,
            };
            assert_eq!(faults(&output, &options), [], "{preset} {}", family.display());
        }
    }
}

#[test]
fn a_dense_twin_is_sound_beside_its_source() {
    for dtype in [DenseDtype::F32, DenseDtype::Source] {
        for model in ["tiny-llama", "families/llama-fp8"] {
            let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(model);
            let folder = tempfile::tempdir().expect("a folder");
            let output = folder.path().join("out");
            let mut recipe = Recipe::new(Scheme::preset("w4a16").expect("a preset"));
            recipe.method = Method::Rtn;
            recipe.format = Format::Dense(dtype);
            made(&model, &output, &recipe);
            let (runtimes, against) = (recipe.runtimes, Some(model));
            let options = VerifyOptions { runtimes, against, quick: false };
            assert_eq!(faults(&output, &options), [], "{dtype:?}");
        }
    }
}

#[test]
fn a_dense_model_is_verified_as_far_as_it_goes() {
    let model = Kind::W4.source();
    let options =
        VerifyOptions { runtimes: Vec::new(), against: Some(model.clone()), quick: false };
    assert_eq!(faults(&model, &options), []);
}

/// Damages what was written once it was read back.
struct Saboteur {
    weights: PathBuf,
}

impl Events for Saboteur {
    fn stage_finished(&self, stage: &'static str) {
        if stage == "read back" {
            let mut tensors = Tensors::read(&self.weights);
            tensors.remove("model.norm.weight");
            tensors.write(&self.weights);
        }
    }
}

#[test]
fn an_artifact_that_is_not_as_planned_does_not_get_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("out");
    let target = Target { output: Some(output.clone()), ..Target::default() };
    let recipe = Recipe::new(Scheme::preset("w8a16").expect("a preset"));
    let resources = Resources { memory: 1 << 30, threads: 2 };
    let plan = plan(&Kind::W8.source(), &target, &recipe, resources).expect("a plan");
    let saboteur = Saboteur { weights: folder.path().join("out.partial/model.safetensors") };
    let error = quantize(&plan, &saboteur, &Cancel::new()).expect_err("a tensor is missing");
    let Error::Unsound(faults) = error else { panic!("{error}") };
    let found: Vec<_> = faults.iter().map(|fault| (fault.code, fault.subject.as_str())).collect();
    assert_eq!(found[0], ("conservation", "model.norm.weight"));
    assert!(!output.exists());
}

#[test]
fn what_is_not_there_is_an_error_and_no_fault() {
    let options = VerifyOptions { runtimes: Vec::new(), against: None, quick: true };
    let found = verify(Path::new("nowhere"), &options, &Silent, &Cancel::new());
    assert_eq!(found.expect_err("nothing is there").blame(), Blame::Request);
}

#[test]
fn faults_of_files_are_named() {
    planted::FILES.iter().for_each(check);
}

#[test]
fn faults_of_the_config_are_named() {
    planted::CONFIGS.iter().for_each(check);
}

#[test]
fn faults_of_what_a_module_stores_are_named() {
    planted::MODULES.iter().for_each(check);
}

#[test]
fn faults_of_what_is_quantized_are_named() {
    planted::IGNORED.iter().for_each(check);
}

#[test]
fn faults_of_the_model_are_named() {
    planted::MODELS.iter().for_each(check);
}

#[test]
fn faults_of_the_data_are_named() {
    planted::DATA.iter().for_each(check);
}

#[test]
fn faults_that_the_report_shows_are_named() {
    planted::RECORDS.iter().for_each(check);
}

#[test]
fn faults_that_the_source_shows_are_named() {
    planted::AGAINST.iter().for_each(check);
}

fn check(case: &Case) {
    let mut copy = match case.recorded {
        true => Copy::of(case.kind),
        false => Copy::unrecorded(case.kind),
    };
    copy.options.against = case.compared.then(|| case.kind.source());
    (case.plant)(&mut copy);
    let faults = copy.faults();
    let found: Vec<(&str, &str)> =
        faults.iter().map(|fault| (fault.code, fault.subject.as_str())).collect();
    assert_eq!(found, case.expected, "{}: {faults:#?}", case.what);
}
