//! Values in order.

use crate::attributes::{Number, Scalar};
use crate::decode::Corrupt;
use crate::segment::section::{Body, Pieces, write_pieces};
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::Range;

const FALSE: u8 = 0;
const TRUE: u8 = 1;
pub(super) const INTEGER: u8 = 2;
pub(super) const FLOAT: u8 = 3;
const STRING: u8 = 4;

/// A value, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Term<'a> {
    Bool(bool),
    Number(Number),
    String(&'a str),
}

impl<'a> From<&'a Scalar> for Term<'a> {
    fn from(scalar: &'a Scalar) -> Self {
        match scalar {
            Scalar::Bool(value) => Term::Bool(*value),
            Scalar::Integer(value) => Term::Number(Number::Integer(*value)),
            Scalar::Float(value) => Term::Number(Number::Float(*value)),
            Scalar::String(text) => Term::String(text),
        }
    }
}

impl From<Term<'_>> for Scalar {
    fn from(term: Term<'_>) -> Self {
        match term {
            Term::Bool(value) => Scalar::Bool(value),
            Term::Number(Number::Integer(value)) => Scalar::Integer(value),
            Term::Number(Number::Float(value)) => Scalar::Float(value),
            Term::String(text) => Scalar::String(text.into()),
        }
    }
}

impl Term<'_> {
    /// The order by type, then by value: `1` and `1.0` are equal here. `None` for a NaN.
    pub(super) fn compare_value(self, other: Term<'_>) -> Option<Ordering> {
        match (self, other) {
            (Term::Bool(a), Term::Bool(b)) => Some(a.cmp(&b)),
            (Term::Number(a), Term::Number(b)) => a.compare(b),
            (Term::String(a), Term::String(b)) => Some(a.cmp(b)),
            _ => Some(self.class().cmp(&other.class())),
        }
    }

    /// The order of a dictionary: by value, equal numbers integer first, then -0.0 before 0.0.
    pub(super) fn order(self, other: Term<'_>) -> Ordering {
        let by_value = self.compare_value(other).expect("a dictionary holds no NaN");
        by_value.then_with(|| match (self, other) {
            (Term::Number(Number::Integer(_)), Term::Number(Number::Float(_))) => Ordering::Less,
            (Term::Number(Number::Float(_)), Term::Number(Number::Integer(_))) => Ordering::Greater,
            (Term::Number(Number::Float(a)), Term::Number(Number::Float(b))) => a.total_cmp(&b),
            _ => Ordering::Equal,
        })
    }

    /// Booleans, numbers, strings: the order of types.
    pub(super) fn class(self) -> u8 {
        match self {
            Term::Bool(_) => 0,
            Term::Number(_) => 1,
            Term::String(_) => 2,
        }
    }

    fn number_bytes(self) -> [u8; 8] {
        match self {
            Term::Number(Number::Integer(value)) => value.to_le_bytes(),
            Term::Number(Number::Float(value)) => value.to_le_bytes(),
            Term::Bool(_) | Term::String(_) => [0; 8],
        }
    }

    fn tag(self) -> u8 {
        match self {
            Term::Bool(false) => FALSE,
            Term::Bool(true) => TRUE,
            Term::Number(Number::Integer(_)) => INTEGER,
            Term::Number(Number::Float(_)) => FLOAT,
            Term::String(_) => STRING,
        }
    }
}

/// Writes the dictionary of ascending `terms`.
pub(super) fn build_dictionary(terms: &[Term<'_>], out: &mut Vec<u8>) {
    out.extend(terms.iter().map(|term| term.tag()));
    let numbers: Vec<[u8; 8]> = terms.iter().map(|term| term.number_bytes()).collect();
    let pieces = terms.iter().zip(&numbers).map(|(term, number)| match term {
        Term::Bool(_) => &[][..],
        Term::Number(_) => &number[..],
        Term::String(text) => text.as_bytes(),
    });
    write_pieces(pieces, out);
}

/// Reader of a dictionary.
#[derive(Debug)]
pub(super) struct Dictionary {
    tags: Bytes,
    /// Invariant: every term is valid for its tag, and terms ascend strictly.
    pieces: Pieces,
    /// The terms that are numbers.
    numbers: Range<u32>,
}

impl Dictionary {
    pub(super) fn open(count: usize, body: &mut Body) -> Result<Self, Corrupt> {
        let tags = body.take(count)?;
        let pieces = body.pieces(count)?;
        for index in 0..count {
            body.check(decode(tags[index], pieces.at(index)).is_some(), "term")?;
        }
        let mut dictionary = Self { tags, pieces, numbers: 0..0 };
        let ascends = |index: &u32| dictionary.at(index - 1).order(dictionary.at(*index)).is_lt();
        body.check((1..count as u32).all(|index| ascends(&index)), "terms are not ascending")?;
        let start = dictionary.first_where(|term| term.class() >= 1);
        dictionary.numbers = start..dictionary.first_where(|term| term.class() >= 2);
        Ok(dictionary)
    }

    pub(super) fn len(&self) -> u32 {
        self.tags.len() as u32
    }

    pub(super) fn numbers(&self) -> Range<u32> {
        self.numbers.clone()
    }

    /// # Panics
    /// If `term` is out of range.
    pub(super) fn at(&self, term: u32) -> Term<'_> {
        decode(self.tags[term as usize], self.pieces.at(term as usize))
            .expect("validated when opened")
    }

    /// The terms equal to `value`: none, one, or a few numbers of one value.
    pub(super) fn equal(&self, value: Term<'_>) -> Range<u32> {
        let Some(_) = value.compare_value(value) else {
            return 0..0;
        };
        let not_less = |term: Term<'_>| term.compare_value(value).is_some_and(Ordering::is_ge);
        let greater = |term: Term<'_>| term.compare_value(value).is_some_and(Ordering::is_gt);
        self.first_where(not_less)..self.first_where(greater)
    }

    /// The first term for which `holds`, which must be false up to some term and true from there.
    pub(super) fn first_where(&self, holds: impl Fn(Term<'_>) -> bool) -> u32 {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(self.at(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

fn decode(tag: u8, bytes: &[u8]) -> Option<Term<'_>> {
    match tag {
        FALSE if bytes.is_empty() => Some(Term::Bool(false)),
        TRUE if bytes.is_empty() => Some(Term::Bool(true)),
        INTEGER => Some(Term::Number(Number::Integer(i64::from_le_bytes(bytes.try_into().ok()?)))),
        FLOAT => {
            let value = f64::from_le_bytes(bytes.try_into().ok()?);
            (!value.is_nan()).then_some(Term::Number(Number::Float(value)))
        }
        STRING => Some(Term::String(std::str::from_utf8(bytes).ok()?)),
        _ => None,
    }
}
