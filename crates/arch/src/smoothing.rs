//! Smoothing pairs: what can be divided channel by channel, and the matrices that can make up for it.
//!
//! SmoothQuant (Xiao and others 2022, 2211.10438, section 4) divides the inputs of matrices by one
//! scale per channel and multiplies the matrices' columns by it, which changes no output. It costs
//! nothing when the model runs if whatever makes the inputs can be divided beforehand: the gains of a
//! norm, rows of the matrix that an activation gates, rows of the values of an attention. Which of
//! these there are follows from a block's program alone.

mod flow;
#[cfg(test)]
mod tests;

use crate::Program;
use crate::program::{Attention, Block, Linear, Operation, Tap};
use flow::{Flow, Value};
use std::ops::Range;

/// What a block's program allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smoothing {
    /// Pairs, in the order in which their readers run. No two of them divide the same rows or gains,
    /// or multiply the same columns; a matrix may be maker in one and reader in another.
    pub pairs: Vec<SmoothingPair>,
    /// Inputs that have to stay as they are.
    pub refused: Vec<Unsmoothed>,
}

/// Channels that change hands: the maker divides each by a scale of its own, the readers multiply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmoothingPair {
    /// The number, in its block, of the phase that makes the channels.
    pub phase: usize,
    /// Where they are then.
    pub tap: Tap,
    /// How many.
    pub channels: usize,
    /// What is divided.
    pub maker: Maker,
    /// The matrices whose columns are the channels, in the order of the program: all that read them,
    /// of routers and experts, too.
    pub readers: Vec<String>,
}

/// What makes channels, and is divided where they are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The gains of a norm, one per channel.
    Gains {
        /// The tensor, `[channels]`.
        weight: String,
        /// Whether a gain is one plus the weight.
        from_one: bool,
    },
    /// Rows of a matrix, one per channel, and as many elements of its bias.
    Rows {
        /// The tensor, `[rows, columns]`.
        weight: String,
        /// The tensor that is added, `[rows]`.
        bias: Option<String>,
        /// Which of the rows.
        rows: Range<usize>,
    },
}

/// Inputs that cannot be smoothed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsmoothed {
    /// The matrices that read them, in the order of the program.
    pub readers: Vec<String>,
    /// What stands in the way.
    pub reason: Obstacle,
}

/// Why inputs cannot be divided channel by channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The hidden state, sums, what a rotation or a router gives.
    #[error("no norm and no matrix makes them channel by channel")]
    NoMaker,
    /// An attention with grouped queries: to divide a channel is to divide one of every query head
    /// that reads it.
    #[error("query heads ({heads}) share value heads ({key_value_heads})")]
    SharedValues {
        /// Query heads.
        heads: usize,
        /// Value heads.
        key_value_heads: usize,
    },
    /// A norm of heads, or of other runs of channels.
    #[error("`{norm}` normalizes runs of {width} of {channels} channels")]
    Runs {
        /// The tensor of its gains.
        norm: String,
        /// Channels of a run.
        width: usize,
        /// All of them.
        channels: usize,
    },
    /// Something else than matrices takes the channels, or what they are made of.
    #[error("more than these matrices reads what `{maker}` makes")]
    OtherReader {
        /// The tensor that makes them.
        maker: String,
    },
}

impl Program {
    /// The smoothing pairs of a block of this program. Tensors are taken to be used by one operation
    /// each, as in every family.
    pub fn smoothing(&self, block: &Block) -> Smoothing {
        let flow = Flow::new(block);
        let mut smoothing = Smoothing::default();
        for (value, linears) in inputs(&flow) {
            let names = linears.iter().map(|linear| linear.weight.clone());
            let readers: Vec<String> = names.collect();
            let channels = linears.first().map_or(0, |linear| linear.columns);
            match self.maker(&flow, value, channels) {
                Ok((phase, maker)) => {
                    let tap = value.tap;
                    smoothing.pairs.push(SmoothingPair { phase, tap, channels, maker, readers });
                }
                Err(reason) => smoothing.refused.push(Unsmoothed { readers, reason }),
            }
        }
        smoothing
    }

