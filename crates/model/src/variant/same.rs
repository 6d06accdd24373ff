//! Whether two models agree in a phase, so that it need run only once.

use crate::variant::Variant;
use llmopt_arch::program::{Block, Operation, Phase};
use llmopt_checkpoint::{HeaderEntry, Shard};
use llmopt_codec::{for_format, for_scheme};
use llmopt_run::Error;
use std::sync::Arc;

impl Variant {
    /// Whether `phase` of this model and `theirs` of the other compute the same: the same operations on
    /// weights of the same bytes. Reads no further than the first difference.
    pub fn computes_as(&self, phase: &Phase, other: &Self, theirs: &Phase) -> Result<bool, Error> {
        if phase != theirs {
            return Ok(false);
        }
        for tensor in tensors(phase) {
            if !self.stores_as(tensor, other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether this model and the other have the same head: tensor, bias, scale and cap.
    pub fn ends_as(&self, other: &Self) -> Result<bool, Error> {
        let (ours, theirs) = (&self.program().head, &other.program().head);
        let norms_agree = self.computes_as(&ours.norm, other, &theirs.norm)?;
        let tensors = std::iter::once(&ours.tensor).chain(&ours.bias);
        let mut agree = norms_agree && ours == theirs;
        for tensor in tensors {
            agree = agree && self.stores_as(tensor, other)?;
        }
        Ok(agree)
    }

    /// Bytes that hold the weights of a phase.
    pub fn stored_bytes(&self, phase: &Phase) -> u64 {
        tensors(phase).map(|tensor| self.bytes_of(tensor)).sum()
    }

    /// Bytes that hold the weights of a block.
    pub fn stored_bytes_of(&self, block: &Block) -> u64 {
        block.phases.iter().map(|phase| self.stored_bytes(phase)).sum()
    }

    /// Bytes that hold a tensor.
    pub fn bytes_of(&self, tensor: &str) -> u64 {
        let holder = self.holder(tensor);
        let bytes = |name: &String| holder.source.meta(name).map_or(0, |meta| meta.bytes());
        holder.parts_of(tensor).iter().map(bytes).sum()
    }

    fn stores_as(&self, tensor: &str, other: &Self) -> Result<bool, Error> {
        if self.scheme_of(tensor) != other.scheme_of(tensor) || !self.scales_as(tensor, other) {
            return Ok(false);
        }
        let (ours, theirs) = (self.holder(tensor), other.holder(tensor));
        if Arc::ptr_eq(&ours.source, &theirs.source) {
            return Ok(true);
        }
        for name in ours.parts_of(tensor) {
            let (Some(ours), Some(theirs)) = (ours.source.entry(&name), theirs.source.entry(&name))
            else {
                return Ok(false);
            };
            if !same_bytes(ours, theirs)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether smoothing does the same to a tensor in both.
    fn scales_as(&self, tensor: &str, other: &Self) -> bool {
        let of = |variant: &Self| variant.smoothing.clone().filter(|found| found.changes(tensor));
        match (of(self.holder(tensor)), of(other.holder(tensor))) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(&ours, &theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    /// The tensors that hold `tensor`.
    fn parts_of(&self, tensor: &str) -> Vec<String> {
        if let Some(stored) = self.matrices.get(tensor) {
            let group = &stored.group;
            let codec = for_format(group.format).unwrap_or_else(|| for_scheme(&group.scheme));
            let layout =
                codec.layout(&group.scheme, stored.scale_dtype, stored.rows, stored.columns);
            let module = tensor.strip_suffix("weight").unwrap_or(tensor);
            let parts = layout.unwrap_or_default();
            return parts.iter().map(|part| format!("{module}{}", part.suffix)).collect();
        }
        let scale = self.model.block_scale_of(tensor).map(|block| block.tensor.clone());
        std::iter::once(tensor.to_owned()).chain(scale).collect()
    }
}

fn tensors(phase: &Phase) -> impl Iterator<Item = &str> {
    phase.operations.iter().flat_map(|operation| match operation {
        Operation::Norm { weight, .. } => vec![weight.as_str()],
        Operation::Linear(linear) => {
            std::iter::once(linear.weight.as_str()).chain(linear.bias.as_deref()).collect()
        }
        _ => Vec::new(),
    })
}

fn same_bytes(
    (our_shard, ours): (&Shard, &HeaderEntry),
    (their_shard, theirs): (&Shard, &HeaderEntry),
) -> Result<bool, Error> {
    if ours.meta != theirs.meta {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let bytes = ours.meta.bytes();
    for start in (0..bytes).step_by(PIECE_BYTES) {
        let end = bytes.min(start + PIECE_BYTES as u64);
        let length = (end - start) as usize;
        our_shard.read_tensor(ours, start..end, &mut left[..length])?;
        their_shard.read_tensor(theirs, start..end, &mut right[..length])?;
        if left[..length] != right[..length] {
            return Ok(false);
        }
    }
    Ok(true)
}

const PIECE_BYTES: usize = 1 << 20;
