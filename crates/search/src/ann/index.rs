//! The TREE section, opened: what every search starts from.
//!
//! ```text
//! u8 x 4 "VBAN" | u16 version = 2 | u8 metric | u8 row bits | u32 dimension D | u32 rows | u32 lists L
//! u32 groups G | u32 children C | f32 stop x 8 | u32 lists at start x 8 | f32 length of rows
//! f32 rotated centre x P                             P is D rounded up to a multiple of 8
//! f32 coarse x G P
//! u32 first child x (G + 1)
//! child x C:    u32 list
//! centroid x L: f32 low | f32 step | f32 squared norm; none if there are no groups
//! u8 code x L P
//! list x L:     u32 vectors | u32 of them in their first list | u32 CRC32C of its run | f32 mean squared residual
//!               u32 CRC32C of the rows of CODES whose first list it is
//! ```
//!
//! Version 1 had one number of lists at start, a centroid beside each child, and rows of CODES by their numbers:
//!
//! ```text
//! child x C:    u32 list | f32 low | f32 step | f32 squared norm
//! u8 code x C P
//! list x L:     u32 vectors | u32 of them in their first list | u32 CRC32C of its run | f32 mean squared residual
//! ```
//!
//! LISTS is a run per list, in order, each at a multiple of 64 bytes:
//!
//! ```text
//! run:    block of 32 vectors x B (see vb_kernel) | u32 row x 32 B (u32::MAX where none is)
//! ```
//!
//! CODES is a row after the other, list by list: of each those whose first list it is, which come first in its run, in the
//! same order. So what a search needs of a list lies in two places. For rows see `codes`. A flat index has neither groups nor
//! children: the centroid of each list is the centre, and the order of rows is that of their numbers.

use std::ops::Range;

use vb_kernel::{BLOCK, Kernels};

use super::codes::NO_ROW;
use super::order::{RowOrder, Slots};
use super::params::{RowBits, Shape};
use super::recall::Model;
use super::rotation::Rotation;
use super::tree::{Tree, TreeSizes, floats, take};
use crate::decode::{Corrupt, Input};
use crate::schema::Metric;

const MAGIC: &[u8; 4] = b"VBAN";
const VERSION: u16 = 2;
const VERSION_BY_NUMBER: u16 = 1;
const DIMENSION_MAX: u32 = 1 << 16;
const ROWS_MAX: u32 = 1 << 30;
/// Bytes of a list in version 1, and what there is besides since.
const LIST_BYTES: usize = 16;
const CODES_CRC_BYTES: usize = 4;
const PART: &str = "tree of a vector index";

/// The lists of one vector field of one segment; see the module's source for its bytes.
#[derive(Clone, Debug)]
pub struct Index {
    pub(super) shape: Shape,
    pub(super) rows: u32,
    /// What rotated vectors are taken around.
    pub(super) centre: Vec<f32>,
    pub(super) rotation: Rotation,
    pub(super) model: Model,
    /// `None`: flat.
    pub(super) tree: Option<Tree>,
    pub(super) lists: Vec<List>,
    /// On average, at least 1.
    pub(super) rows_per_list: f32,
    /// How rows of CODES are ordered.
    pub(super) order: RowOrder,
}

/// Where a list lies and what is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) start: u64,
    pub(super) count: u32,
    /// Those whose first list it is; they come first.
    pub(super) firsts: u32,
    /// How many rows have an earlier list as their first.
    pub(super) before: u32,
    pub(super) crc: u32,
    /// Of the rows of CODES whose first list it is.
    pub(super) codes_crc: u32,
    /// Mean squared length of its residuals.
    pub(super) spread: f32,
}

impl Index {
    /// Runs start at multiples of this.
    pub(super) const RUN_ALIGN: u64 = 64;

