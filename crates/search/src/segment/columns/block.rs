//! One block: some terms of a column, and which documents have them.

use super::bitmap::{self, DocBits};
use super::term::{FLOAT, INTEGER, Term};
use crate::DocId;
use crate::attributes::{Number, Scalar};
use crate::decode::{Corrupt, Input, write_varint};
use bytes::Bytes;
use roaring::RoaringBitmap;
use std::ops::Range;

const PART: &str = "attribute block";

/// What a block starts with, after its length.
const BITMAP: u8 = 0;
const TERMS: u8 = 1;

/// How values are written.
const BOOLS: u8 = 0;
const INTEGERS: u8 = 1;
const FLOATS: u8 = 2;
const NUMBERS: u8 = 3;
const STRINGS: u8 = 4;

/// Documents are read eight bytes at a time, from wherever they start.
const SLACK: usize = 7;

/// Documents of runs are sorted if fewer than one in this many is selected; otherwise a set with a bit
/// for each document is filled.
const SORT_SHARE: u64 = 128;

/// Bits that each document below `docs` fits in.
fn width_of(docs: u32) -> u32 {
    (u32::BITS - docs.saturating_sub(1).leading_zeros()).max(1)
}

/// Bytes that so many documents of a segment of `docs` take in a block of several terms, about.
pub(super) fn packed_bytes(docs: u32, count: usize) -> usize {
    (count * width_of(docs) as usize).div_ceil(8)
}

/// A block of a single term, or of those that have a key at all.
pub(super) fn write_bitmap(bitmap: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + bitmap.len());
    out.extend_from_slice(&length(1 + bitmap.len()));
    out.push(BITMAP);
    out.extend_from_slice(bitmap);
    out
}

/// A block under construction: terms of one class, ascending.
#[derive(Debug)]
pub(super) struct OpenBlock {
    terms: Vec<Scalar>,
    counts: Vec<u32>,
    docs: Vec<DocId>,
    bytes: usize,
}

impl OpenBlock {
    pub(super) fn new() -> Self {
        Self { terms: Vec::new(), counts: Vec::new(), docs: Vec::new(), bytes: 0 }
    }

    /// Adds a term and its documents, both ascending.
    pub(super) fn push(&mut self, term: Term<'_>, docs: &[DocId]) {
        self.bytes += 4 * docs.len() + 4;
        if let Term::String(text) = term {
            self.bytes += text.len();
        }
        self.terms.push(term.into());
        self.counts.push(docs.len() as u32);
        self.docs.extend_from_slice(docs);
    }

    /// The first and the last of the terms.
    pub(super) fn ends(&self) -> Option<(Term<'_>, Term<'_>)> {
        Some((self.terms.first()?.into(), self.terms.last()?.into()))
    }

    pub(super) fn terms(&self) -> u32 {
        self.terms.len() as u32
    }

    pub(super) fn entries(&self) -> u32 {
        self.docs.len() as u32
    }

