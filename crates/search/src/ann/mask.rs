//! Which rows of a part count.

use roaring::RoaringBitmap;

/// A bit per row, and how many there are.
#[derive(Clone, Debug, Default)]
pub struct RowMask {
    words: Vec<u64>,
    count: u32,
}

impl RowMask {
    /// Of rows `64 i + b` for each bit `b` of word `i`. Rows beyond the words do not count.
    pub fn from_words(words: Vec<u64>) -> Self {
        let count = words.iter().map(|word| word.count_ones()).sum();
        Self { words, count }
    }

    /// Of the rows in `bitmap` below `rows`.
    pub fn from_bitmap(bitmap: &RoaringBitmap, rows: u32) -> Self {
        let mut words = vec![0u64; (rows as usize).div_ceil(64)];
        for row in bitmap.iter().take_while(|row| *row < rows) {
            words[row as usize / 64] |= 1 << (row % 64);
        }
        Self::from_words(words)
    }

    /// How many rows count.
    pub fn count(&self) -> u32 {
        self.count
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

#[cfg(test)]
mod tests {
    use super::*;

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
