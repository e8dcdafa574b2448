//! Where searches get bytes from.

use super::index::Index;
use super::mask::RowMask;

/// The bytes of one index, as far as they are loaded. Searches are compiled for each source: keep the methods short.
pub trait Source {
    /// The run of a list, [`Index::list_place`], if it is loaded. A run of another length counts as none, and is
    /// asked for again.
    fn list(&self, list: u32) -> Option<&[u8]>;

    /// Whether the CODES section can be read: if not, candidates are ranked by their 1-bit codes, and more of them are found.
    fn has_rows(&self) -> bool;

    /// A row of the CODES section, [`Index::row_place`]; `None` leaves the row out.
    fn row(&self, row: u32) -> Option<&[u8]>;
}

/// An index whose sections are in memory.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// The opened TREE section.
    pub index: &'a Index,
    /// The LISTS section.
    pub lists: &'a [u8],
    /// The CODES section; empty if it is not there.
    pub codes: &'a [u8],
}

impl Source for Whole<'_> {
    #[inline]
    fn list(&self, list: u32) -> Option<&[u8]> {
        let place = self.index.list_place(list);
        self.lists.get(place.start as usize..place.end as usize)
    }

    #[inline]
    fn has_rows(&self) -> bool {
        !self.codes.is_empty()
    }

    #[inline]
    fn row(&self, row: u32) -> Option<&[u8]> {
        let bytes = self.index.row_bytes();
        let start = row as usize * bytes;
        self.codes.get(start..start + bytes)
    }
}

/// One index of a search: a segment's, or a memtable's.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a, S> {
    /// What to search.
    pub index: &'a Index,
    /// Its bytes.
    pub source: S,
    /// The rows that count; `None`: all.
    pub allowed: Option<&'a RowMask>,
}

impl<S> Part<'_, S> {
    /// How many rows count.
    pub(super) fn count(&self) -> u32 {
        self.allowed.map_or(self.index.rows, |mask| mask.count().min(self.index.rows))
    }
}