    /// Bytes that it will take, at most but for a few.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The block, for a segment of `docs` documents.
    pub(super) fn finish(self, docs: u32) -> Vec<u8> {
        let (kind, values) = write_values(&self.terms);
        let mut counts = Vec::new();
        if self.docs.len() > self.terms.len() {
            self.counts.iter().for_each(|count| write_varint(u64::from(count - 1), &mut counts));
        }
        let width = width_of(docs);
        let mut out = vec![0, 0, 0, 0, TERMS, kind, width as u8];
        for number in [self.terms.len(), self.docs.len(), values.len(), counts.len()] {
            out.extend_from_slice(&length(number));
        }
        out.extend_from_slice(&values);
        out.extend_from_slice(&counts);
        pack(&self.docs, width, &mut out);
        let after = length(out.len() - 4);
        out[..4].copy_from_slice(&after);
        out
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("a block is below 4 GiB").to_le_bytes()
}

fn pack(docs: &[DocId], width: u32, out: &mut Vec<u8>) {
    let (mut word, mut bits) = (0u64, 0);
    for &doc in docs {
        word |= u64::from(doc) << bits;
        bits += width;
        while bits >= 8 {
            out.push(word as u8);
            word >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(word as u8);
    }
    out.extend_from_slice(&[0; SLACK]);
}

fn write_values(terms: &[Scalar]) -> (u8, Vec<u8>) {
    let mut out = Vec::new();
    let all = |is: fn(&Scalar) -> bool| terms.iter().all(is);
    let kind = match terms.first() {
        Some(Scalar::String(_)) => STRINGS,
        Some(Scalar::Bool(_)) => BOOLS,
        _ if all(|term| matches!(term, Scalar::Integer(_))) => INTEGERS,
        _ if all(|term| matches!(term, Scalar::Float(_))) => FLOATS,
        _ => NUMBERS,
    };
    let mut last: &[u8] = &[];
    let mut before = None;
    for term in terms {
        match (term, kind) {
            (Scalar::Bool(value), _) => out.push(u8::from(*value)),
            (Scalar::Integer(value), INTEGERS) => {
                match before.replace(*value) {
                    None => out.extend_from_slice(&value.to_le_bytes()),
                    Some(before) => write_varint(value.wrapping_sub(before) as u64, &mut out),
                };
            }
            (Scalar::Integer(value), _) => {
                out.push(INTEGER);
                out.extend_from_slice(&value.to_le_bytes());
            }
            (Scalar::Float(value), _) => {
                out.extend((kind == NUMBERS).then_some(FLOAT));
                out.extend_from_slice(&value.to_le_bytes());
            }
            (Scalar::String(text), _) => {
                let text = text.as_bytes();
                let shared = last.iter().zip(text).take_while(|(a, b)| a == b).count();
                write_varint(shared as u64, &mut out);
                write_varint((text.len() - shared) as u64, &mut out);
                out.extend_from_slice(&text[shared..]);
                last = text;
            }
        }
    }
    (kind, out)
}

/// Reads the values of a block one after another, and checks that they ascend.
struct Values<'a> {
    kind: u8,
    input: Input<'a>,
    before: Option<Number>,
    text: Vec<u8>,
}

impl<'a> Values<'a> {
    fn new(kind: u8, bytes: &'a [u8]) -> Self {
        Self { kind, input: Input::new(PART, bytes), before: None, text: Vec::new() }
    }

    fn next(&mut self, is_first: bool) -> Result<Term<'_>, Corrupt> {
        match self.kind {
            BOOLS => match self.input.u8()? {
                0 if is_first => Ok(Term::Bool(false)),
                1 if self.before.replace(Number::Integer(1)).is_none() => Ok(Term::Bool(true)),
                _ => Err(self.input.corrupt("boolean")),
            },
            INTEGERS => {
                let value = match self.before {
                    Some(Number::Integer(before)) => {
                        let step = i128::from(self.input.varint()?);
                        i64::try_from(i128::from(before) + step).ok()
                    }
                    _ => Some(self.input.i64()?),
                };
                self.number(value.map(Number::Integer))
            }
            FLOATS => {
                let value = self.input.f64()?;
                self.number(Some(Number::Float(value)))
            }
            NUMBERS => {
                let value = match self.input.u8()? {
                    INTEGER => Some(Number::Integer(self.input.i64()?)),
                    FLOAT => Some(Number::Float(self.input.f64()?)),
                    _ => None,
                };
                self.number(value)
            }
            STRINGS => self.string(is_first),
            _ => Err(self.input.corrupt("kind of values")),
        }
    }

    fn number(&mut self, value: Option<Number>) -> Result<Term<'_>, Corrupt> {
        let value = value.filter(|value| value.compare(*value).is_some());
        let value = value.ok_or(self.input.corrupt("number"))?;
        let ascends = |before: Number| Term::Number(before).order(Term::Number(value)).is_lt();
        if !self.before.replace(value).is_none_or(ascends) {
            return Err(self.input.corrupt("numbers are not ascending"));
        }
        Ok(Term::Number(value))
    }

    fn string(&mut self, is_first: bool) -> Result<Term<'_>, Corrupt> {
        let lengths = [self.input.varint()?, self.input.varint()?];
        let [shared, length] = lengths.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let rest = self.input.take(length)?;
        if shared > self.text.len() || !(is_first || self.text[shared..] < *rest) {
            return Err(self.input.corrupt("strings are not ascending"));
        }
        self.text.truncate(shared);
        self.text.extend_from_slice(rest);
        let text = std::str::from_utf8(&self.text);
        text.map(Term::String).map_err(|_| self.input.corrupt("string"))
    }
}

