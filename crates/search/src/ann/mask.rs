//! Which rows of a part count.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use roaring::RoaringBitmap;

/// A bit per row, and how many there are. It belongs to one index: searches note which of its lists have no row that counts,
/// so that later ones need not look.
#[derive(Debug, Default)]
pub struct RowMask {
    words: Vec<u64>,
    count: u32,
    /// A bit per list that is known to be empty.
    empty: OnceLock<Box<[AtomicU64]>>,
}

impl RowMask {
    /// Of rows `64 i + b` for each bit `b` of word `i`. Rows beyond the words do not count.
    pub fn from_words(words: Vec<u64>) -> Self {
        let count = words.iter().map(|word| word.count_ones()).sum();
        Self { words, count, empty: OnceLock::new() }
    }

    /// Of the rows in `bitmap` below `rows`. Takes time by bytes of the bitmap, not by rows in it.
    pub fn from_bitmap(bitmap: &RoaringBitmap, rows: u32) -> Self {
        let mut words = vec![0u64; (rows as usize).div_ceil(64)];
        if copy_containers(bitmap, &mut words).is_none() {
            words.fill(0);
            set_ranges(bitmap, &mut words);
        }
        if let Some(last) = words.last_mut().filter(|_| !rows.is_multiple_of(64)) {
            *last &= (1 << (rows % 64)) - 1;
        }
        Self::from_words(words)
    }

    /// How many rows count.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether a list of the index is known to have no row that counts.
    pub(super) fn knows_empty(&self, list: u32) -> bool {
        let word = self.empty.get().and_then(|words| words.get(list as usize / 64));
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (list % 64) & 1 == 1)
    }

    /// Notes that a list, of so many, has no row that counts.
    pub(super) fn note_empty(&self, list: u32, lists: usize) {
        let words = || (0..lists.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        if let Some(word) = self.empty.get_or_init(words).get(list as usize / 64) {
            word.fetch_or(1 << (list % 64), Ordering::Relaxed);
        }
    }

    /// Whether a row counts.
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// The rows that count, ascending.
    pub fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip(0u32..).flat_map(|(&word, place)| {
            let next = |word: &u64| Some(word & (word - 1)).filter(|word| *word != 0);
            let bits = std::iter::successors(Some(word).filter(|word| *word != 0), next);
            bits.map(move |word| place * 64 + word.trailing_zeros())
        })
    }
}

/// Copies the bits container by container: out of the serialized form, which has whole words of them where they
/// are many. `None` if there are containers of runs.
///
/// ```text
/// u32 12346 | u32 containers C | (u16 high half, u16 rows - 1) x C | u32 offset x C
/// container:  up to 4,096 rows: u16 low half x rows          more: u64 word x 1,024
/// ```
fn copy_containers(bitmap: &RoaringBitmap, words: &mut [u64]) -> Option<()> {
    const WITHOUT_RUNS: u32 = 12_346;
    const ARRAY_MAX: usize = 4096;
    const WORDS: usize = 1024;
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut bytes).expect("a vector takes all bytes");
    let (numbers, _) = bytes.as_chunks::<4>();
    if u32::from_le_bytes(*numbers.first()?) != WITHOUT_RUNS {
        return None;
    }
    let count = u32::from_le_bytes(*numbers.get(1)?) as usize;
    let (heads, offsets) = (numbers.get(2..2 + count)?, numbers.get(2 + count..2 + 2 * count)?);
    for (&[a, b, c, d], offset) in heads.iter().zip(offsets) {
        let (high, rows) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let Some(words) = words.get_mut(usize::from(high) * WORDS..) else { break };
        let container = bytes.get(u32::from_le_bytes(*offset) as usize..)?;
        let rows = usize::from(rows) + 1;
        if rows > ARRAY_MAX {
            let (from, _) = container.get(..8 * WORDS)?.as_chunks::<8>();
            words.iter_mut().zip(from).for_each(|(word, from)| *word = u64::from_le_bytes(*from));
        } else {
            let (rows, _) = container.get(..2 * rows)?.as_chunks::<2>();
            for row in rows.iter().map(|row| usize::from(u16::from_le_bytes(*row))) {
                if let Some(word) = words.get_mut(row / 64) {
                    *word |= 1 << (row % 64);
                }
            }
        }
    }
    Some(())
}

/// Sets the bits range by range.
fn set_ranges(bitmap: &RoaringBitmap, words: &mut [u64]) {
    let mut ranges = bitmap.iter();
    while let Some(range) = ranges.next_range() {
        let (first, last) = (*range.start() as usize, *range.end() as usize);
        for (place, word) in (first / 64..=last / 64).zip(words.iter_mut().skip(first / 64)) {
            let low = first.max(place * 64) % 64;
            let high = last.min(place * 64 + 63) % 64;
            *word |= u64::MAX << low & u64::MAX >> (63 - high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    /// Containers of every kind, and rows beyond the end, against one bit at a time.
    #[test]
    fn masks_of_any_bitmap_hold_its_rows() {
        let mut random = Random(1);
        for share in [1, 20, 300, 900, 1000] {
            for (from, optimized) in [(0, false), (70_000, false), (0, true), (70_000, true)] {
                let mut bitmap: RoaringBitmap =
                    (from..200_000).filter(|_| random.below(1000) < share).collect();
                bitmap.insert_range(190_000..190_100);
                if optimized {
                    bitmap.optimize();
                }
                for rows in [0, 1, 64, 65_536, 69_999, 131_072, 150_001, 300_000] {
                    let mask = RowMask::from_bitmap(&bitmap, rows);
                    let expected = bitmap.iter().take_while(|row| *row < rows);
                    assert!(mask.rows().eq(expected), "{share} {from} {optimized} {rows}");
                }
            }
        }
    }

    #[test]
    fn a_mask_is_its_rows() {
        let rows = [0u32, 1, 63, 64, 200];
        let mask = RowMask::from_bitmap(&rows.into_iter().chain([300]).collect(), 201);
        assert_eq!(mask.rows().collect::<Vec<_>>(), rows);
        assert_eq!(mask.count(), 5);
        assert!(rows.iter().all(|row| mask.contains(*row)));
        assert!(!mask.contains(2) && !mask.contains(300) && !mask.contains(u32::MAX));
    }
}
