//! Observations as tensors of a file, and back: the numbers as they are, so that nothing is rounded.

use crate::{Extent, Needs, Observation};
use llmopt_linalg::Symmetric;
use llmopt_tensor::{Dtype, ShapeError, TensorMeta};

/// One of the sums that tokens leave at a site, as a tensor of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sum {
    /// How many tokens: one U64.
    Tokens,
    /// The sum of squares of each input feature: F64.
    Squares,
    /// The lower triangle of `sum x x^T`, row after row: F64.
    Gram,
}

/// Numbers that no tokens leave.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum StatisticsError {
    #[error("{tokens} tokens were seen, expected at most {MOST_TOKENS}")]
    Tokens { tokens: u64 },
    #[error("the sum of squares of feature {feature} is {value}, expected 0 to {MOST:e}")]
    Square { feature: usize, value: f64 },
    #[error("the products of features {row} and {column} sum up to {value}, expected {}", expected(*row, *column))]
    Product { row: usize, column: usize, value: f64 },
    #[error("no token was seen, but feature {feature} is not zero")]
    Nothing { feature: usize },
}

impl Sum {
    /// What is kept, with Gram matrices or without, in the order of a file.
    pub fn kept(gram: bool) -> &'static [Self] {
        if gram {
            &[Self::Tokens, Self::Squares, Self::Gram]
        } else {
            &[Self::Tokens, Self::Squares]
        }
    }

    /// What the tensor's name ends with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Squares => "squares",
            Self::Gram => "gram",
        }
    }

    /// The name of the tensor for the site that the weight `reader` reads.
    pub fn tensor(self, reader: &str) -> String {
        format!("{reader}.{}", self.name())
    }

    /// The tensor's type and shape, for a site of so many features.
    ///
    /// # Errors
    /// If it would have more than 2^64 bits.
    pub fn meta(self, columns: usize) -> Result<TensorMeta, ShapeError> {
        match self {
            Self::Tokens => TensorMeta::new(Dtype::U64, [1]),
            Self::Squares => TensorMeta::new(Dtype::F64, [columns]),
            Self::Gram => {
                let next = columns.checked_add(1).ok_or(ShapeError::Overflow)?;
                // One of the two is even.
                let (a, b) = if next % 2 == 0 { (columns, next / 2) } else { (columns / 2, next) };
                TensorMeta::new(Dtype::F64, [a.checked_mul(b).ok_or(ShapeError::Overflow)?])
            }
        }
    }
}

impl Observation {
    /// Shows the bytes of a sum, piece after piece; none of one that was not kept.
    ///
    /// # Errors
    /// As `put`.
    pub fn write<E>(&self, sum: Sum, mut put: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match sum {
            Sum::Tokens => put(&self.tokens.to_le_bytes()),
            Sum::Squares => put(&bytes(self.squares.iter().copied())),
            Sum::Gram => {
                let Some(gram) = &self.gram else { return Ok(()) };
                let row = |row| bytes((0..=row).map(|column| gram.get(row, column)));
                (0..gram.order()).try_for_each(|number| put(&row(number)))
            }
        }
    }

