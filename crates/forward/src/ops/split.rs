//! Columns dealt out.

/// The columns of each row of `input`, the first so many to the first output, and so on. Outputs
/// come with their widths.
pub(crate) fn split(input: &[f32], outputs: &mut [(usize, &mut [f32])]) {
    let columns = outputs.iter().map(|(width, _)| width).sum();
    for (row, values) in input.chunks_exact(columns).enumerate() {
        let mut rest = values;
        for (width, output) in outputs.iter_mut() {
            let (part, after) = rest.split_at(*width);
            output[row * *width..][..*width].copy_from_slice(part);
            rest = after;
        }
    }
}
