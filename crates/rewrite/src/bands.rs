//! Bands in the order of the source's bytes: rewritten where nothing has to be observed, and read back.

use crate::artifact::{ArtifactPlan, Planned};
use crate::band::{Band, Stored};
use crate::boundary::Boundary;
use crate::output_tensor::StoredPart;
use crate::read_back::{Piece, read_pieces};
use llmopt_model::InOrder;
use llmopt_run::pool::for_each_with;
use llmopt_run::{Cancel, Error, Events};

/// Which bands a pass goes through, and with how many workers.
pub struct Pass<'p> {
    /// Whether a tensor's bands are read; those that are written already are read for a hash alone.
    pub takes: &'p (dyn Fn(&Planned<'_>) -> bool + Sync),
    /// Whether the source's files are hashed, which has every band read.
    pub hashes: bool,
    /// Whether an attempt before has left off in this pass.
    pub resumes: bool,
    /// Threads.
    pub workers: usize,
}

/// What makes of a band's bytes what is stored.
pub trait BandRewriter: Sync {
    /// What is stored of a band that was read as `bytes`; `weights` is room to work in.
    ///
    /// # Errors
    /// If the bytes are refused, or cannot be stored.
    fn rewritten<'b>(
        &self,
        band: &Band<'_>,
        bytes: &'b [u8],
        weights: &mut Vec<f32>,
    ) -> Result<Stored<'b>, Error>;
}

impl Boundary<'_> {
    /// Rewrites band after band. Returns the hash of each of the source's files, if they are hashed.
    ///
    /// # Errors
    /// Those of `rewriter`, of reading and of writing; [`Error::Interrupted`] if the run is to stop.
    pub fn rewrite(
        &self,
        pass: &Pass<'_>,
        rewriter: &dyn BandRewriter,
        (events, cancel): (&dyn Events, &Cancel),
    ) -> Result<Vec<String>, Error> {
        let plan = self.plan;
        let hashes = match pass.hashes {
            true => plan.source.shards().iter().map(InOrder::after_header).collect(),
            false => Ok(Vec::new()),
        };
        let hashes = hashes?;
        let tasks = || tasks(plan).filter(|task| (pass.takes)(&task.band.planned));
        let whole: f64 = tasks().map(|task| task.band.source_bytes() as f64).sum();
        self.pass_over(tasks(), (whole, pass.resumes), events);
        for_each_with(pass.workers, tasks(), cancel, |room: &mut Room, task, stop| {
            let Room { bytes, weights } = room;
            let Task { band, number, turn } = task;
            let is_open = !self.records.is_done(number);
            if is_open || pass.hashes {
                band.read(bytes)?;
            }
            if let Some(hash) = hashes.get(plan.shards[band.planned.shard].source) {
                hash.update(turn, bytes, stop);
            }
            if is_open {
                self.write(number, &band, &rewriter.rewritten(&band, bytes, weights)?)?;
                events.worked(bytes.len() as f64 / whole);
            }
            events.advanced(band.source_bytes(), band.planned.named.name);
            Ok(())
        })?;
        Ok(hashes.into_iter().map(InOrder::finish).collect())
    }

    /// Tells what is done already.
    fn pass_over<'t>(
        &self,
        tasks: impl Iterator<Item = Task<'t>>,
        (whole, resumes): (f64, bool),
        events: &dyn Events,
    ) {
        let (mut done, mut first) = (0.0, None);
        for task in tasks {
            match self.records.is_done(task.number) {
                true => done += task.band.source_bytes() as f64,
                false => drop(first.get_or_insert(task.band.planned.named.name)),
            }
        }
        if done > 0.0 {
            events.passed_over(done / whole);
        }
        if let (Some(first), true) = (first, resumes) {
            events.resuming(&format!("`{first}`"));
        }
    }

    /// Reads every byte of the new weights once, and compares it with what was written. Returns the hash
    /// of each file.
    ///
    /// # Errors
    /// [`Error::Unsound`] with every tensor that differs; if a file cannot be read, or the run is to stop.
    pub fn read_back(
        &self,
        workers: usize,
        (events, cancel): (&dyn Events, &Cancel),
    ) -> Result<Vec<String>, Error> {
        events.stage_started("read back", self.plan.bytes());
        let shards = 0..self.plan.shards.len();
        let heads = shards.map(|shard| Ok(InOrder::new(&self.plan.header(shard)?)));
        let heads = heads.collect::<Result<Vec<InOrder>, Error>>()?;
        let (files, tensors) = ((self.files(), heads), self.records.parts());
        let found = read_pieces(files, self.pieces(), tensors, workers, (events, cancel))?;
        let names = self.plan.tensors().flat_map(|planned| planned.tensor.stored(planned.named));
        let hashes = found.checked(names.map(|stored| stored.name).zip(self.records.prints()))?;
        events.stage_finished("read back");
        Ok(hashes)
    }

    /// Every byte of the output behind the headers, in order.
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> + Send {
        (0..self.plan.shards.len()).flat_map(move |shard| {
            let tensors = 0..self.plan.shards[shard].tensors.len();
            let planned = tensors.map(move |number| self.plan.tensor(shard, number));
            let mut parts: Vec<(u64, usize, Planned<'_>)> = planned
                .flat_map(|planned| {
                    let begins = planned.tensor.begins.iter().enumerate();
                    begins.map(move |(part, &begin)| (begin, part, planned))
                })
                .collect();
            // Parts without bytes begin where their neighbours do, and may come before or after them.
            parts.sort_by_key(|&(begin, ..)| begin);
            let ranges = parts.into_iter().flat_map(|(_, part, planned)| {
                let Planned { tensor, named, .. } = planned;
                let stored = tensor.stored(named).nth(part);
                let range =
                    move |stored: &StoredPart, band| tensor.range(stored, &tensor.band(band));
                stored.into_iter().flat_map(move |stored| {
                    (0..tensor.bands()).map(move |band| (part, range(&stored, band), planned))
                })
            });
            ranges.enumerate().map(move |(turn, (part, range, planned))| Piece {
                file: shard,
                turn: turn as u64,
                tensor: self.records.part(shard, planned.number, part),
                name: planned.named.name,
                range,
            })
        })
    }
}

/// A worker's buffers, used for one band after the other.
#[derive(Default)]
struct Room {
    bytes: Vec<u8>,
    weights: Vec<f32>,
}

/// One band to be rewritten.
struct Task<'a> {
    band: Band<'a>,
    /// Its number among all bands of the plan.
    number: usize,
    /// Its number among the bands of its file.
    turn: u64,
}

/// Every band, in the order of the plan.
fn tasks(plan: &ArtifactPlan) -> impl Iterator<Item = Task<'_>> + Send {
    let bands = (0..plan.shards.len()).flat_map(move |shard| {
        let tensors = 0..plan.shards[shard].tensors.len();
        let planned = tensors.map(move |number| plan.tensor(shard, number));
        let bands = planned.flat_map(move |planned| {
            let bands = 0..planned.tensor.bands();
            bands.map(move |band| Band { plan, planned, rows: planned.tensor.band(band) })
        });
        bands.enumerate()
    });
    let task = |(number, (turn, band))| Task { band, number, turn: turn as u64 };
    bands.enumerate().map(task)
}
