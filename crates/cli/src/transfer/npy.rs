//! NumPy's .npy format, version 1 to 3, for two-dimensional float arrays.
//!
//! ```text
//! 0   93 4E 55 4D 50 59   magic "\x93NUMPY"
//! 6   major, minor        1.0: the length below has 2 bytes; 2.0, 3.0: 4 bytes
//! 8   header length, little-endian
//! 10  {'descr': '<f4', 'fortran_order': False, 'shape': (3, 100), }   Python literal, blanks, newline
//! ..  rows x columns numbers, row after row
//! ```

use std::io::{self, Read, Write};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Headers of float arrays have about 80 bytes.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// Data starts at a multiple of this.
const ALIGNMENT: usize = 64;

/// The element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Float32,
    Float64,
}

impl Element {
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }
}

/// What a header says. The product of rows, columns and element size fits in `u64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) element: Element,
    pub(super) rows: u64,
    pub(super) columns: u64,
    /// Where the first number stands in the file.
    pub(super) data_offset: u64,
}

impl Header {
    /// Bytes of one row. At least one and at most `u32::MAX`, so that a row can be held.
    pub(super) fn row_bytes(&self) -> usize {
        usize::try_from(self.columns).expect("parse bounds the columns") * self.element.bytes()
    }

    /// The whole file's length.
    pub(super) fn file_bytes(&self) -> u64 {
        self.data_offset + self.rows * self.row_bytes() as u64
    }

    /// Reads a header; the source then stands at the first number. The error says what is wrong.
    pub(super) fn read(source: &mut impl Read) -> Result<Self, String> {
        let mut start = [0; 8];
        source.read_exact(&mut start).map_err(|_| "too short for a .npy file".to_owned())?;
        if !start.starts_with(MAGIC) {
            return Err("not a .npy file".to_owned());
        }
        let (prefix, length) = read_length(start[6], source)?;
        if length > HEADER_BYTES_MAX {
            return Err(format!("its header of {length} bytes is not that of a float array"));
        }
        let mut text = vec![0; length];
        source.read_exact(&mut text).map_err(|_| "ends inside its header".to_owned())?;
        let text = std::str::from_utf8(&text).map_err(|_| "its header is not text".to_owned())?;
        Literal { rest: text }.header((prefix + length) as u64)
    }
}

/// The bytes before the header's text and the text's length.
fn read_length(major: u8, source: &mut impl Read) -> Result<(usize, usize), String> {
    let mut length = [0; 4];
    let width = match major {
        1 => 2,
        2 | 3 => 4,
        other => return Err(format!(".npy version {other} is unknown")),
    };
    source.read_exact(&mut length[..width]).map_err(|_| "ends inside its header".to_owned())?;
    Ok((8 + width, u32::from_le_bytes(length) as usize))
}

/// A reader of the header's Python literal: a dict of a string, a bool and a tuple of integers.
struct Literal<'a> {
    rest: &'a str,
}

enum Value<'a> {
    Text(&'a str),
    Bool(bool),
    Tuple(Vec<u64>),
}

impl<'a> Literal<'a> {
    fn header(mut self, data_offset: u64) -> Result<Header, String> {
        let (mut element, mut rows_first, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.take('}') {
            let key = self.text()?;
            self.expect(':')?;
            match (key, self.value()?) {
                ("descr", Value::Text(text)) => element = Some(element_of(text)?),
                ("fortran_order", Value::Bool(fortran)) => rows_first = Some(!fortran),
                ("shape", Value::Tuple(sizes)) => shape = Some(sizes),
                (key, _) => return Err(format!("its header has an unexpected {key:?}")),
            }
            self.take(',');
        }
        match rows_first {
            Some(true) => {}
            Some(false) => {
                return Err("it stores columns first; save it again with numpy.ascontiguousarray"
                    .to_owned());
            }
            None => return Err("its header lacks fortran_order".to_owned()),
        }
        let element = element.ok_or("its header lacks descr")?;
        sized(element, &shape.ok_or("its header lacks shape")?, data_offset)
    }

    fn value(&mut self) -> Result<Value<'a>, String> {
        if self.take('(') {
            return self.tuple().map(Value::Tuple);
        }
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.trim_start().strip_prefix(word) {
                self.rest = rest;
                return Ok(Value::Bool(value));
            }
        }
        self.text().map(Value::Text)
    }

    fn tuple(&mut self) -> Result<Vec<u64>, String> {
        let mut sizes = Vec::new();
        while !self.take(')') {
            let text = self.rest.trim_start();
            let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            sizes.push(
                text[..digits]
                    .parse()
                    .map_err(|_| "its shape is not a tuple of sizes".to_owned())?,
            );
            self.rest = &text[digits..];
            self.take(',');
        }
        Ok(sizes)
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let text = self.rest.trim_start();
        let quoted =
            ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.split_once(quote));
        let (inner, rest) = quoted.ok_or("its header is not the expected dictionary")?;
        self.rest = rest;
        Ok(inner)
    }

    fn take(&mut self, wanted: char) -> bool {
        let after = self.rest.trim_start().strip_prefix(wanted);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(format!("its header lacks a {wanted:?}")) }
    }
}

