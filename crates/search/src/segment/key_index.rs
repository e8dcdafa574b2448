//! From a key's hash to its document.
//!
//! ```text
//! header (counts: 0, 0) | u64 hash x docs | u32 document x docs
//! version 1:  header (counts: filter blocks, 0) | key filter | u64 hash x docs | u32 document x docs
//! ```
//!
//! Entry r of the two arrays is the r-th record in `(hash, key)` order: its *rank*. Documents are
//! explicit, because their own order may be another one.

use super::key_filter::KeyFilter;
use super::keys::Keys;
use super::section::{Body, SectionKind, U32s, U64s, start, write_u32s, write_u64s};
use crate::DocId;
use crate::decode::Corrupt;
use bytes::Bytes;
use roaring::RoaringBitmap;

/// The key index of documents in `(hash, key)` order, by the hash of each.
pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
    let docs = u32::try_from(hashes.len()).expect("document ids fit 32 bits");
    let mut out = start(SectionKind::KEY_INDEX, docs, [0; 2]);
    out.reserve_exact(12 * hashes.len());
    write_u64s(hashes.iter().copied(), &mut out);
    write_u32s(0..docs, &mut out);
    out
}

/// Reader of a key index section.
#[derive(Debug)]
pub(crate) struct KeyIndex {
    /// In version 1.
    filter: Option<KeyFilter>,
    /// Invariant: ascending.
    hashes: U64s,
    /// Invariant: each document once.
    docs: U32s,
    /// The ranks whose hash is that of the rank before: next to none, unless keys are made up for it.
    ties: Vec<u32>,
}

impl KeyIndex {
    /// Checks besides the shape that hashes ascend and that every document stands there once.
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::KEY_INDEX, docs, section)?;
        let filter = if body.version == 1 { Some(KeyFilter::read(&mut body)?) } else { None };
        let hashes = body.u64s(docs as usize)?;
        let entries = body.u32s(docs as usize)?;
        body.end()?;
        body.check(hashes.iter().is_sorted(), "hashes are not ascending")?;
        body.check(is_permutation(&entries), "documents are not each there once")?;
        let pairs = hashes.iter().zip(hashes.iter().skip(1)).zip(1..);
        let ties = pairs.filter(|((a, b), _)| a == b).map(|(_, rank)| rank).collect();
        Ok(Self { filter, hashes, docs: entries, ties })
    }

    /// The filter over the hashes, if it is kept here.
    pub(crate) fn filter(&self) -> Option<&KeyFilter> {
        self.filter.as_ref()
    }

    /// Bytes of memory beside the section's own.
    pub(crate) fn extra_weight(&self) -> usize {
        size_of_val(&self.ties[..])
    }

    fn len(&self) -> usize {
        self.docs.len()
    }

    /// The document of `key`, whose hash is `hash`.
    pub(crate) fn find(&self, hash: u64, key: &[u8], keys: &Keys) -> Option<DocId> {
        let first = self.rank_of_hash(hash) as usize;
        let same_hash = (first..self.len()).take_while(|&rank| self.hashes.at(rank) == hash);
        same_hash.map(|rank| self.docs.at(rank)).find(|&doc| keys.at(doc) == key)
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
        let key = |rank| keys.at(self.doc_at(rank));
        self.ties.iter().all(|&rank| key(rank - 1) < key(rank))
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
            let section = Bytes::from(build(&hashes));
            let index = KeyIndex::open(hashes.len() as u32, &section).expect("valid");
            for hash in hashes.iter().copied().chain(wanted.iter().map(squeeze)).chain(wanted.clone()) {
                let expected = hashes.partition_point(|&other| other < hash);
                prop_assert_eq!(index.rank_of_hash(hash) as usize, expected);
            }
        }
    }
}
