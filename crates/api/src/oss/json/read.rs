//! JSON in: a cursor over a body.
//!
//! Stricter than the grammar where two readers could disagree: a member that occurs twice in an
//! object, lone surrogates, bytes that are not UTF-8, more than 64 levels and more than 10,000
//! members of one object are refused.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::oss::Fault;
use crate::oss::json::float;
use crate::oss::json::write::char_len;

const DEPTH_MAX: u32 = 64;
const MEMBERS_MAX: usize = 10_000;
/// Up to here a linear search through the names is faster than a tree.
const NAMES_LINEAR: usize = 16;

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// A cursor. After an error its position has no meaning.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Bytes so far that compact JSON would not have: white space and needless escapes.
    slack: usize,
}

/// A position, for [`Reader::since`].
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    at: usize,
    slack: usize,
}

/// A JSON number as written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NumberText<'a> {
    text: &'a str,
    /// Neither fraction nor exponent.
    is_integer: bool,
}

impl NumberText<'_> {
    /// The value, if it was written as an integer and fits.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        self.text.parse().ok().filter(|_| self.is_integer)
    }

    /// The nearest `f64`; infinite beyond its range.
    pub(crate) fn to_f64(self) -> f64 {
        self.text.parse().expect("JSON numbers are Rust numbers")
    }
}

impl<'a> Reader<'a> {
    /// A cursor at the start of a body.
    pub(crate) fn new(body: &'a [u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body).map_err(|_| Fault::JsonMalformed)?;
        Ok(Self { text, at: 0, depth: 0, slack: 0 })
    }

    /// The byte the cursor stands at, or behind the last one; after an error, near the fault.
    pub(crate) fn position(&self) -> usize {
        self.at.min(self.text.len())
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_white(&mut self) {
        let start = self.at;
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.slack += self.at - start;
    }

    /// The kind of the next value.
    pub(crate) fn peek(&mut self) -> Result<Kind, Fault> {
        self.skip_white();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(Fault::JsonMalformed),
        }
    }

    fn expect(&mut self, kind: Kind) -> Result<(), Fault> {
        if self.peek()? == kind { Ok(()) } else { Err(Fault::JsonShape) }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Fault::JsonMalformed)
        }
    }

    /// Takes a `null` if one comes next.
    pub(crate) fn null(&mut self) -> Result<bool, Fault> {
        if self.peek()? != Kind::Null {
            return Ok(false);
        }
        self.word("null").map(|()| true)
    }

    /// Takes a boolean.
    pub(crate) fn boolean(&mut self) -> Result<bool, Fault> {
        self.expect(Kind::Bool)?;
        let value = self.byte() == Some(b't');
        self.word(if value { "true" } else { "false" }).map(|()| value)
    }

    /// Takes a number.
    pub(crate) fn number(&mut self) -> Result<NumberText<'a>, Fault> {
        self.expect(Kind::Number)?;
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        let mut is_integer = true;
        if self.byte() == Some(b'.') {
            is_integer = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            is_integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(NumberText { text: &self.text[start..self.at], is_integer })
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(Fault::JsonMalformed) } else { Ok(()) }
    }

    /// Takes an array of numbers as `f32`, each by way of the nearest `f64`, onto `out`.
    ///
    /// Gives their count; stops with [`Fault::VectorDimension`] after `max`, and with
    /// [`Fault::VectorData`] at a number whose `f32` is infinite. Allocates only through `out`.
    pub(crate) fn floats(&mut self, out: &mut Vec<f32>, max: usize) -> Result<usize, Fault> {
        let before = out.len();
        let mut items = self.items()?;
        while items.next(self)? {
            if out.len() - before == max {
                return Err(Fault::VectorDimension);
            }
            let number = match float::scan(&self.text.as_bytes()[self.at..]) {
                Some((number, length)) => {
                    self.at += length;
                    number
                }
                None => self.exact_float()?,
            };
            out.push(number);
        }
        Ok(out.len() - before)
    }

    #[cold]
    fn exact_float(&mut self) -> Result<f32, Fault> {
        #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the purpose")]
        let number = self.number()?.to_f64() as f32;
        if number.is_finite() { Ok(number) } else { Err(Fault::VectorData) }
    }

    /// Takes a string; borrowed unless it has escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.expect(Kind::String)?;
        self.at += 1;
        let start = self.at;
        self.at += plain_length(&self.text.as_bytes()[self.at..]);
        match self.byte() {
            Some(b'"') => {
                self.at += 1;
                Ok(Cow::Borrowed(&self.text[start..self.at - 1]))
            }
            Some(b'\\') => self.escaped_string(start).map(Cow::Owned),
            _ => Err(Fault::JsonMalformed),
        }
    }

    /// The rest of a string that has escapes.
    fn escaped_string(&mut self, mut start: usize) -> Result<String, Fault> {
        let mut out = String::new();
        loop {
            self.at += plain_length(&self.text.as_bytes()[self.at..]);
            out.push_str(&self.text[start..self.at]);
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    let escape = self.at;
                    let c = self.escape()?;
                    self.slack += self.at - escape - char_len(c);
                    out.push(c);
                    start = self.at;
                }
                _ => return Err(Fault::JsonMalformed),
            }
        }
    }

    /// One escape sequence, a surrogate pair being one.
    fn escape(&mut self) -> Result<char, Fault> {
        self.at += 2;
        let c = match self.text.as_bytes().get(self.at - 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(Fault::JsonMalformed),
        };
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let first = self.four_hex()?;
        let code = match first {
            0xD800..=0xDBFF => {
                self.word("\\u")?;
                let second = self.four_hex()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(Fault::JsonMalformed);
                }
                0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            other => other,
        };
        // A lone low surrogate is no character.
        char::from_u32(code).ok_or(Fault::JsonMalformed)
    }

    fn four_hex(&mut self) -> Result<u32, Fault> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(Fault::JsonMalformed)?;
        self.at += 4;
        digits.iter().try_fold(0, |sum, b| {
            char::from(*b).to_digit(16).map(|d| sum * 16 + d).ok_or(Fault::JsonMalformed)
        })
    }

    fn enter(&mut self, kind: Kind) -> Result<(), Fault> {
        self.expect(kind)?;
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(Fault::JsonTooDeep) } else { Ok(()) }
    }

    /// Opens an object.
    pub(crate) fn members(&mut self) -> Result<Members<'a>, Fault> {
        self.enter(Kind::Object)?;
        Ok(Members { names: Vec::new(), tree: BTreeSet::new(), first: true })
    }

    /// Opens an array.
    pub(crate) fn items(&mut self) -> Result<Items, Fault> {
        self.enter(Kind::Array)?;
        Ok(Items { first: true })
    }

    /// Moves to the next item of a container: behind its comma, or out of it.
    fn step(&mut self, first: &mut bool, close: u8) -> Result<bool, Fault> {
        self.skip_white();
        match self.byte() {
            Some(b) if b == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !*first => {
                self.at += 1;
                self.skip_white();
                // No comma before the closing bracket.
                if self.byte() == Some(close) { Err(Fault::JsonMalformed) } else { Ok(true) }
            }
            Some(_) if *first => {
                *first = false;
                Ok(true)
            }
            _ => Err(Fault::JsonMalformed),
        }
    }

    /// Takes any value, checking all of it.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        match self.peek()? {
            Kind::Null => self.word("null"),
            Kind::Bool => self.boolean().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::String => self.string().map(drop),
            Kind::Array => {
                let mut items = self.items()?;
                while items.next(self)? {
                    self.skip()?;
                }
                Ok(())
            }
            Kind::Object => {
                let mut members = self.members()?;
                while members.next(self)?.is_some() {
                    self.skip()?;
                }
                Ok(())
            }
        }
    }

    /// Only white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.skip_white();
        if self.at == self.text.len() { Ok(()) } else { Err(Fault::JsonMalformed) }
    }

    /// The position before the next value.
    pub(crate) fn mark(&mut self) -> Mark {
        self.skip_white();
        Mark { at: self.at, slack: self.slack }
    }

    /// The text since a mark, and its length as compact JSON: without white space and with
    /// characters unescaped, so that it does not depend on the client's spelling.
    pub(crate) fn since(&self, mark: Mark) -> (&'a str, usize) {
        let raw = &self.text[mark.at..self.at];
        (raw, raw.len() - (self.slack - mark.slack))
    }
}

