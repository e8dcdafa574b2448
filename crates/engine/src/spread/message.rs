//! What processes tell each other about a share of a scan. Little-endian, one version; processes of
//! different versions refuse each other's and scan for themselves.
//!
//! ```text
//! share:   format u8 = 2 | index u128 | query | body: as in a manifest (index/body.rs), of the
//!          segments to scan, each with the asking snapshot's deletions inline
//! query:   field u8 | top_k u32 | with_metadata u8 | precision | vector: u32 count, f32 each | filter
//! filter:  u8   0 all
//!               1 and, 2 or: u32 count, filters
//!               3 test: key: u32 length, UTF-8 | test
//! test:    u8   0 eq, 1 ne: scalar
//!               2 gt, 3 gte, 4 lt, 5 lte: scalar that is a number
//!               6 in, 7 not in: u32 count, scalars
//!               8 exists: u8
//! scalar:  u8   0 string: u32 length, UTF-8 | 1 integer i64 | 2 float f64 | 3 bool u8
//! precision: u8 0 usual | 1 recall: f32 | 2 exact
//! answer:  format u8 = 2 | explain: u64 x 14, recall f32 | u32 count, nearest first, each
//!          rank f64 | key: u32 length, bytes | metadata: u8 0 or 1, then u32 length, bytes
//! ```
//!
//! Invariant: what decodes can be run: the field exists, the vector has its dimension and is finite,
//! the filter does not nest deeper than [`DEPTH_MAX`], deletions are of documents that exist.

use std::sync::Arc;

use bytes::Bytes;
use vb_search::{Filter, Metric, Number, Scalar, Schema, Test};

use crate::codec::{DecodeError, Reader, Write, length_u32};
use crate::fetch::Origin;
use crate::index::body::{
    Body, Counters, DeletedBitmap, SegmentEntry, decode_bitmap, encode_bitmap,
};
use crate::index::view::{Folded, SegmentView};
use crate::query::Found;
use crate::records::IndexId;
use crate::requests::{Explain, Hit, Precision, Query};

const FORMAT: u8 = 2;
/// How deep a filter may nest.
const DEPTH_MAX: usize = 64;

/// A share of a scan.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) index: IndexId,
    pub(super) schema: Arc<Schema>,
    pub(super) query: Query,
    pub(super) segments: Vec<SegmentView>,
}

/// The request for a share.
pub(super) fn encode_share(origin: &Origin, query: &Query, segments: &[SegmentView]) -> Bytes {
    let entry = |view: &SegmentView| SegmentEntry {
        meta: (*view.meta).clone(),
        deleted: match encode_bitmap(&view.deleted) {
            none if none.is_empty() => DeletedBitmap::None,
            bytes => DeletedBitmap::Inline(bytes.into()),
        },
    };
    let docs = segments.iter().map(|view| u64::from(view.docs())).sum();
    let live = segments.iter().map(SegmentView::live).sum();
    let counters = Counters { live, docs, deleted: docs - live, ..Counters::default() };
    let body = Body {
        schema: (*origin.schema).clone(),
        counters,
        segments: segments.iter().map(entry).collect(),
    };
    let mut out = vec![FORMAT];
    out.put_u128(origin.id.0);
    put_query(&mut out, query);
    out.extend_from_slice(&body.encode());
    out.into()
}

impl Share {
    pub(super) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        check_format(&mut reader)?;
        let index = IndexId(reader.u128()?);
        let query = read_query(&mut reader)?;
        let rest = reader.left();
        let body = Body::decode(reader.take(rest)?)?;
        let field = body.schema.vector_fields.get(query.field);
        let dimension = field.ok_or(reader.error("no such vector field"))?.dimension as usize;
        let is_fine = query.vector.len() == dimension && query.vector.iter().all(|v| v.is_finite());
        if !is_fine {
            return Err(reader.error("the vector does not fit its field"));
        }
        let schema = Arc::new(body.schema);
        let entries = body.segments.into_iter();
        let segments: Result<_, _> =
            entries.map(|entry| segment(&schema, entry, &reader)).collect();
        Ok(Self { index, query, segments: segments?, schema })
    }
}

fn segment(
    schema: &Schema,
    entry: SegmentEntry,
    reader: &Reader,
) -> Result<SegmentView, DecodeError> {
    let bits = match &entry.deleted {
        DeletedBitmap::None => Default::default(),
        DeletedBitmap::Inline(bytes) => decode_bitmap(bytes, entry.meta.docs)?,
        DeletedBitmap::Object(_) => return Err(reader.error("deletions are brought inline")),
    };
    let folded = Folded { bits: Arc::new(bits), stored: entry.deleted };
    SegmentView::new(schema, Arc::new(entry.meta), folded)
        .map_err(|_| reader.error("the sections of a segment do not hold together"))
}

