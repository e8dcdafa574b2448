//! Scans of 1-bit codes, and products of 8-bit codes with floats.
//!
//! # 1-bit codes
//!
//! A vector's code is one bit per dimension, four to a *group*. Codes lie in blocks of 32 vectors, a
//! block is its groups one after another, and a group is 16 bytes: the low half of byte `i`
//! belongs to vector `i`, the high half to vector `i + 16`.
//!
//! ```text
//! block:   group 0 (16 bytes) | group 1 | ... | group G - 1        G even, 4 G dimensions
//! byte i:  bits 0..4 of vector i | bits 0..4 of vector i + 16
//! ```
//!
//! A query's *table* has one byte for each of the 16 values a group can have: 16 G bytes. The sum
//! of a vector is the sum over its groups of the table's bytes, exact as a `u16`: the caller
//! scales tables so that no sum exceeds 65,535. The lower bound of a vector's distance is then
//!
//! ```text
//! s     = fma(sum, scale, bias)
//! bound = fma(-fma(slope, slopes.1, slopes.0), s, fma(offset, offsets.1, offsets.0))
//! ```
//!
//! with one `u16` of each factor per vector. All of it is done per vector, so every level gives the same
//! bits. This is the fast scan of product quantization (Andre et al., "Cache locality is not
//! enough", VLDB 2015) over the codes of RaBitQ (Gao and Long, SIGMOD 2024).

/// Vectors of a block.
pub const BLOCK: usize = 32;
/// Bytes of one group of a block, and of a table's part for it.
pub const GROUP_BYTES: usize = 16;

/// The codes of some vectors in blocks of 32; see the module.
#[derive(Clone, Copy, Debug)]
pub struct CodeBlocks<'a> {
    /// `blocks x groups x 16` bytes.
    pub codes: &'a [u8],
    /// `blocks x 32`.
    pub offsets: &'a [u16],
    /// `blocks x 32`.
    pub slopes: &'a [u16],
    /// How many vectors there are; the places of the last block beyond them are never reported.
    pub count: usize,
}

/// A query against code blocks; see the module for the formula.
#[derive(Clone, Copy, Debug)]
pub struct CodeQuery<'a> {
    /// `groups x 16` bytes, scaled so that no vector's sum exceeds 65,535. `groups` is even.
    pub table: &'a [u8],
    /// What one unit of a sum is worth.
    pub scale: f32,
    /// Added to it.
    pub bias: f32,
    /// What an offset of 0 is worth, and what each further unit adds.
    pub offsets: (f32, f32),
    /// The same for slopes.
    pub slopes: (f32, f32),
}

/// A vector whose bound is below the threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivor {
    /// Lower bound of its distance.
    pub bound: f32,
    /// Its place in the blocks.
    pub place: u32,
}

impl CodeBlocks<'_> {
    fn blocks(&self) -> usize {
        self.count.div_ceil(BLOCK)
    }
}

/// Panics unless the slices are of the documented shapes.
pub(crate) fn assert_shapes(list: &CodeBlocks<'_>, query: &CodeQuery<'_>, allowed: Option<&[u32]>) {
    let blocks = list.blocks();
    assert!(query.table.len().is_multiple_of(2 * GROUP_BYTES), "an even number of groups");
    assert_eq!(list.codes.len(), blocks * query.table.len(), "blocks x groups x 16 bytes");
    assert_eq!(list.offsets.len(), blocks * BLOCK, "an offset per place");
    assert_eq!(list.slopes.len(), blocks * BLOCK, "a slope per place");
    assert!(allowed.is_none_or(|words| words.len() == blocks), "a word per block");
}

/// The places of block `number` that exist and are allowed.
pub(crate) fn candidates(list: &CodeBlocks<'_>, allowed: Option<&[u32]>, number: usize) -> u32 {
    let left = list.count - number * BLOCK;
    let exist = if left >= BLOCK { u32::MAX } else { (1 << left) - 1 };
    exist & allowed.map_or(u32::MAX, |words| words[number])
}

/// The part of each slice that belongs to block `number`.
pub(crate) fn block<'a>(
    list: &CodeBlocks<'a>,
    table_bytes: usize,
    number: usize,
) -> (&'a [u8], &'a [u16; BLOCK], &'a [u16; BLOCK]) {
    let factors = |all: &'a [u16]| -> &'a [u16; BLOCK] {
        all[number * BLOCK..][..BLOCK].try_into().expect("a block has 32 places")
    };
    let codes = &list.codes[number * table_bytes..][..table_bytes];
    (codes, factors(list.offsets), factors(list.slopes))
}

/// Appends the places of `mask` with their bounds.
pub(crate) fn report(
    number: usize,
    mut mask: u32,
    bounds: &[f32; BLOCK],
    survivors: &mut Vec<Survivor>,
) {
    while mask != 0 {
        let place = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        survivors.push(Survivor { bound: bounds[place], place: (number * BLOCK + place) as u32 });
    }
}

/// The specification.
pub(crate) mod scalar {
    use super::{BLOCK, CodeBlocks, CodeQuery, GROUP_BYTES, Survivor, block, candidates, report};

    pub(crate) fn scan_codes(
        list: &CodeBlocks<'_>,
        query: &CodeQuery<'_>,
        allowed: Option<&[u32]>,
        threshold: f32,
        survivors: &mut Vec<Survivor>,
    ) {
        for number in 0..list.blocks() {
            let candidates = candidates(list, allowed, number);
            if candidates == 0 {
                continue;
            }
            let (codes, offsets, slopes) = block(list, query.table.len(), number);
            let sums = sums(codes, query.table);
            let bounds: [f32; BLOCK] =
                std::array::from_fn(|i| bound(query, sums[i], offsets[i], slopes[i]));
            let below =
                (0..BLOCK).fold(0u32, |mask, i| mask | u32::from(bounds[i] < threshold) << i);
            report(number, below & candidates, &bounds, survivors);
        }
    }

    fn sums(codes: &[u8], table: &[u8]) -> [u16; BLOCK] {
        let mut sums = [0u16; BLOCK];
        for (group, table) in codes.chunks(GROUP_BYTES).zip(table.chunks(GROUP_BYTES)) {
            for (i, byte) in group.iter().enumerate() {
                sums[i] = sums[i].wrapping_add(u16::from(table[usize::from(byte & 15)]));
                let high = u16::from(table[usize::from(byte >> 4)]);
                sums[i + 16] = sums[i + 16].wrapping_add(high);
            }
        }
        sums
    }

    fn bound(query: &CodeQuery<'_>, sum: u16, offset: u16, slope: u16) -> f32 {
        let sum = f32::from(sum).mul_add(query.scale, query.bias);
        let slope = f32::from(slope).mul_add(query.slopes.1, query.slopes.0);
        let offset = f32::from(offset).mul_add(query.offsets.1, query.offsets.0);
        (-slope).mul_add(sum, offset)
    }

    pub(crate) fn dot_u8(codes: &[u8], query: &[f32]) -> f32 {
        let row: Vec<f32> = codes.iter().map(|&code| f32::from(code)).collect();
        crate::scalar::dot(&row, query)
    }

    pub(crate) fn dot_u8_rows(query: &[f32], rows: &[u8], stride: usize, out: &mut [f32]) {
        for (row, out) in rows.chunks(stride).zip(out) {
            *out = dot_u8(&row[..query.len()], query);
        }
    }
}
