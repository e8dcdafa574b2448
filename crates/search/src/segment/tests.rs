//! Segments give back what was put in.

use super::{RowRef, Segment, SegmentBuilder, StoredSection};
use crate::testing::{attributes, filter};
use crate::{Attributes, Docs, Filter, Metric, Schema, VectorField, key_hash};
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

#[test]
fn a_missing_section_is_corrupt() {
    let (docs, sections) = build(&[]);
    for missing in 0..sections.len() {
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
