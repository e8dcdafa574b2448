//! Bodies of the fuzz targets: one plain function per decoder.
//!
//! Each takes any bytes and, where they decode, uses what came out as a caller would. They return
//! nothing: the property is that they return. The tests below feed them random and mutated bytes; fuzzers
//! feed them more.

use crate::segment::fuzz as sections;
use crate::{
    Attributes, Candidate, Corrupt, DocId, Filter, Mask, Metric, Number, Part, PartId, Place,
    PreparedQuery, RowRef, Scalar, Schema, SectionKind, SectionPlace, Segment, SegmentBuilder,
    Test, TopK, Value, VectorField, scan_rows,
};
use bytes::Bytes;
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use vb_kernel::Kernels;

pub use sections::{attribute_columns, key_filter, key_index, keys, lists, metadata, vectors};

/// [`Schema::decode`]; what decodes must survive a round trip.
pub fn schema(bytes: &[u8]) {
    if let Ok(schema) = Schema::decode(bytes) {
        let mut again = Vec::new();
        schema.encode(&mut again);
        assert_eq!(Schema::decode(&again), Ok(schema));
    }
}

/// [`Attributes::decode`]; what decodes must survive a round trip.
pub fn attributes(bytes: &[u8]) {
    if let Ok(attributes) = Attributes::decode(bytes) {
        let mut again = Vec::new();
        attributes.encode(&mut again);
        assert_eq!(Attributes::decode(&again).as_ref(), Ok(&attributes));
        filters().iter().for_each(|filter| _ = filter.matches(&attributes));
    }
}

/// A segment of [`segment_schema`] from framed sections: u32 docs, then per section u16 kind,
/// u8 field, u32 length, bytes. Opens it and asks everything of every document.
pub fn segment(bytes: &[u8]) {
    if let Some((docs, sections)) = unframe(bytes)
        && let Ok(segment) = Segment::open(&segment_schema(), docs, &sections)
    {
        ask_by_document(&segment);
        ask_by_key_order(&segment);
        ask_filters(&segment);
        ask_nearest(&segment);
    }
}

/// As [`segment`], but read part by part: the framed bytes are the object, the frames its table of
/// sections. Checksums are not looked at.
pub fn parts(bytes: &[u8]) {
    if let Some((docs, sections)) = unframe(bytes)
        && let Ok(segment) = segment_of_parts(docs, &sections)
    {
        ask_by_document(&segment);
        ask_by_key_order(&segment);
        ask_filters(&segment);
        ask_nearest(&segment);
    }
}

/// A segment of all parts that its table and directories lead to.
fn segment_of_parts(docs: u32, sections: &[crate::StoredSection]) -> Result<Segment, Corrupt> {
    let (object, table) = lay_out(sections);
    let mut segment = Segment::of_parts(&segment_schema(), docs, table)?;
    for id in segment.section_parts() {
        add(&mut segment, &object, id)?;
    }
    for id in segment.piece_parts() {
        add(&mut segment, &object, id)?;
    }
    whole(&segment).ok_or(MISSING).map(|()| segment.clone())
}

/// Whether nothing is missing for any question.
fn whole(segment: &Segment) -> Option<()> {
    let has = |id| segment.has(id).then_some(());
    has(segment.key_filter_part())?;
    has(segment.metadata_directory())?;
    has(segment.attribute_directory())?;
    for kind in [SectionKind::KEYS, SectionKind::KEY_INDEX, SectionKind::ATTRIBUTES] {
        has(PartId::Section(kind, 0))?;
    }
    for field in 0..segment_schema().vector_fields.len() {
        has(PartId::Section(SectionKind::LISTS, field as u8))?;
        let directory = segment.vector_directory(field);
        directory.map_or(Some(()), has)?;
        let extents = 0..segment.extent_count(field);
        extents.map(|extent| has(segment.vector_part(field, extent))).collect::<Option<()>>()?;
    }
    Some(())
}

const MISSING: Corrupt = Corrupt { part: "segment", what: "missing" };

