//! Segments give back what was put in.

use super::{
    KeysBuilder, ListBuilder, MergeInput, MetadataWriter, NormsBuilder, Part, PartId, RowRef,
    SectionKind, Segment, SegmentBuilder, StoredSection, StreamedSection, VectorsWriter, checksum,
    merge_attributes,
};
use crate::fuzz::lay_out;
use crate::testing::{attributes, filter};
use crate::{Attributes, Docs, Filter, Metric, Scalar, Schema, Value, VectorField, key_hash};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use vb_kernel::Kernels;

#[derive(Clone, Debug)]
struct Row {
    key: Vec<u8>,
    vectors: Vec<Option<Vec<f32>>>,
    metadata: Option<Vec<u8>>,
    attributes: Attributes,
}

fn schema() -> Schema {
    let field =
        |name: &str, dimension, metric| VectorField { name: name.into(), dimension, metric };
    let vector_fields =
        vec![field("first", 3, Metric::Cosine), field("second", 2, Metric::Euclidean)];
    Schema { vector_fields, non_filterable: vec!["text".into()] }
}

/// Any bits, NaN included: rows are stored as they are.
fn values(dimension: usize) -> impl Strategy<Value = Option<Vec<f32>>> {
    let bits = prop::collection::vec(any::<u32>().prop_map(f32::from_bits), dimension);
    prop::option::weighted(0.8, bits)
}

fn row() -> impl Strategy<Value = Row> {
    let key = prop::collection::vec(any::<u8>(), 0..6);
    let metadata = prop::option::of(prop::collection::vec(any::<u8>(), 0..400));
    (key, values(3), values(2), metadata, attributes()).prop_map(
        |(key, first, second, metadata, attributes)| Row {
            key,
            vectors: vec![first, second],
            metadata,
            attributes,
        },
    )
}

/// Distinct keys in (hash, key) order.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(row(), 0..150).prop_map(|rows| {
        let order = |row: &Row| (key_hash(&row.key), row.key.clone());
        let sorted: BTreeMap<_, _> = rows.into_iter().map(|row| (order(&row), row)).collect();
        sorted.into_values().collect()
    })
}

