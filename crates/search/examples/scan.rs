//! Exact scans of a segment against the plain read bandwidth of the same memory, one thread.
//! Filters are measured on the whole section in pieces of 8,192 rows, and once more extent by extent, as
//! segments are read from a store.
//! `cargo run --release -p vb-search --example scan [ROWS [DIMENSION]]`

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use bytes::Bytes;
use roaring::RoaringBitmap;
use std::hint::black_box;
use std::time::Instant;
use vb_kernel::Kernels;
use vb_search::{
    Attributes, Filter, Mask, Metric, Number, Part, PartId, Place, PreparedQuery, RowRef, Scalar,
    Schema, SectionKind, SectionPlace, Segment, SegmentBuilder, StoredSection, Test, TopK, Value,
    VectorField, checksum, key_hash, scan_rows,
};

const REPEATS: usize = 7;
const CHUNK_ROWS: usize = 8192;

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let rows = arguments.next().unwrap_or(340_000usize);
    let dimension = arguments.next().unwrap_or(100usize);
    for metric in [Metric::Euclidean, Metric::Cosine] {
        measure(metric, rows, dimension);
    }
}

fn measure(metric: Metric, rows: usize, dimension: usize) {
    let schema = schema(metric, dimension);
    let (docs, sections) = build(&schema, rows, dimension);
    let start = Instant::now();
    let segment = Segment::open(&schema, docs, &sections).expect("just built");
    println!("{metric:?} {rows} x {dimension}: opened in {:.1} ms", milliseconds(start));
    let values = segment.rows(0, 0..segment.row_count(0)).values;
    let read = best(|| black_box(values.iter().fold(0, |sum, x| sum ^ x.to_bits())));
    let bytes = size_of_val(values) as f64;
    println!("  plain read            {:7.2} ms {:6.2} GB/s", read * 1e3, bytes / 1e9 / read);
    for percent in [100.0, 99.0, 90.0, 50.0, 40.0, 20.0, 10.0, 1.0, 0.1] {
        measure_filtered(&segment, metric, percent, read);
    }
    drop(segment);
    let segment = in_parts(&schema, docs, sections);
    for percent in [100.0, 50.0, 10.0, 1.0] {
        measure_filtered(&segment, metric, percent, read);
    }
}

/// The segment, read part by part.
fn in_parts(schema: &Schema, docs: u32, sections: Vec<StoredSection>) -> Segment {
    let (mut object, mut table) = (Vec::new(), Vec::new());
    for (kind, field, bytes) in sections {
        object.resize(object.len().next_multiple_of(64), 0);
        let range = object.len() as u64..(object.len() + bytes.len()) as u64;
        table.push(SectionPlace { kind, field, range, crc: checksum(&bytes) });
        object.extend_from_slice(&bytes);
    }
    let start = Instant::now();
    let mut segment = Segment::of_parts(schema, docs, table).expect("just built");
    for ids in [Segment::section_parts, Segment::piece_parts] {
        for id in ids(&segment) {
            let (range, crc) = segment.place(id).expect("just built");
            let bytes = &object[range.start as usize..range.end as usize];
            assert_eq!(checksum(bytes), crc);
            let part = Part::open(schema, docs, id, bytes).expect("just built");
            segment.add(&part).expect("just built");
        }
    }
    let extents = segment.extent_count(0);
    println!("  checked and opened as {extents} extents in {:.1} ms", milliseconds(start));
    segment
}

fn measure_filtered(segment: &Segment, metric: Metric, percent: f64, read: f64) {
    let dimension = segment.rows(0, 0..1).values.len();
    let query: Vec<f32> = random(99).take(dimension).collect();
    let query = PreparedQuery::new(Kernels::detect(), metric, &query);
    let bound = Number::Float(percent * 1000.0);
    let filter = Filter::Test { key: "part".into(), test: Test::Lt(bound) };
    let allowed = (percent < 100.0).then(|| segment.select(&filter));
    let select = best(|| segment.select(&filter).len() as u32);
    let deleted: RoaringBitmap = (0..segment.docs()).step_by(97).collect();
    let mask = Mask { allowed: allowed.as_ref(), deleted: Some(&deleted) };
    let time = best(|| scan(segment, &query, mask));
    let share = percent / 100.0;
    println!(
        "  scan of {percent:5.1} %       {:7.3} ms {:6.1} % of the bandwidth, {:6.1} % of a full read; select {:.3} ms",
        time * 1e3,
        100.0 * share * read / time,
        100.0 * time / read,
        select * 1e3,
    );
}

fn scan(segment: &Segment, query: &PreparedQuery, mask: Mask<'_>) -> u32 {
    let order = |a: Place, b: Place| segment.key(a.doc).cmp(segment.key(b.doc));
    let mut top = TopK::new(10);
    let count = segment.row_count(0);
    for start in (0..count).step_by(CHUNK_ROWS) {
        let chunk = start..count.min(start + CHUNK_ROWS);
        let pieces = match segment.has(vectors()) {
            true => vec![(0, chunk)],
            false => segment.extents_of_rows(0, chunk),
        };
        for (_, rows) in pieces {
            scan_rows(query, segment.rows(0, rows), mask, 0, &mut top, &order);
        }
    }
    top.into_sorted(&order)[0].place.doc
}

fn vectors() -> PartId {
    PartId::Section(SectionKind::VECTORS, 0)
}

fn schema(metric: Metric, dimension: usize) -> Schema {
    let dimension = dimension as u32;
    let field = VectorField { name: "v".into(), dimension, metric };
    Schema { vector_fields: vec![field], non_filterable: Vec::new() }
}

/// Rows of random values with an attribute `part`, uniform over 0..100,000.
fn build(schema: &Schema, rows: usize, dimension: usize) -> (u32, Vec<StoredSection>) {
    let mut keys: Vec<String> = (0..rows).map(|row| format!("key-{row}")).collect();
    keys.sort_by_cached_key(|key| key_hash(key.as_bytes()));
    let mut builder = SegmentBuilder::new(schema, Kernels::detect());
    let mut values = random(7);
    for (row, key) in keys.iter().enumerate() {
        let vector: Vec<f32> = values.by_ref().take(dimension).collect();
        let part = Scalar::Integer((row as i64).wrapping_mul(7_919) % 100_000);
        let attributes = Attributes::from_pairs(vec![("part".into(), Value::One(part))]);
        let metadata = format!("{{\"word\":\"{key}\",\"part\":{row}}}");
        builder.push(RowRef {
            key: key.as_bytes(),
            vectors: &[Some(&vector)],
            metadata: Some(metadata.as_bytes()),
            attributes: &attributes,
        });
    }
    let start = Instant::now();
    let built = builder.finish();
    println!("finished in {:.1} ms", milliseconds(start));
    let sections = built.sections.into_iter();
    (built.docs, sections.map(|(kind, field, bytes)| (kind, field, Bytes::from(bytes))).collect())
}

/// Values in -1..1 (xorshift).
fn random(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    })
}

/// The best of some passes, in seconds.
fn best(mut pass: impl FnMut() -> u32) -> f64 {
    let times = (0..REPEATS).map(|_| {
        let start = Instant::now();
        black_box(pass());
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
