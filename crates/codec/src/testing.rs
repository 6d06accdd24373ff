//! What the tests of all codecs share.

use crate::Codec;
use llmopt_scheme::{Grid, Levels, Numeric, QuantizedMatrix, Scheme, Tiles};
use llmopt_tensor::Dtype;
use std::ops::Range;

pub(crate) fn of_bits(bits: u8) -> Levels {
    Levels::new(Numeric::Int { bits })
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digit = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// A matrix of all codes in a mixed order, with scales that BF16 holds.
pub(crate) fn matrix(scheme: &Scheme, rows: usize, columns: usize) -> QuantizedMatrix {
    let tiles = Tiles::new(scheme.granularity, rows, columns).expect("divides");
    let span = 1i64 << scheme.weights.bits();
    let code = |i: usize| match (i as i64 * 2_654_435_761 / 97 % span - span / 2) as i8 {
        -1 | 0x7f if scheme.weights == Numeric::E4m3 => 0x10,
        code => code,
    };
    let zero_points = if scheme.symmetric { 0 } else { tiles.count() };
    let grid = Grid {
        levels: Levels::new(scheme.weights),
        tiles,
        scales: (0..tiles.count()).map(|tile| (tile % 250 + 1) as f32 / 64.0).collect(),
        zero_points: (0..zero_points).map(|tile| code(tile * 7)).collect(),
    };
    QuantizedMatrix { grid, codes: (0..rows * columns).map(code).collect() }
}

/// The rows `rows` of a matrix, as a matrix.
fn band(matrix: &QuantizedMatrix, scheme: &Scheme, rows: Range<usize>) -> QuantizedMatrix {
    let (all, columns) = (&matrix.grid, matrix.columns());
    let tiles = Tiles::new(scheme.granularity, rows.len(), columns).expect("divides");
    let first = rows.start / tiles.tile_rows() * tiles.across();
    let end = first + tiles.count();
    let zero_points = all.zero_points.get(first..end).unwrap_or_default().to_vec();
    let grid =
        Grid { levels: all.levels, tiles, scales: all.scales[first..end].to_vec(), zero_points };
    let codes = matrix.codes[rows.start * columns..rows.end * columns].to_vec();
    QuantizedMatrix { grid, codes }
}

/// Encodes whole and in bands of one, two and three steps, with the same bytes, and decodes both.
pub(crate) fn check_bands(codec: &dyn Codec, scheme: &Scheme, rows: usize, columns: usize) {
    let matrix = matrix(scheme, rows, columns);
    for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32] {
        let layout = codec.layout(scheme, dtype, rows, columns).expect("supported");
        let whole = codec.encode(&matrix, rows, dtype);
        let views: Vec<&[u8]> = whole.iter().map(Vec::as_slice).collect();
        assert_eq!(codec.decode(scheme, dtype, rows, columns, &views).as_ref(), Ok(&matrix));
        for steps in 1..=3 {
            let height = codec.row_step(scheme) * steps;
            for start in (0..rows).step_by(height) {
                let range = start..(start + height).min(rows);
                let band = band(&matrix, scheme, range.clone());
                let parts = codec.encode(&band, rows, dtype);
                assert_eq!(parts.len(), layout.len());
                for ((part, all), layout) in parts.iter().zip(&whole).zip(&layout) {
                    let bytes = layout.range(range.clone(), rows);
                    assert_eq!(part, &all[bytes.start as usize..bytes.end as usize]);
                }
                let views: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                let decoded = codec.decode(scheme, dtype, range.len(), columns, &views);
                assert_eq!(decoded, Ok(band));
            }
        }
    }
}