fn add(segment: &mut Segment, object: &[u8], id: PartId) -> Result<(), Corrupt> {
    let (range, _) = segment.place(id).ok_or(MISSING)?;
    let bytes = object.get(range.start as usize..range.end as usize).ok_or(MISSING)?;
    segment.add(&Part::open(&segment_schema(), segment.docs(), id, bytes)?)
}

/// Sections one after another, and their table.
pub(crate) fn lay_out(sections: &[crate::StoredSection]) -> (Vec<u8>, Vec<SectionPlace>) {
    let mut object = Vec::new();
    let mut table = Vec::new();
    for (kind, field, section) in sections {
        object.resize(object.len().next_multiple_of(crate::SECTION_ALIGN), 0);
        let start = object.len() as u64;
        object.extend_from_slice(section);
        let (range, crc) = (start..object.len() as u64, crate::checksum(section));
        table.push(SectionPlace { kind: *kind, field: *field, range, crc });
    }
    (object, table)
}

/// The schema that [`segment`] opens its sections with: one field of each metric.
pub fn segment_schema() -> Schema {
    let field =
        |name: &str, dimension, metric| VectorField { name: name.into(), dimension, metric };
    Schema {
        vector_fields: vec![
            field("a", 3, Metric::Euclidean),
            field("b", 2, Metric::Cosine),
            field("c", 1, Metric::InnerProduct),
        ],
        non_filterable: Vec::new(),
    }
}

/// A valid input of [`segment`] with `docs` documents, to mutate.
pub fn segment_seed(docs: u32) -> Vec<u8> {
    let mut keys: Vec<Vec<u8>> = (0..docs).map(|doc| format!("key {doc}").into_bytes()).collect();
    keys.sort_by_key(|key| (crate::key_hash(key), key.clone()));
    let mut builder = SegmentBuilder::new(&segment_schema(), Kernels::detect());
    for (number, key) in (0..docs).zip(&keys) {
        seed_row(number, key, &mut builder);
    }
    let built = builder.finish();
    let mut framed = built.docs.to_le_bytes().to_vec();
    for (kind, field, bytes) in &built.sections {
        frame(*kind, *field, bytes, &mut framed);
    }
    framed
}

fn seed_row(number: u32, key: &[u8], builder: &mut SegmentBuilder) {
    let x = number as f32;
    let scalars = [Scalar::Integer(i64::from(number)), Scalar::String("red".into())];
    let mut pairs: Vec<(Box<str>, Value)> = vec![("n".into(), Value::One(scalars[0].clone()))];
    if number.is_multiple_of(3) {
        pairs.push(("tags".into(), Value::Many(scalars.into())));
        pairs.push(("x".into(), Value::One(Scalar::Float(f64::from(x) / 2.0))));
    }
    let attributes = Attributes::from_pairs(pairs);
    let metadata = format!("{{\"n\":{number},\"text\":\"some text some text\"}}");
    builder.push(RowRef {
        key,
        vectors: &[
            Some(&[x, 1.0, -x]),
            (!number.is_multiple_of(4)).then_some(&[x, 2.0]),
            number.is_multiple_of(2).then_some(&[x]),
        ],
        metadata: (!number.is_multiple_of(5)).then_some(metadata.as_bytes()),
        attributes: &attributes,
    });
}

fn frame(kind: SectionKind, field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&kind.0.to_le_bytes());
    out.push(field);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn unframe(bytes: &[u8]) -> Option<(u32, Vec<crate::StoredSection>)> {
    let (docs, mut rest) = bytes.split_first_chunk()?;
    let mut sections = Vec::new();
    while let Some((&[k0, k1, field, l0, l1, l2, l3], after)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let (section, next) = after.split_at(length.min(after.len()));
        let kind = SectionKind(u16::from_le_bytes([k0, k1]));
        sections.push((kind, field, Bytes::copy_from_slice(section)));
        rest = next;
    }
    Some((u32::from_le_bytes(*docs), sections))
}

fn ask_by_document(segment: &Segment) {
    let mut cursor = segment.metadata_cursor();
    for doc in 0..segment.docs() {
        let found = segment.find(segment.key(doc));
        assert!(found.is_none_or(|found| segment.key(found) == segment.key(doc)));
        assert_eq!(segment.metadata(doc), cursor.get(doc));
        for field in 0..3 {
            let vector = segment.vector(field, doc).unwrap_or_default();
            assert!(vector.is_empty() || vector.len() == 3 - field);
        }
    }
}