/// Documents, each in so many bits.
#[derive(Debug)]
struct Packed {
    bytes: Bytes,
    width: u32,
    count: usize,
}

impl Packed {
    fn open(bytes: Bytes, width: u32, count: usize) -> Option<Self> {
        let length = count.checked_mul(width as usize)?.div_ceil(8) + SLACK;
        let is_whole = (1..=u32::BITS).contains(&width) && bytes.len() == length;
        is_whole.then_some(Self { bytes, width, count })
    }

    fn range(&self, range: Range<usize>) -> impl Iterator<Item = DocId> {
        let mask = (1u64 << self.width) - 1;
        range.map(move |place| {
            let bit = place * self.width as usize;
            let eight = self.bytes[bit / 8..].first_chunk().expect("there is slack");
            (u64::from_le_bytes(*eight) >> (bit % 8) & mask) as DocId
        })
    }
}

/// Several terms.
#[derive(Debug)]
struct Terms {
    kind: u8,
    count: u32,
    values: Bytes,
    /// Documents of each term less one, as varints; empty if each has one.
    counts: Bytes,
    docs: Packed,
}

impl Terms {
    fn open(mut input: Input<'_>, bytes: &Bytes, docs: u32) -> Result<Self, Corrupt> {
        let (kind, width) = (input.u8()?, u32::from(input.u8()?));
        let [count, entries] = [input.u32()?, input.u32()?];
        let [values, counts] = [input.u32()?, input.u32()?].map(|bytes| bytes as usize);
        let [values, counts] = [input.take(values)?, input.take(counts)?];
        let packed = bytes.slice_ref(input.rest());
        let packed = Packed::open(packed, width, entries as usize);
        let packed = packed.ok_or(input.corrupt("documents of a block"))?;
        let [values, counts] = [values, counts].map(|part| bytes.slice_ref(part));
        let terms = Self { kind, count, values, counts, docs: packed };
        terms.check(docs)?;
        Ok(terms)
    }

    fn check(&self, docs: u32) -> Result<(), Corrupt> {
        let corrupt = |what| Corrupt { part: PART, what };
        let mut end = 0;
        let visit = |_: Term<'_>, range: Range<usize>| {
            end = range.end;
            let mut before = None;
            let is_next =
                |doc: DocId| before.replace(doc).is_none_or(|last| last < doc) && doc < docs;
            match end <= self.docs.count && self.docs.range(range).all(is_next) {
                true => Ok(()),
                false => Err(corrupt("documents of a term")),
            }
        };
        if self.walk(visit)? && end == self.docs.count && self.count > 0 {
            Ok(())
        } else {
            Err(corrupt("terms of a block"))
        }
    }

    /// Visits each term and the range of its documents; false if bytes are left over.
    fn walk<E: From<Corrupt>>(
        &self,
        mut visit: impl FnMut(Term<'_>, Range<usize>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut values = Values::new(self.kind, &self.values);
        let mut counts = Input::new(PART, &self.counts);
        let mut end = 0usize;
        for number in 0..self.count {
            let more = if self.counts.is_empty() { 0 } else { counts.varint()? };
            let more = usize::try_from(more).unwrap_or(usize::MAX);
            let start = end;
            end = end.saturating_add(more).saturating_add(1);
            visit(values.next(number == 0)?, start..end)?;
        }
        Ok(values.input.rest().is_empty() && counts.rest().is_empty())
    }
}

/// Reader of a block.
#[derive(Debug)]
pub(crate) struct Block(Form);

#[derive(Debug)]
enum Form {
    /// Not empty, if of a term.
    Bitmap(RoaringBitmap),
    /// Invariant: valid, checked when opened.
    Terms(Terms),
}

impl Block {
    /// Reads a block as it is stored, of a segment of `docs` documents.
    pub(crate) fn open(docs: u32, bytes: &Bytes) -> Result<Self, Corrupt> {
        let mut input = Input::new(PART, bytes);
        let block = Self::read(docs, bytes, &mut input)?;
        if input.rest().is_empty() { Ok(block) } else { Err(input.corrupt("bytes left over")) }
    }

