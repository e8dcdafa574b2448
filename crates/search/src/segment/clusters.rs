//! The cluster index of one vector field, as sections.
//!
//! ```text
//! centroids:  header (counts: rows, 0)      | 48 zero bytes | tree of crate::ann
//! codes:      header (counts: rows, 0)      | 48 zero bytes | lists of crate::ann, one after another
//! row codes:  header (counts: rows, stride) | 48 zero bytes | codes x rows
//! ```
//!
//! What is inside is told in [`crate::ann`]. The tree says where each list lies, and where the row codes of its rows, and has
//! their CRC32C, so that lists can be read alone. Rows are those of the vectors section.

use super::corrupt;
use super::section::{Body, SectionKind};
use super::vectors::{PADDING, VALUES, head};
use crate::ann::{self, Index, Slots};
use crate::decode::Corrupt;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The sections of a built index, for a segment of `docs` documents: ROW_CODES, CODES, CENTROIDS.
pub fn cluster_sections(docs: u32, built: &ann::Built) -> [(SectionKind, Vec<u8>); 3] {
    let rows = built.rows;
    let stride = built.codes.len().checked_div(rows as usize).unwrap_or(0) as u32;
    let wrap = |kind, counts, bytes: &[u8]| {
        let mut out = head(kind, docs, counts);
        out.extend_from_slice(bytes);
        (kind, out)
    };
    [
        wrap(SectionKind::ROW_CODES, [rows, stride], &built.codes),
        wrap(SectionKind::CODES, [rows, 0], &built.lists),
        wrap(SectionKind::CENTROIDS, [rows, 0], &built.tree),
    ]
}

/// What is inside a section of one of these kinds.
fn unwrap(kind: SectionKind, docs: u32, section: &Bytes) -> Result<(Bytes, [u32; 2]), Corrupt> {
    let mut body = Body::open_for(kind, docs, section)?;
    let counts = body.counts;
    body.check(counts[0] <= docs, "more rows than documents")?;
    body.take(PADDING)?;
    Ok((body.rest(), counts))
}

/// The tree in a centroids section.
pub(crate) fn open_tree(docs: u32, section: &Bytes) -> Result<Index, Corrupt> {
    let (tree, [rows, _]) = unwrap(SectionKind::CENTROIDS, docs, section)?;
    let index = Index::open(&tree)?;
    if index.rows() == rows { Ok(index) } else { Err(corrupt("rows of a cluster index")) }
}

/// All lists, or one of them.
#[derive(Debug)]
pub(crate) struct CodeBytes {
    bytes: Bytes,
    /// How many rows they are of, if they are all lists.
    rows: u32,
    /// What a look at them against their tree came to: once is enough. Of all lists, with the places of row codes.
    checked: OnceLock<Result<Option<Slots>, Corrupt>>,
}

impl CodeBytes {
    /// Lists as they are stored, without a header.
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, rows: 0, checked: OnceLock::new() }
    }

    /// The lists in a codes section.
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let (bytes, [rows, _]) = unwrap(SectionKind::CODES, docs, section)?;
        Ok(Self { rows, ..Self::new(bytes) })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks the bytes as one list of the index.
    pub(crate) fn check_list(&self, index: &Index, list: u32) -> Result<(), Corrupt> {
        let check = || index.check_list(list, &self.bytes).map(|()| None);
        self.checked.get_or_init(check).as_ref().map(|_| ()).map_err(|cause| *cause)
    }

    /// Checks the bytes as all lists of the index.
    pub(crate) fn check_all(&self, index: &Index) -> Result<(), Corrupt> {
        let check = || {
            (0..index.lists()).try_for_each(|list| {
                let bytes = slice(&self.bytes, &index.list_place(list));
                index.check_list(list, bytes.ok_or(corrupt("place of a list"))?)
            })?;
            index.slots(&self.bytes)
        };
        self.checked.get_or_init(check).as_ref().map(|_| ()).map_err(|cause| *cause)
    }

    /// Where rows stand among the row codes, once all lists were checked.
    fn slots(&self) -> Option<&Slots> {
        self.checked.get()?.as_ref().ok()?.as_ref()
    }

    /// Bytes of memory beside those of the section, once they are checked.
    pub(crate) fn extra_weight(&self) -> usize {
        Slots::bytes(self.rows as usize)
    }

    /// A list among all, which were checked.
    fn list(&self, index: &Index, list: u32) -> &[u8] {
        slice(&self.bytes, &index.list_place(list)).expect("the lists were checked")
    }
}