    /// What makes a value that matrices read, and in which phase, if it can be divided.
    fn maker(
        &self,
        flow: &Flow<'_>,
        value: Value,
        channels: usize,
    ) -> Result<(usize, Maker), Obstacle> {
        let (phase, operation) = flow.maker(value).ok_or(Obstacle::NoMaker)?;
        let maker = match operation {
            Operation::Norm { weight, from_one, width, .. } if *width == channels => {
                Maker::Gains { weight: weight.clone(), from_one: *from_one }
            }
            Operation::Norm { weight: norm, width, .. } => {
                return Err(Obstacle::Runs { norm: norm.clone(), width: *width, channels });
            }
            Operation::Gate { up, .. } => self.sole_rows(flow, value, *up)?,
            Operation::Attend(attention) => {
                check_heads(attention)?;
                self.sole_rows(flow, value, attention.value)?
            }
            _ => self.rows(flow, value)?,
        };
        if is_read_by_matrices_alone(flow, value) {
            Ok((phase, maker))
        } else {
            Err(Obstacle::OtherReader { maker: maker.tensor().to_owned() })
        }
    }

    /// The rows that make `factor`, which the maker of `product` multiplies by something else; it must
    /// be all that reads them, and read them once.
    fn sole_rows(&self, flow: &Flow<'_>, product: Value, factor: Tap) -> Result<Maker, Obstacle> {
        let made_at = product.made_at.ok_or(Obstacle::NoMaker)?;
        let factor = flow.value_before(made_at, factor);
        let maker = self.rows(flow, factor)?;
        let taken = flow.readers(factor).flat_map(|(_, operation)| operation.reads());
        if taken.filter(|tap| *tap == factor.tap).count() == 1 && !flow.outlives(factor) {
            Ok(maker)
        } else {
            Err(Obstacle::OtherReader { maker: maker.tensor().to_owned() })
        }
    }

    /// The rows of a matrix that make a value, behind a split or not.
    fn rows(&self, flow: &Flow<'_>, value: Value) -> Result<Maker, Obstacle> {
        match flow.maker(value) {
            Some((_, Operation::Linear(linear))) => Ok(Maker::of(linear, 0..linear.rows)),
            Some((_, Operation::Split { input, outputs })) => {
                let whole = flow.value_before(value.made_at.ok_or(Obstacle::NoMaker)?, *input);
                let Some((_, Operation::Linear(linear))) = flow.maker(whole) else {
                    return Err(Obstacle::NoMaker);
                };
                if flow.readers(whole).count() > 1 || flow.outlives(whole) {
                    return Err(Obstacle::OtherReader { maker: linear.weight.clone() });
                }
                let before = outputs.iter().take_while(|output| **output != value.tap);
                let start = before.map(|output| self.width(*output)).sum();
                Ok(Maker::of(linear, start..start + self.width(value.tap)))
            }
            _ => Err(Obstacle::NoMaker),
        }
    }
}

impl Maker {
    /// The tensor that is divided.
    pub fn tensor(&self) -> &str {
        match self {
            Self::Gains { weight, .. } | Self::Rows { weight, .. } => weight,
        }
    }

    fn of(linear: &Linear, rows: Range<usize>) -> Self {
        let Linear { weight, bias, .. } = linear;
        Self::Rows { weight: weight.clone(), bias: bias.clone(), rows }
    }
}

/// The values that matrices of the block read, each with all of them. What an expert reads are rows of
/// what was gathered from.
fn inputs<'a>(flow: &Flow<'a>) -> Vec<(Value, Vec<&'a Linear>)> {
    let mut inputs: Vec<(Value, Vec<&Linear>)> = Vec::new();
    for (at, linear) in flow.linears() {
        let value = flow.ungathered(flow.value_before(at, linear.input));
        match inputs.iter_mut().find(|(known, _)| *known == value) {
            Some((_, linears)) => linears.push(linear),
            None => inputs.push((value, vec![linear])),
        }
    }
    inputs
}

/// Whether a value ends in matrices, gathered on the way or not, and nowhere else.
fn is_read_by_matrices_alone(flow: &Flow<'_>, value: Value) -> bool {
    let is_multiplied = |(at, operation): (usize, &Operation)| match operation {
        Operation::Linear(_) => true,
        Operation::Gather { input, routes, output, .. } => {
            let gathered = Value { made_at: Some(at), tap: *output };
            *input == value.tap && *routes != value.tap && is_read_by_matrices_alone(flow, gathered)
        }
        _ => false,
    };
    !flow.outlives(value) && flow.readers(value).all(is_multiplied)
}

fn check_heads(attention: &Attention) -> Result<(), Obstacle> {
    let Attention { heads, key_value_heads, .. } = *attention;
    if heads == key_value_heads {
        Ok(())
    } else {
        Err(Obstacle::SharedValues { heads, key_value_heads })
    }
}