fn check_format(reader: &mut Reader) -> Result<(), DecodeError> {
    match reader.u8()? {
        FORMAT => Ok(()),
        _ => Err(reader.error("unknown format")),
    }
}

fn put_query(out: &mut Vec<u8>, query: &Query) {
    out.put_u8(u8::try_from(query.field).expect("a schema has at most 3 vector fields"));
    out.put_u32(u32::try_from(query.top_k).unwrap_or(u32::MAX));
    out.put_u8(u8::from(query.with_metadata));
    put_precision(out, query.precision);
    out.put_list(&query.vector, |out, value| out.put_u32(value.to_bits()));
    put_filter(out, &query.filter);
}

fn read_query(reader: &mut Reader) -> Result<Query, DecodeError> {
    Ok(Query {
        field: usize::from(reader.u8()?),
        top_k: reader.length()?,
        with_metadata: truth(reader)?,
        precision: read_precision(reader)?,
        vector: reader.list(4, |reader| reader.u32().map(f32::from_bits))?,
        filter: read_filter(reader, DEPTH_MAX)?,
    })
}

fn put_precision(out: &mut Vec<u8>, precision: Precision) {
    match precision {
        Precision::Usual => out.put_u8(0),
        Precision::Recall(recall) => {
            out.put_u8(1);
            out.put_u32(recall.to_bits());
        }
        Precision::Exact => out.put_u8(2),
    }
}

fn read_precision(reader: &mut Reader) -> Result<Precision, DecodeError> {
    match reader.u8()? {
        0 => Ok(Precision::Usual),
        1 => match f32::from_bits(reader.u32()?) {
            recall if recall > 0.0 && recall <= 1.0 => Ok(Precision::Recall(recall)),
            _ => Err(reader.error("no share")),
        },
        2 => Ok(Precision::Exact),
        _ => Err(reader.error("unknown precision")),
    }
}

fn put_explain(out: &mut Vec<u8>, explain: &Explain) {
    let counts = [
        explain.segments_probed,
        explain.segments_matched,
        explain.segments_scanned,
        explain.segments_skipped,
        explain.rows_scanned,
        explain.lists,
        explain.lists_skipped,
        explain.codes,
        explain.row_codes,
        explain.candidates,
        explain.waves,
        explain.reads,
    ];
    counts.into_iter().for_each(|count| out.put_u64(count as u64));
    out.put_u64(explain.bytes);
    out.put_u64(explain.bytes_read);
    out.put_u32(explain.recall.to_bits());
}

fn read_explain(reader: &mut Reader) -> Result<Explain, DecodeError> {
    let count = |reader: &mut Reader| -> Result<usize, DecodeError> {
        // Far below the largest, so that counts of all processes can be added up.
        let count = reader.u64()?;
        u32::try_from(count).map(|count| count as usize).map_err(|_| reader.error("a count"))
    };
    let bytes = |reader: &mut Reader| match reader.u64()? {
        bytes if bytes < 1 << 56 => Ok(bytes),
        _ => Err(reader.error("bytes")),
    };
    Ok(Explain {
        segments_probed: count(reader)?,
        segments_matched: count(reader)?,
        segments_scanned: count(reader)?,
        segments_skipped: count(reader)?,
        rows_scanned: count(reader)?,
        lists: count(reader)?,
        lists_skipped: count(reader)?,
        codes: count(reader)?,
        row_codes: count(reader)?,
        candidates: count(reader)?,
        waves: count(reader)?,
        reads: count(reader)?,
        bytes: bytes(reader)?,
        bytes_read: bytes(reader)?,
        recall: match f32::from_bits(reader.u32()?) {
            recall if (0.0..=1.0).contains(&recall) => recall,
            _ => return Err(reader.error("no share")),
        },
    })
}

fn truth(reader: &mut Reader) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(reader.error("a truth is 0 or 1")),
    }
}

fn put_filter(out: &mut Vec<u8>, filter: &Filter) {
    match filter {
        Filter::All => out.put_u8(0),
        Filter::And(parts) => {
            out.put_u8(1);
            out.put_list(parts, put_filter);
        }
        Filter::Or(parts) => {
            out.put_u8(2);
            out.put_list(parts, put_filter);
        }
        Filter::Test { key, test } => {
            out.put_u8(3);
            out.put_block(key.as_bytes());
            put_test(out, test);
        }
    }
}

