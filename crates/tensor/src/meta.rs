//! A tensor without its data.

use crate::Dtype;
use std::fmt;

/// Element type and shape. If one exists, its size in bytes is a whole number that fits `u64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMeta {
    dtype: Dtype,
    shape: Box<[usize]>,
}

/// Why a dtype and a shape are no tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The number of bits does not fit 64 bits.
    #[error("the shape's product overflows")]
    Overflow,
    /// Elements smaller than a byte do not fill the last one.
    #[error("its {elements} elements of {bits} bits end inside a byte")]
    PartialByte {
        /// Elements in the tensor.
        elements: u64,
        /// Bits per element.
        bits: usize,
    },
}

impl TensorMeta {
    /// A tensor of `shape`, outermost axis first. `[]` is a scalar; an axis of zero is allowed.
    pub fn new(dtype: Dtype, shape: impl Into<Box<[usize]>>) -> Result<Self, ShapeError> {
        let shape = shape.into();
        // A zero axis does not excuse an overflow of the others: readers multiply in any order.
        let mut nonzero = shape.iter().filter(|&&axis| axis != 0);
        let product = nonzero
            .try_fold(1u64, |product, &axis| product.checked_mul(axis as u64))
            .filter(|&product| product.checked_mul(dtype.bits() as u64).is_some())
            .ok_or(ShapeError::Overflow)?;
        let elements = if shape.contains(&0) { 0 } else { product };
        if !(elements * dtype.bits() as u64).is_multiple_of(8) {
            return Err(ShapeError::PartialByte { elements, bits: dtype.bits() });
        }
        Ok(Self { dtype, shape })
    }

    /// Element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Axis lengths, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where the element behind `index` others stands, outermost axis first.
    pub fn position(&self, index: u64) -> Vec<usize> {
        let mut rest = index;
        let mut position: Vec<usize> = (self.shape.iter().rev())
            .map(|&axis| {
                let along = rest % (axis as u64).max(1);
                rest /= (axis as u64).max(1);
                along as usize
            })
            .collect();
        position.reverse();
        position
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&axis| axis as u64).product()
    }

    /// Size of the data.
    pub fn bytes(&self) -> u64 {
        self.elements() * self.dtype.bits() as u64 / 8
    }
}

/// `BF16 [4096, 1024]`
impl fmt::Display for TensorMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_the_innermost_axis_first() {
        let meta = TensorMeta::new(Dtype::F32, [2, 3, 4]).expect("a shape");
        let all = (0..2).flat_map(|a| (0..3).flat_map(move |b| (0..4).map(move |c| vec![a, b, c])));
        for (index, expected) in all.enumerate() {
            assert_eq!(meta.position(index as u64), expected);
        }
        let scalar = TensorMeta::new(Dtype::F32, []).expect("a shape");
        assert_eq!(scalar.position(0), Vec::<usize>::new());
    }

    #[test]
    fn sizes_are_products() {
        let check = |dtype, shape: &[usize], expected| {
            let meta = TensorMeta::new(dtype, shape).map(|meta| meta.bytes());
            assert_eq!(meta, expected, "{dtype} {shape:?}");
        };
        check(Dtype::BF16, &[3, 5], Ok(30));
        check(Dtype::F32, &[], Ok(4));
        check(Dtype::I64, &[7, 0], Ok(0));
        check(Dtype::F4, &[2, 3], Ok(3));
        check(Dtype::F4, &[3], Err(ShapeError::PartialByte { elements: 3, bits: 4 }));
        check(Dtype::U8, &[1 << 40, 1 << 40], Err(ShapeError::Overflow));
        check(Dtype::U8, &[1 << 40, 1 << 40, 0], Err(ShapeError::Overflow));
        check(Dtype::F64, &[1 << 60], Err(ShapeError::Overflow));
    }
}
