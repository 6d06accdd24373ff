//! `verify` names every fault that is planted in a sound artifact, and finds none in a sound one.

#![expect(clippy::disallowed_methods, reason = "faults are planted in files")]

mod artifact;
mod planted;

use artifact::{Copy, Kind};
use planted::Case;

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