    /// Reads the next block of `input`, which is inside `bytes`.
    pub(super) fn read(docs: u32, bytes: &Bytes, input: &mut Input<'_>) -> Result<Self, Corrupt> {
        let length = input.u32()? as usize;
        let mut own = Input::new(PART, input.take(length)?);
        match own.u8()? {
            BITMAP => {
                let bitmap = bitmap::read(own.rest(), docs).ok_or(own.corrupt("bitmap"))?;
                Ok(Self(Form::Bitmap(bitmap)))
            }
            TERMS => Ok(Self(Form::Terms(Terms::open(own, bytes, docs)?))),
            _ => Err(own.corrupt("form of a block")),
        }
    }

    /// Whether it has one set of documents and no values.
    pub(super) fn bitmap(&self) -> Option<&RoaringBitmap> {
        match &self.0 {
            Form::Bitmap(bitmap) => Some(bitmap),
            Form::Terms(_) => None,
        }
    }

    /// How many terms and entries there are, and the class of the terms; `None` for a bitmap.
    pub(super) fn sizes(&self) -> Option<(u32, u32, u8)> {
        let Form::Terms(terms) = &self.0 else { return None };
        let class = match terms.kind {
            BOOLS => 0,
            STRINGS => 2,
            _ => 1,
        };
        Some((terms.count, terms.docs.count as u32, class))
    }

    /// Bytes of memory that it takes beside those it was read from.
    pub(crate) fn extra_weight(&self) -> usize {
        match &self.0 {
            Form::Bitmap(bitmap) => bitmap::weight(bitmap),
            Form::Terms(_) => size_of::<Self>(),
        }
    }

    /// Visits each term and its documents. The term of a bitmap is not in it: it is `single`.
    pub(super) fn for_each(
        &self,
        single: Term<'_>,
        mut visit: impl FnMut(Term<'_>, &mut dyn Iterator<Item = DocId>),
    ) {
        match &self.0 {
            Form::Bitmap(bitmap) => visit(single, &mut bitmap.iter()),
            Form::Terms(terms) => {
                let walked = terms.walk::<Corrupt>(|term, range| {
                    visit(term, &mut terms.docs.range(range));
                    Ok(())
                });
                walked.expect("checked when opened");
            }
        }
    }
}

/// Documents of many terms, collected.
#[derive(Debug)]
pub(super) enum Union {
    Ids(Vec<DocId>, RoaringBitmap),
    Bits(DocBits, RoaringBitmap),
}

impl Union {
    /// Of about so many of `docs` documents.
    pub(super) fn new(docs: u32, entries: u64) -> Self {
        match entries * SORT_SHARE < u64::from(docs) {
            true => Self::Ids(Vec::new(), RoaringBitmap::new()),
            false => Self::Bits(DocBits::new(docs), RoaringBitmap::new()),
        }
    }

    /// Adds the documents of a block's terms: of all, or of those that are wanted.
    pub(super) fn add(&mut self, block: &Block, wanted: Option<&dyn Fn(Term<'_>) -> bool>) {
        let terms = match &block.0 {
            Form::Bitmap(bitmap) => {
                let (Self::Ids(_, bitmaps) | Self::Bits(_, bitmaps)) = self;
                *bitmaps |= bitmap;
                return;
            }
            Form::Terms(terms) => terms,
        };
        let Some(wanted) = wanted else {
            return self.extend(terms.docs.range(0..terms.docs.count));
        };
        let walked = terms.walk::<Corrupt>(|term, range| {
            if wanted(term) {
                self.extend(terms.docs.range(range));
            }
            Ok(())
        });
        walked.expect("checked when opened");
    }

    fn extend(&mut self, docs: impl Iterator<Item = DocId>) {
        match self {
            Self::Ids(ids, _) => ids.extend(docs),
            Self::Bits(bits, _) => docs.for_each(|doc| bits.set(doc)),
        }
    }

    pub(super) fn finish(self) -> RoaringBitmap {
        let (set, bitmaps) = match self {
            Self::Ids(mut ids, bitmaps) => {
                ids.sort_unstable();
                ids.dedup();
                (RoaringBitmap::from_sorted_iter(ids).expect("documents ascend"), bitmaps)
            }
            Self::Bits(bits, bitmaps) => (bits.into(), bitmaps),
        };
        if bitmaps.is_empty() { set } else { set | bitmaps }
    }
}