/// The members of an open object.
pub(crate) struct Members<'a> {
    names: Vec<Cow<'a, str>>,
    tree: BTreeSet<Cow<'a, str>>,
    first: bool,
}

impl<'a> Members<'a> {
    /// The name of the next member; its value must be taken before the next call.
    pub(crate) fn next(&mut self, reader: &mut Reader<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
        if !reader.step(&mut self.first, b'}')? {
            return Ok(None);
        }
        if reader.peek()? != Kind::String {
            return Err(Fault::JsonMalformed);
        }
        let name = reader.string()?;
        reader.skip_white();
        reader.word(":")?;
        self.remember(name.clone())?;
        Ok(Some(name))
    }

    fn remember(&mut self, name: Cow<'a, str>) -> Result<(), Fault> {
        if self.names.contains(&name) || self.tree.contains(&name) {
            return Err(Fault::JsonDuplicate);
        }
        if self.names.len() < NAMES_LINEAR {
            self.names.push(name);
        } else if self.tree.len() < MEMBERS_MAX {
            self.tree.insert(name);
        } else {
            return Err(Fault::JsonTooDeep);
        }
        Ok(())
    }
}

/// The items of an open array.
pub(crate) struct Items {
    first: bool,
}

impl Items {
    /// Whether a further item comes; it must be taken before the next call.
    #[inline]
    pub(crate) fn next(&mut self, reader: &mut Reader<'_>) -> Result<bool, Fault> {
        // The two spellings that clients send between numbers: `,` and `, `.
        if !self.first
            && let [b',', second, third, ..] = reader.text.as_bytes()[reader.at..]
        {
            if matches!(second, b'-' | b'0'..=b'9') {
                reader.at += 1;
                return Ok(true);
            }
            if second == b' ' && matches!(third, b'-' | b'0'..=b'9') {
                reader.at += 2;
                reader.slack += 1;
                return Ok(true);
            }
        }
        let more = reader.step(&mut self.first, b']')?;
        Ok(more)
    }
}

/// How many bytes at the start are neither quote, backslash nor control character.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let equal = |word: u64, b: u8| {
        let zero_where = word ^ (ONES * u64::from(b));
        zero_where.wrapping_sub(ONES) & !zero_where
    };
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let special = (control | equal(word, b'"') | equal(word, b'\\')) & HIGHS;
        if special != 0 {
            // A borrow can only raise false marks above the first true one.
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let is_plain = |b: &&u8| **b >= 0x20 && **b != b'"' && **b != b'\\';
    at + bytes[at..].iter().take_while(is_plain).count()
}
