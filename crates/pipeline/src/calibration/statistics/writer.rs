//! Writing a statistics file: its length is known before the first sum.

use crate::calibration::statistics::described::Described;
use llmopt_calib::{InputSite, Observation, Sum};
use llmopt_checkpoint::{Header, HeaderError, LoneFile, Sha256};
use llmopt_run::Error;
use llmopt_tensor::TensorMeta;
use std::collections::BTreeMap;
use std::path::Path;

/// Where everything will be.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    tensors: Vec<(String, TensorMeta)>,
    /// Where each tensor begins in the file.
    begins: BTreeMap<String, u64>,
    /// Bytes of the whole file.
    pub(super) bytes: u64,
    gram: bool,
}

/// A file that is being written.
pub(super) struct StatisticsWriter<'a> {
    file: LoneFile,
    layout: &'a Layout,
    described: Described,
}

impl Layout {
    /// Sites one after the other, the tensors of each together.
    pub(super) fn new<'a>(
        described: &Described,
        sites: impl Iterator<Item = &'a InputSite>,
        gram: bool,
    ) -> Result<Self, Error> {
        let mut tensors = Vec::new();
        for site in sites {
            for &sum in Sum::kept(gram) {
                let name = sum.tensor(&site.tensors[0]);
                let meta = sum.meta(site.extent.columns);
                let meta =
                    meta.map_err(|error| Error::Refused(format!("tensor `{name}`: {error}")))?;
                tensors.push((name, meta));
            }
        }
        let (header, begins) =
            Header::encode(&described.metadata(), &tensors).map_err(unwritable)?;
        let header_bytes = header.len() as u64;
        let names = tensors.iter().map(|(name, _)| name.clone());
        let data: u64 = tensors.iter().map(|(_, meta)| meta.bytes()).sum();
        let begins = names.zip(begins.iter().map(|begin| header_bytes + begin)).collect();
        Ok(Self { tensors, begins, bytes: header_bytes + data, gram })
    }
}

impl<'a> StatisticsWriter<'a> {
    pub(super) fn create(
        path: &Path,
        layout: &'a Layout,
        described: Described,
    ) -> Result<Self, Error> {
        Ok(Self { file: LoneFile::create(path, layout.bytes)?, layout, described })
    }

    /// Writes what a site has seen.
    pub(super) fn add(&mut self, site: &InputSite, seen: &Observation) -> Result<(), Error> {
        let reader = &site.tensors[0];
        let facts = self.described.sites.get_mut(reader).expect("all sites are described");
        for &sum in Sum::kept(self.layout.gram) {
            let mut hash = Sha256::new();
            let mut at = self.layout.begins[&sum.tensor(reader)];
            seen.write(sum, |piece| {
                hash.update(piece);
                self.file.write_at(at, piece)?;
                at += piece.len() as u64;
                Ok::<(), Error>(())
            })?;
            facts.sha256.insert(sum.name().to_owned(), hash.finish());
        }
        Ok(())
    }

    /// Writes the header, which has all hashes now, and gives the file its name.
    pub(super) fn publish(self) -> Result<(), Error> {
        let metadata = self.described.metadata();
        let (header, _) = Header::encode(&metadata, &self.layout.tensors).map_err(unwritable)?;
        self.file.write_at(0, &header)?;
        Ok(self.file.publish()?)
    }
}

fn unwritable(error: HeaderError) -> Error {
    Error::Refused(format!("statistics of this model: {error}"))
}
