//! Reading a statistics file without trust.

use crate::calibration::statistics::described::{Described, SiteFacts};
use crate::calibration::statistics::identity::ModelIdentity;
use llmopt_calib::{InputSite, Observation, StatisticsError, Sum};
use llmopt_checkpoint::{HeaderEntry, Sha256, Shard, Source};
use llmopt_run::Error;
use std::collections::BTreeMap;
use std::path::Path;

/// A file whose header is sound.
#[derive(Debug)]
pub(in crate::calibration) struct StatisticsFile {
    /// Its name without folder.
    pub(super) name: String,
    source: Source,
    pub(super) described: Described,
    /// Whether it has Gram matrices.
    pub(super) gram: bool,
    /// The site that each weight reads.
    site_of: BTreeMap<String, String>,
}

impl StatisticsFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read, or is not what it says.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let source = Source::open(path)?;
        let wrong = |what: String| damaged(path, what);
        let header = &source.shards()[0].header;
        let described = Described::parse(header.metadata()).map_err(wrong)?;
        let sums = |facts: &SiteFacts| facts.sha256.contains_key(Sum::Gram.name());
        let gram = !described.sites.is_empty() && described.sites.values().all(sums);
        let mut site_of = BTreeMap::new();
        for (site, facts) in &described.sites {
            check_site(&source, site, gram).map_err(wrong)?;
            site_of.extend(facts.readers.iter().map(|reader| (reader.clone(), site.clone())));
        }
        let (found, expected) =
            (header.tensors().len(), described.sites.len() * Sum::kept(gram).len());
        if found != expected {
            return Err(wrong(format!("it has {found} tensors, expected {expected}")));
        }
        let name = source.shards()[0].name.clone();
        Ok(Self { name, source, described, gram, site_of })
    }

    /// The model that it is of.
    pub(super) fn model(&self) -> &ModelIdentity {
        &self.described.model
    }

    /// The hash of its metadata, which have the hashes of all its tensors.
    pub(super) fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for (key, value) in self.shard().header.metadata() {
            hash.update(key.as_bytes());
            hash.update(value.as_bytes());
        }
        hash.finish()
    }

    /// Whether it has what all weights of a site read.
    pub(super) fn holds(&self, site: &InputSite) -> bool {
        let reads = |weight: &String| self.site_of.get(weight);
        let first = site.tensors.first().and_then(reads);
        first.is_some() && site.tensors.iter().all(|weight| reads(weight) == first)
    }

    /// What it has of a site, with the Gram matrix or without.
    ///
    /// # Errors
    /// If it has nothing, or not what was written.
    pub(super) fn read(&self, site: &InputSite, gram: bool) -> Result<Observation, Error> {
        let weight = &site.tensors[0];
        let name = self.site_of.get(weight).filter(|_| self.holds(site));
        let name = name
            .ok_or_else(|| self.damaged(format!("there are no sums of what `{weight}` reads")))?;
        let columns = site.extent.columns;
        let found = self.source.meta(&Sum::Squares.tensor(name)).map(|meta| meta.shape()[0]);
        if found != Some(columns) {
            let found = found.unwrap_or(0);
            return Err(self.damaged(format!(
                "there are sums of {found} features that `{weight}` reads, expected {columns}"
            )));
        }
        let mut reading = Reading { file: self, name, at: BTreeMap::new() };
        let read = Observation::read(columns, gram, |sum, buffer| reading.fill(sum, buffer));
        let read = read.map_err(|trouble| match trouble {
            Trouble::Read(error) => error,
            Trouble::Numbers(error) => self.damaged(format!("site `{name}`: {error}")),
        })?;
        reading.check()?;
        Ok(read)
    }

    fn shard(&self) -> &Shard {
        &self.source.shards()[0]
    }

    fn entry(&self, name: &str, sum: Sum) -> Result<&HeaderEntry, Error> {
        let tensor = sum.tensor(name);
        let entry = self.source.entry(&tensor).map(|(_, entry)| entry);
        entry.ok_or_else(|| self.damaged(format!("there is no tensor `{tensor}`")))
    }

    fn damaged(&self, what: String) -> Error {
        damaged(self.source.path(), what)
    }
}

/// The tensors of one site, read from their beginnings on.
struct Reading<'a> {
    file: &'a StatisticsFile,
    name: &'a str,
    at: BTreeMap<Sum, (u64, Sha256)>,
}

/// Why a site could not be read.
enum Trouble {
    Read(Error),
    Numbers(StatisticsError),
}

impl From<StatisticsError> for Trouble {
    fn from(error: StatisticsError) -> Self {
        Self::Numbers(error)
    }
}

impl Reading<'_> {
    fn fill(&mut self, sum: Sum, buffer: &mut [u8]) -> Result<(), Trouble> {
        let entry = self.file.entry(self.name, sum).map_err(Trouble::Read)?;
        let (at, hash) = self.at.entry(sum).or_insert_with(|| (0, Sha256::new()));
        let range = *at..*at + buffer.len() as u64;
        *at = range.end;
        let read = self.file.shard().read_tensor(entry, range, buffer);
        read.map_err(|error| Trouble::Read(error.into()))?;
        hash.update(buffer);
        Ok(())
    }

    /// Whether all bytes are those that were written.
    fn check(self) -> Result<(), Error> {
        let expected = &self.file.described.sites[self.name].sha256;
        for (sum, (_, hash)) in self.at {
            if expected.get(sum.name()) != Some(&hash.finish()) {
                let tensor = sum.tensor(self.name);
                return Err(self.file.damaged(format!(
                    "tensor `{tensor}` is not what was written: its SHA-256 differs"
                )));
            }
        }
        Ok(())
    }
}

/// Checks the tensors of a site: as many features as its squares have.
fn check_site(source: &Source, name: &str, gram: bool) -> Result<(), String> {
    let squares = source.meta(&Sum::Squares.tensor(name));
    let columns = squares.and_then(|meta| meta.shape().first().copied()).unwrap_or(0);
    for &sum in Sum::kept(gram) {
        let tensor = sum.tensor(name);
        let expected = sum.meta(columns).map_err(|error| format!("site `{name}`: {error}"))?;
        match source.meta(&tensor) {
            Some(found) if *found == expected => {}
            Some(found) => {
                return Err(format!("tensor `{tensor}` is {found}, expected {expected}"));
            }
            None => return Err(format!("there is no tensor `{tensor}`")),
        }
    }
    Ok(())
}

fn damaged(path: &Path, what: String) -> Error {
    Error::Input {
        what: format!("{what}\n  in `{}`", path.display()),
        hint: Some("`llmopt calibrate` makes statistics anew".to_owned()),
    }
}