    /// Opens a TREE section.
    pub fn open(tree: &[u8]) -> Result<Self, Corrupt> {
        let kernels = Kernels::detect();
        let mut input = Input::new(PART, tree);
        let header = Header::decode(&mut input)?;
        let shape = header.shape;
        let model = Model::decode(&mut input, header.is_by_list)?;
        let centre = floats(&mut input, 1, shape.padded())?;
        let sizes = TreeSizes {
            dimension: shape.padded(),
            centroids: header.lists,
            groups: header.groups,
            children: header.children,
        };
        let tree = match header.groups {
            0 if header.children == 0 => None,
            0 => return Err(input.corrupt("children of no group")),
            _ if header.is_by_list => Some(Tree::decode(&mut input, sizes, kernels)?),
            _ => Some(Tree::decode_by_child(&mut input, sizes, kernels)?),
        };
        let bytes = LIST_BYTES + if header.is_by_list { CODES_CRC_BYTES } else { 0 };
        let lists = take(&mut input, header.lists, bytes)?.chunks_exact(bytes);
        let lists: Vec<List> = lists.map(List::decode).collect();
        input.end()?;
        let (rows, held) = (u64::from(header.rows), lists.iter().map(|list| u64::from(list.count)));
        if !(rows..=2 * rows).contains(&held.sum()) {
            return Err(input.corrupt("number of rows in lists"));
        }
        let firsts: u64 = lists.iter().map(|list| u64::from(list.firsts)).sum();
        if header.is_by_list && firsts != rows {
            return Err(input.corrupt("number of rows in first lists"));
        }
        let mut index = Self::new(shape, header.rows, centre, model, tree, lists);
        if !header.is_by_list {
            index.order = RowOrder::ByNumber;
        }
        Ok(index)
    }

    /// Of lists whose starts are still to be found.
    pub(super) fn new(
        shape: Shape,
        rows: u32,
        centre: Vec<f32>,
        model: Model,
        tree: Option<Tree>,
        lists: Vec<List>,
    ) -> Self {
        let rotation = Rotation::new(shape.dimension);
        let held: u64 = lists.iter().map(|list| u64::from(list.count)).sum();
        let rows_per_list = (held as f32 / lists.len().max(1) as f32).max(1.0);
        let order = RowOrder::ByList;
        let mut index =
            Self { shape, rows, centre, rotation, model, tree, lists, rows_per_list, order };
        let (mut start, mut before) = (0u64, 0u32);
        for list in &mut index.lists {
            (list.start, list.before) = (start, before);
            start +=
                (shape.run_bytes(list.count as usize) as u64).next_multiple_of(Self::RUN_ALIGN);
            before = before.saturating_add(list.firsts);
        }
        index
    }