fn read_filter(reader: &mut Reader, depth_max: usize) -> Result<Filter, DecodeError> {
    let Some(below) = depth_max.checked_sub(1) else {
        return Err(reader.error("the filter nests too deeply"));
    };
    match reader.u8()? {
        0 => Ok(Filter::All),
        1 => reader.list(1, |reader| read_filter(reader, below)).map(Filter::And),
        2 => reader.list(1, |reader| read_filter(reader, below)).map(Filter::Or),
        3 => {
            let key = reader.string()?.into();
            Ok(Filter::Test { key, test: read_test(reader)? })
        }
        _ => Err(reader.error("unknown filter")),
    }
}

fn put_test(out: &mut Vec<u8>, test: &Test) {
    let mut one = |tag, scalar: &Scalar| {
        out.put_u8(tag);
        put_scalar(out, scalar);
    };
    match test {
        Test::Eq(scalar) => one(0, scalar),
        Test::Ne(scalar) => one(1, scalar),
        Test::Gt(number) => one(2, &scalar(*number)),
        Test::Gte(number) => one(3, &scalar(*number)),
        Test::Lt(number) => one(4, &scalar(*number)),
        Test::Lte(number) => one(5, &scalar(*number)),
        Test::In(list) => {
            out.put_u8(6);
            out.put_list(list, put_scalar);
        }
        Test::NotIn(list) => {
            out.put_u8(7);
            out.put_list(list, put_scalar);
        }
        Test::Exists(present) => {
            out.put_u8(8);
            out.put_u8(u8::from(*present));
        }
    }
}

fn read_test(reader: &mut Reader) -> Result<Test, DecodeError> {
    Ok(match reader.u8()? {
        0 => Test::Eq(read_scalar(reader)?),
        1 => Test::Ne(read_scalar(reader)?),
        2 => Test::Gt(read_number(reader)?),
        3 => Test::Gte(read_number(reader)?),
        4 => Test::Lt(read_number(reader)?),
        5 => Test::Lte(read_number(reader)?),
        6 => Test::In(reader.list(2, read_scalar)?),
        7 => Test::NotIn(reader.list(2, read_scalar)?),
        8 => Test::Exists(truth(reader)?),
        _ => return Err(reader.error("unknown test")),
    })
}

fn scalar(number: Number) -> Scalar {
    match number {
        Number::Integer(value) => Scalar::Integer(value),
        Number::Float(value) => Scalar::Float(value),
    }
}

fn put_scalar(out: &mut Vec<u8>, scalar: &Scalar) {
    match scalar {
        Scalar::String(text) => {
            out.put_u8(0);
            out.put_block(text.as_bytes());
        }
        Scalar::Integer(value) => {
            out.put_u8(1);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Scalar::Float(value) => {
            out.put_u8(2);
            out.put_u64(value.to_bits());
        }
        Scalar::Bool(value) => {
            out.put_u8(3);
            out.put_u8(u8::from(*value));
        }
    }
}

fn read_scalar(reader: &mut Reader) -> Result<Scalar, DecodeError> {
    Ok(match reader.u8()? {
        0 => Scalar::String(reader.string()?.into()),
        1 => Scalar::Integer(reader.u64()?.cast_signed()),
        2 => match f64::from_bits(reader.u64()?) {
            value if value.is_nan() => return Err(reader.error("a number that is none")),
            value => Scalar::Float(value),
        },
        3 => Scalar::Bool(truth(reader)?),
        _ => return Err(reader.error("unknown scalar")),
    })
}

fn read_number(reader: &mut Reader) -> Result<Number, DecodeError> {
    match read_scalar(reader)? {
        Scalar::Integer(value) => Ok(Number::Integer(value)),
        Scalar::Float(value) => Ok(Number::Float(value)),
        Scalar::String(_) | Scalar::Bool(_) => Err(reader.error("not a number")),
    }
}

/// What was found in a share.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    explain: Explain,
    winners: Vec<Winner>,
}

#[derive(Clone, Debug, PartialEq)]
struct Winner {
    rank: f64,
    key: Bytes,
    metadata: Option<Bytes>,
}

impl From<Found> for Answer {
    fn from(found: Found) -> Self {
        let winner =
            |(hit, rank): (Hit, f64)| Winner { rank, key: hit.key, metadata: hit.metadata };
        Self {
            explain: found.explain,
            winners: found.hits.into_iter().zip(found.ranks).map(winner).collect(),
        }
    }
}

