//! Scans of 1-bit codes.
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
//! A query's *table* has six bits for each of the 16 values a group can have, a byte each: 16 G bytes. (Four groups can so be added
//! as bytes, which takes fewer instructions; eight bits would lose two hundredths less of what the codes lose.) The sum
//! of a vector is the sum over its groups of the table's bytes, exact as a `u16`: the caller
//! scales tables so that no sum exceeds 65,535. After the codes, a block holds a `u16` offset and
//! slope per vector, and what they are worth:
//!
//! ```text
//! block:   codes (16 G bytes) | u16 offset x 32 | u16 slope x 32 | f32 offset zero, offset unit, slope zero, slope unit
//!
//! s     = fma(sum, scale, bias)
//! bound = fma(-fma(slope, slope unit, slope zero), s, fma(offset, offset unit, offset zero + base))
//! ```
//!
//! All of it is done per vector, so every level gives the same bits. This is the fast scan of product
//! quantization (Andre et al., "Cache locality is not enough", VLDB 2015) over the codes of RaBitQ
//! (Gao and Long, SIGMOD 2024).

/// Vectors of a block.
pub const BLOCK: usize = 32;
/// Bytes of one group of a block, and of a table's part for it.
pub const GROUP_BYTES: usize = 16;

/// The largest byte of a table.
pub const TABLE_MAX: u8 = 63;
/// So many of them are added as bytes.
pub(crate) const ADDED: usize = 4;

/// Bytes of a block after its codes: offsets, slopes, and what they are worth.
pub const FACTOR_BYTES: usize = 4 * BLOCK + 16;

/// Bytes of a block of `groups` groups.
pub const fn block_bytes(groups: usize) -> usize {
    groups * GROUP_BYTES + FACTOR_BYTES
}

/// Some vectors in blocks of 32; see the module.
#[derive(Clone, Copy, Debug)]
pub struct CodeBlocks<'a> {
    /// The blocks, one after another.
    pub bytes: &'a [u8],
    /// How many vectors there are; the places of the last block beyond them are never reported.
    pub count: usize,
    /// What will be read soon: brought into the cache meanwhile, as much of it with each block.
    pub next: &'a [u8],
}

/// A query against code blocks; see the module for the formula.
#[derive(Clone, Copy, Debug)]
pub struct CodeQuery<'a> {
    /// `groups x 16` bytes up to [`TABLE_MAX`], scaled so that no vector's sum exceeds 65,535. `groups` is even.
    pub table: &'a [u8],
    /// What one unit of a sum is worth.
    pub scale: f32,
    /// Added to it.
    pub bias: f32,
    /// Added to every offset.
    pub base: f32,
}

/// A vector whose bound is below the threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivor {
    /// Lower bound of its distance.
    pub bound: f32,
    /// Its place in the blocks.
    pub place: u32,
}

impl<'a> CodeBlocks<'a> {
    fn blocks(&self) -> usize {
        self.count.div_ceil(BLOCK)
    }

    /// A piece of `next` for each block.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.next.len().div_ceil(self.blocks().max(1)).next_multiple_of(64).max(64);
        self.next.chunks(bytes)
    }
}

/// Panics unless the slices are of the documented shapes.
pub(crate) fn assert_shapes(list: &CodeBlocks<'_>, query: &CodeQuery<'_>, allowed: Option<&[u32]>) {
    let blocks = list.blocks();
    assert!(query.table.len().is_multiple_of(2 * GROUP_BYTES), "an even number of groups");
    assert_eq!(list.bytes.len(), blocks * (query.table.len() + FACTOR_BYTES), "whole blocks");
    assert!(allowed.is_none_or(|words| words.len() == blocks), "a word per block");
}

/// The places of block `number` that exist and are allowed.
pub(crate) fn candidates(list: &CodeBlocks<'_>, allowed: Option<&[u32]>, number: usize) -> u32 {
    let left = list.count - number * BLOCK;
    let exist = if left >= BLOCK { u32::MAX } else { (1 << left) - 1 };
    exist & allowed.map_or(u32::MAX, |words| words[number])
}

/// Panics unless no place of the mask is out of reach of the kernels, which count words of 32 bits in `i32`.
pub(crate) fn assert_mask(mask: &[u64]) {
    assert!(mask.len() <= 1 << 24, "a mask of at most 2^30 rows");
}

/// One block, taken apart.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) codes: &'a [u8],
    pub(crate) offsets: &'a [u8; 2 * BLOCK],
    pub(crate) slopes: &'a [u8; 2 * BLOCK],
    /// What an offset of 0 is worth (with the query's base), and each unit.
    pub(crate) offset: (f32, f32),
    pub(crate) slope: (f32, f32),
}

impl<'a> Block<'a> {
    /// Block `number` of blocks whose shape was checked.
    pub(crate) fn at(list: &CodeBlocks<'a>, query: &CodeQuery<'_>, number: usize) -> Self {
        let bytes = query.table.len() + FACTOR_BYTES;
        let block = &list.bytes[number * bytes..][..bytes];
        let (codes, factors) = block.split_at(query.table.len());
        let (offsets, rest) = factors.split_first_chunk().expect("a block has 32 offsets");
        let (slopes, rest) = rest.split_first_chunk().expect("a block has 32 slopes");
        let (numbers, _) = rest.as_chunks::<4>();
        let number = |place: usize| f32::from_le_bytes(numbers[place]);
        let offset = (number(0) + query.base, number(1));
        Self { codes, offsets, slopes, offset, slope: (number(2), number(3)) }
    }
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
    use super::{BLOCK, Block, CodeBlocks, CodeQuery, GROUP_BYTES, Survivor, candidates, report};

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
            let block = Block::at(list, query, number);
            let sums = sums(block.codes, query.table);
            let bounds: [f32; BLOCK] =
                std::array::from_fn(|place| bound(query, &block, sums[place], place));
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

    fn bound(query: &CodeQuery<'_>, block: &Block<'_>, sum: u16, place: usize) -> f32 {
        let linear = |factors: &[u8; 2 * BLOCK], (zero, unit): (f32, f32)| {
            let code = u16::from_le_bytes([factors[2 * place], factors[2 * place + 1]]);
            f32::from(code).mul_add(unit, zero)
        };
        let sum = f32::from(sum).mul_add(query.scale, query.bias);
        (-linear(block.slopes, block.slope)).mul_add(sum, linear(block.offsets, block.offset))
    }

    pub(crate) fn mask_words(rows: &[[u8; 4]], mask: &[u64], words: &mut Vec<u32>) {
        let is_set =
            |row: u32| mask.get(row as usize / 64).is_some_and(|w| w >> (row % 64) & 1 == 1);
        words.extend(rows.chunks(BLOCK).map(|rows| {
            let bit = |(place, row): (usize, &[u8; 4])| {
                u32::from(is_set(u32::from_le_bytes(*row))) << place
            };
            rows.iter().enumerate().map(bit).fold(0, |word, bit| word | bit)
        }));
    }
}
