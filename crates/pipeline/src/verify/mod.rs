//! Whether an artifact is what it says it is, and whether its loaders will agree.
//!
//! Names, headers and config come first, each question in a module of its own; then the data, band by
//! band. Everything in an artifact is a stranger's, the report beside it included.

mod against;
mod artifact;
mod binding;
mod data;
mod files;
mod findings;
mod ignored;
mod matrix;
mod modules;
mod planned;
mod record;
mod recorded_files;
mod rules;
mod shape;
mod stacked;
mod tied;
mod unknown;

use crate::{Cancel, Error, Events, Plan, Runtime};
use artifact::Artifact;
use findings::Findings;
use llmopt_arch::Model;
use llmopt_checkpoint::Source;
use llmopt_codec::ConfigGroup;
use llmopt_tensor::Dtype;
pub(crate) use matrix::Matrix;
use modules::Matrices;
use record::Record;
use rules::Rules;
use serde::Serialize;
use std::path::{Path, PathBuf};

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

/// Verifies what a run wrote to `folder`, before it gets its name. The sweep has read the data back
/// already, and the plan is still in memory: it takes the place of report and source, and its model
/// that of a second one.
///
/// # Errors
/// [`Error::Unsound`] with everything that is wrong.
pub(crate) fn before_publishing(plan: &Plan, folder: &Path, cancel: &Cancel) -> Result<(), Error> {
    let path = match plan.shards.first() {
        Some(shard) if plan.bare => folder.join(&shard.name),
        _ => folder.to_owned(),
    };
    let rules =
        Rules { runtimes: &plan.recipe.runtimes, tensor_parallel: plan.recipe.tensor_parallel };
    let found = examined(&path, |source, findings| {
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let artifact = Artifact::new(source, findings);
        files::check(&artifact, findings)?;
        let matrices = modules::check(&artifact, findings)?;
        planned::check(plan, &artifact, &matrices, findings);
        check_loading(&artifact, &plan.model, &matrices, rules, true, findings)
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
pub(crate) fn pruned(
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
        let matrices = modules::check(&artifact, findings)?;
        let model = binding::check(&artifact, &matrices, findings);
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

/// An artifact that a loader can decode.
pub(crate) struct Opened {
    pub(crate) source: Source,
    /// Quantized matrices stand in it as the dense ones that they stand for.
    pub(crate) model: Model,
    pub(crate) matrices: Vec<(String, OpenedMatrix)>,
}

/// What is stored of a quantized module.
pub(crate) struct OpenedMatrix {
    pub(crate) group: ConfigGroup,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) scale_dtype: Dtype,
}

impl OpenedMatrix {
    /// How its weights are quantized.
    pub(crate) fn scheme(&self) -> String {
        self.group.scheme.to_string()
    }

    /// Bytes of all its parts.
    pub(crate) fn bytes(&self) -> u64 {
        let &Self { ref group, rows, columns, scale_dtype } = self;
        Matrix { module: "", group, rows, columns, scale_dtype }.bytes()
    }
}

/// Opens an artifact as a loader does: names, shapes and config, no data. The inner error is what is
/// wrong with it.
pub(crate) fn opened(source: Source) -> Result<Result<Opened, Vec<Fault>>, Error> {
    let mut findings = Findings::default();
    let artifact = Artifact::new(source, &mut findings);
    let matrices = modules::check(&artifact, &mut findings)?;
    let model = binding::check(&artifact, &matrices, &mut findings);
    let owned = |matrix: &Matrix<'_>| {
        let &Matrix { group, rows, columns, scale_dtype, .. } = matrix;
        let group = group.clone();
        (matrix.module.to_owned(), OpenedMatrix { group, rows, columns, scale_dtype })
    };
    let matrices: Vec<_> = matrices.sound.iter().map(owned).collect();
    let faults = Verification::from(findings).faults;
    Ok(match model {
        Some(model) if faults.is_empty() => Ok(Opened { source: artifact.source, model, matrices }),
        _ => Err(faults),
    })
}

/// What to look at.
struct Request<'a> {
    rules: Rules<'a>,
    against: Option<&'a Path>,
    quick: bool,
    threads: usize,
    events: &'a dyn Events,
    cancel: &'a Cancel,
}

/// What `examine` finds at `path`. Files that cannot be opened because they are wrong are a fault.
fn examined(
    path: &Path,
    examine: impl FnOnce(Source, &mut Findings) -> Result<(), Error>,
) -> Result<Verification, Error> {
    let mut findings = Findings::default();
    match Source::open(path) {
        Ok(source) => examine(source, &mut findings)?,
        Err(error) if error.is_input() => files::refused(&error, &mut findings),
        Err(error) => return Err(error.into()),
    }
    Ok(findings.into())
}

/// All checks, in the order in which a loader would stumble.
fn examine(source: Source, request: &Request<'_>, findings: &mut Findings) -> Result<(), Error> {
    let artifact = Artifact::new(source, findings);
    files::check(&artifact, findings)?;
    let record = Record::read(&artifact, findings)?;
    let matrices = modules::check(&artifact, findings)?;
    let model = binding::check(&artifact, &matrices, findings);
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
        against::check(&artifact, &matrices, record.as_ref(), path, request, findings)?;
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

/// Something wrong with an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which kind of fault: one word or two, for programs.
    pub code: &'static str,
    /// The tensor, module, file or key that is at fault.
    pub subject: String,
    /// What is wrong, what was expected, and what breaks.
    pub message: String,
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

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// What, in the plural: `files hashed`, `matrices decoded`.
    pub what: &'static str,
    /// How many.
    pub count: u64,
}
