//! Keys and values of one sequence in one layer, in blocks that a matrix product takes as they are.
//!
//! A query's scores are its product with the keys of a block, `[tokens, head width]`; what it takes of the
//! values is the product of the weights with the values transposed, `[head width, tokens]`. Both are kept
//! in the layout of the product's weights, whose sums do not depend on how many queries there are. The
//! blocks begin at multiples of [`BLOCK`] tokens of the sequence, and so do the sums of attention: they
//! are the same however its tokens came.

use llmopt_linalg::{Gemm, Packed, Strided};

/// Tokens of a block.
pub(crate) const BLOCK: usize = 64;

/// One sequence in one layer.
pub(crate) struct Kept {
    head_width: usize,
    tokens: usize,
    /// Of each head.
    heads: Vec<Vec<Block>>,
}

/// Keys and values of up to [`BLOCK`] tokens. Beyond the last token they are zeros, or left over.
pub(crate) struct Block {
    /// `[BLOCK, head_width]`.
    pub(crate) keys: Packed,
    /// `[head_width, BLOCK]`.
    pub(crate) values: Packed,
}

impl Kept {
    pub(crate) fn new(heads: usize, head_width: usize) -> Self {
        Self { head_width, tokens: 0, heads: (0..heads).map(|_| Vec::new()).collect() }
    }

    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// The blocks of a head.
    pub(crate) fn blocks(&self, head: usize) -> &[Block] {
        &self.heads[head]
    }

    /// Adds rows of keys and values of all heads, `[tokens, heads * head_width]`. `gemm` is that which
    /// attention will multiply with.
    pub(crate) fn extend(&mut self, gemm: Gemm, keys: &[f32], values: &[f32]) {
        let Self { head_width, tokens, ref mut heads } = *self;
        let stride = heads.len() * head_width;
        let added = keys.len() / stride;
        for (head, blocks) in heads.iter_mut().enumerate() {
            let mut done = 0;
            while done < added {
                let (block, place) = ((tokens + done) / BLOCK, (tokens + done) % BLOCK);
                let rows = (added - done).min(BLOCK - place);
                if block == blocks.len() {
                    blocks.push(Block::new(gemm, head_width));
                }
                let from = done * stride + head * head_width;
                let part = |of| Strided { values: of, rows, columns: head_width, stride };
                blocks[block].keys.set_rows(place, part(&keys[from..]));
                blocks[block].values.set_columns(place, part(&values[from..]));
                done += rows;
            }
        }
        self.tokens += added;
    }

    /// Keeps the first tokens alone. Blocks beyond them go, and what is left in the last is written over.
    pub(crate) fn truncate(&mut self, tokens: usize) {
        if tokens < self.tokens {
            self.tokens = tokens;
            self.heads.iter_mut().for_each(|blocks| blocks.truncate(tokens.div_ceil(BLOCK)));
        }
    }

    /// The memory that so many tokens take.
    pub(crate) fn bytes(gemm: Gemm, heads: usize, head_width: usize, tokens: usize) -> usize {
        let (keys, values) =
            (gemm.packed_bytes(BLOCK, head_width), gemm.packed_bytes(head_width, BLOCK));
        tokens.div_ceil(BLOCK) * heads * (keys + values + size_of::<Block>())
    }
}

impl Block {
    fn new(gemm: Gemm, head_width: usize) -> Self {
        Self { keys: gemm.pack(BLOCK, head_width), values: gemm.pack(head_width, BLOCK) }
    }
}
