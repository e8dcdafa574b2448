//! Writes columns: terms come ascending, blocks and what leads to them go out.

use super::bitmap::{self, DocBits};
use super::block::{self, OpenBlock};
use super::term::{Term, build_dictionary};
use crate::DocId;
use crate::attributes::Scalar;
use crate::segment::section::{SectionKind, position, start, write_pieces, write_u32s};
use roaring::RoaringBitmap;

/// Bytes of a block in a small column.
const BLOCK_BYTES_MIN: usize = 4 << 10;
/// In larger ones blocks grow, so that what leads to them grows as slowly as they do.
const BLOCK_BYTES_MAX: usize = 64 << 10;
const SMALL_COLUMN: f64 = 1e6;

/// Fewer documents than this never get a bitmap of their own.
const BITMAP_DOCS_MIN: usize = 64;

/// Both sections of a segment's attributes.
#[derive(Debug)]
pub(crate) struct AttributeSections {
    pub(crate) blocks: Vec<u8>,
    pub(crate) directory: Vec<u8>,
}

impl AttributeSections {
    /// As they are stored.
    pub(crate) fn into_pairs(self) -> [(SectionKind, Vec<u8>); 2] {
        [(SectionKind::ATTRIBUTE_BLOCKS, self.directory), (SectionKind::ATTRIBUTES, self.blocks)]
    }
}

/// Writes columns one after another, which come ascending by key.
#[derive(Debug)]
pub(super) struct SectionWriter {
    docs: u32,
    /// ATTRIBUTES.
    blocks: Vec<u8>,
    lengths: Vec<u32>,
    crcs: Vec<u32>,
    heads: Vec<Vec<u8>>,
}

impl SectionWriter {
    /// For a segment of `docs` documents.
    pub(super) fn new(docs: u32) -> Self {
        let blocks = start(SectionKind::ATTRIBUTES, docs, [0; 2]);
        Self { docs, blocks, lengths: Vec::new(), crcs: Vec::new(), heads: Vec::new() }
    }

    /// Begins the column of the next key; about so many (term, document) entries will come.
    pub(super) fn column(&mut self, entries: usize, presence: &RoaringBitmap) -> ColumnWriter<'_> {
        let growth = (4.0 * entries as f64 / SMALL_COLUMN).sqrt().max(1.0);
        let block_bytes = ((BLOCK_BYTES_MIN as f64 * growth) as usize).min(BLOCK_BYTES_MAX);
        let has_all = presence.len() == u64::from(self.docs);
        if !has_all {
            self.block(&block::write_bitmap(&bitmap::to_bytes(presence)));
        }
        ColumnWriter {
            numeric: Some(DocBits::new(self.docs)),
            section: self,
            block_bytes,
            open: OpenBlock::new(),
            last: None,
            heads: Vec::new(),
            present: position(presence.len() as usize),
            has_all,
            entries: 0,
        }
    }

    fn block(&mut self, bytes: &[u8]) {
        self.lengths.push(position(bytes.len()));
        self.crcs.push(crc32c::crc32c(bytes));
        self.blocks.extend_from_slice(bytes);
    }

    pub(super) fn finish(self) -> AttributeSections {
        let counts = [self.heads.len(), self.lengths.len()].map(position);
        let mut directory = start(SectionKind::ATTRIBUTE_BLOCKS, self.docs, counts);
        write_u32s(self.lengths, &mut directory);
        write_u32s(self.crcs, &mut directory);
        write_pieces(self.heads.iter().map(Vec::as_slice), &mut directory);
        AttributeSections { blocks: self.blocks, directory }
    }
}

/// What the directory says of a block of terms.
#[derive(Debug)]
struct BlockHead {
    is_bitmap: bool,
    terms: u32,
    entries: u32,
    /// Not before its terms, and behind those of the block before.
    separator: Scalar,
}