fn slice<'a>(bytes: &'a [u8], range: &Range<u64>) -> Option<&'a [u8]> {
    bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

/// Where a list lies in the codes section, and its CRC32C.
pub(crate) fn list_place(index: &Index, list: u32) -> (Range<u64>, u32) {
    (behind_head(&index.list_place(list)), index.list_crc(list))
}

/// Where the rows of a list lie in the row codes section, and their CRC32C; `None` if they are not together.
pub(crate) fn rows_place(index: &Index, list: u32) -> Option<(Range<u64>, u32)> {
    Some((behind_head(&index.rows_place(list)?), index.rows_crc(list)))
}

fn behind_head(place: &Range<u64>) -> Range<u64> {
    let at = |offset: u64| offset.saturating_add(VALUES as u64);
    at(place.start)..at(place.end)
}

/// The codes of all rows, or of those of a list.
#[derive(Clone, Debug)]
pub(crate) struct RowCodes(Bytes);

impl RowCodes {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let (bytes, [rows, stride]) = unwrap(SectionKind::ROW_CODES, docs, section)?;
        let length = (rows as usize).checked_mul(stride as usize);
        if length == Some(bytes.len()) { Ok(Self(bytes)) } else { Err(corrupt("row codes")) }
    }

    /// The rows of one list, as they are stored.
    pub(crate) fn of_list(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are as many as the index has rows.
    pub(crate) fn fit(&self, index: &Index) -> bool {
        self.0.len() as u64 == index.codes_bytes()
    }
}

/// What was loaded of a field's lists and row codes.
#[derive(Clone, Copy, Debug)]
pub struct CodesSource<'a> {
    pub(super) index: &'a Index,
    pub(super) all: Option<&'a CodeBytes>,
    pub(super) lists: &'a BTreeMap<u32, Arc<CodeBytes>>,
    pub(super) rows: Option<&'a RowCodes>,
    pub(super) rows_of_lists: &'a BTreeMap<u32, RowCodes>,
}

impl CodesSource<'_> {
    /// Whether row codes can be read list by list.
    fn has_rows_by_list(&self) -> bool {
        self.index.lists() == 0 || self.index.rows_place(0).is_some()
    }
}

impl ann::Source for CodesSource<'_> {
    fn list(&self, list: u32) -> Option<&[u8]> {
        match self.all {
            Some(all) => Some(all.list(self.index, list)),
            None => self.lists.get(&list).map(|list| list.bytes()),
        }
    }

    /// All, if the lists are there as well, or those of the lists that were added.
    #[inline]
    fn row_codes(&self) -> ann::RowCodes {
        let is_by_list = self.has_rows_by_list();
        match self.rows {
            Some(_) if self.all.is_some() || !is_by_list || self.index.is_flat() => {
                ann::RowCodes::All
            }
            _ if is_by_list => ann::RowCodes::OfLists,
            _ => ann::RowCodes::None,
        }
    }

    fn is_by_list(&self) -> bool {
        self.all.is_none()
    }

    #[inline]
    fn row(&self, row: u32) -> Option<&[u8]> {
        let slots = self.all.and_then(|all| all.slots());
        self.index.row_in(self.rows?.bytes(), slots, row)
    }

    fn rows(&self, list: u32) -> Option<&[u8]> {
        match self.rows {
            Some(all) => slice(all.bytes(), &self.index.rows_place(list)?),
            None => self.rows_of_lists.get(&list).map(RowCodes::bytes),
        }
    }
}
