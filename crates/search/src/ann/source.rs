//! Where searches get bytes from.

use super::index::Index;
use super::mask::RowMask;
use super::order::Slots;

/// The bytes of one index, as far as they are loaded. Searches are compiled for each source: keep the methods short.
pub trait Source {
    /// The run of a list, [`Index::list_place`], if it is loaded. A run of another length counts as none, and is
    /// asked for again.
    fn list(&self, list: u32) -> Option<&[u8]>;

    /// What there is of the CODES section.
    fn row_codes(&self) -> RowCodes;

    /// A row of the CODES section, if all of it is there; `None` leaves the row out.
    fn row(&self, row: u32) -> Option<&[u8]>;

    /// Whether lists are loaded one by one, as searches ask for them, and not all of them are there.
    fn is_by_list(&self) -> bool {
        false
    }

    /// The rows of a list, [`Index::rows_place`], if they are loaded. Other lengths count as none. Asked of
    /// [`RowCodes::OfLists`] alone.
    fn rows(&self, list: u32) -> Option<&[u8]> {
        let _ = list;
        None
    }
}

/// What there is of a CODES section; the more comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowCodes {
    /// All.
    All,
    /// Those of some lists: searches name the lists whose rows they lack.
    OfLists,
    /// Nothing: candidates are ranked by their 1-bit codes, and more of them are found.
    None,
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
    /// [`Index::slots`].
    pub slots: Option<&'a Slots>,
}

impl Source for Whole<'_> {
    #[inline]
    fn list(&self, list: u32) -> Option<&[u8]> {
        let place = self.index.list_place(list);
        self.lists.get(place.start as usize..place.end as usize)
    }

    #[inline]
    fn row_codes(&self) -> RowCodes {
        if self.codes.is_empty() { RowCodes::None } else { RowCodes::All }
    }

    #[inline]
    fn row(&self, row: u32) -> Option<&[u8]> {
        self.index.row_in(self.codes, self.slots, row)
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
