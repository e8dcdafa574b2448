//! From a key's hash to its document.
//!
//! ```text
//! header (counts: filter blocks, 0)
//! filter blocks x 32 bytes | u64 hash x docs | u32 document x docs
//! ```
//!
//! Entry r of the two arrays is the r-th record in `(hash, key)` order: its *rank*. Documents are
//! explicit, because their own order may be another one.
//!
//! The filter is a split block Bloom filter (Putze, Sanders, Singler: Cache-, Hash- and
//! Space-Efficient Bloom Filters, 2007; the constants are those of Apache Parquet): a hash selects
//! one block of 8 words of 32 bits and one bit in each word. At 12 bits per key about one absent
//! key in 250 passes. Hashes are already uniform (they come from SHA-256).

use super::keys::Keys;
use super::section::{Body, SectionKind, U32s, U64s, start, write_u32s, write_u64s};
use crate::DocId;
use crate::decode::Corrupt;
use bytes::Bytes;
use roaring::RoaringBitmap;

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

/// The key index of `(hash, document)` entries in `(hash, key)` order.
pub(crate) fn build(entries: &[(u64, DocId)]) -> Vec<u8> {
    let docs = u32::try_from(entries.len()).expect("document ids fit 32 bits");
    let blocks = (entries.len() * BITS_PER_KEY).div_ceil(BLOCK_BYTES * 8).max(1);
    let mut words = vec![0u32; blocks * WORDS];
    for &(hash, _) in entries {
        let block = block_of(hash, blocks) * WORDS;
        let bits = words[block..][..WORDS].iter_mut().zip(bits_of(hash));
        bits.for_each(|(word, bit)| *word |= bit);
    }
    let blocks = u32::try_from(blocks).expect("fewer blocks than documents");
    let mut out = start(SectionKind::KEY_INDEX, docs, [blocks, 0]);
    write_u32s(words, &mut out);
    write_u64s(entries.iter().map(|&(hash, _)| hash), &mut out);
    write_u32s(entries.iter().map(|&(_, doc)| doc), &mut out);
    out
}

fn block_of(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

fn bits_of(hash: u64) -> [u32; WORDS] {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// Reader of a key index section.
#[derive(Debug)]
pub(crate) struct KeyIndex {
    /// `blocks * 8` words.
    filter: U32s,
    blocks: usize,
    /// Invariant: ascending.
    hashes: U64s,
    /// Invariant: each document once.
    docs: U32s,
}

impl KeyIndex {
    /// Checks besides the shape that hashes ascend and that every document stands there once.
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::KEY_INDEX, docs, section)?;
        let blocks = body.counts[0] as usize;
        body.check(blocks > 0, "filter without blocks")?;
        let words = blocks.checked_mul(WORDS).ok_or(body.corrupt("filter size"))?;
        let filter = body.u32s(words)?;
        let hashes = body.u64s(docs as usize)?;
        let entries = body.u32s(docs as usize)?;
        body.end()?;
        body.check(hashes.iter().is_sorted(), "hashes are not ascending")?;
        body.check(is_permutation(&entries), "documents are not each there once")?;
        Ok(Self { filter, blocks, hashes, docs: entries })
    }

    fn len(&self) -> usize {
        self.docs.len()
    }

    /// The document of `key`, whose hash is `hash`.
    pub(crate) fn find(&self, hash: u64, key: &[u8], keys: &Keys) -> Option<DocId> {
        if !self.may_contain(hash) {
            return None;
        }
        let first = self.rank_of_hash(hash) as usize;
        let same_hash = (first..self.len()).take_while(|&rank| self.hashes.at(rank) == hash);
        same_hash.map(|rank| self.docs.at(rank)).find(|&doc| keys.at(doc) == key)
    }

    fn may_contain(&self, hash: u64) -> bool {
        let block = block_of(hash, self.blocks) * WORDS;
        let words = self.filter.range(block..block + WORDS);
        words.zip(bits_of(hash)).all(|(word, bit)| word & bit != 0)
    }

    /// The first rank whose hash is not below `hash`; the number of documents if there is none.
    pub(crate) fn rank_of_hash(&self, hash: u64) -> u32 {
        let (mut low, mut high) = self.likely_window(hash);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.hashes.at(middle) < hash {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low as u32
    }

    /// Bounds for the binary search: hashes are uniform, so rank / documents is about hash / 2^64,
    /// off by some square roots of the number of documents. Falls back to everything.
    fn likely_window(&self, hash: u64) -> (usize, usize) {
        let length = self.len();
        let guess = ((u128::from(hash) * length as u128) >> 64) as usize;
        let slack = 4 * length.isqrt() + 4;
        let (low, high) = (guess.saturating_sub(slack), (guess + slack).min(length));
        let low_holds = low == 0 || self.hashes.at(low - 1) < hash;
        let high_holds = high == length || self.hashes.at(high) >= hash;
        (if low_holds { low } else { 0 }, if high_holds { high } else { length })
    }

    /// The first rank after `(hash, key)`.
    pub(crate) fn rank_after(&self, hash: u64, key: &[u8], keys: &Keys) -> u32 {
        let first = self.rank_of_hash(hash) as usize;
        let passed = (first..self.len())
            .take_while(|&rank| self.hashes.at(rank) == hash && keys.at(self.docs.at(rank)) <= key);
        (first + passed.count()) as u32
    }

    /// # Panics
    /// If `rank` is not below the number of documents.
    pub(crate) fn doc_at(&self, rank: u32) -> DocId {
        self.docs.at(rank as usize)
    }

    /// # Panics
    /// If `rank` is not below the number of documents.
    pub(crate) fn hash_at(&self, rank: u32) -> u64 {
        self.hashes.at(rank as usize)
    }

    /// Whether records of one hash stand in the order of their keys.
    pub(crate) fn is_in_key_order(&self, keys: &Keys) -> bool {
        (1..self.len()).all(|rank| {
            self.hashes.at(rank - 1) < self.hashes.at(rank)
                || keys.at(self.docs.at(rank - 1)) < keys.at(self.docs.at(rank))
        })
    }
}

fn is_permutation(docs: &U32s) -> bool {
    if docs.iter().eq(0..docs.len() as u32) {
        return true;
    }
    let mut seen = RoaringBitmap::new();
    docs.iter().all(|doc| (doc as usize) < docs.len() && seen.insert(doc))
}

#[cfg(test)]
mod tests {
    use super::{KeyIndex, build};
    use bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        /// Hashes are uniform in practice, but a search must not depend on it.
        #[test]
        fn ranks_are_found_among_hashes_of_any_spread(
            mut hashes in prop::collection::vec(any::<u64>(), 0..300),
            shift in 0..64u32,
            from_above in any::<bool>(),
            wanted in prop::collection::vec(any::<u64>(), 20),
        ) {
            let squeeze = |hash: &u64| if from_above { !(hash >> shift) } else { hash >> shift };
            hashes = hashes.iter().map(squeeze).collect();
            hashes.sort_unstable();
            let entries: Vec<(u64, u32)> = hashes.iter().copied().zip(0..).collect();
            let section = Bytes::from(build(&entries));
            let index = KeyIndex::open(entries.len() as u32, &section).expect("valid");
            for hash in hashes.iter().copied().chain(wanted.iter().map(squeeze)).chain(wanted.clone()) {
                let expected = hashes.partition_point(|&other| other < hash);
                prop_assert_eq!(index.rank_of_hash(hash) as usize, expected);
            }
            prop_assert!(hashes.iter().all(|&hash| index.may_contain(hash)));
        }
    }
}
