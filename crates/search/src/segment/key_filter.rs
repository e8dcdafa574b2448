//! Which key hashes a segment may have.
//!
//! ```text
//! header (counts: filter blocks, 0) | filter blocks x 32 bytes
//! ```
//!
//! A split block Bloom filter (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom
//! Filters, 2007; the constants are those of Apache Parquet): a hash selects one block of 8 words of 32
//! bits and one bit in each word. At 12 bits per key about one absent key in 250 passes. Hashes are
//! already uniform (they come from SHA-256). Old segments have the same bytes at the front of their
//! key index.

use super::section::{Body, SectionKind, U32s, start, write_u32s};
use crate::decode::Corrupt;
use bytes::Bytes;

const WORDS: usize = 8;
const BLOCK_BYTES: usize = 32;
const BITS_PER_KEY: usize = 12;
const SALTS: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// The key filter section of one hash per document.
pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
    let docs = u32::try_from(hashes.len()).expect("document ids fit 32 bits");
    let blocks = (hashes.len() * BITS_PER_KEY).div_ceil(BLOCK_BYTES * 8).max(1);
    let mut words = vec![0u32; blocks * WORDS];
    for &hash in hashes {
        let block = block_of(hash, blocks) * WORDS;
        let bits = words[block..][..WORDS].iter_mut().zip(bits_of(hash));
        bits.for_each(|(word, bit)| *word |= bit);
    }
    let blocks = u32::try_from(blocks).expect("fewer blocks than documents");
    let mut out = start(SectionKind::KEY_FILTER, docs, [blocks, 0]);
    write_u32s(words, &mut out);
    out
}

fn block_of(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

fn bits_of(hash: u64) -> [u32; WORDS] {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// Reader of a key filter.
#[derive(Clone, Debug)]
pub(crate) struct KeyFilter {
    /// `blocks * 8` words.
    words: U32s,
    blocks: usize,
}

impl KeyFilter {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::KEY_FILTER, docs, section)?;
        let filter = Self::read(&mut body)?;
        body.end()?;
        Ok(filter)
    }

    /// Takes a filter of as many blocks as the first count says from the front of a body.
    pub(crate) fn read(body: &mut Body) -> Result<Self, Corrupt> {
        let blocks = body.counts[0] as usize;
        body.check(blocks > 0, "filter without blocks")?;
        let words = blocks.checked_mul(WORDS).ok_or(body.corrupt("filter size"))?;
        Ok(Self { words: body.u32s(words)?, blocks })
    }

    /// Whether a key of this hash may be there.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let block = block_of(hash, self.blocks) * WORDS;
        let words = self.words.range(block..block + WORDS);
        words.zip(bits_of(hash)).all(|(word, bit)| word & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyFilter, build};
    use bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_hash_added_passes(hashes in prop::collection::vec(any::<u64>(), 0..300)) {
            let section = Bytes::from(build(&hashes));
            let filter = KeyFilter::open(hashes.len() as u32, &section).expect("valid");
            prop_assert!(hashes.iter().all(|&hash| filter.may_contain(hash)));
        }
    }

    #[test]
    fn few_absent_hashes_pass() {
        let hash = |number: u64| crate::key_hash(&number.to_le_bytes());
        let hashes: Vec<u64> = (0..10_000).map(hash).collect();
        let filter = KeyFilter::open(10_000, &Bytes::from(build(&hashes))).expect("valid");
        let passed = (10_000..60_000).filter(|&number| filter.may_contain(hash(number))).count();
        assert!(passed < 400, "{passed} of 50,000 absent keys pass");
    }
}
