//! One segment: its bytes against their checksums, its parts against each other, its keys against
//! those of the other segments.
//!
//! Keys and directories are read whole; they are small beside vectors. A deep check streams the
//! object once through all of its checksums, those of sections and those of extents and blocks inside
//! them, in a window of some megabytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use bytes::Bytes;
use roaring::RoaringBitmap;
use vb_commit::{Store, StoreErrorKind};
use vb_search::{Part, PartId, Schema, SectionKind, Segment, key_hash};

use super::{FindingKind, Findings};
use crate::error::Error;
use crate::index::body::{SegmentMeta, segment_header};
use crate::inspect::checksum::Checksums;

/// Bytes of a window.
const WINDOW: u64 = 8 << 20;

/// What is checked.
pub(super) struct Source<'a> {
    pub(super) store: &'a Store,
    pub(super) schema: &'a Schema,
    pub(super) meta: &'a SegmentMeta,
    pub(super) path: &'a str,
    pub(super) deep: bool,
}

/// A segment whose keys can be trusted.
pub(super) struct Opened<'a> {
    pub(super) segment: Segment,
    pub(super) path: String,
    pub(super) deleted: &'a RoaringBitmap,
}

/// Checks one segment of the right length. `None`: its keys cannot be read.
pub(super) async fn check(
    source: &Source<'_>,
    findings: &mut Findings,
) -> Result<Option<Segment>, Error> {
    let before = findings.0.len();
    header(source, findings).await?;
    let (meta, path) = (source.meta, source.path);
    let mut segment = match Segment::of_parts(source.schema, meta.docs, meta.places()) {
        Ok(segment) => segment,
        Err(error) => {
            findings.add(FindingKind::SegmentInconsistent, path, error.to_string());
            return Ok(None);
        }
    };
    for id in directories(&segment, source.schema) {
        load(source, &mut segment, id, findings).await?;
    }
    let readable = findings.0.len() == before;
    if source.deep {
        let checks = checks(&segment, source, readable);
        stream(source, checks, findings).await?;
        if findings.0.len() == before {
            for id in columns(source) {
                load(source, &mut segment, id, findings).await?;
            }
        }
    }
    if !readable {
        return Ok(None);
    }
    keys(source, &segment, findings);
    Ok(Some(segment))
}

async fn header(source: &Source<'_>, findings: &mut Findings) -> Result<(), Error> {
    let expected = segment_header(source.meta.docs);
    let range = 0..expected.len() as u64;
    match read(source, &range).await? {
        Some(bytes) if bytes == expected => {}
        _ => findings.add(FindingKind::SegmentDamaged, source.path, "its header is damaged"),
    }
    Ok(())
}

/// The parts that tell what is in a segment, but not the values themselves.
fn directories(segment: &Segment, schema: &Schema) -> Vec<PartId> {
    let section = |kind, field| PartId::Section(kind, field);
    let mut parts = vec![
        section(SectionKind::KEYS, 0),
        section(SectionKind::KEY_INDEX, 0),
        segment.metadata_directory(),
        segment.attribute_directory(),
    ];
    if !parts.contains(&segment.key_directory()) {
        parts.push(segment.key_directory());
    }
    for field in 0..schema.vector_fields.len() {
        parts.push(section(SectionKind::LISTS, u8::try_from(field).expect("at most 3 fields")));
        parts.extend(segment.vector_directory(field));
        parts.extend(segment.tree_part(field));
    }
    if !parts.contains(&segment.key_filter_part()) {
        parts.push(segment.key_filter_part());
    }
    parts
}

/// Sections whose decoding checks them, beyond their bytes.
fn columns(source: &Source<'_>) -> impl Iterator<Item = PartId> {
    let wanted =
        [SectionKind::ATTRIBUTES, SectionKind::NORMS, SectionKind::CODES, SectionKind::ROW_CODES];
    let sections = source.meta.sections.iter().filter(move |entry| wanted.contains(&entry.kind));
    sections.map(|entry| PartId::Section(entry.kind, entry.field))
}

/// Reads a part and adds it to the segment.
async fn load(
    source: &Source<'_>,
    segment: &mut Segment,
    id: PartId,
    findings: &mut Findings,
) -> Result<(), Error> {
    let path = source.path;
    let Some((range, crc)) = segment.place(id) else {
        findings.add(FindingKind::SegmentInconsistent, path, format!("{} is missing", name(id)));
        return Ok(());
    };
    let Some(bytes) = read(source, &range).await? else {
        findings.add(FindingKind::SegmentMissing, path, "vanished while it was read");
        return Ok(());
    };
    if vb_search::checksum(&bytes) != crc {
        let detail = format!("{} differs from its checksum", name(id));
        findings.add(FindingKind::SegmentDamaged, path, detail);
        return Ok(());
    }
    let opened = Part::open(source.schema, source.meta.docs, id, &bytes);
    if let Err(error) = opened.and_then(|part| segment.add(&part)) {
        findings.add(FindingKind::SegmentInconsistent, path, error.to_string());
    }
    Ok(())
}