/// Writes the column of a key.
#[derive(Debug)]
pub(super) struct ColumnWriter<'a> {
    section: &'a mut SectionWriter,
    block_bytes: usize,
    open: OpenBlock,
    /// The last term of the blocks that are closed.
    last: Option<Scalar>,
    heads: Vec<BlockHead>,
    present: u32,
    has_all: bool,
    entries: u64,
    /// The documents so far, as long as there are no values but numbers.
    numeric: Option<DocBits>,
}

/// What the directory says of a column: whether a block of presence comes before those of its terms.
pub(super) const HAS_PRESENCE: u32 = 1;
/// Whether each document that has the key has one number and nothing else.
pub(super) const IS_NUMERIC: u32 = 2;

impl ColumnWriter<'_> {
    /// Adds the next term and its documents, both ascending; there is one at least.
    pub(super) fn push(&mut self, term: Term<'_>, docs: &[DocId]) {
        self.entries += docs.len() as u64;
        match (&mut self.numeric, term) {
            (Some(seen), Term::Number(_)) => docs.iter().for_each(|doc| seen.set(*doc)),
            _ => self.numeric = None,
        }
        let is_other_class = |(first, _): (Term<'_>, Term<'_>)| first.class() != term.class();
        if self.open.ends().is_some_and(is_other_class) {
            self.close();
        }
        if docs.len() >= BITMAP_DOCS_MIN {
            let packed = block::packed_bytes(self.section.docs, docs.len());
            let bitmap = bitmap::of_docs(docs);
            if packed >= self.block_bytes || bitmap.len() * 2 < packed {
                self.close();
                let bytes = block::write_bitmap(&bitmap);
                self.add(&bytes, true, 1, docs.len(), term.into());
                self.last = Some(term.into());
                return;
            }
        }
        self.open.push(term, docs);
        if self.open.bytes() >= self.block_bytes {
            self.close();
        }
    }

    fn close(&mut self) {
        let open = std::mem::replace(&mut self.open, OpenBlock::new());
        let Some((first, last)) = open.ends() else { return };
        let separator = separator(self.last.as_ref().map(Term::from), first);
        self.last = Some(last.into());
        let (terms, entries) = (open.terms(), open.entries() as usize);
        let bytes = open.finish(self.section.docs);
        self.add(&bytes, false, terms, entries, separator);
    }

    fn add(&mut self, bytes: &[u8], is_bitmap: bool, terms: u32, entries: usize, term: Scalar) {
        let entries = position(entries);
        self.heads.push(BlockHead { is_bitmap, terms, entries, separator: term });
        self.section.block(bytes);
    }

    pub(super) fn finish(mut self, key: &str) {
        self.close();
        let present = u64::from(self.present);
        let has_one_each = |seen: &DocBits| self.entries == present && seen.count() == present;
        let is_numeric = self.numeric.as_ref().is_some_and(has_one_each);
        let flag = |is: bool, flag| if is { flag } else { 0 };
        let flags = flag(!self.has_all, HAS_PRESENCE) | flag(is_numeric, IS_NUMERIC);
        let mut head = Vec::new();
        let blocks = position(self.heads.len());
        write_u32s([position(key.len()), flags, self.present, blocks], &mut head);
        head.extend_from_slice(key.as_bytes());
        head.extend(self.heads.iter().map(|head| u8::from(head.is_bitmap)));
        write_u32s(self.heads.iter().map(|head| head.terms), &mut head);
        write_u32s(self.heads.iter().map(|head| head.entries), &mut head);
        let separators = self.heads.iter().map(|head| Term::from(&head.separator));
        build_dictionary(&separators.collect::<Vec<_>>(), &mut head);
        self.section.heads.push(head);
    }
}

/// What leads to a block that starts with `first`: of a string no more than tells it from the last one before.
fn separator(last: Option<Term<'_>>, first: Term<'_>) -> Scalar {
    let (Some(Term::String(last)), Term::String(text)) = (last, first) else {
        return first.into();
    };
    let shared = last.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
    let is_end = |end: &usize| text.is_char_boundary(*end);
    let end = (shared + 1..=text.len()).find(is_end).unwrap_or(text.len());
    Scalar::String(text[..end].into())
}
