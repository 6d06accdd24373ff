//! Memory that begins at a cache line.

#![expect(unsafe_code, reason = "words are seen as f32 without a copy")]

/// A cache line: what a panel of weights stores for sixteen rows at one depth.
pub(crate) type Line = [u32; 16];

/// Words, zero at first, in whole lines. Kernels load lines, and a line that straddles two cache
/// lines costs twice.
pub(crate) struct Buffer {
    words: Vec<u32>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// So many lines of zeros, which the system hands out as they are touched.
    pub(crate) fn zeroed(lines: usize) -> Self {
        let length = lines.checked_mul(16).expect("a matrix fits the address space");
        let words = vec![0u32; length + SPARE];
        // On a target that cannot tell, unaligned lines are only slower.
        let start = words.as_ptr().align_offset(size_of::<Line>()).min(SPARE);
        Self { words, start, length }
    }

    /// The memory that so many lines take.
    pub(crate) fn bytes(lines: usize) -> usize {
        lines.saturating_mul(size_of::<Line>()).saturating_add(SPARE * size_of::<u32>())
    }

    pub(crate) fn lines(&self) -> &[Line] {
        self.words[self.start..][..self.length].as_chunks().0
    }

    pub(crate) fn lines_mut(&mut self) -> &mut [Line] {
        self.words[self.start..][..self.length].as_chunks_mut().0
    }
}

/// Words for the way to the next cache line.
const SPARE: usize = 15;

/// The same memory as f32.
pub(crate) fn as_f32(words: &[u32]) -> &[f32] {
    // SAFETY: u32 and f32 have the same size and alignment, and every bit pattern is an f32.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<f32>(), words.len()) }
}
