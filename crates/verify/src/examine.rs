//! All questions in order: of anyone's artifact, and of one that was just written.

use crate::expected::Expected;
use crate::record::Record;
use crate::rules::Rules;
use crate::{against, data, files, ignored, lineage, rules, stacked, tied, unknown};
use llmopt_arch::Model;
use llmopt_checkpoint::Source;
use llmopt_codec::Runtime;
use llmopt_model::{Artifact, Checked, Findings, Matrices, bind_artifact, check_modules};
use llmopt_run::{Cancel, Error, Events, Fault};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Verifies an artifact: one of ours or anyone's compressed-tensors folder or file, or a dense model as
/// far as it goes.
///
/// # Errors
/// What keeps the artifact, or the model that it is held against, from being read. Whatever is wrong
/// with the artifact itself is a fault, not an error.
pub fn verify(
    path: &Path,
    options: &VerifyOptions,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Verification, Error> {
    let request = Request {
        rules: Rules { runtimes: &options.runtimes, tensor_parallel: 1 },
        against: options.against.as_deref(),
        quick: options.quick,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        events,
        cancel,
    };
    examined(path, |source, findings| examine(source, &request, findings))
}

/// Verifies what a run wrote to `path`, before it gets its name. The sweep has read the data back already,
/// and what was meant is still in memory: it takes the place of report and source, and its model that of a
/// second one.
///
/// # Errors
/// [`Error::Unsound`] with everything that is wrong.
pub fn before_publishing(
    path: &Path,
    expected: Expected<'_>,
    cancel: &Cancel,
) -> Result<(), Error> {
    let rules = Rules { runtimes: expected.runtimes, tensor_parallel: expected.tensor_parallel };
    let found = examined(path, |source, findings| {
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let artifact = Artifact::new(source, findings);
        files::check(&artifact, findings)?;
        let matrices = check_modules(&artifact, findings)?;
        let model = expected.model;
        expected.check(&artifact, &matrices, findings);
        check_loading(&artifact, model, &matrices, rules, true, findings)
    });
    match found?.faults {
        faults if faults.is_empty() => Ok(()),
        faults => Err(Error::Unsound(faults)),
    }
}

/// Verifies a pruned model before it gets its name: it binds as the same family, and the runtimes' rules
/// hold. The sweep has read the data back already.
///
/// # Errors
/// [`Error::Unsound`] with everything that is wrong.
pub fn pruned(
    folder: &Path,
    before: &Model,
    runtimes: &[Runtime],
    cancel: &Cancel,
) -> Result<(), Error> {
    let rules = Rules { runtimes, tensor_parallel: 1 };
    let found = examined(folder, |source, findings| {
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let artifact = Artifact::new(source, findings);
        files::check(&artifact, findings)?;
        let record = Record::read(&artifact, findings)?;
        let matrices = check_modules(&artifact, findings)?;
        let model = bind_artifact(&artifact, &matrices, findings);
        if let Some(record) = &record {
            record.check_tensors(&artifact, findings);
        }
        let Some(model) = model else { return Ok(()) };
        let family = |model: &Model| model.family().map(|family| family.name());
        if family(&model) != family(before) {
            let message = "it is of another family than the model it was made from";
            findings.fault("family", "config.json", message);
        }
        unknown::check(&model, record.as_ref(), rules, findings);
        check_loading(&artifact, &model, &matrices, rules, true, findings)
    });
    match found?.faults {
        faults if faults.is_empty() => Ok(()),
        faults => Err(Error::Unsound(faults)),
    }
}

/// What to look at.
pub(crate) struct Request<'a> {
    pub(crate) rules: Rules<'a>,
    pub(crate) against: Option<&'a Path>,
    pub(crate) quick: bool,
    pub(crate) threads: usize,
    pub(crate) events: &'a dyn Events,
    pub(crate) cancel: &'a Cancel,
}

/// What `examine` finds at `path`. Files that cannot be opened because they are wrong are a fault.
fn examined(
    path: &Path,
    examine: impl FnOnce(Arc<Source>, &mut Findings) -> Result<(), Error>,
) -> Result<Verification, Error> {
    let mut findings = Findings::default();
    match Source::open(path) {
        Ok(source) => examine(Arc::new(source), &mut findings)?,
        Err(error) if error.is_input() => files::refused(&error, &mut findings),
        Err(error) => return Err(error.into()),
    }
    let (faults, checked) = findings.finish();
    Ok(Verification { faults, checked })
}

/// All checks, in the order in which a loader would stumble.
fn examine(
    source: Arc<Source>,
    request: &Request<'_>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let artifact = Artifact::new(source, findings);
    files::check(&artifact, findings)?;
    let record = Record::read(&artifact, findings)?;
    let matrices = check_modules(&artifact, findings)?;
    let model = bind_artifact(&artifact, &matrices, findings);
    if let Some(model) = &model {
        unknown::check(model, None, request.rules, findings);
        check_loading(&artifact, model, &matrices, request.rules, request.quick, findings)?;
    }
    if let Some(record) = &record {
        record.check_tensors(&artifact, findings);
        record.check_files(&artifact, request, findings)?;
    }
    if !request.quick {
        data::check_matrices(&artifact, &matrices.sound, request, findings)?;
        data::check_dense(
            &artifact,
            model.as_ref(),
            &matrices,
            record.as_ref(),
            request,
            findings,
        )?;
    }
    if let Some(path) = request.against {
        let is_behind = match &record {
            Some(record) => lineage::is_behind_the_source(record, path, request, findings)?,
            None => false,
        };
        if !is_behind {
            against::check(&artifact, &matrices, record.as_ref(), path, request, findings)?;
        }
    }
    Ok(())
}

/// Whether loaders and kernels will take the matrices for what they are.
fn check_loading(
    artifact: &Artifact,
    model: &Model,
    matrices: &Matrices<'_>,
    rules: Rules<'_>,
    quick: bool,
    findings: &mut Findings,
) -> Result<(), Error> {
    ignored::check(artifact, model, matrices, findings);
    rules::check(artifact, model, matrices, rules, findings);
    stacked::check(artifact, model, rules, findings);
    tied::check(artifact, model, quick, findings)
}

/// What to hold the artifact against.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Whose rules it must follow.
    pub runtimes: Vec<Runtime>,
    /// The model that it was made from.
    pub against: Option<PathBuf>,
    /// Whether to leave out what reads every byte: hashes and decoding.
    pub quick: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// Everything that is wrong; empty for a sound artifact.
    pub faults: Vec<Fault>,
    /// What was looked at, and how many of it.
    pub checked: Vec<Checked>,
}
