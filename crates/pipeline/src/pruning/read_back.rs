//! What a pruned model's files hold, against what was written.

use crate::pruning::journal::Records;
use crate::pruning::layout::Layout;
use crate::pruning::pieces::pieces;
use crate::pruning::write::Files;
use crate::read_back::{self, Piece};
use llmopt_model::InOrder;
use llmopt_run::{Cancel, Error, Events};

/// Compares what lies in the files with what was written. Returns the hash of each file.
pub(super) fn read_back(
    layout: &Layout,
    files: &Files<'_>,
    records: &Records,
    threads: usize,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<Vec<String>, Error> {
    let heads = layout.shards.iter().map(|shard| Ok(InOrder::new(&shard.header()?)));
    let heads = heads.collect::<Result<Vec<InOrder>, Error>>()?;
    let tensors = layout.tensors().count();
    let all = (files.files(), heads);
    let found = read_back::read_back(all, all_pieces(layout), tensors, threads, (events, cancel))?;
    let prints = records.prints();
    let written = |origin: &str| prints.get(origin).copied();
    found
        .checked(layout.tensors().map(|(_, tensor)| (tensor.name.clone(), written(&tensor.origin))))
}

/// Every byte behind the headers, in order.
fn all_pieces(layout: &Layout) -> impl Iterator<Item = Piece<'_>> + Send {
    let firsts = layout.shards.iter().scan(0, |first, shard| {
        *first += shard.tensors.len();
        Some(*first - shard.tensors.len())
    });
    layout.shards.iter().zip(firsts).enumerate().flat_map(|(file, (shard, first))| {
        let ranges = (first..).zip(&shard.tensors).flat_map(|(number, tensor)| {
            pieces(tensor.meta.bytes()).map(move |range| (number, tensor, range))
        });
        ranges.enumerate().map(move |(turn, (number, tensor, range))| Piece {
            file,
            turn: turn as u64,
            tensor: number,
            name: &tensor.name,
            begin: range.start,
            range: tensor.begin + range.start..tensor.begin + range.end,
        })
    })
}
