//! Checksums of ranges of one object, computed while its bytes pass by once in windows.

use std::ops::Range;

/// Ranges with checksums, and what each is called. Ranges may lie inside one another.
pub(crate) struct Checksums<T>(Vec<Entry<T>>);

struct Entry<T> {
    range: Range<u64>,
    expected: u32,
    state: u32,
    what: T,
}

/// A range whose bytes differ from their checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Differs<T> {
    pub(crate) range: Range<u64>,
    pub(crate) what: T,
}

impl<T> Checksums<T> {
    /// Ranges in any order, each with its CRC32C.
    pub(crate) fn new(ranges: impl IntoIterator<Item = (Range<u64>, u32, T)>) -> Self {
        let entry = |(range, expected, what)| Entry { range, expected, state: 0, what };
        Self(ranges.into_iter().map(entry).collect())
    }

    /// Takes the next window of the object, which begins at `offset`; windows follow one another
    /// from 0. Returns the ranges that end in it and differ.
    pub(crate) fn feed(&mut self, offset: u64, bytes: &[u8]) -> Vec<Differs<T>> {
        let window = offset..offset + bytes.len() as u64;
        for entry in &mut self.0 {
            entry.feed(&window, bytes);
        }
        let ended = |entry: &mut Entry<T>| entry.range.end <= window.end;
        let ended: Vec<Entry<T>> = self.0.extract_if(.., ended).collect();
        let differs = ended.into_iter().filter(|entry| entry.state != entry.expected);
        differs.map(|entry| Differs { range: entry.range, what: entry.what }).collect()
    }

    /// Ranges that reach beyond the bytes that were fed.
    pub(crate) fn left(self) -> Vec<Differs<T>> {
        self.0.into_iter().map(|entry| Differs { range: entry.range, what: entry.what }).collect()
    }
}

impl<T> Entry<T> {
    /// Takes what of a window belongs to the range.
    fn feed(&mut self, window: &Range<u64>, bytes: &[u8]) {
        let start = self.range.start.max(window.start);
        let end = self.range.end.min(window.end);
        if start < end {
            let place = |at: u64| usize::try_from(at - window.start).expect("inside a window");
            self.state = crc32c::crc32c_append(self.state, &bytes[place(start)..place(end)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However the windows cut the ranges, exactly the changed ones differ.
        #[test]
        fn windows_do_not_matter(
            bytes in prop::collection::vec(any::<u8>(), 1..300),
            places in prop::collection::vec((0..300usize, 0..300usize), 0..8),
            window in 1..64usize,
            flipped in 0..300usize,
        ) {
            let length = bytes.len();
            let ranges: Vec<Range<usize>> = places
                .into_iter()
                .map(|(a, b)| (a % (length + 1)).min(b % (length + 1))..(a % (length + 1)).max(b % (length + 1)))
                .collect();
            let entries = ranges.iter().enumerate().map(|(number, range)| {
                let crc = vb_search::checksum(&bytes[range.clone()]);
                (range.start as u64..range.end as u64, crc, number)
            });
            let mut checksums = Checksums::new(entries);
            let flipped = flipped % length;
            let mut changed = bytes.clone();
            changed[flipped] ^= 0x10;
            let mut differs = Vec::new();
            for (number, piece) in changed.chunks(window).enumerate() {
                differs.extend(checksums.feed((number * window) as u64, piece));
            }
            prop_assert!(checksums.left().is_empty());
            let mut found: Vec<usize> = differs.into_iter().map(|differs| differs.what).collect();
            found.sort_unstable();
            let expected: Vec<usize> =
                (0..ranges.len()).filter(|number| ranges[*number].contains(&flipped)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
