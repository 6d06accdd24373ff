//! Every byte of the artifact's weights, read once more before it gets its name.

use crate::fingerprint::fingerprint;
use crate::pruning::journal::Records;
use crate::pruning::layout::Layout;
use crate::pruning::pieces::pieces;
use crate::pruning::write::Files;
use llmopt_checkpoint::Sha256;
use llmopt_run::{Cancel, Error, Events, Fault, pool};
use std::sync::{Mutex, PoisonError};

/// Compares what lies in the files with what was written. Returns the hash of each file.
pub(super) fn read_back(
    layout: &Layout,
    files: &Files<'_>,
    records: &Records,
    threads: usize,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Vec<String>, Error> {
    let prints = records.prints();
    let found = Mutex::new((vec![String::new(); layout.shards.len()], Vec::new()));
    pool::for_each(threads, layout.shards.iter().enumerate(), cancel, |(number, shard), stop| {
        let mut hash = Sha256::new();
        hash.update(&shard.header()?);
        let mut piece = Vec::new();
        for tensor in &shard.tensors {
            let mut print = 0u64;
            for range in pieces(tensor.meta.bytes()) {
                if cancel.is_cancelled() || stop.is_set() {
                    return Err(Error::Interrupted);
                }
                piece.resize((range.end - range.start) as usize, 0);
                files.read(number, tensor.begin + range.start, &mut piece)?;
                hash.update(&piece);
                print = print.wrapping_add(fingerprint(range.start, &piece));
            }
            events.advanced(tensor.meta.bytes(), &tensor.name);
            if prints.get(tensor.origin.as_str()) != Some(&print) {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.1.push(tensor.name.clone());
            }
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).0[number] = hash.finish();
        Ok(())
    })?;
    let (hashes, differing) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if differing.is_empty() {
        return Ok(hashes);
    }
    let message = "it reads back differently from what was written".to_owned();
    let fault = |subject| Fault { code: "read-back", subject, message: message.clone() };
    Err(Error::Unsound(differing.into_iter().map(fault).collect()))
}
