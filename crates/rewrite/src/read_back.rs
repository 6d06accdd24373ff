//! Every byte of the new weights, read once more before the artifact gets its name.

use crate::fingerprint::fingerprint;
use llmopt_checkpoint::OutFile;
use llmopt_model::InOrder;
use llmopt_run::pool::for_each_with;
use llmopt_run::{Cancel, Error, Events, Fault};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A run of bytes of a written file, cut as it was when it was fingerprinted.
pub(crate) struct Piece<'a> {
    pub(crate) file: usize,
    /// Its number among the pieces of its file.
    pub(crate) turn: u64,
    /// The number of its tensor among all that were written.
    pub(crate) tensor: usize,
    pub(crate) name: &'a str,
    /// Where it lies in the file.
    pub(crate) range: Range<u64>,
}

/// What was found.
pub(crate) struct ReadBack {
    /// The hash of each file.
    hashes: Vec<String>,
    /// The fingerprint of each tensor.
    prints: Vec<u64>,
}

/// Reads every piece, file after file in the order of their bytes; `heads` are hashes of the files that have
/// seen their headers.
///
/// # Errors
/// If a file cannot be read, or the run is to stop.
pub(crate) fn read_pieces<'a>(
    (files, heads): (&[OutFile], Vec<InOrder>),
    pieces: impl Iterator<Item = Piece<'a>> + Send,
    tensors: usize,
    workers: usize,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<ReadBack, Error> {
    let prints = Mutex::new(vec![0u64; tensors]);
    for_each_with(workers, pieces, cancel, |bytes: &mut Vec<u8>, piece, stop| {
        bytes.resize((piece.range.end - piece.range.start) as usize, 0);
        files[piece.file].read_at(piece.range.start, bytes)?;
        heads[piece.file].update(piece.turn, bytes, stop);
        let print = fingerprint(piece.range.start, bytes);
        let sum = &mut prints.lock().unwrap_or_else(PoisonError::into_inner)[piece.tensor];
        *sum = sum.wrapping_add(print);
        events.advanced(bytes.len() as u64, piece.name);
        Ok(())
    })?;
    let hashes = heads.into_iter().map(InOrder::finish).collect();
    Ok(ReadBack { hashes, prints: prints.into_inner().unwrap_or_else(PoisonError::into_inner) })
}

impl ReadBack {
    /// The hash of each file, if every tensor is what was written: `written` are names and fingerprints in
    /// the order of their numbers.
    ///
    /// # Errors
    /// [`Error::Unsound`] with every tensor that differs.
    pub(crate) fn checked(
        self,
        written: impl Iterator<Item = (String, u64)>,
    ) -> Result<Vec<String>, Error> {
        let pairs = written.zip(&self.prints);
        let differing = pairs.filter(|((_, written), found)| *written != **found);
        let fault = |((subject, _), _)| Fault {
            code: "read-back",
            subject,
            message: "it reads back differently from what was written".to_owned(),
        };
        let faults: Vec<Fault> = differing.map(fault).collect();
        if faults.is_empty() { Ok(self.hashes) } else { Err(Error::Unsound(faults)) }
    }
}