fn element_of(text: &str) -> Result<Element, String> {
    match text {
        "<f4" => Ok(Element::Float32),
        "<f8" => Ok(Element::Float64),
        other => Err(format!(
            "its numbers are of type {other}; save it again as float32 (<f4) or float64 (<f8)"
        )),
    }
}

fn sized(element: Element, shape: &[u64], data_offset: u64) -> Result<Header, String> {
    let [rows, columns] = *shape else {
        return Err(format!(
            "it has {} dimensions; vectors are rows of a two-dimensional array",
            shape.len()
        ));
    };
    let row_bytes = columns
        .checked_mul(element.bytes() as u64)
        .filter(|bytes| (1..=u64::from(u32::MAX)).contains(bytes));
    let whole = row_bytes
        .and_then(|bytes| bytes.checked_mul(rows))
        .and_then(|bytes| bytes.checked_add(data_offset));
    match whole {
        Some(_) => Ok(Header { element, rows, columns, data_offset }),
        None => Err(format!("its shape ({rows}, {columns}) is not that of an array of vectors")),
    }
}

/// The numbers of one row as float32. `bytes` has exactly one row.
pub(super) fn decode_row(element: Element, bytes: &[u8]) -> Vec<f32> {
    match element {
        Element::Float32 => {
            let (numbers, _) = bytes.as_chunks::<4>();
            numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the service stores float32; rounding is the point"
        )]
        Element::Float64 => {
            let (numbers, _) = bytes.as_chunks::<8>();
            numbers.iter().map(|number| f64::from_le_bytes(*number) as f32).collect()
        }
    }
}

/// Writes the header of a float32 array.
pub(super) fn write_header(out: &mut impl Write, rows: u64, columns: u64) -> io::Result<()> {
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(ALIGNMENT) - unpadded));
    text.push('\n');
    let length = u16::try_from(text.len()).expect("two sizes have at most 40 digits");
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(text.as_bytes())
}

/// Writes one row.
pub(super) fn write_row(out: &mut impl Write, row: &[f32]) -> io::Result<()> {
    let bytes: Vec<u8> = row.iter().flat_map(|number| number.to_le_bytes()).collect();
    out.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Element, Header, decode_row, write_header, write_row};

    fn file(version: u8, text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        bytes.extend(&length[..if version == 1 { 2 } else { 4 }]);
        bytes.extend(text.as_bytes());
        bytes
    }

    fn read(text: &str) -> Result<Header, String> {
        Header::read(&mut file(1, text).as_slice())
    }

    #[test]
    fn headers_as_numpy_writes_them_are_read() {
        let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 100), }          \n";
        for version in 1..=3 {
            let bytes = file(version, text);
            let header = Header::read(&mut bytes.as_slice()).unwrap();
            assert_eq!((header.element, header.rows, header.columns), (Element::Float64, 3, 100));
            assert_eq!(header.data_offset, bytes.len() as u64);
            assert_eq!(header.file_bytes(), bytes.len() as u64 + 2400);
        }
    }

    #[test]
    fn other_arrays_are_refused_with_a_reason() {
        for (text, reason) in [
            ("{'descr': '<i4', 'fortran_order': False, 'shape': (3, 1), }", "type <i4"),
            ("{'descr': '>f4', 'fortran_order': False, 'shape': (3, 1), }", "type >f4"),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 1), }", "columns first"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "1 dimensions"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "0 dimensions"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0), }", "not that of an array"),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 9), }",
                "not that of an array",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 9), }",
                "tuple of sizes",
            ),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 9), }", "tuple of sizes"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 9), }", "dictionary"),
            ("{'shape': (3, 9), }", "lacks fortran_order"),
            ("", "lacks a"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(Header::read(&mut &b"\x93NUMPY\x09\0\0\0"[..]).unwrap_err().contains("version 9"));
        assert!(Header::read(&mut &b"PK\x03\x04abcd"[..]).unwrap_err().contains("not a .npy"));
        assert!(
            Header::read(&mut &b"\x93NUMPY\x02\0\xff\xff\xff\xff"[..])
                .unwrap_err()
                .contains("4294967295")
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_bit_for_bit(rows in 0usize..20, bits in prop::collection::vec(any::<u32>(), 1..40)) {
            let row: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            let mut bytes = Vec::new();
            write_header(&mut bytes, rows as u64, row.len() as u64).unwrap();
            prop_assert_eq!(bytes.len() % 64, 0);
            for _ in 0..rows {
                write_row(&mut bytes, &row).unwrap();
            }
            let header = Header::read(&mut bytes.as_slice()).unwrap();
            prop_assert_eq!((header.rows, header.columns), (rows as u64, row.len() as u64));
            prop_assert_eq!(header.file_bytes(), bytes.len() as u64);
            for chunk in bytes[usize::try_from(header.data_offset).unwrap()..].chunks(header.row_bytes()) {
                let back: Vec<u32> = decode_row(header.element, chunk).into_iter().map(f32::to_bits).collect();
                prop_assert_eq!(&back, &bits);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::read(&mut bytes.as_slice());
            let _ = Header::read(&mut [b"\x93NUMPY\x01\0", &bytes[..]].concat().as_slice());
        }

        #[test]
        fn any_header_text_is_read_without_panic(text in "[{}()'\",: <f48a-zTrueFals0-9]{0,80}") {
            if let Ok(header) = read(&text) {
                let _ = (header.row_bytes(), header.file_bytes());
            }
        }
    }
}
