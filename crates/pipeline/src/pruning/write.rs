//! Tensors into the files of the artifact.

use crate::fingerprint::fingerprint;
use crate::pruning::layout::{Fate, Layout, OutTensor};
use crate::pruning::pieces::pieces;
use llmopt_checkpoint::{OutFile, Output as Staged};
use llmopt_model::nonfinite::matters;
use llmopt_model::{Variant, refuse_not_finite};
use llmopt_run::Error;
use llmopt_run::pool::for_each_with;
use llmopt_sweep::Run;
use llmopt_tensor::encode;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The files of weights, each at its full length, with what lies where.
pub(super) struct Files<'a> {
    layout: &'a Layout,
    files: Vec<OutFile>,
    places: BTreeMap<&'a str, (usize, &'a OutTensor)>,
}

impl<'a> Files<'a> {
    /// Makes the files, and writes their headers.
    pub(super) fn create(layout: &'a Layout, staged: &Staged) -> Result<Self, Error> {
        let mut files = Vec::with_capacity(layout.shards.len());
        for shard in &layout.shards {
            let file = staged.create(&shard.name, shard.bytes)?;
            file.write_at(0, &shard.header()?)?;
            files.push(file);
        }
        let places = layout.tensors().map(|(shard, tensor)| (&*tensor.origin, (shard, tensor)));
        Ok(Self { layout, files, places: places.collect() })
    }

    /// Whether all files are there, at their full length.
    pub(super) fn are_whole(layout: &Layout, staged: &Staged) -> bool {
        layout.shards.iter().all(|shard| {
            let path = staged.partial_path().join(&shard.name);
            path.metadata().is_ok_and(|file| file.len() == shard.bytes)
        })
    }

    /// Copies what stays of a file of the source as it is, that of `variant`. Returns the
    /// fingerprints.
    pub(super) fn copy(
        &self,
        shard: usize,
        variant: &Variant,
        run: Run<'_>,
    ) -> Result<BTreeMap<String, u64>, Error> {
        let source = &variant.source().shards()[self.layout.shards[shard].source];
        let prints = Mutex::new(BTreeMap::new());
        let tensors = self.layout.shards[shard].tensors.iter().filter(|t| t.fate.is_plain());
        for_each_with(
            run.resources.threads,
            tensors,
            run.cancel,
            |piece: &mut Vec<u8>, tensor, _| {
                let entry =
                    source.header.tensors().iter().find(|entry| entry.name == tensor.origin);
                let mut print = 0u64;
                for range in pieces(tensor.meta.bytes()) {
                    piece.clear();
                    piece.resize((range.end - range.start) as usize, 0);
                    if let (Some(entry), Fate::Kept) = (entry, tensor.fate) {
                        source.read_tensor(entry, range.clone(), piece)?;
                        if matters(variant.model(), &entry.name) {
                            refuse_not_finite((source, entry), range.start, piece)?;
                        }
                    }
                    self.files[shard].write_at(tensor.begin + range.start, piece)?;
                    print = print.wrapping_add(fingerprint(range.start, piece));
                }
                run.events.advanced(tensor.meta.bytes(), &tensor.name);
                let mut prints = prints.lock().unwrap_or_else(PoisonError::into_inner);
                prints.insert(tensor.origin.clone(), print);
                Ok(())
            },
        )?;
        self.files[shard].sync()?;
        Ok(prints.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes a whole tensor. Returns its fingerprint.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<u64, Error> {
        let (shard, tensor) = self.places[name];
        assert_eq!(bytes.len() as u64, tensor.meta.bytes(), "the plan fixed the size of {name}");
        self.files[shard].write_at(tensor.begin, bytes)?;
        let piece = |range: Range<u64>| {
            fingerprint(range.start, &bytes[range.start as usize..range.end as usize])
        };
        Ok(pieces(bytes.len() as u64).map(piece).fold(0, u64::wrapping_add))
    }

    /// Writes values in the tensor's own type.
    pub(super) fn write_values(&self, name: &str, values: &[f32]) -> Result<u64, Error> {
        let meta = &self.places[name].1.meta;
        let mut bytes = vec![0; meta.bytes() as usize];
        encode(meta.dtype(), values, &mut bytes)
            .map_err(|error| Error::Refused(format!("tensor `{name}`: {error}")))?;
        self.write(name, &bytes)
    }

    /// Waits until the files of some tensors are on the disk.
    pub(super) fn sync<'n>(&self, names: impl Iterator<Item = &'n String>) -> Result<(), Error> {
        let shards: std::collections::BTreeSet<usize> =
            names.map(|name| self.places[name.as_str()].0).collect();
        shards.into_iter().try_for_each(|shard| Ok(self.files[shard].sync()?))
    }

    /// The files, in the order of the layout.
    pub(super) fn files(&self) -> &[OutFile] {
        &self.files
    }
}
