//! A manifest of a folder as OpenSSF model signing reads it: an in-toto statement over the hashes of all files.
//!
//! It is the statement alone, unsigned. Who signs it vouches for the files; the statement says which they are.

use llmopt_checkpoint::{Sha256, Source, all_files, sha256_file};
use llmopt_model::source_name;
use llmopt_run::{Cancel, Error, Events, pool};
use serde::Serialize;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// An in-toto statement (v1) with the predicate of model signing v1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Subject; 1],
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: Predicate,
}

/// The folder: its name, and the hash of the hashes of its files, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Subject {
    name: String,
    digest: RootDigest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct RootDigest {
    sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

/// How files became resources: enough to do it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Serialization {
    method: &'static str,
    hash_type: &'static str,
    allow_symlinks: bool,
    ignore_paths: Vec<String>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Resource {
    name: String,
    algorithm: &'static str,
    digest: String,
}

/// The manifest of the folder at `path`: every file, hidden ones too, but for what git keeps there and for the `file` that
/// the manifest will be, if that lies inside. A link is refused.
///
/// # Errors
/// If it is no folder of a model, a file cannot be read, or something is neither a file nor a folder.
pub fn manifest(
    path: &Path,
    file: &Path,
    threads: usize,
    shown: (&dyn Events, &Cancel),
) -> Result<Manifest, Error> {
    let source = Source::open(path)?;
    if !source.is_folder() {
        return Err(Error::RefusedWithHint {
            what: format!("`{}` is a file, and a manifest is of a folder", path.display()),
            hint: "a folder with a config is what runtimes load, too".to_owned(),
        });
    }
    let itself = path_inside(file, path);
    of_folder((path, &source_name(&source)), itself.as_deref(), threads, shown)
}

/// The path of `file`, which need not be there, inside `folder`, if it lies there.
fn path_inside(file: &Path, folder: &Path) -> Option<String> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
    let file = parent.join(file.file_name()?);
    let inside = file.strip_prefix(folder.canonicalize().ok()?).ok()?;
    Some(inside.to_str()?.to_owned())
}

/// The manifest of a folder that goes by `name`, without the file `itself` that it will be.
fn of_folder(
    (folder, name): (&Path, &str),
    itself: Option<&str>,
    threads: usize,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<Manifest, Error> {
    let ignored = GIT.iter().copied().chain(itself);
    let mut ignore_paths: Vec<String> = ignored.map(str::to_owned).collect();
    ignore_paths.sort_unstable();
    let files = all_files(folder, &ignore_paths)?;
    let digests: Mutex<Vec<String>> = Mutex::new(vec![String::new(); files.len()]);
    let bytes = |file: &String| folder.join(file).metadata().map_or(0, |facts| facts.len());
    events.stage_started("hash", files.iter().map(bytes).sum());
    pool::for_each(threads, files.iter().enumerate(), cancel, |(number, file), _| {
        let digest = sha256_file(&folder.join(file))?;
        digests.lock().unwrap_or_else(PoisonError::into_inner)[number] = digest;
        events.advanced(bytes(file), file);
        Ok(())
    })?;
    events.stage_finished("hash");
    let digests = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
    let resources = files.into_iter().zip(digests);
    let resource = |(name, digest)| Resource { name, algorithm: HASH, digest };
    Ok(Manifest::of(name, resources.map(resource).collect(), ignore_paths))
}

impl Manifest {
    fn of(name: &str, resources: Vec<Resource>, ignore_paths: Vec<String>) -> Self {
        let mut root = Sha256::new();
        resources.iter().for_each(|resource| root.update(&bytes_of(&resource.digest)));
        let digest = RootDigest { sha256: root.finish() };
        let serialization =
            Serialization { method: "files", hash_type: HASH, allow_symlinks: false, ignore_paths };
        Self {
            kind: "https://in-toto.io/Statement/v1",
            subject: [Subject { name: name.to_owned(), digest }],
            predicate_type: "https://model_signing/signature/v1.0",
            predicate: Predicate { serialization, resources },
        }
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes_of(hexadecimal: &str) -> Vec<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16).unwrap_or(0) as u8;
    let (pairs, _) = hexadecimal.as_bytes().as_chunks::<2>();
    pairs.iter().map(|&[high, low]| digit(high) << 4 | digit(low)).collect()
}

const HASH: &str = "sha256";

/// What model signing leaves out of a folder unless it is told otherwise.
const GIT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_run::Silent;
    use serde_json::json;

    /// Hashes of files by `sha256sum`; that of the folder by
    /// `cat LIST | xxd -r -p | sha256sum`.
    #[test]
    fn it_is_the_statement_that_model_signing_reads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/manifest");
        let shown = (&Silent as &dyn Events, &Cancel::new());
        let found = of_folder((&folder, "model"), Some("model.json"), 2, shown);
        let file = |name: &str, digest: &str| json!({"name": name, "algorithm": "sha256", "digest": digest});
        let expected = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{
                "name": "model",
                "digest": { "sha256": "94c97e015e9048b81a2d900e4b93205413ca5f7bd932263bcccb007a77edb385" },
            }],
            "predicateType": "https://model_signing/signature/v1.0",
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": false,
                    "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore", "model.json"],
                },
                "resources": [
                    file(".note", "e564b4081d7a9ea4b00dada53bdae70c99b87b6fce869f0c3dd4d2bfa1e53e1c"),
                    file("d/a.txt", "33bf6fbd7cd8379785a21e233d8e09f824e7bab459168a96312c1c882c1d7e1f"),
                    file("d.bin", "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"),
                ],
            },
        });
        let found = serde_json::to_value(found.expect("a manifest"));
        assert_eq!(found.expect("JSON"), expected);
    }
}
