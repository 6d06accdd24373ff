//! A stage boundary: an artifact that is being written, with what is known of it.

use crate::artifact::{ArtifactPlan, Planned};
use crate::band::{Band, Stored};
use crate::journal::{Journal, Keeper};
use crate::records::{Entry, Record, Records};
use llmopt_checkpoint::{OutFile, Output as Staged};
use llmopt_run::Error;
use llmopt_scheme::SquaredError;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An artifact that is being written: its files at their full length, and its journal.
pub struct Boundary<'a> {
    /// What it will be.
    pub plan: &'a ArtifactPlan,
    /// What is known of it.
    pub records: Records,
    files: Arc<Vec<OutFile>>,
    keeper: Keeper,
    /// The tensors that stages write, by their names in the source.
    locations: BTreeMap<&'a str, TensorLocation>,
}

/// Where a tensor is in a plan.
#[derive(Clone, Copy, Debug)]
pub struct TensorLocation {
    /// The number of its file.
    pub shard: usize,
    /// Its number in the file.
    pub number: usize,
    /// The number of its first band among all bands.
    pub first_band: usize,
}

impl<'a> Boundary<'a> {
    /// Makes the files, or opens those that an interrupted run has left, and goes on with its journal.
    /// Stages write the tensors that are `staged`; bands alone decide about the others.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn open(
        plan: &'a ArtifactPlan,
        output: &Staged,
        mut journal: Journal,
        staged: impl Fn(&Planned<'a>) -> bool,
    ) -> Result<Self, Error> {
        if !plan.shards.iter().all(|shard| is_whole(output, &shard.name, shard.bytes)) {
            journal.forget_files()?;
        }
        let mut files = Vec::with_capacity(plan.shards.len());
        for (number, shard) in plan.shards.iter().enumerate() {
            let file = output.create(&shard.name, shard.bytes)?;
            file.write_at(0, &plan.header(number)?)?;
            files.push(file);
        }
        let files = Arc::new(files);
        let records = Records::resumed(plan, journal.entries());
        let keeper = journal.keep(files.clone());
        Ok(Self { plan, records, files, keeper, locations: locations(plan, staged) })
    }

    /// Ends the writing, however it went: everything is in the journal then.
    ///
    /// # Errors
    /// That of the writing. Without a journal it stops as if interrupted; why there is none is the better
    /// reason.
    pub fn settled<T>(&self, written: Result<T, Error>) -> Result<T, Error> {
        self.keeper.end().and(written)
    }

    /// Goes on if all went well, and ends the writing otherwise.
    ///
    /// # Errors
    /// As [`Boundary::settled`].
    pub fn or_settled<T>(&self, written: Result<T, Error>) -> Result<T, Error> {
        if written.is_ok() { written } else { self.settled(written) }
    }

    /// The files, in the order of the plan.
    pub(crate) fn files(&self) -> &[OutFile] {
        &self.files
    }

    /// The names in the source of the tensors that stages write, each with where it is.
    pub fn locations(&self) -> &BTreeMap<&'a str, TensorLocation> {
        &self.locations
    }

    /// A tensor that a stage writes.
    pub fn planned(&self, origin: &str) -> Planned<'a> {
        let location = self.locations[origin];
        self.plan.tensor(location.shard, location.number)
    }

    /// Some rows of a tensor that a stage writes.
    pub fn band(&self, origin: &str, rows: std::ops::Range<usize>) -> Band<'a> {
        Band { plan: self.plan, planned: self.planned(origin), rows }
    }

    /// Whether every band of a tensor that a stage writes is written, by this attempt or an earlier one.
    pub fn is_written(&self, origin: &str) -> bool {
        let location = self.locations[origin];
        let bands = self.planned(origin).tensor.bands();
        let mut bands = location.first_band..location.first_band + bands;
        bands.all(|band| self.records.is_done(band))
    }

    /// Keeps what a stage found of a group, before it writes the tensors of the group.
    ///
    /// # Errors
    /// If there is no journal any more.
    pub fn add_facts(&self, group: &str, facts: &impl Serialize) -> Result<(), Error> {
        let entry = Entry::facts(group, facts)?;
        if let Entry::Facts { group, facts } = &entry {
            self.records.add_facts(group.clone(), facts.clone());
        }
        self.keeper.add(entry)
    }

    /// Writes the band of this number among all bands.
    ///
    /// # Errors
    /// If it cannot be written, or there is no journal any more.
    pub fn write(&self, number: usize, band: &Band<'_>, stored: &Stored<'_>) -> Result<(), Error> {
        let Planned { shard, number: tensor, .. } = band.planned;
        let prints = band.write(stored, &self.files[shard])?;
        let record = Record { number, shard, tensor, error: stored.error, prints };
        self.records.add(&record);
        self.keeper.add(Entry::Band(record))
    }

    /// Writes one of the bands of a tensor that a stage writes.
    ///
    /// # Errors
    /// As [`Boundary::write`].
    pub fn write_band(&self, origin: &str, band: usize, stored: &Stored<'_>) -> Result<(), Error> {
        let location = self.locations[origin];
        let rows = self.planned(origin).tensor.band(band);
        self.write(location.first_band + band, &self.band(origin, rows), stored)
    }

    /// Writes all bytes of a tensor that is written as bytes.
    ///
    /// # Errors
    /// As [`Boundary::write`].
    pub fn write_bytes(&self, origin: &str, bytes: &[u8]) -> Result<(), Error> {
        let tensor = self.planned(origin).tensor;
        assert_eq!(bytes.len(), tensor.rows, "the plan fixed the size of {origin}");
        for number in 0..tensor.bands() {
            let parts = vec![Cow::Borrowed(&bytes[tensor.band(number)])];
            let stored = Stored { parts, error: SquaredError::default() };
            self.write_band(origin, number, &stored)?;
        }
        Ok(())
    }

    /// Reads what is stored of some rows of a tensor that a stage has written, part by part.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(&self, origin: &str, rows: &std::ops::Range<usize>) -> Result<Vec<Vec<u8>>, Error> {
        let Planned { shard, named, tensor, .. } = self.planned(origin);
        let read = |stored: crate::output_tensor::StoredPart| {
            let range = stored.part.range(rows.clone(), tensor.rows);
            let mut bytes = vec![0; (range.end - range.start) as usize];
            self.files[shard].read_at(stored.begin + range.start, &mut bytes)?;
            Ok(bytes)
        };
        tensor.stored(named).map(read).collect()
    }
}

fn is_whole(output: &Staged, name: &str, bytes: u64) -> bool {
    output.partial_path().join(name).metadata().is_ok_and(|file| file.len() == bytes)
}

fn locations<'a>(
    plan: &'a ArtifactPlan,
    staged: impl Fn(&Planned<'a>) -> bool,
) -> BTreeMap<&'a str, TensorLocation> {
    let (mut locations, mut first_band) = (BTreeMap::new(), 0);
    for planned in plan.tensors() {
        if staged(&planned) {
            let Planned { shard, number, .. } = planned;
            locations.insert(planned.origin, TensorLocation { shard, number, first_band });
        }
        first_band += planned.tensor.bands();
    }
    locations
}
