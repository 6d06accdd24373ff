//! Tiny checkpoints of every model family, from a seed, into `testdata/families`.
//!
//! Two layers of hidden size 64, head counts that are odd where a family allows it. Their tensors are
//! listed here by hand, so that they and the data of `llmopt-arch` check each other. Configs in
//! `testdata/variants` lead another way through the weights of the family whose folder they are in.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool of the repository, with errors that name the path"
)]

mod checkpoints;
mod listing;
mod random;
mod variants;

use anyhow::{Context, Result, bail, ensure};
use checkpoints::Checkpoint;
use listing::Listing;
use llmopt_checkpoint::Header;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use variants::variants;

/// Writes the config and the weights of every checkpoint below `root`, the repository's.
pub(crate) fn write_all(root: &Path) -> Result<()> {
    for (path, bytes) in files()? {
        let path = root.join(path);
        let folder = path.parent().context("every file lies in a folder")?;
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Fails with the names of files below `root` that [`write_all`] would change.
pub(crate) fn check_all(root: &Path) -> Result<()> {
    let is_stale = |path: &String, bytes: &Vec<u8>| {
        fs::read(root.join(path)).map_or(true, |found| found != *bytes)
    };
    let files = files()?;
    let stale: Vec<&str> = files
        .iter()
        .filter(|(path, bytes)| is_stale(path, bytes))
        .map(|(path, _)| path.as_str())
        .collect();
    ensure!(stale.is_empty(), "stale: {}; `cargo xtask gen` writes them anew", stale.join(", "));
    Ok(())
}

/// Every file with its path below the repository's root.
fn files() -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for Checkpoint { folder, config, listing } in checkpoints::checkpoints() {
        let path = format!("testdata/families/{folder}");
        let weights = weights(folder, &listing)?;
        if weights.len() > 300_000 {
            bail!("{folder} has {} bytes, too many for a repository", weights.len());
        }
        for variant in variants().iter().filter(|variant| variant.folder == folder) {
            let path = format!("testdata/variants/{folder}/{}.json", variant.name);
            let config = variant.config(&config);
            files.insert(path, format!("{config:#}\n").into_bytes());
        }
        files.insert(format!("{path}/config.json"), format!("{config:#}\n").into_bytes());
        files.insert(format!("{path}/model.safetensors"), weights);
    }
    Ok(files)
}

/// Writes the checkpoints whose heads are as wide as kernels of attention want them, each into a folder of
/// its own below `place`; says where.
pub(crate) fn write_with_wide_heads(place: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for Checkpoint { folder, config, listing } in checkpoints::with_wide_heads() {
        let path = place.join(folder);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        fs::write(path.join("config.json"), format!("{config:#}\n"))?;
        fs::write(path.join("model.safetensors"), weights(folder, &listing)?)?;
        folders.push(path);
    }
    Ok(folders)
}

fn weights(folder: &str, listing: &Listing) -> Result<Vec<u8>> {
    let mut metas = Vec::new();
    for (name, tensor) in listing.tensors() {
        metas.push((name.clone(), tensor.meta()?));
    }
    Header::reference_order(&mut metas);
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let (mut bytes, _) = Header::encode(&metadata, &metas)?;
    for (name, meta) in &metas {
        let fill = listing.tensors()[name].fill;
        bytes.extend(random::tensor(&format!("{folder}/{name}"), meta, fill)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_checkpoints_are_current() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        check_all(&root).expect("testdata is current");
    }
}