    /// What a file holds of a site of so many features, with its Gram matrix or without. `get` fills a
    /// buffer with the next bytes of a sum.
    ///
    /// # Errors
    /// As `get`; and if the numbers are none that tokens leave.
    pub fn read<E: From<StatisticsError>>(
        columns: usize,
        gram: bool,
        mut get: impl FnMut(Sum, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let extent = Extent { columns, residual: None };
        let mut read = Self::new(extent, Needs { gram, ..Needs::default() });
        let mut tokens = [0; size_of::<u64>()];
        get(Sum::Tokens, &mut tokens)?;
        read.tokens = u64::from_le_bytes(tokens);
        read.squares = numbers(columns, |bytes| get(Sum::Squares, bytes))?;
        if let Some(gram) = &mut read.gram {
            for row in 0..columns {
                let values = numbers(row + 1, |bytes| get(Sum::Gram, bytes))?;
                set(gram, row, &values)?;
            }
        }
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), StatisticsError> {
        let tokens = self.tokens;
        if tokens > MOST_TOKENS {
            return Err(StatisticsError::Tokens { tokens });
        }
        for (feature, &value) in self.squares.iter().enumerate() {
            if !(0.0..=MOST).contains(&value) {
                return Err(StatisticsError::Square { feature, value });
            }
            if tokens == 0 && value > 0.0 {
                return Err(StatisticsError::Nothing { feature });
            }
        }
        Ok(())
    }
}

/// Sets a row of the lower triangle.
fn set(gram: &mut Symmetric, row: usize, values: &[f64]) -> Result<(), StatisticsError> {
    for (column, &value) in values.iter().enumerate() {
        let least = if column == row { 0.0 } else { -MOST };
        if !(least..=MOST).contains(&value) {
            return Err(StatisticsError::Product { row, column, value });
        }
        gram.set(row, column, value);
    }
    Ok(())
}

fn expected(row: usize, column: usize) -> String {
    if row == column { format!("0 to {MOST:e}") } else { format!("-{MOST:e} to {MOST:e}") }
}

fn bytes(numbers: impl Iterator<Item = f64>) -> Vec<u8> {
    numbers.flat_map(f64::to_le_bytes).collect()
}

fn numbers<E>(count: usize, get: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Vec<f64>, E> {
    let mut bytes = vec![0; count * size_of::<f64>()];
    get(&mut bytes)?;
    Ok(bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
}

/// No data have more tokens. Files of this many add up without overflow.
const MOST_TOKENS: u64 = 1 << 40;
/// Squares of f32 are below 1.2e77, and so is what [`MOST_TOKENS`] of them sum up to, by far.
const MOST: f64 = 1e100;

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_forward::Matrix;
    use llmopt_linalg::{Gemm, KernelChoice, Precision};
    use std::collections::BTreeMap;

    type Tensors = BTreeMap<Sum, Vec<u8>>;

    fn observed(columns: usize, gram: bool, tokens: std::ops::Range<usize>) -> Observation {
        let gemm = Gemm::new(Precision::F32, KernelChoice::Portable).expect("a kernel");
        let extent = Extent { columns, residual: None };
        let mut observation = Observation::new(extent, Needs { gram, ..Needs::default() });
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 16.0;
        let values = (tokens.start * columns..tokens.end * columns).map(value).collect();
        let seen = Matrix::from_values(tokens.len(), columns, values).expect("a matrix");
        observation.add(gemm, &seen);
        observation
    }

    fn tensors(observation: &Observation) -> Tensors {
        let mut tensors = Tensors::new();
        for &sum in Sum::kept(observation.gram().is_some()) {
            let bytes = tensors.entry(sum).or_default();
            let put = |piece: &[u8]| -> Result<(), ()> {
                bytes.extend_from_slice(piece);
                Ok(())
            };
            observation.write(sum, put).expect("memory");
        }
        tensors
    }

    fn read(columns: usize, gram: bool, tensors: &Tensors) -> Result<Observation, StatisticsError> {
        let mut at: BTreeMap<Sum, usize> = BTreeMap::new();
        Observation::read(columns, gram, |sum, buffer: &mut [u8]| {
            let begin = at.entry(sum).or_default();
            buffer.copy_from_slice(&tensors[&sum][*begin..*begin + buffer.len()]);
            *begin += buffer.len();
            Ok(())
        })
    }

    #[test]
    fn sums_come_back_to_the_last_bit() {
        for (columns, gram) in [(1, true), (7, true), (131, true), (64, false)] {
            let observation = observed(columns, gram, 0..5);
            let written = tensors(&observation);
            for (sum, bytes) in &written {
                assert_eq!(sum.meta(columns).expect("small").bytes(), bytes.len() as u64);
            }
            let back = read(columns, gram, &written).expect("what was written");
            assert_eq!((back.tokens(), back.squares()), (5, observation.squares()));
            assert_eq!(tensors(&back), written, "{columns}");
        }
        let without = read(7, false, &tensors(&observed(7, true, 0..3))).expect("squares");
        assert!(without.gram().is_none());
    }

    #[test]
    fn halves_that_are_read_back_add_up_to_the_whole() {
        let whole = observed(19, true, 0..9);
        let mut sum = read(19, true, &tensors(&observed(19, true, 0..4))).expect("a half");
        sum.merge(&read(19, true, &tensors(&observed(19, true, 4..9))).expect("a half"));
        // These values are multiples of 1/16, whose products are summed up without rounding.
        assert_eq!(tensors(&sum), tensors(&whole));
    }

    #[test]
    fn numbers_that_no_tokens_leave_are_refused() {
        let check = |sum: Sum, at: usize, bytes: &[u8], expected: &str| {
            let mut damaged = tensors(&observed(3, true, 0..2));
            let tensor = damaged.get_mut(&sum).expect("it is kept");
            tensor[at * 8..at * 8 + 8].copy_from_slice(bytes);
            let error = read(3, true, &damaged).err().expect("no such sums");
            assert_eq!(error.to_string(), expected);
        };
        let number = f64::to_le_bytes;
        let squares = "the sum of squares of feature 1 is";
        check(Sum::Squares, 1, &number(f64::NAN), &format!("{squares} NaN, expected 0 to 1e100"));
        check(Sum::Squares, 1, &number(-1.0), &format!("{squares} -1, expected 0 to 1e100"));
        check(
            Sum::Squares,
            1,
            &number(f64::INFINITY),
            &format!("{squares} inf, expected 0 to 1e100"),
        );
        let products = "the products of features";
        // The lower triangle: 0 0, 1 0, 1 1, 2 0, ...
        let expected = format!("{products} 1 and 1 sum up to -2, expected 0 to 1e100");
        check(Sum::Gram, 2, &number(-2.0), &expected);
        let expected = format!("{products} 2 and 0 sum up to NaN, expected -1e100 to 1e100");
        check(Sum::Gram, 3, &number(f64::NAN), &expected);
        let tokens = "2199023255552 tokens were seen, expected at most 1099511627776";
        check(Sum::Tokens, 0, &(1_u64 << 41).to_le_bytes(), tokens);
        check(Sum::Tokens, 0, &[0; 8], "no token was seen, but feature 0 is not zero");
    }

    #[test]
    fn a_triangle_that_no_file_can_hold_is_refused() {
        let triangle = |columns| Sum::Gram.meta(columns).map(|meta| meta.shape().to_vec());
        assert_eq!(triangle(3), Ok(vec![6]));
        assert_eq!(triangle(4), Ok(vec![10]));
        assert_eq!(triangle(0), Ok(vec![0]));
        assert_eq!(triangle(usize::MAX), Err(ShapeError::Overflow));
        assert_eq!(triangle(1 << 40), Err(ShapeError::Overflow));
    }
}