fn ask_by_key_order(segment: &Segment) {
    for rank in 0..segment.docs() {
        let (hash, key) = (segment.hash_at(rank), segment.key(segment.doc_at(rank)));
        assert_eq!(segment.rank_after(hash, key), rank + 1);
        assert!(segment.rank_of_hash(hash) <= rank);
    }
}

fn ask_filters(segment: &Segment) {
    let attributes = segment.attributes();
    for filter in filters() {
        let last = segment.select(&filter).max();
        assert!(last.is_none_or(|doc| doc < segment.docs()));
    }
    assert_eq!(attributes.len(), segment.docs() as usize);
}

fn ask_nearest(segment: &Segment) {
    let half: RoaringBitmap = (0..segment.docs()).step_by(4).collect();
    let order = |a: Place, b: Place| segment.key(a.doc).cmp(segment.key(b.doc));
    for (field, description) in segment_schema().vector_fields.iter().enumerate() {
        let vector = vec![1.0; description.dimension as usize];
        let query = PreparedQuery::new(Kernels::detect(), description.metric, &vector);
        for allowed in [None, Some(&half)] {
            let mut top = TopK::new(5);
            let mask = Mask { allowed, deleted: None };
            for (_, rows) in segment.extents_of_rows(field, 0..segment.row_count(field)) {
                scan_rows(&query, segment.rows(field, rows), mask, 0, &mut top, &order);
            }
            let found = top.into_sorted(&order);
            assert!(found.is_sorted_by(|a, b| in_order(a, b, &order)));
            let distance = |found: &Candidate| description.metric.distance(found.rank);
            assert!(found.iter().map(distance).all(f32::is_finite));
        }
    }
}

fn in_order(a: &Candidate, b: &Candidate, order: &dyn Fn(Place, Place) -> Ordering) -> bool {
    a.rank < b.rank || (a.rank == b.rank && order(a.place, b.place).is_le())
}

/// A filter of every kind.
pub(crate) fn filters() -> Vec<Filter> {
    let tests = [
        Test::Eq(Scalar::Integer(3)),
        Test::Ne(Scalar::String("red".into())),
        Test::Gt(Number::Float(1.5)),
        Test::Gte(Number::Integer(4)),
        Test::Lt(Number::Integer(i64::MAX)),
        Test::Lte(Number::Float(1e300)),
        Test::In(vec![Scalar::Bool(true), Scalar::Float(2.0)]),
        Test::NotIn(vec![Scalar::Integer(1), Scalar::String("red".into())]),
        Test::Exists(true),
        Test::Exists(false),
    ];
    let keys = ["n", "tags", "x", "absent"];
    let single = keys.iter().flat_map(|key| {
        tests.iter().map(|test| Filter::Test { key: (*key).into(), test: test.clone() })
    });
    let single: Vec<Filter> = single.collect();
    [Filter::All, Filter::And(single.clone()), Filter::Or(single.clone())]
        .into_iter()
        .chain(single)
        .collect()
}

/// Documents to try in a section that claims some number of them.
pub(crate) const DOCS_MAX: DocId = 1 << 16;

#[cfg(test)]
mod tests {
    use crate::SectionKind;
    use proptest::prelude::*;

    fn every_body(bytes: &[u8]) {
        super::schema(bytes);
        super::attributes(bytes);
        super::keys(bytes);
        super::key_index(bytes);
        super::lists(bytes);
        super::metadata(bytes);
        super::key_filter(bytes);
        super::attribute_columns(bytes);
        super::vectors(bytes);
        super::segment(bytes);
        super::parts(bytes);
    }

    /// Changes, cuts or repeats some of the bytes.
    fn mutate(bytes: &mut Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) {
        for (place, how, value) in changes {
            if bytes.is_empty() {
                return;
            }
            let place = place.index(bytes.len());
            match how % 8 {
                0..=4 => bytes[place] = *value,
                5 => bytes[place] ^= 1 << (value % 8),
                6 => bytes.truncate(place),
                _ => bytes.insert(place, *value),
            }
        }
    }

    fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
        let value = prop_oneof![Just(0), Just(255), any::<u8>()];
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), value), 0..5)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn random_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            every_body(&bytes);
        }

        #[test]
        fn random_sections_are_harmless(
            kind in 1u16..15,
            version in 1u16..3,
            docs in 0u32..40,
            counts in (0u32..40, 0u32..40),
            body in prop::collection::vec(prop_oneof![Just(0u8), 0u8..40, any::<u8>()], 0..300),
        ) {
            let mut bytes = Vec::new();
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&version.to_le_bytes());
            for number in [docs, counts.0, counts.1] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&body);
            every_body(&bytes);
        }

        #[test]
        fn mutated_segments_are_harmless(docs in 0u32..60, changes in changes()) {
            let mut bytes = super::segment_seed(docs);
            mutate(&mut bytes, &changes);
            super::segment(&bytes);
            super::parts(&bytes);
        }

        #[test]
        fn mutated_old_segments_are_harmless(changes in changes()) {
            let mut bytes = include_bytes!("../tests/fixtures/segment-v1.bin").to_vec();
            mutate(&mut bytes, &changes);
            super::segment(&bytes);
            super::parts(&bytes);
        }

        #[test]
        fn mutated_sections_are_harmless(docs in 0u32..60, changes in changes()) {
            let framed = super::segment_seed(docs);
            let (_, sections) = super::unframe(&framed).expect("a seed is framed");
            for (_, _, section) in sections {
                let mut bytes = section.to_vec();
                mutate(&mut bytes, &changes);
                every_body(&bytes);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// With enough distinct values that their column is kept as runs.
        #[test]
        fn mutated_runs_are_harmless(changes in changes()) {
            let framed = super::segment_seed(1030);
            let (_, sections) = super::unframe(&framed).expect("a seed is framed");
            let attributes = sections.iter().find(|section| section.0 == SectionKind::ATTRIBUTES);
            let mut bytes = attributes.expect("a seed has all sections").2.to_vec();
            mutate(&mut bytes, &changes);
            super::attribute_columns(&bytes);
        }
    }

    /// Written by version 1 of every section: it opens and answers for ever.
    #[test]
    fn the_stored_segment_of_version_1_opens() {
        let stored = include_bytes!("../tests/fixtures/segment-v1.bin");
        super::segment(stored);
        super::parts(stored);
        let whole = |framed: &[u8]| {
            let (docs, sections) = super::unframe(framed).expect("framed");
            crate::Segment::open(&super::segment_schema(), docs, &sections).expect("valid")
        };
        let in_parts = |framed: &[u8]| {
            let (docs, sections) = super::unframe(framed).expect("framed");
            super::segment_of_parts(docs, &sections).expect("valid")
        };
        let today = super::segment_seed(70);
        check_same(&whole(stored), &whole(&today));
        check_same(&in_parts(stored), &whole(&today));
        check_same(&whole(stored), &in_parts(&today));
    }

    fn check_same(stored: &crate::Segment, today: &crate::Segment) {
        assert_eq!(stored.docs(), today.docs());
        assert_eq!(stored.attributes(), today.attributes());
        for doc in 0..stored.docs() {
            assert_eq!(stored.key(doc), today.key(doc));
            assert_eq!(stored.find(today.key(doc)), Some(doc));
            assert_eq!(stored.doc_at(doc), today.doc_at(doc));
            assert_eq!(stored.metadata(doc), today.metadata(doc));
            for field in 0..3 {
                assert_eq!(stored.vector(field, doc), today.vector(field, doc));
            }
        }
        for filter in super::filters() {
            assert_eq!(stored.select(&filter), today.select(&filter), "{filter:?}");
        }
    }

    #[test]
    fn seeds_open() {
        for docs in [0, 1, 2, 33, 200] {
            let framed = super::segment_seed(docs);
            let (docs, sections) = super::unframe(&framed).expect("a seed is framed");
            let opened = crate::Segment::open(&super::segment_schema(), docs, &sections);
            assert_eq!(opened.expect("a seed is valid").docs(), docs);
        }
    }
}
