//! Sections of version 1, as they were written before columns were cut into blocks; they are brought into today's layout when
//! opened.
//!
//! ```text
//! header (counts: columns, 0) | u32 end offset x columns | columns, ascending by key
//!
//! column:      u32 key length, u32 presence length, u32 terms, u32 postings kind (0 bitmaps, 1 runs)
//!              key bytes | presence: roaring bitmap | dictionary | postings | numbers
//! dictionary:  u8 tag x terms | u32 end offset x terms | term bytes
//!              tag and bytes: 0 false, nothing; 1 true, nothing; 2 integer, i64; 3 float, f64; 4 string, UTF-8
//! postings:    bitmaps: u32 end offset x terms | one roaring bitmap per term
//!              runs:    u32 end entry x terms  | u32 document x entries, ascending within a term
//! numbers:     u32 entries | u32 document x entries | u32 term x entries
//! ```

use super::bitmap;
use super::term::Dictionary;
use super::write::{AttributeSections, SectionWriter};
use crate::DocId;
use crate::decode::Corrupt;
use crate::segment::section::{Body, Pieces, U32s};

const BITMAPS: u32 = 0;
const RUNS: u32 = 1;

/// The sections of today that say the same as the body of an old one.
pub(super) fn convert(mut body: Body) -> Result<AttributeSections, Corrupt> {
    let pieces = body.pieces(body.counts[0] as usize)?;
    body.end()?;
    let mut section = SectionWriter::new(body.docs);
    let mut last: Option<Box<str>> = None;
    for index in 0..pieces.len() {
        let key = column(body.nested(pieces.shared(index)), &mut section)?;
        let ascends = last.as_ref().is_none_or(|last| *last < key);
        body.check(ascends, "columns are not ascending")?;
        last = Some(key);
    }
    Ok(section.finish())
}

fn column(mut body: Body, section: &mut SectionWriter) -> Result<Box<str>, Corrupt> {
    let [key, present, terms, kind] = [body.u32()?, body.u32()?, body.u32()?, body.u32()?];
    let key = body.take(key as usize)?;
    let key = std::str::from_utf8(&key).map_err(|_| body.corrupt("key is not UTF-8"))?;
    let present = bitmap::read(&body.take(present as usize)?, body.docs);
    let present = present.ok_or(body.corrupt("bitmap of presence"))?;
    let dictionary = Dictionary::open(terms as usize, &mut body)?;
    let postings = match kind {
        BITMAPS => Postings::Bitmaps(body.pieces(terms as usize)?),
        RUNS => Postings::runs(terms as usize, &mut body)?,
        _ => return Err(body.corrupt("kind of postings")),
    };
    // The numbers by document, which the postings tell as well.
    let numbers = body.u32()? as usize;
    let _: [U32s; 2] = [body.u32s(numbers)?, body.u32s(numbers)?];
    body.end()?;
    let mut column = section.column(postings.entries(), &present);
    for term in 0..terms {
        let docs = postings.docs(term as usize, &body)?;
        let is_present = docs.iter().all(|doc| present.contains(*doc));
        body.check(is_present, "documents of a term")?;
        column.push(dictionary.at(term), &docs);
    }
    column.finish(key);
    Ok(key.into())
}

enum Postings {
    Bitmaps(Pieces),
    Runs { ends: U32s, entries: U32s },
}

impl Postings {
    fn runs(terms: usize, body: &mut Body) -> Result<Self, Corrupt> {
        let ends = body.u32s(terms)?;
        body.check(ends.iter().is_sorted_by(|a, b| a < b), "ends of runs")?;
        let entries = body.u32s(ends.iter().next_back().unwrap_or(0) as usize)?;
        Ok(Self::Runs { ends, entries })
    }

    /// How many entries there are, as far as that can be seen.
    fn entries(&self) -> usize {
        match self {
            Self::Bitmaps(pieces) => pieces.len(),
            Self::Runs { entries, .. } => entries.len(),
        }
    }

    fn docs(&self, term: usize, body: &Body) -> Result<Vec<DocId>, Corrupt> {
        let docs: Vec<DocId> = match self {
            Self::Bitmaps(pieces) => {
                let bitmap = bitmap::read(pieces.at(term), body.docs);
                bitmap.ok_or(body.corrupt("bitmap of a term"))?.iter().collect()
            }
            Self::Runs { ends, entries } => {
                let start = term.checked_sub(1).map_or(0, |before| ends.at(before));
                entries.range(start as usize..ends.at(term) as usize).collect()
            }
        };
        let ascends = docs.is_sorted_by(|a, b| a < b);
        let inside = docs.last().is_some_and(|last| *last < body.docs);
        body.check(ascends && inside, "documents of a term")?;
        Ok(docs)
    }
}
