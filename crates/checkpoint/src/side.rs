//! Side files: what travels with a model byte for byte (tokenizer, chat template, licence, code).
//!
//! Weights in any format, their indexes, configs of adapters, quantization configs of other tools and
//! reports and evaluations of earlier runs stay behind; `config.json` is rewritten and not a side file.

use crate::file::regular_bytes;
use crate::folder::{MAX_FILES, visible_names};
use crate::{EVALUATION_NAME, Error, ModelError, REPORT_NAME};
use std::fs;
use std::path::Path;

/// A file to be brought along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideFile {
    /// Its path inside the folder, with `/` between folders.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// The side files of the model in `root`, sorted by name.
pub(crate) fn side_files(root: &Path) -> Result<Vec<SideFile>, Error> {
    let mut files = Vec::new();
    for name in visible_names(root)? {
        if !ROOT_ONLY.contains(&name.as_str()) {
            collect(root, name, 0, &mut files)?;
        }
    }
    files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn collect(
    root: &Path,
    name: String,
    depth: usize,
    files: &mut Vec<SideFile>,
) -> Result<(), Error> {
    if stays_behind(&name) {
        return Ok(());
    }
    let path = root.join(&name);
    // A link to a folder can lead in circles, so only folders themselves are entered.
    let is_folder =
        fs::symlink_metadata(&path).map_err(|error| Error::read(&path, error))?.is_dir();
    if !is_folder {
        let bytes = regular_bytes(&path)?;
        files.push(SideFile { name, bytes });
        if files.len() > MAX_FILES {
            let folder = root.to_owned();
            return Err(ModelError::TooManyFiles { folder, limit: MAX_FILES }.into());
        }
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Err(ModelError::TooDeep { folder: path, limit: MAX_DEPTH }.into());
    }
    let inner = visible_names(&path)?;
    if inner.iter().any(|name| name == REPORT_NAME) {
        return Ok(());
    }
    inner
        .into_iter()
        .try_for_each(|inner| collect(root, format!("{name}/{inner}"), depth + 1, files))
}

/// Whether `name` is another form of the weights, or an output of an earlier run.
fn stays_behind(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    WEIGHT_ENDINGS.contains(&ending)
        || RUN_ENDINGS.contains(&ending)
        || name.ends_with(".index.json")
        || name.ends_with(".llmopt.json")
}

/// Whether `name` holds weights in a format that is not read here.
pub(crate) fn is_foreign_weights(name: &str) -> bool {
    FOREIGN.iter().any(|ending| name.ends_with(ending)) && name != "training_args.bin"
}

/// Files that say something false of the artifact: how other weights were quantized, or that these are
/// an adapter. Loaders act on them: Transformers with PEFT takes the base model that
/// `adapter_config.json` names in place of the weights beside it, and vLLM and SGLang take
/// `hf_quant_config.json`, which ModelOpt writes, for the format of weights without a
/// `quantization_config`.
const ROOT_ONLY: &[&str] = &[
    "adapter_config.json",
    "config.json",
    EVALUATION_NAME,
    "hf_quant_config.json",
    "quant_config.json",
    "quantize_config.json",
    REPORT_NAME,
];

const WEIGHT_ENDINGS: &[&str] = &[
    "bin",
    "ckpt",
    "gguf",
    "ggml",
    "h5",
    "msgpack",
    "npz",
    "onnx",
    "onnx_data",
    "pt",
    "pth",
    "safetensors",
];

const RUN_ENDINGS: &[&str] = &["partial", "replaced"];

const FOREIGN: &[&str] = &[".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack"];

const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn folder(files: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    #[test]
    fn everything_but_weights_configs_and_reports_comes_along() {
        let folder = folder(&[
            "tokenizer.json",
            "vocab.txt",
            "LICENSE",
            "modeling.py",
            "README.md",
            "1_Pooling/config.json",
            "code/deep/x.py",
            "config.json",
            "adapter_config.json",
            "hf_quant_config.json",
            "quantize_config.json",
            "quant_config.json",
            "llmopt.json",
            "evaluation.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "m.BIN",
            "pytorch_model.bin.index.json",
            "original/consolidated.00.pth",
            "a.gguf",
            "a.npz",
            ".git/HEAD",
            ".gitattributes",
            "m-w8a16.llmopt.json",
            "m-w8a16/llmopt.json",
            "m-w8a16/tokenizer.json",
            "x.partial/tokenizer.json",
            "onnx/model.onnx_data",
        ]);
        symlink(folder.path().join("vocab.txt"), folder.path().join("link.txt")).unwrap();
        symlink("nowhere", folder.path().join("old.pt")).unwrap();
        let found = side_files(folder.path()).unwrap();
        let found: Vec<_> = found.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(
            found,
            [
                ("1_Pooling/config.json", 21),
                ("LICENSE", 7),
                ("README.md", 9),
                ("code/deep/x.py", 14),
                ("link.txt", 9),
                ("modeling.py", 11),
                ("tokenizer.json", 14),
                ("vocab.txt", 9),
            ]
        );
    }

    #[test]
    fn what_cannot_be_copied_is_refused_by_name() {
        let check = |make: &dyn Fn(&Path), name: &str, expected: &str| {
            let folder = folder(&["tokenizer.json"]);
            make(folder.path());
            let path = folder.path().join(name);
            let error = side_files(folder.path()).unwrap_err();
            assert_eq!(error.to_string(), format!("`{}` {expected}", path.display()));
        };
        check(
            &|root| symlink("gone", root.join("a.json")).unwrap(),
            "a.json",
            "is a link to nothing",
        );
        check(
            &|root| symlink(root, root.join("loop")).unwrap(),
            "loop",
            "is a folder, expected a regular file",
        );
        check(
            &|root| symlink("/dev/zero", root.join("z")).unwrap(),
            "z",
            "is a device, expected a regular file",
        );
        let deep = "d/".repeat(9);
        check(
            &|root| fs::create_dir_all(root.join(&deep)).unwrap(),
            deep.trim_end_matches('/'),
            "lies more than 8 folders deep",
        );
    }
}