impl Answer {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = vec![FORMAT];
        put_explain(&mut out, &self.explain);
        out.put_u32(length_u32(self.winners.len()));
        for winner in &self.winners {
            out.put_u64(winner.rank.to_bits());
            out.put_block(&winner.key);
            out.put_option(winner.metadata.as_ref(), |out, metadata| out.put_block(metadata));
        }
        out.into()
    }

    /// An answer to a query for `top_k` records.
    pub(super) fn decode(bytes: Bytes, top_k: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        check_format(&mut reader)?;
        let explain = read_explain(&mut reader)?;
        let winners = reader.list(13, |reader| {
            let rank = f64::from_bits(reader.u64()?);
            if rank.is_nan() {
                return Err(reader.error("a rank that is no number"));
            }
            Ok(Winner { rank, key: reader.block()?, metadata: reader.option(Reader::block)? })
        })?;
        reader.finish()?;
        if winners.len() > top_k {
            return Err(reader.error("more records than asked for"));
        }
        Ok(Self { explain, winners })
    }

    pub(super) fn found(self, metric: Metric) -> Found {
        let ranks = self.winners.iter().map(|winner| winner.rank).collect();
        let hit = |winner: Winner| Hit {
            key: winner.key,
            distance: metric.distance(winner.rank),
            metadata: winner.metadata,
        };
        let hits = self.winners.into_iter().map(hit).collect();
        Found { hits, ranks, explain: self.explain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Filter {
        let test = |test| Filter::Test { key: "k".into(), test };
        let scalars = || {
            vec![
                Scalar::String("ü".into()),
                Scalar::Integer(i64::MIN),
                Scalar::Float(-0.5),
                Scalar::Bool(true),
            ]
        };
        let numbers = [Number::Integer(-7), Number::Float(1e300)];
        let mut tests: Vec<Filter> = numbers
            .iter()
            .flat_map(|n| [Test::Gt(*n), Test::Gte(*n), Test::Lt(*n), Test::Lte(*n)])
            .map(test)
            .collect();
        tests.extend(scalars().into_iter().map(Test::Eq).map(test));
        tests.extend(scalars().into_iter().map(Test::Ne).map(test));
        tests.extend([Test::In(scalars()), Test::NotIn(vec![])].map(test));
        tests.extend([Test::Exists(true), Test::Exists(false)].map(test));
        Filter::And(vec![Filter::Or(tests), Filter::All, Filter::Or(vec![])])
    }

    fn query() -> Query {
        let vector = vec![1.0, -0.0, f32::MIN_POSITIVE];
        let precision = Precision::Recall(0.9);
        Query { field: 2, vector, top_k: 500, filter: everything(), with_metadata: true, precision }
    }

    #[test]
    fn queries_read_back() {
        let mut out = Vec::new();
        put_query(&mut out, &query());
        let mut reader = Reader::new(out.clone().into());
        let read = read_query(&mut reader).unwrap();
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(format!("{read:?}"), format!("{:?}", query()));
        for end in 0..out.len() {
            let mut reader = Reader::new(out[..end].to_vec().into());
            assert!(read_query(&mut reader).is_err(), "{end}");
        }
    }

    #[test]
    fn filters_are_bounded_in_depth() {
        let nested = |depth: usize| {
            let mut out = Vec::new();
            let filter = (1..depth).fold(Filter::All, |inner, _| Filter::And(vec![inner]));
            put_filter(&mut out, &filter);
            read_filter(&mut Reader::new(out.into()), DEPTH_MAX).map(|read| read == filter)
        };
        assert_eq!(nested(DEPTH_MAX), Ok(true));
        assert!(nested(DEPTH_MAX + 1).is_err());
    }

    #[test]
    fn answers_read_back_and_are_no_longer_than_asked() {
        let winner = |rank, metadata| Winner { rank, key: Bytes::from_static(b"key"), metadata };
        let winners = vec![winner(-1.5, None), winner(2.0, Some(Bytes::from_static(b"{}")))];
        let explain = Explain { rows_scanned: 77, bytes: 5, recall: 0.5, ..Explain::default() };
        let answer = Answer { explain, winners };
        let bytes = answer.encode();
        assert_eq!(Answer::decode(bytes.clone(), 2), Ok(answer.clone()));
        assert!(Answer::decode(bytes.clone(), 1).is_err());
        for end in 0..bytes.len() {
            assert!(Answer::decode(bytes.slice(..end), 2).is_err(), "{end}");
        }
        let nan = Answer { explain: Explain::default(), winners: vec![winner(f64::NAN, None)] };
        assert!(Answer::decode(nan.encode(), 1).is_err());
    }
}
