//! The two sweeps of a run: every band rewritten, then every byte read back.

use crate::band::Band;
use crate::place::PlacedPart;
use crate::plan::Plan;
use crate::read_back::{self, Piece};
use crate::resume::{Entry, Record, Records};
use llmopt_checkpoint::OutFile;
use llmopt_model::InOrder;
use llmopt_run::pool::for_each_with;
use llmopt_run::{Cancel, Error, Events};
use std::sync::mpsc::Sender;

/// Rewrites the model, band after band, in the order of its bytes. Bands that `records` already knows
/// are read for the input's hash alone. Returns the hash of each source shard.
pub(crate) fn rewrite(
    plan: &Plan,
    files: &[OutFile],
    records: &Records,
    finished: Sender<Entry>,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Vec<String>, Error> {
    let shards = plan.source.shards().iter();
    let hashes = shards.map(InOrder::after_header).collect::<Result<Vec<_>, Error>>()?;
    let whole: u64 = plan.places().map(|(entry, _)| entry.meta.bytes()).sum();
    let whole = whole as f64;
    for_each_with(plan.memory.workers, tasks(plan), cancel, |room: &mut Room, task, stop| {
        let Task { shard, place, number, .. } = task;
        let band = task.band(plan);
        let Room { bytes, weights } = room;
        band.read(bytes)?;
        hashes[shard].update(task.turn, bytes, stop);
        if !records.is_done(number) {
            let rewritten = band.rewritten(bytes, weights)?;
            let prints = band.write(&rewritten, &files[shard])?;
            let record = Record { number, shard, place, error: rewritten.error, prints };
            records.add(&record);
            // The journal's thread outlives the workers; without it there would be no resuming.
            finished.send(Entry::Band(record)).map_err(|_| Error::Interrupted)?;
            events.worked(bytes.len() as f64 / whole);
        }
        events.advanced(bytes.len() as u64, &band.entry.name);
        Ok(())
    })?;
    Ok(hashes.into_iter().map(InOrder::finish).collect())
}

/// Tells what of the sweep is done, by calibration or by an attempt before; the latter if this one
/// `resumes`.
pub(crate) fn pass_over(plan: &Plan, records: &Records, resumes: bool, events: &dyn Events) {
    let bytes = |task: &Task| task.band(plan).source_bytes() as f64;
    let all: u64 = plan.places().map(|(entry, _)| entry.meta.bytes()).sum();
    let done = tasks(plan).filter(|task| records.is_done(task.number));
    let done: f64 = done.map(|task| bytes(&task)).sum();
    if done > 0.0 {
        events.passed_over(done / all as f64);
    }
    let first = tasks(plan).find(|task| !records.is_done(task.number));
    if let (Some(first), true) = (first, resumes) {
        events.resuming(&format!("`{}`", first.band(plan).entry.name));
    }
}

/// Reads every byte of the new weights once, and compares it with what was written. Returns the hash of
/// each file.
pub(crate) fn read_back(
    plan: &Plan,
    files: &[OutFile],
    records: &Records,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Vec<String>, Error> {
    let shards = plan.source.shards().iter().zip(&plan.shards);
    let heads = shards.map(|(source, shard)| Ok(InOrder::new(&shard.header(source)?)));
    let heads = heads.collect::<Result<Vec<InOrder>, Error>>()?;
    let (pieces, tensors) = (pieces(plan, records), records.parts());
    let workers = plan.memory.workers;
    let found = read_back::read_back((files, heads), pieces, tensors, workers, (events, cancel))?;
    let names = plan.places().flat_map(|(entry, place)| place.placed(entry));
    found.checked(names.map(|part| part.name).zip(records.prints().into_iter().map(Some)))
}

/// A worker's buffers, used for one band after the other.
#[derive(Default)]
struct Room {
    bytes: Vec<u8>,
    weights: Vec<f32>,
}

/// One band of one place.
struct Task {
    shard: usize,
    place: usize,
    band: usize,
    /// Its number among all bands of the plan.
    number: usize,
    /// Its number among the bands of the shard.
    turn: u64,
}

impl Task {
    fn band<'a>(&self, plan: &'a Plan) -> Band<'a> {
        let shard = &plan.source.shards()[self.shard];
        let entry = &shard.header.tensors()[self.place];
        let place = &plan.shards[self.shard].places[self.place];
        Band { plan, shard, entry, place, rows: place.band(self.band) }
    }
}

/// Every band, in the order of the source's bytes.
fn tasks(plan: &Plan) -> impl Iterator<Item = Task> + Send {
    let bands = plan.shards.iter().enumerate().flat_map(|(shard, planned)| {
        let places = planned.places.iter().enumerate();
        let bands = places.flat_map(|(place, cut)| (0..cut.bands()).map(move |band| (place, band)));
        bands.enumerate().map(move |(turn, (place, band))| (shard, place, band, turn as u64))
    });
    bands.enumerate().map(|(number, (shard, place, band, turn))| Task {
        shard,
        place,
        band,
        number,
        turn,
    })
}

/// Every byte of the output behind the headers, in order.
fn pieces<'a>(plan: &'a Plan, records: &'a Records) -> impl Iterator<Item = Piece<'a>> + Send {
    let shards = plan.source.shards().iter().zip(&plan.shards).enumerate();
    shards.flat_map(move |(shard, (source, planned))| {
        let places = planned.places.iter().zip(source.header.tensors()).enumerate();
        let mut parts: Vec<_> = places
            .flat_map(|(number, (place, entry))| {
                let begins = place.begins.iter().enumerate();
                begins.map(move |(part, &begin)| (begin, number, part, place, entry))
            })
            .collect();
        // Parts without bytes begin where their neighbours do, and may come before or after them.
        parts.sort_by_key(|&(begin, ..)| begin);
        let ranges = parts.into_iter().flat_map(move |(_, number, part, place, entry)| {
            let placed = place.placed(entry).nth(part);
            let range = move |placed: &PlacedPart, band| place.range(placed, &place.band(band));
            placed.into_iter().flat_map(move |placed| {
                let name = &entry.name;
                (0..place.bands()).map(move |band| (number, part, range(&placed, band), name))
            })
        });
        ranges.enumerate().map(move |(turn, (place, part, range, name))| Piece {
            file: shard,
            turn: turn as u64,
            tensor: records.part(shard, place, part),
            name,
            begin: range.start,
            range,
        })
    })
}