fn build(rows: &[Row]) -> (u32, Vec<StoredSection>) {
    let mut builder = SegmentBuilder::new(&schema(), Kernels::detect());
    for row in rows {
        let vectors: Vec<Option<&[f32]>> = row.vectors.iter().map(Option::as_deref).collect();
        builder.push(RowRef {
            key: &row.key,
            vectors: &vectors,
            metadata: row.metadata.as_deref(),
            attributes: &row.attributes,
        });
    }
    let built = builder.finish();
    let sections = built.sections.into_iter();
    (built.docs, sections.map(|(kind, field, bytes)| (kind, field, bytes.into())).collect())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn check(segment: &Segment, rows: &[Row], filters: &[Filter]) {
    assert_eq!(segment.docs() as usize, rows.len());
    for (doc, row) in (0..).zip(rows) {
        assert_eq!(segment.key(doc), row.key);
        assert_eq!(segment.find(&row.key), Some(doc));
        assert_eq!(segment.metadata(doc).expect("valid").as_deref(), row.metadata.as_deref());
        for (field, vector) in row.vectors.iter().enumerate() {
            let found = segment.vector(field, doc);
            assert_eq!(found.map(bits), vector.as_deref().map(bits), "bit for bit");
        }
    }
    for filter in filters {
        let expected = (0..).zip(rows).filter(|(_, row)| filter.matches(&row.attributes));
        assert!(segment.select(filter).iter().eq(expected.map(|(doc, _)| doc)), "{filter:?}");
    }
    check_rows(segment, rows);
    check_order(segment, rows);
}

fn check_rows(segment: &Segment, rows: &[Row]) {
    for field in 0..2 {
        let present = rows.iter().filter_map(|row| row.vectors[field].as_ref());
        let expected: Vec<f32> = present.flatten().copied().collect();
        let all = segment.rows(field, 0..segment.row_count(field));
        assert_eq!(bits(all.values), bits(&expected));
        assert_eq!(all.docs.len(), segment.row_count(field));
        assert!(matches!(all.docs, Docs::Lists(_)));
        assert_eq!(all.norms.is_some(), field == 0, "only the cosine field has norms");
    }
}

fn check_order(segment: &Segment, rows: &[Row]) {
    for (rank, row) in (0..).zip(rows) {
        let hash = key_hash(&row.key);
        assert_eq!(segment.doc_at(rank), rank);
        assert_eq!(segment.hash_at(rank), hash);
        assert_eq!(segment.rank_after(hash, &row.key), rank + 1);
    }
    for hash in [0, 1, u64::MAX / 3, u64::MAX - 1, u64::MAX] {
        let expected = rows.iter().filter(|row| key_hash(&row.key) < hash).count();
        assert_eq!(segment.rank_of_hash(hash) as usize, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_was_built_is_read_back(
        rows in rows(),
        filters in prop::collection::vec(filter(), 0..6),
        absent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..20),
    ) {
        let (docs, sections) = build(&rows);
        let segment = Segment::open(&schema(), docs, &sections).expect("valid");
        check(&segment, &rows, &filters);
        for key in absent.iter().filter(|key| rows.iter().all(|row| row.key != **key)) {
            prop_assert_eq!(segment.find(key), None);
        }
    }

    #[test]
    fn sections_may_lie_at_any_address(rows in rows(), shift in 0usize..8) {
        let (docs, sections) = build(&rows);
        let shifted: Vec<StoredSection> = sections
            .iter()
            .map(|(kind, field, bytes)| {
                let moved = [&vec![0; shift][..], bytes].concat();
                (*kind, *field, Bytes::from(moved).slice(shift..))
            })
            .collect();
        check(&Segment::open(&schema(), docs, &shifted).expect("valid"), &rows, &[]);
    }
}

/// An object, and a segment of it that loads what it is asked for.
struct InParts {
    object: Vec<u8>,
    segment: Segment,
}

impl InParts {
    fn new(docs: u32, sections: &[StoredSection]) -> Self {
        let (object, table) = lay_out(sections);
        let segment = Segment::of_parts(&schema(), docs, table).expect("valid");
        Self { object, segment }
    }

    fn load(&mut self, id: PartId) {
        assert!(!self.segment.has(id), "loaded once");
        let (range, crc) = self.segment.place(id).expect("a place");
        let bytes = &self.object[range.start as usize..range.end as usize];
        assert_eq!(checksum(bytes), crc, "{id:?}");
        let part = Part::open(&schema(), self.segment.docs(), id, bytes).expect("valid");
        assert_eq!(part.id(), id);
        assert!(part.weight() >= bytes.len().min(64));
        self.segment.add(&part).expect("parts of one segment agree");
        assert!(self.segment.has(id));
    }

    fn load_sections(&mut self, kinds: &[SectionKind]) {
        kinds.iter().for_each(|kind| self.load(PartId::Section(*kind, 0)));
    }

    fn load_field(&mut self, field: usize) {
        self.load(PartId::Section(SectionKind::LISTS, field as u8));
        self.load(self.segment.vector_directory(field).expect("written today"));
        for extent in 0..self.segment.extent_count(field) {
            self.load(self.segment.vector_part(field, extent));
        }
    }

    fn load_metadata(&mut self) {
        self.load(self.segment.metadata_directory());
        for doc in 0..self.segment.docs() {
            let part = self.segment.metadata_part(doc).expect("written today");
            if !self.segment.has(part) {
                self.load(part);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_was_built_is_read_back_part_by_part(
        rows in rows(),
        filters in prop::collection::vec(filter(), 0..4),
    ) {
        let (docs, sections) = build(&rows);
        let mut read = InParts::new(docs, &sections);
        read.load(read.segment.key_filter_part());
        prop_assert!(rows.iter().all(|row| read.segment.may_contain(key_hash(&row.key))));
        read.load_sections(&[SectionKind::KEYS, SectionKind::KEY_INDEX]);
        read.load_sections(&[SectionKind::ATTRIBUTE_BLOCKS]);
        for filter in &filters {
            let mut few = InParts::new(docs, &sections);
            few.load(few.segment.attribute_directory());
            few.segment.filter_parts(filter).into_iter().for_each(|part| few.load(part));
            let expected = (0..).zip(&rows).filter(|(_, row)| filter.matches(&row.attributes));
            prop_assert!(few.segment.select(filter).iter().eq(expected.map(|(doc, _)| doc)));
        }
        read.load_sections(&[SectionKind::ATTRIBUTES]);
        read.load_metadata();
        read.load_field(1);
        let half = read.segment.clone();
        read.load_field(0);
        prop_assert!(!half.has(PartId::Section(SectionKind::LISTS, 0)), "clones are apart");
        read.load(PartId::Section(SectionKind::NORMS, 0));
        check(&read.segment, &rows, &filters);
    }
}

/// Segments of many extents and blocks: 300 rows of 16 values each fill three of them.
mod large {
    use super::*;

    fn wide() -> Schema {
        let field = VectorField { name: "v".into(), dimension: 16, metric: Metric::Cosine };
        Schema { vector_fields: vec![field], non_filterable: Vec::new() }
    }

    /// Every third document lacks the vector.
    fn vector(doc: u32) -> Option<Vec<f32>> {
        (doc % 3 != 2).then(|| (0..16).map(|place| (doc * 1000 + place) as f32).collect())
    }

    fn built(docs: u32) -> Vec<StoredSection> {
        let mut keys: Vec<Vec<u8>> = (0..docs).map(|doc| doc.to_le_bytes().to_vec()).collect();
        keys.sort_by_key(|key| key_hash(key));
        let mut builder = SegmentBuilder::new(&wide(), Kernels::detect());
        for (doc, key) in (0..).zip(&keys) {
            builder.push(RowRef {
                key,
                vectors: &[vector(doc).as_deref()],
                metadata: Some(&doc.to_le_bytes().repeat(200)),
                attributes: &Attributes::default(),
            });
        }
        let sections = builder.finish().sections.into_iter();
        sections.map(|(kind, field, bytes)| (kind, field, bytes.into())).collect()
    }

    fn open(id: PartId, object: &[u8], segment: &Segment) -> Part {
        let (range, crc) = segment.place(id).expect("a place");
        let bytes = &object[range.start as usize..range.end as usize];
        assert_eq!(checksum(bytes), crc);
        Part::open(&wide(), segment.docs(), id, bytes).expect("valid")
    }

    fn with_directories(docs: u32) -> (Vec<u8>, Segment) {
        let (object, table) = lay_out(&built(docs));
        let mut segment = Segment::of_parts(&wide(), docs, table).expect("valid");
        for kind in [
            SectionKind::LISTS,
            SectionKind::VECTOR_EXTENTS,
            SectionKind::METADATA_INDEX,
            SectionKind::KEY_BLOCKS,
        ] {
            let part = open(PartId::Section(kind, 0), &object, &segment);
            segment.add(&part).expect("valid");
        }
        (object, segment)
    }

    #[test]
    fn single_extents_and_blocks_are_enough_for_their_documents() {
        let (object, segment) = with_directories(450);
        assert_eq!((segment.row_count(0), segment.extent_count(0)), (300, 3));
        let keys = (0..450u32).map(|doc| key_hash(&doc.to_le_bytes()));
        let mut hashes: Vec<u64> = keys.collect();
        hashes.sort_unstable();
        for doc in 0..450 {
            let mut alone = segment.clone();
            let block = segment.metadata_part(doc).expect("blocks");
            alone.add(&open(block, &object, &segment)).expect("valid");
            let metadata = alone.metadata(doc).expect("valid").expect("some");
            assert_eq!(metadata, doc.to_le_bytes().repeat(200));
            let block = segment.key_part(doc).expect("blocks");
            alone.add(&open(block, &object, &segment)).expect("valid");
            assert_eq!(key_hash(alone.key(doc)), hashes[doc as usize]);
            let Some(extent) = segment.extent_of(0, doc) else {
                assert_eq!(vector(doc), None);
                continue;
            };
            let part = open(segment.vector_part(0, extent), &object, &segment);
            alone.add(&part).expect("valid");
            assert_eq!(alone.vector(0, doc), vector(doc).as_deref());
            let values = alone.rows(0, segment.extent_rows(0, extent)).values;
            assert!(values.as_ptr().addr().is_multiple_of(64), "aligned for the kernels");
        }
    }

    #[test]
    fn rows_are_cut_by_extents() {
        let (_, segment) = with_directories(450);
        assert_eq!(segment.extents_of_rows(0, 0..300), [(0, 0..128), (1, 128..256), (2, 256..300)]);
        assert_eq!(segment.extents_of_rows(0, 127..129), [(0, 127..128), (1, 128..129)]);
        assert_eq!(segment.extents_of_rows(0, 130..140), [(1, 130..140)]);
        assert_eq!(segment.extents_of_rows(0, 5..5), []);
        assert_eq!(segment.extent_rows(0, 3), 300..300);
    }

    #[test]
    fn only_extents_with_wanted_documents_are_named() {
        let (_, segment) = with_directories(450);
        let named = |docs: &[u32]| segment.extents_with(0, &docs.iter().copied().collect());
        assert_eq!(named(&[]), []);
        assert_eq!(named(&[0, 449]), [0], "document 449 has no vector");
        // Row 128 is document 192.
        assert_eq!(named(&[191]), [], "without a vector");
        assert_eq!(named(&[190]), [0]);
        assert_eq!(named(&[192]), [1]);
        assert_eq!(named(&[448, 192, 7]), [0, 1, 2]);
    }

    #[test]
    #[should_panic(expected = "the extent was added")]
    fn a_question_without_its_part_panics() {
        let (_, segment) = with_directories(450);
        let _ = segment.vector(0, 0);
    }

    #[test]
    fn an_extent_of_another_length_is_corrupt() {
        let (object, mut segment) = with_directories(450);
        let (range, _) = segment.place(PartId::VectorExtent(0, 2)).expect("a place");
        let bytes = &object[range.start as usize..range.end as usize - 4 * 32];
        let part = Part::open(&wide(), 450, PartId::VectorExtent(0, 2), bytes).expect("whole rows");
        assert_eq!(segment.add(&part).expect_err("a row is missing").what, "rows of an extent");
        assert!(Part::open(&wide(), 450, PartId::VectorExtent(0, 2), &bytes[4..]).is_err());
        assert!(Part::open(&wide(), 450, PartId::VectorExtent(1, 2), bytes).is_err());
    }

    #[test]
    fn streamed_sections_are_those_that_were_built() {
        let sections = built(450);
        let section =
            |kind| sections.iter().find(|section| section.0 == kind).expect("built").2.clone();
        let present = (0..450).filter(|&doc| vector(doc).is_some());
        let mut vectors = VectorsWriter::new(450, 300, 16);
        let mut metadata = MetadataWriter::new(450);
        let (mut list, mut norms) = (ListBuilder::default(), NormsBuilder::default());
        for doc in present {
            let row = vector(doc).expect("present");
            vectors.push(&row);
            list.push(doc);
            norms.push(crate::row_norm(Kernels::detect(), &row));
        }
        (0..450u32).for_each(|doc| metadata.push(Some(&doc.to_le_bytes().repeat(200))));
        let check = |mut early: Vec<Bytes>, (late, written): (Vec<Bytes>, StreamedSection)| {
            early.extend(late);
            let bytes = early.concat();
            assert!(bytes == section(written.kind), "the bytes of {:?}", written.kind);
            assert_eq!((written.length, written.crc), (bytes.len() as u64, checksum(&bytes)));
            assert_eq!(written.directory.1, section(written.directory.0));
        };
        check(vectors.take(), vectors.finish());
        check(metadata.take(), metadata.finish());
        assert_eq!(list.rows(), 300);
        assert_eq!(list.finish(450), section(SectionKind::LISTS));
        assert_eq!(norms.finish(450), section(SectionKind::NORMS));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn keys_are_collected_as_they_are_built(rows in rows()) {
        let mut keys = KeysBuilder::default();
        rows.iter().for_each(|row| _ = keys.push(key_hash(&row.key), &row.key));
        let (_, sections) = build(&rows);
        for (kind, field, bytes) in keys.finish() {
            let built = sections.iter().find(|section| section.0 == kind).expect("built");
            prop_assert_eq!((built.1, &built.2[..]), (field, &bytes[..]));
        }
    }

    /// Dropped documents and all, the merged section is the one built from the documents kept.
    #[test]
    fn merged_attributes_are_those_of_the_documents_kept(
        rows in rows(),
        fates in prop::collection::vec((0..4usize, any::<bool>()), 150),
    ) {
        let fate = |row: usize| fates[row];
        let part = |wanted: usize| {
            let rows = rows.iter().enumerate().filter(|(row, _)| fate(*row).0 == wanted);
            rows.map(|(_, row)| row.clone()).collect::<Vec<Row>>()
        };
        let inputs: Vec<Segment> = (0..4)
            .map(|number| build(&part(number)))
            .map(|(docs, sections)| Segment::open(&schema(), docs, &sections).expect("valid"))
            .collect();
        let mut places = vec![Vec::new(); 4];
        let mut kept = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            let (input, keep) = fate(number);
            places[input].push(if keep { kept.len() as u32 } else { MergeInput::DROPPED });
            kept.extend(keep.then(|| row.clone()));
        }
        let inputs: Vec<MergeInput<'_>> = inputs
            .iter()
            .zip(&places)
            .map(|(segment, docs)| MergeInput { segment, docs })
            .collect();
        let merged = merge_attributes(&inputs, kept.len() as u32);
        let (_, sections) = build(&kept);
        for (kind, bytes) in merged {
            let built = sections.iter().find(|section| section.0 == kind);
            prop_assert_eq!(&bytes[..], &built.expect("built").2[..]);
        }
    }
}

/// As the property above, of so many documents that columns have several blocks and terms have bitmaps.
#[test]
fn large_columns_merge_into_those_of_the_documents_kept() {
    let text = |text: String| Value::One(Scalar::String(text.into()));
    let row = |number: u32| {
        let mut pairs = vec![
            ("number".into(), Value::One(Scalar::Integer(i64::from(number * 7919 % 5_000)))),
            ("letter".into(), text(["", "a", "b", "é", "è"][number as usize % 5].into())),
            ("few".into(), text((number % 300).to_string())),
        ];
        if !number.is_multiple_of(3) {
            let values =
                [Scalar::Bool(number.is_multiple_of(2)), Scalar::Float(f64::from(number) / 8.0)];
            pairs.push(("many".into(), Value::Many(values.into())));
        }
        let attributes = Attributes::from_pairs(pairs);
        Row {
            key: number.to_be_bytes().into(),
            vectors: vec![None, None],
            metadata: None,
            attributes,
        }
    };
    let mut rows: Vec<Row> = (0..12_000).map(row).collect();
    rows.sort_by_key(|row| (key_hash(&row.key), row.key.clone()));
    let open = |rows: &[Row]| {
        let (docs, sections) = build(rows);
        Segment::open(&schema(), docs, &sections).expect("valid")
    };
    let (first, second) = rows.split_at(7_000);
    let inputs = [open(first), open(second)];
    let is_kept = |row: &usize| row % 11 != 3;
    let mut next = 0;
    let places = (0..rows.len()).map(|row| {
        next += u32::from(is_kept(&row));
        if is_kept(&row) { next - 1 } else { MergeInput::DROPPED }
    });
    let places: Vec<u32> = places.collect();
    let inputs = [
        MergeInput { segment: &inputs[0], docs: &places[..7_000] },
        MergeInput { segment: &inputs[1], docs: &places[7_000..] },
    ];
    let merged = merge_attributes(&inputs, next);
    let kept: Vec<Row> = rows
        .iter()
        .enumerate()
        .filter(|(row, _)| is_kept(row))
        .map(|(_, row)| row.clone())
        .collect();
    let (_, sections) = build(&kept);
    for (kind, bytes) in merged {
        let built = sections.iter().find(|section| section.0 == kind).expect("built");
        assert!(bytes[..] == built.2[..], "{}", kind.name());
    }
    assert_eq!(open(&kept).attributes().len(), kept.len());
}

#[test]
fn a_missing_section_is_corrupt() {
    let (docs, sections) = build(&[]);
    let needed = |place: &usize| sections[*place].0 != SectionKind::VECTOR_EXTENTS;
    for missing in (0..sections.len()).filter(needed) {
        let mut rest = sections.clone();
        rest.remove(missing);
        let opened = Segment::open(&schema(), docs, &rest);
        assert_eq!(opened.expect_err("a section is missing").what, "missing");
    }
}

#[test]
fn sections_of_another_schema_are_corrupt() {
    let (docs, sections) = build(&[]);
    let mut other = schema();
    other.vector_fields[0].dimension = 4;
    assert!(Segment::open(&other, docs, &sections).is_err());
    assert!(Segment::open(&schema(), docs + 1, &sections).is_err());
}

#[test]
#[should_panic(expected = "(hash, key) order")]
fn rows_out_of_order_panic() {
    let row = |key: &[u8]| Row {
        key: key.to_vec(),
        vectors: vec![None, None],
        metadata: None,
        attributes: Attributes::default(),
    };
    build(&[row(b"same"), row(b"same")]);
}