fn name(id: PartId) -> String {
    match id {
        PartId::Section(kind, field) => format!("section {} of field {field}", kind.0),
        PartId::VectorExtent(field, extent) => format!("extent {extent} of field {field}"),
        PartId::MetadataBlock(block) => format!("metadata block {block}"),
        PartId::KeyBlock(block) => format!("key block {block}"),
        PartId::AttributeBlock(block) => format!("attribute block {block}"),
        PartId::CodeList(field, list) => format!("list {list} of the codes of field {field}"),
        PartId::RowCodeList(field, list) => format!("list {list} of row codes of field {field}"),
    }
}

/// `None`: there is no such object.
async fn read(source: &Source<'_>, range: &Range<u64>) -> Result<Option<Bytes>, Error> {
    if range.is_empty() {
        return Ok(Some(Bytes::new()));
    }
    match source.store.get_range(source.path, range.clone()).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All checksums of the object: those of sections, and of extents and blocks if their directories
/// could be read.
fn checks(segment: &Segment, source: &Source<'_>, readable: bool) -> Checksums<PartId> {
    let sections = source.meta.sections.iter().map(|entry| {
        let range = entry.offset..entry.offset + entry.length;
        (range, entry.crc, PartId::Section(entry.kind, entry.field))
    });
    let inner = if readable { inner_parts(segment, source) } else { Vec::new() };
    let inner = inner.into_iter().filter_map(|part| {
        let (range, crc) = segment.place(part)?;
        Some((range, crc, part))
    });
    Checksums::new(sections.chain(inner))
}

/// Extents and blocks.
fn inner_parts(segment: &Segment, source: &Source<'_>) -> Vec<PartId> {
    let mut parts = Vec::new();
    for field in 0..source.schema.vector_fields.len() {
        if segment.vector_directory(field).is_some() {
            parts.extend(
                (0..segment.extent_count(field)).map(|extent| segment.vector_part(field, extent)),
            );
        }
    }
    parts.extend((0..source.meta.docs).filter_map(|doc| segment.metadata_part(doc)));
    parts.dedup();
    parts
}

/// Runs the object's bytes through the checksums.
async fn stream(
    source: &Source<'_>,
    mut checks: Checksums<PartId>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let mut offset = 0;
    while offset < source.meta.length {
        let window = offset..(offset + WINDOW).min(source.meta.length);
        let Some(bytes) = read(source, &window).await? else {
            findings.add(FindingKind::SegmentMissing, source.path, "vanished while it was read");
            return Ok(());
        };
        for differs in checks.feed(offset, &bytes) {
            let (part, range) = (name(differs.what), differs.range);
            let detail = format!(
                "{part} (bytes {} to {}) differs from its checksum",
                range.start, range.end
            );
            findings.add(FindingKind::SegmentDamaged, source.path, detail);
        }
        offset = window.end;
    }
    Ok(())
}

/// Keys have the hashes under which they are found, within the range that the manifest states.
fn keys(source: &Source<'_>, segment: &Segment, findings: &mut Findings) {
    let docs = source.meta.docs;
    let range = (segment.hash_at(0), segment.hash_at(docs - 1));
    if range != source.meta.hashes {
        let detail = "the manifest states another range of key hashes";
        findings.add(FindingKind::SegmentInconsistent, source.path, detail);
    }
    let wrong = |rank: &u32| {
        let hash = segment.hash_at(*rank);
        hash != key_hash(segment.key(segment.doc_at(*rank))) || !segment.may_contain(hash)
    };
    if let Some(rank) = (0..docs).find(wrong) {
        let key = segment.key(segment.doc_at(rank)).escape_ascii().to_string();
        let detail = format!("key {key:?} cannot be found by its hash");
        findings.add(FindingKind::SegmentInconsistent, source.path, detail);
    }
}

/// Reports keys with more than one live record: segments are merged by `(hash, key)`.
pub(super) fn duplicates(segments: &[Opened<'_>], findings: &mut Findings) {
    let mut heap = BinaryHeap::new();
    let head = |number: usize, rank: u32| {
        let opened = &segments[number];
        let segment = &opened.segment;
        let live = (rank..segment.docs()).find(|rank| {
            let doc = segment.doc_at(*rank);
            !opened.deleted.contains(doc)
        })?;
        let key = segment.key(segment.doc_at(live));
        Some(Reverse((segment.hash_at(live), key, number, live)))
    };
    heap.extend((0..segments.len()).filter_map(|number| head(number, 0)));
    let mut last: Option<(&[u8], usize)> = None;
    while let Some(Reverse((_, key, number, rank))) = heap.pop() {
        if let Some((other, first)) = last
            && other == key
        {
            let key = key.escape_ascii();
            let (one, two) = (&segments[first].path, &segments[number].path);
            let detail = format!("\"{key}\" has a live record there and in {two}");
            findings.add(FindingKind::DuplicateKey, one, detail);
        }
        last = Some((key, number));
        heap.extend(head(number, rank + 1));
    }
}
