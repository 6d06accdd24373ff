//! The files of an artifact: what a loader would take for weights, and whether it finds them.

use llmopt_checkpoint::{Error as FileError, ModelError, Source, visible_names};
use llmopt_model::{Artifact, Findings};
use llmopt_run::Error;
use std::path::Path;

/// Says why the files could not even be opened.
pub(crate) fn refused(error: &FileError, findings: &mut Findings) {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    findings.fault("files", &subject(error), format!("{error}{hint}"));
}

/// Checks the names in the folder.
pub(crate) fn check(artifact: &Artifact, findings: &mut Findings) -> Result<(), Error> {
    let source = &artifact.source;
    if source.is_folder() {
        check_index(source, findings);
        check_strays(artifact, findings)?;
    }
    findings.checked("weight files", source.shards().len());
    findings.checked("tensors", source.tensors().len());
    Ok(())
}

/// Transformers takes exactly what the index lists, or `model.safetensors` where there is none.
fn check_index(source: &Source, findings: &mut Findings) {
    match (source.index(), source.shards()) {
        (Some(index), _) if !index.has_metadata => findings.fault(
            "index",
            INDEX,
            "`metadata` is missing, expected an object: Transformers refuses the folder",
        ),
        (Some(_), _) => {}
        (None, [one]) if one.name == SINGLE => {}
        (None, [one]) => findings.fault(
            "index",
            &one.name,
            format!("it is in no index and not called `{SINGLE}`: Transformers does not find it"),
        ),
        (None, several) => findings.fault(
            "index",
            INDEX,
            format!(
                "it is missing, expected for {} weight files: Transformers does not find them",
                several.len()
            ),
        ),
    }
}

/// Weights that belong to no part of the model. Its original layout lies beside some dense models,
/// but never belongs to a quantized one.
fn check_strays(artifact: &Artifact, findings: &mut Findings) -> Result<(), Error> {
    let source = &artifact.source;
    let is_ours = |name: &str| source.shards().iter().any(|shard| shard.name == name);
    let is_original = |name: &str| name.starts_with("consolidated") && !artifact.is_quantized();
    for name in visible_names(source.path())? {
        if name.ends_with(".safetensors") && !is_ours(&name) && !is_original(&name) {
            findings.fault(
                "stale",
                &name,
                "it holds weights, but is no part of the model: vLLM and SGLang read every \
                 `.safetensors` file where there is no index, and tools that repack the folder \
                 take it along",
            );
        }
    }
    Ok(())
}

/// The file or tensor that an error is about.
fn subject(error: &FileError) -> String {
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    match error {
        FileError::Header { file, .. }
        | FileError::Index { file, .. }
        | FileError::Config { file, .. } => name(file),
        FileError::Read { path, .. }
        | FileError::Write { path, .. }
        | FileError::DiskFull { path, .. }
        | FileError::DiskLimit { path, .. } => name(path),
        FileError::Request(_) => "the request".to_owned(),
        FileError::Model(error) => match error {
            ModelError::NoConfig { .. } => "config.json".to_owned(),
            ModelError::NoShard { shard, .. } => shard.clone(),
            ModelError::NotInShard { tensor, .. }
            | ModelError::NotInIndex { tensor, .. }
            | ModelError::OtherSingle { tensor, .. }
            | ModelError::OtherBeside { tensor, .. }
            | ModelError::TwoShards { tensor, .. } => tensor.clone(),
            ModelError::NoWeights { folder }
            | ModelError::OtherWeights { folder, .. }
            | ModelError::TooManyFiles { folder, .. }
            | ModelError::TooDeep { folder, .. } => name(folder),
            ModelError::Adapter { path }
            | ModelError::NotRegular { path, .. }
            | ModelError::DeadLink { path }
            | ModelError::NameNotUtf8 { path }
            | ModelError::TooLong { path, .. }
            | ModelError::NotUtf8 { path, .. } => name(path),
        },
    }
}

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