    /// The TREE section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.header().encode(&mut out);
        self.model.encode(&mut out);
        out.extend(self.centre.iter().flat_map(|value| value.to_le_bytes()));
        if let Some(tree) = &self.tree {
            tree.encode(&mut out);
        }
        self.lists.iter().for_each(|list| list.encode(&mut out));
        out
    }

    fn header(&self) -> Header {
        Header {
            shape: self.shape,
            rows: self.rows,
            lists: self.lists.len(),
            groups: self.tree.as_ref().map_or(0, Tree::groups),
            children: self.tree.as_ref().map_or(0, Tree::children),
            is_by_list: true,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// How many lists there are.
    pub fn lists(&self) -> u32 {
        self.lists.len() as u32
    }

    /// Values per vector.
    pub fn dimension(&self) -> usize {
        self.shape.dimension
    }

    /// What near means.
    pub fn metric(&self) -> Metric {
        self.shape.metric
    }

    /// Whether there is no tree: every list is read by every search.
    pub fn is_flat(&self) -> bool {
        self.tree.is_none()
    }

    /// Where the run of a list lies in the LISTS section.
    ///
    /// # Panics
    /// If there is no such list.
    pub fn list_place(&self, list: u32) -> Range<u64> {
        let list = &self.lists[list as usize];
        list.start..list.start + self.shape.run_bytes(list.count as usize) as u64
    }

    /// CRC32C of the run of a list.
    ///
    /// # Panics
    /// If there is no such list.
    pub fn list_crc(&self, list: u32) -> u32 {
        self.lists[list as usize].crc
    }

    /// Bytes of the LISTS section.
    pub fn lists_bytes(&self) -> u64 {
        self.lists.last().map_or(0, |list| {
            let bytes = self.shape.run_bytes(list.count as usize) as u64;
            list.start + bytes.next_multiple_of(Self::RUN_ALIGN)
        })
    }

    /// Checks the run of a list against its length and checksum. Searches take any bytes without a panic, but
    /// find what was written only in runs that pass.
    pub fn check_list(&self, list: u32, run: &[u8]) -> Result<(), Corrupt> {
        let corrupt = |what| Corrupt { part: "posting list", what };
        let entry = self.lists.get(list as usize).ok_or(corrupt("no such list"))?;
        if run.len() != self.shape.run_bytes(entry.count as usize) {
            return Err(corrupt("length"));
        }
        if crc32c::crc32c(run) != entry.crc {
            return Err(corrupt("checksum"));
        }
        let rows = self.run_rows(entry, run);
        if rows.take(entry.count as usize).any(|row| row >= self.rows) {
            return Err(corrupt("row number"));
        }
        Ok(())
    }

    /// Bytes of a row of the CODES section.
    pub fn row_bytes(&self) -> usize {
        self.shape.row_bytes()
    }

    /// Where the rows of a list lie in the CODES section: those whose first list it is. `None` if they do not lie together.
    ///
    /// # Panics
    /// If there is no such list.
    pub fn rows_place(&self, list: u32) -> Option<Range<u64>> {
        let list = &self.lists[list as usize];
        let bytes = self.shape.row_bytes() as u64;
        let start = u64::from(list.before) * bytes;
        (self.order == RowOrder::ByList).then(|| start..start + u64::from(list.firsts) * bytes)
    }

    /// A row among all of CODES.
    #[inline]
    pub(crate) fn row_in<'a>(
        &self,
        codes: &'a [u8],
        slots: Option<&Slots>,
        row: u32,
    ) -> Option<&'a [u8]> {
        let slot = match slots {
            Some(slots) => slots.of(row)?,
            None => row,
        };
        let bytes = self.row_bytes();
        let start = slot as usize * bytes;
        codes.get(start..start + bytes)
    }

    /// Checks rows of a list against their length and checksum.
    pub fn check_rows(&self, list: u32, rows: &[u8]) -> Result<(), Corrupt> {
        let corrupt = |what| Corrupt { part: "row codes of a list", what };
        let place = (list < self.lists()).then(|| self.rows_place(list)).flatten();
        let place = place.ok_or(corrupt("no such list"))?;
        if rows.len() as u64 != place.end - place.start {
            return Err(corrupt("length"));
        }
        let is_right = crc32c::crc32c(rows) == self.rows_crc(list);
        if is_right { Ok(()) } else { Err(corrupt("checksum")) }
    }

    /// CRC32C of the rows of a list; see [`Index::rows_place`].
    ///
    /// # Panics
    /// If there is no such list.
    pub fn rows_crc(&self, list: u32) -> u32 {
        self.lists[list as usize].codes_crc
    }

    /// Bytes of the CODES section.
    pub fn codes_bytes(&self) -> u64 {
        u64::from(self.rows) * self.shape.row_bytes() as u64
    }

    /// The row numbers of a run of the right length.
    pub(super) fn run_rows<'a>(
        &self,
        list: &List,
        run: &'a [u8],
    ) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        let blocks = (list.count as usize).div_ceil(BLOCK);
        let (rows, _) = run[blocks * self.shape.block_bytes()..].as_chunks::<4>();
        rows.iter().map(|row| u32::from_le_bytes(*row))
    }

    /// Centroids of the lists: `lists x padded`.
    pub(super) fn centroids(&self) -> Vec<f32> {
        match &self.tree {
            Some(tree) => tree.centroids(),
            None => vec![0.0; self.lists.len() * self.shape.padded()],
        }
    }

    /// Makes `out` the rotated vector, at unit length for cosine, without its centre taken away.
    pub(super) fn rotate(&self, vector: &[f32], out: &mut [f32]) {
        rotate(self.shape.metric, &self.rotation, vector, out);
    }
}

