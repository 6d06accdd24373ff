//! The shape of a quantized matrix, from whatever its parts say about it.
//!
//! When they disagree the majority is believed, so that the part that is wrong is the one named.

use crate::artifact::{Artifact, Parts, WEIGHT};
use llmopt_codec::stored_shape;
use llmopt_run::Error;
use llmopt_scheme::{Granularity, Scheme};

/// Rows and columns, as most parts have them; `None` if no part tells.
pub(crate) fn likely(
    parts: &Parts<'_>,
    scheme: &Scheme,
    stored: Option<[usize; 2]>,
) -> Option<[usize; 2]> {
    let axes = |suffix: &str| match parts.get(suffix)?.shape() {
        &[rows, columns] => Some([rows, columns]),
        _ => None,
    };
    let (weight, packed, scale) = (axes(WEIGHT), axes("weight_packed"), axes("weight_scale"));
    // Of codes that cross words there may be some fewer, since a row ends on a whole word.
    let codes = |words: usize| Some(words.checked_mul(32)? / scheme.weights.bits().max(1));
    let unpacked = packed.map(|[rows, words]| [Some(rows), codes(words)]);
    let scaled = scale.map(|[down, across]| match scheme.granularity {
        Granularity::Channel => [Some(down), None],
        Granularity::Group(size) => [Some(down), across.checked_mul(size)],
        Granularity::Block { .. } => [None, None],
    });
    // In a tie the earlier one counts.
    let whole =
        |shape: Option<[usize; 2]>| shape.map(|[rows, columns]| [Some(rows), Some(columns)]);
    let votes: Vec<[Option<usize>; 2]> =
        [whole(weight), whole(stored), scaled, unpacked].into_iter().flatten().collect();
    let axis = |axis: usize| most_common(votes.iter().filter_map(|vote| vote[axis]).collect());
    Some([axis(0)?, axis(1)?])
}

/// What `weight_shape` says, if it is there and well formed.
pub(crate) fn stored(artifact: &Artifact, module: &str) -> Result<Option<[usize; 2]>, Error> {
    let Some((shard, entry)) = artifact.entry(&format!("{module}.weight_shape")) else {
        return Ok(None);
    };
    let mut bytes = [0; 16];
    if entry.meta.bytes() != bytes.len() as u64 {
        return Ok(None);
    }
    shard.read_tensor(entry, 0..16, &mut bytes)?;
    Ok(stored_shape(&bytes))
}

/// The first of those that occur most often.
fn most_common(votes: Vec<usize>) -> Option<usize> {
    let count = |vote: usize| votes.iter().filter(|&&other| other == vote).count();
    let most = votes.iter().map(|&vote| count(vote)).max()?;
    votes.iter().copied().find(|&vote| count(vote) == most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_tensor::{Dtype, TensorMeta};

    fn check(
        scheme: &str,
        parts: &[(&'static str, [usize; 2])],
        stored: Option<[usize; 2]>,
        expected: Option<[usize; 2]>,
    ) {
        let meta = |shape: [usize; 2]| TensorMeta::new(Dtype::I8, shape).expect("small");
        let metas: Vec<_> = parts.iter().map(|&(suffix, shape)| (suffix, meta(shape))).collect();
        let parts = Parts(metas.iter().map(|(suffix, meta)| (*suffix, meta)).collect());
        let scheme = Scheme::preset(scheme).expect("a preset");
        assert_eq!(likely(&parts, &scheme, stored), expected, "{parts:?} {stored:?}");
    }

    #[test]
    fn the_part_that_stands_alone_is_not_believed() {
        let (packed, scale) = (("weight_packed", [48, 32]), ("weight_scale", [48, 2]));
        let right = Some([48, 256]);
        check("w4a16", &[packed, scale], right, right);
        check("w4a16", &[packed, scale], Some([48, 260]), right);
        check("w4a16", &[packed, scale], Some([47, 256]), right);
        check("w4a16", &[("weight_packed", [48, 31]), scale], right, right);
        check("w4a16", &[packed, ("weight_scale", [48, 1])], right, right);
        check("w3a16", &[("weight_packed", [48, 24]), scale], Some([48, 260]), right);
    }

    #[test]
    fn any_part_will_do_when_others_are_missing() {
        check("w4a16", &[("weight_packed", [48, 32])], None, Some([48, 256]));
        check("w4a16", &[("weight_scale", [48, 2])], None, Some([48, 256]));
        check("w4a16", &[], Some([48, 256]), Some([48, 256]));
        check("w8a8", &[("weight", [48, 250])], None, Some([48, 250]));
        check("w8a8", &[("weight_scale", [48, 1])], None, None);
        check("w4a16", &[], None, None);
    }
}
