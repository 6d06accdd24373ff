//! Everything that an artifact's weight files hold, and where: known before the first data byte.
//!
//! Headers and index are made when they are needed and not kept: in a model of many experts they are
//! larger than everything else that a plan holds.

use crate::output_tensor::{Named, OutputTensor};
use llmopt_checkpoint::{Header, HeaderEntry, HeaderError, Shard, Source, sha256};
use llmopt_run::Error;
use llmopt_tensor::TensorMeta;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

/// The weight files of an artifact, and the source that they come from.
#[derive(Debug)]
pub struct ArtifactPlan {
    /// What is read.
    pub source: Arc<Source>,
    /// What is written, in the order of the source's files.
    pub shards: Vec<OutputShard>,
}

/// A file of weights to be written.
#[derive(Debug)]
pub struct OutputShard {
    /// Its name.
    pub name: String,
    /// What the header says besides its tensors.
    pub metadata: BTreeMap<String, String>,
    /// Size of the whole file.
    pub bytes: u64,
    /// The number of the source's file that its tensors come from.
    pub source: usize,
    /// In the order of `renamed`, or of the source's bytes.
    pub tensors: Vec<OutputTensor>,
    /// Names and types of its tensors, where some are renamed, cut or new; the source's, if there are
    /// none.
    renamed: Option<Vec<Renamed>>,
}

/// A tensor whose name or type is not the source's.
#[derive(Clone, Debug)]
pub struct Renamed {
    /// Its name.
    pub name: String,
    /// Its element type and shape.
    pub meta: TensorMeta,
    /// Its name in the source, or what it would be there.
    pub origin: String,
    /// The number of the tensor of the source's file that it is made of; none, if it is new.
    pub source: Option<usize>,
}

/// A tensor of the plan with what stands beside it.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// The number of its file.
    pub shard: usize,
    /// Its number in the file.
    pub number: usize,
    /// Its name and type.
    pub named: Named<'a>,
    /// Its name in the source.
    pub origin: &'a str,
    /// What becomes of it.
    pub tensor: &'a OutputTensor,
}

impl OutputShard {
    /// Lays out the counterpart of a source's file: one tensor for each of its own, in their order.
    ///
    /// # Errors
    /// If the header cannot be written.
    pub fn of_source(
        (source, shard): (usize, &Shard),
        name: String,
        metadata: BTreeMap<String, String>,
        tensors: Vec<OutputTensor>,
    ) -> Result<Self, Error> {
        Self { name, metadata, bytes: 0, source, tensors, renamed: None }.laid_out(shard)
    }

    /// Lays out a file whose tensors have names and types of their own. They come into the order of
    /// their bytes.
    ///
    /// # Errors
    /// If the header cannot be written.
    pub fn of_renamed(
        (source, shard): (usize, &Shard),
        name: String,
        metadata: BTreeMap<String, String>,
        tensors: Vec<(Renamed, OutputTensor)>,
    ) -> Result<Self, Error> {
        let (renamed, tensors): (Vec<Renamed>, Vec<OutputTensor>) = tensors.into_iter().unzip();
        let laid_out = Self { name, metadata, bytes: 0, source, tensors, renamed: Some(renamed) }
            .laid_out(shard)?;
        let Self { tensors, renamed, .. } = laid_out;
        let mut pairs: Vec<(Renamed, OutputTensor)> =
            renamed.into_iter().flatten().zip(tensors).collect();
        pairs.sort_by_key(|(renamed, tensor)| (tensor.begins[0], renamed.meta.bytes()));
        let (renamed, tensors) = pairs.into_iter().unzip();
        Ok(Self { tensors, renamed: Some(renamed), ..laid_out })
    }

    /// Tells each part where it begins, in the reference writer's order.
    fn laid_out(mut self, shard: &Shard) -> Result<Self, Error> {
        let stored = self.stored(shard);
        let (header, begins) = Header::encode(&self.metadata, &stored).map_err(unwritable)?;
        let data = header.len() as u64;
        self.bytes = data + stored.iter().map(|(_, meta)| meta.bytes()).sum::<u64>();
        let begins: BTreeMap<&str, u64> =
            stored.iter().zip(&begins).map(|((name, _), &begin)| (name.as_str(), begin)).collect();
        for number in 0..self.tensors.len() {
            let (named, tensor) = (self.named(shard, number), &self.tensors[number]);
            let parts = tensor.parts(named).unwrap_or_default();
            let begin = |part| data + begins[tensor.part_name(named.name, part).as_str()];
            let begins = parts.iter().map(begin).collect();
            self.tensors[number].begins = begins;
        }
        Ok(self)
    }

    /// Its header: length and JSON.
    fn header(&self, shard: &Shard) -> Result<Vec<u8>, Error> {
        Ok(Header::encode(&self.metadata, &self.stored(shard)).map_err(unwritable)?.0)
    }