/// Makes `out` the rotated vector, at unit length for cosine.
pub(super) fn rotate(metric: Metric, rotation: &Rotation, vector: &[f32], out: &mut [f32]) {
    let scale = unit_scale(metric, vector);
    out.fill(0.0);
    out.iter_mut().zip(vector).for_each(|(out, value)| *out = tame(*value * scale));
    rotation.apply(out);
}

/// What makes a vector of a cosine field one of unit length.
fn unit_scale(metric: Metric, vector: &[f32]) -> f32 {
    if metric != Metric::Cosine {
        return 1.0;
    }
    let mut lanes = [0.0f64; 8];
    for values in vector.chunks(8) {
        lanes.iter_mut().zip(values).for_each(|(lane, v)| *lane += f64::from(*v) * f64::from(*v));
    }
    let norm: f64 = lanes.iter().sum();
    if norm > 0.0 { (1.0 / norm.sqrt()) as f32 } else { 1.0 }
}

/// Values whose sums of squares stay finite. Among larger ones only the exact step tells which is nearer.
fn tame(value: f32) -> f32 {
    const LARGEST: f32 = 1e15;
    if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) }
}

/// The start of the section.
#[derive(Clone, Copy, Debug)]
struct Header {
    shape: Shape,
    rows: u32,
    lists: usize,
    groups: usize,
    children: usize,
    /// Since version 2.
    is_by_list: bool,
}

impl Header {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend(VERSION.to_le_bytes());
        let metric = match self.shape.metric {
            Metric::Euclidean => 0,
            Metric::Cosine => 1,
            Metric::InnerProduct => 2,
        };
        let bits = match self.shape.row_bits {
            RowBits::Four => 4,
            RowBits::Eight => 8,
        };
        out.extend_from_slice(&[metric, bits]);
        let counts =
            [self.shape.dimension, self.rows as usize, self.lists, self.groups, self.children];
        out.extend(counts.into_iter().flat_map(|count| (count as u32).to_le_bytes()));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, Corrupt> {
        if input.take(4)? != MAGIC {
            return Err(input.corrupt("start"));
        }
        let is_by_list = match input.u16()? {
            VERSION => true,
            VERSION_BY_NUMBER => false,
            _ => return Err(input.corrupt("version")),
        };
        let metric = match input.u8()? {
            0 => Metric::Euclidean,
            1 => Metric::Cosine,
            2 => Metric::InnerProduct,
            _ => return Err(input.corrupt("metric")),
        };
        let row_bits = match input.u8()? {
            4 => RowBits::Four,
            8 => RowBits::Eight,
            _ => return Err(input.corrupt("bits of a row")),
        };
        let dimension = input.u32()?;
        if !(1..=DIMENSION_MAX).contains(&dimension) {
            return Err(input.corrupt("dimension"));
        }
        let shape = Shape { metric, dimension: dimension as usize, row_bits };
        let rows = input.u32()?;
        if rows > ROWS_MAX {
            return Err(input.corrupt("number of rows"));
        }
        let mut count = || input.u32().map(|count| count as usize);
        let [lists, groups, children] = [count()?, count()?, count()?];
        Ok(Self { shape, rows, lists, groups, children, is_by_list })
    }
}

impl List {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.count.to_le_bytes());
        out.extend(self.firsts.to_le_bytes());
        out.extend(self.crc.to_le_bytes());
        out.extend(self.spread.to_le_bytes());
        out.extend(self.codes_crc.to_le_bytes());
    }

    /// Of either version.
    fn decode(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let [count, firsts, crc] = [0, 1, 2].map(|place| u32::from_le_bytes(words[place]));
        let spread = f32::from_le_bytes(words[3]);
        let codes_crc = words.get(4).map_or(0, |word| u32::from_le_bytes(*word));
        Self { start: 0, count, firsts: firsts.min(count), before: 0, crc, codes_crc, spread }
    }
}

/// Whether a row number is one that a run may hold.
pub(super) fn is_row(row: u32, rows: u32) -> bool {
    row < rows && row != NO_ROW
}