    /// The stored tensors, in the reference writer's order.
    fn stored(&self, shard: &Shard) -> Vec<(String, TensorMeta)> {
        let mut stored: Vec<(String, TensorMeta)> = Vec::new();
        for (number, tensor) in self.tensors.iter().enumerate() {
            let named = self.named(shard, number);
            let parts = tensor.parts(named).unwrap_or_default().into_iter();
            stored.extend(parts.map(|part| (tensor.part_name(named.name, &part), part.meta)));
        }
        Header::reference_order(&mut stored);
        stored
    }

    fn named<'a>(&'a self, shard: &'a Shard, number: usize) -> Named<'a> {
        match &self.renamed {
            Some(renamed) => Named { name: &renamed[number].name, meta: &renamed[number].meta },
            None => Named::from(&shard.header.tensors()[number]),
        }
    }

    fn origin<'a>(&'a self, shard: &'a Shard, number: usize) -> &'a str {
        match &self.renamed {
            Some(renamed) => &renamed[number].origin,
            None => &shard.header.tensors()[number].name,
        }
    }
}

impl ArtifactPlan {
    /// Every tensor of the plan, file after file.
    pub fn tensors(&self) -> impl Iterator<Item = Planned<'_>> {
        (0..self.shards.len()).flat_map(move |shard| {
            (0..self.shards[shard].tensors.len()).map(move |number| self.tensor(shard, number))
        })
    }

    /// One of them.
    pub fn tensor(&self, shard: usize, number: usize) -> Planned<'_> {
        let (planned, source) = (&self.shards[shard], self.source_of(shard));
        Planned {
            shard,
            number,
            named: planned.named(source, number),
            origin: planned.origin(source, number),
            tensor: &planned.tensors[number],
        }
    }

    /// The source's file that a file comes from.
    pub fn source_of(&self, shard: usize) -> &Shard {
        &self.source.shards()[self.shards[shard].source]
    }

    /// The tensor of the source that one is made of; none, if it is new.
    pub fn source_entry(&self, of: &Planned<'_>) -> Option<&HeaderEntry> {
        let (planned, entries) =
            (&self.shards[of.shard], self.source_of(of.shard).header.tensors());
        match &planned.renamed {
            Some(renamed) => entries.get(renamed[of.number].source?),
            None => entries.get(of.number),
        }
    }

    /// The header of a file: length and JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn header(&self, shard: usize) -> Result<Vec<u8>, Error> {
        self.shards[shard].header(self.source_of(shard))
    }

    /// What of source and output must be equal for a run to go on from a journal: the source's names,
    /// sizes and times of change, or the `state` of one that is being written, and what its files become.
    ///
    /// # Errors
    /// If a time of change cannot be read, or a header cannot be written.
    pub fn identity(&self, state: Option<&str>) -> Result<String, Error> {
        let mut text = String::new();
        for shard in self.source.shards() {
            let state = match state {
                Some(state) => state.to_owned(),
                None => shard.modified()?.to_string(),
            };
            text += &format!("\n{} {} {state}", shard.name, shard.bytes);
        }
        for (number, shard) in self.shards.iter().enumerate() {
            text += &format!("\n{} {}", shard.name, sha256(&self.header(number)?));
        }
        Ok(text)
    }

    /// How many tensors are stored, and the bytes of their names.
    pub fn names(&self) -> (usize, usize) {
        let stored = self.tensors().flat_map(|planned| planned.tensor.stored(planned.named));
        stored.fold((0, 0), |(count, bytes), stored| (count + 1, bytes + stored.name.len()))
    }

    /// The size of all files, headers included.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes).sum()
    }

    /// The names of the files.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().map(|shard| shard.name.as_str())
    }

    /// Writes the index of the stored tensors.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_index(&self, out: &mut dyn Write) -> io::Result<()> {
        let sizes = self.tensors().map(|planned| planned.tensor.stored_bytes(planned.named));
        let total_size: u64 = sizes.sum();
        write!(out, "{{\n  \"metadata\": {{\n    \"total_size\": {total_size}\n  }},\n")?;
        write!(out, "  \"weight_map\": {{")?;
        let mut separator = "\n";
        for planned in self.tensors() {
            let file = serde_json::to_string(&self.shards[planned.shard].name)?;
            for stored in planned.tensor.stored(planned.named) {
                let name = serde_json::to_string(&stored.name)?;
                write!(out, "{separator}    {name}: {file}")?;
                separator = ",\n";
            }
        }
        write!(out, "\n  }}\n}}\n")
    }

    /// The size of the index.
    pub fn index_bytes(&self) -> u64 {
        let mut counter = Counter(0);
        // Counting cannot fail.
        let _ = self.write_index(&mut counter);
        counter.0
    }
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unwritable(error: HeaderError) -> Error {
    Error::Input { what: format!("the output's header cannot be written: {error}"), hint: None }
}

/// The name of the index.
pub const INDEX: &str = "model.safetensors.index.json";
