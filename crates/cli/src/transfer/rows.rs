//! One input row to the JSON of one vector, with every check that can be made without the service.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::index::Index;

/// A row as it was read, not looked at yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Line or row number in the input, from 1, as users count.
    pub(super) number: u64,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// A line of JSON: `{"key", "data": {"float32": []} or "vector": [], "metadata"}`.
    Line(Vec<u8>),
    /// A row of an array, with its lines from the files beside it.
    Array { vector: Vec<f32>, key: Key, metadata: Option<Vec<u8>> },
}

/// Where an array row's key comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Key {
    /// The line itself.
    Plain(Vec<u8>),
    /// The line is a JSON string, or an object with the member `key`.
    Json(Vec<u8>),
    /// The row's number, from 0, as in the array.
    Number(u64),
}

impl Row {
    /// Bytes the row will have in a request, about; for cutting batches.
    pub(super) fn size_hint(&self) -> usize {
        match &self.content {
            Content::Line(line) => line.len() + 16,
            // A float32 in its shortest form has at most 15 characters and 10 on average.
            Content::Array { vector, key, metadata } => {
                64 + vector.len() * 12 + key.len() + metadata.as_ref().map_or(0, Vec::len)
            }
        }
    }

    /// The row's numbers per vector, if it can be read at all.
    pub(super) fn dimension(&self) -> Option<usize> {
        match &self.content {
            Content::Line(line) => parse_line(line).ok().map(|record| record.numbers.len()),
            Content::Array { vector, .. } => Some(vector.len()),
        }
    }

    /// Appends the row's JSON object to `out` and returns its key; the error says what is wrong
    /// with the row, and `out` is as before.
    pub(super) fn encode(&self, index: &Index, out: &mut Vec<u8>) -> Result<String, String> {
        match &self.content {
            Content::Line(line) => {
                let record = parse_line(line)?;
                check(&record.key, &record.numbers, index)?;
                let metadata = record.metadata.map(RawValue::get);
                // The numbers go on as they are written, so no digit is lost here.
                Ok(write(out, record.key.into_owned(), metadata, |out| {
                    out.extend(record.text.as_bytes());
                }))
            }
            Content::Array { vector, key, metadata } => {
                let key = key.text()?;
                check(&key, vector, index)?;
                let metadata = metadata.as_deref().map(metadata_line).transpose()?.flatten();
                Ok(write(out, key, metadata, |out| {
                    serde_json::to_writer(out, vector).expect("finite numbers have a JSON form");
                }))
            }
        }
    }
}

impl Key {
    fn len(&self) -> usize {
        match self {
            Self::Plain(line) | Self::Json(line) => line.len(),
            Self::Number(_) => 20,
        }
    }

    fn text(&self) -> Result<String, String> {
        match self {
            Self::Plain(line) => {
                String::from_utf8(line.clone()).map_err(|_| "the key is not UTF-8".to_owned())
            }
            Self::Json(line) => match serde_json::from_slice(line) {
                Ok(KeyLine::Text(key) | KeyLine::Object { key }) => Ok(key),
                Err(_) => {
                    Err("the key's line is neither a JSON string nor an object with a key"
                        .to_owned())
                }
            },
            Self::Number(number) => Ok(number.to_string()),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum KeyLine {
    Text(String),
    Object { key: String },
}

/// A record's line. Unknown members are refused: a misspelt `metadata` must not vanish.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    #[serde(borrow)]
    vector: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data<'a> {
    #[serde(borrow)]
    float32: &'a RawValue,
}

struct Record<'a> {
    key: Cow<'a, str>,
    /// The array of numbers as it is written.
    text: &'a str,
    numbers: Vec<f32>,
    metadata: Option<&'a RawValue>,
}

fn parse_line(line: &[u8]) -> Result<Record<'_>, String> {
    let parsed: Line<'_> = serde_json::from_slice(line).map_err(|error| not_a_record(&error))?;
    let vector = match (parsed.data, parsed.vector) {
        (Some(data), None) => data.float32,
        (None, Some(vector)) => vector,
        (None, None) => return Err("it has neither data nor vector".to_owned()),
        (Some(_), Some(_)) => return Err("it has both data and vector".to_owned()),
    };
    let numbers = serde_json::from_str(vector.get())
        .map_err(|_| "the vector is not an array of numbers that float32 can hold".to_owned())?;
    let metadata = parsed.metadata.filter(|metadata| metadata.get() != "null");
    if metadata.is_some_and(|metadata| !metadata.get().starts_with('{')) {
        return Err("the metadata is not an object".to_owned());
    }
    Ok(Record { key: parsed.key, text: vector.get(), numbers, metadata })
}

/// The reader counts lines from the row's start, so only its column means something.
fn not_a_record(error: &serde_json::Error) -> String {
    format!("not a record: {}", error.to_string().replace(" at line 1 column ", ", column "))
}

/// A line of a metadata file: an object, or nothing for a row without any.
fn metadata_line(line: &[u8]) -> Result<Option<&str>, String> {
    let line = line.trim_ascii();
    if line.is_empty() || line == b"null" {
        return Ok(None);
    }
    let parsed: Result<&RawValue, _> = serde_json::from_slice(line);
    match parsed {
        Ok(value) if value.get().starts_with('{') => Ok(Some(value.get())),
        _ => Err("the metadata line is not a JSON object".to_owned()),
    }
}

fn check(key: &str, vector: &[f32], index: &Index) -> Result<(), String> {
    if !(1..=1024).contains(&key.chars().count()) {
        return Err("the key must have 1 to 1,024 characters".to_owned());
    }
    if vector.len() != index.dimension {
        return Err(format!(
            "the vector has {} numbers; the index has {}",
            vector.len(),
            index.dimension
        ));
    }
    if !vector.iter().all(|number| number.is_finite()) {
        return Err("the vector holds a NaN or an infinity".to_owned());
    }
    if index.is_cosine() && vector.iter().all(|number| *number == 0.0) {
        return Err(
            "the vector is all zeros, which has no direction for the cosine metric".to_owned()
        );
    }
    Ok(())
}

fn write(
    out: &mut Vec<u8>,
    key: String,
    metadata: Option<&str>,
    vector: impl FnOnce(&mut Vec<u8>),
) -> String {
    out.extend(b"{\"key\":");
    serde_json::to_writer(&mut *out, &key).expect("a string has a JSON form");
    out.extend(b",\"data\":{\"float32\":");
    vector(out);
    out.push(b'}');
    if let Some(metadata) = metadata {
        out.extend(b",\"metadata\":");
        out.extend(metadata.as_bytes());
    }
    out.push(b'}');
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Content, Key, Row};
    use crate::transfer::index::Index;

    fn index() -> Index {
        Index { dimension: 2, metric: "cosine".to_owned(), created: String::new() }
    }

    fn line(text: &str) -> Result<String, String> {
        encode(Content::Line(text.as_bytes().to_vec()))
    }

    fn array(vector: &[f32], key: Key, metadata: Option<&str>) -> Result<String, String> {
        encode(Content::Array {
            vector: vector.to_vec(),
            key,
            metadata: metadata.map(|text| text.as_bytes().to_vec()),
        })
    }

    fn encode(content: Content) -> Result<String, String> {
        let mut out = Vec::new();
        let result = Row { number: 1, content }.encode(&index(), &mut out);
        assert!(result.is_ok() || out.is_empty());
        result.map(|_| String::from_utf8(out).unwrap())
    }

    #[test]
    fn lines_of_both_shapes_become_vectors_with_their_digits() {
        let expected = r#"{"key":"a\"é","data":{"float32":[0.10,-1E-3]},"metadata":{"n": 1.0}}"#;
        assert_eq!(
            line(r#"{"key":"a\"\u00e9","data":{"float32":[0.10,-1E-3]},"metadata":{"n": 1.0}}"#)
                .unwrap(),
            expected
        );
        assert_eq!(
            line(r#" {"vector":[0.10,-1E-3],"metadata":{"n": 1.0},"key":"a\"é"}"#).unwrap(),
            expected
        );
        assert_eq!(
            line(r#"{"key":"k","vector":[1,2],"metadata":null}"#).unwrap(),
            r#"{"key":"k","data":{"float32":[1,2]}}"#
        );
    }

    #[test]
    fn array_rows_take_key_and_metadata_from_beside() {
        let plain = Key::Plain("\"quoted\" é".into());
        let expected =
            r#"{"key":"\"quoted\" é","data":{"float32":[0.1,1e-45]},"metadata":{"a":1}}"#;
        assert_eq!(array(&[0.1, 1e-45], plain, Some(" {\"a\":1} ")).unwrap(), expected);
        for (key, text) in [
            (Key::Json(br#""x""#.to_vec()), "x"),
            (Key::Json(br#"{"key":"x","other":1}"#.to_vec()), "x"),
            (Key::Number(7), "7"),
        ] {
            let expected = format!(r#"{{"key":"{text}","data":{{"float32":[1.0,2.0]}}}}"#);
            assert_eq!(array(&[1.0, 2.0], key, Some("")).unwrap(), expected);
        }
    }

    #[test]
    fn bad_rows_are_named() {
        for (text, reason) in [
            (r#"{"key":"k","vector":[1]}"#, "has 1 numbers; the index has 2"),
            (r#"{"key":"k","vector":[1,1e39]}"#, "that float32 can hold"),
            (r#"{"key":"k","vector":[1,1e999]}"#, "not an array of numbers"),
            (r#"{"key":"k","vector":[1,NaN]}"#, "not a record"),
            (r#"{"key":"k","vector":[1,null]}"#, "not an array of numbers"),
            (r#"{"key":"k","vector":[0,-0.0]}"#, "all zeros"),
            (r#"{"key":"","vector":[1,2]}"#, "1 to 1,024"),
            (r#"{"vector":[1,2]}"#, "key"),
            (r#"{"key":"k"}"#, "neither data nor vector"),
            (r#"{"key":"k","vector":[1,2],"data":{"float32":[1,2]}}"#, "both"),
            (r#"{"key":"k","vector":[1,2],"metdata":{}}"#, "metdata"),
            (r#"{"key":"k","vector":[1,2],"metadata":[]}"#, "not an object"),
            (r#"{"key":"k","vector":[1,2]"#, "not a record"),
            ("", "not a record"),
        ] {
            let error = line(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(
            array(&[1.0, f32::NAN], Key::Number(0), None)
                .unwrap_err()
                .contains("a NaN or an infinity")
        );
        assert!(array(&[1.0, 2.0], Key::Plain(vec![0xff]), None).unwrap_err().contains("UTF-8"));
        assert!(
            array(&[1.0, 2.0], Key::Number(0), Some("[]"))
                .unwrap_err()
                .contains("not a JSON object")
        );
        assert!(
            array(&[1.0, 2.0], Key::Json(b"x".to_vec()), None).unwrap_err().contains("neither")
        );
        assert!(array(&[1.0, 2.0], Key::Plain("é".repeat(1025).into_bytes()), None).is_err());
        assert!(array(&[1.0, 2.0], Key::Plain("é".repeat(1024).into_bytes()), None).is_ok());
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let row = Row { number: 1, content: Content::Line(bytes) };
            let _ = (row.encode(&index(), &mut Vec::new()), row.dimension());
        }

        #[test]
        fn array_rows_keep_every_finite_float(bits in any::<[u32; 2]>()) {
            let vector = bits.map(f32::from_bits);
            prop_assume!(vector.iter().all(|number| number.is_finite()) && vector != [0.0, 0.0]);
            let json: serde_json::Value = serde_json::from_str(&array(&vector, Key::Number(0), None).unwrap()).unwrap();
            let back: Vec<f32> = serde_json::from_value(json["data"]["float32"].clone()).unwrap();
            prop_assert_eq!(back.iter().map(|n| n.to_bits()).collect::<Vec<_>>(), bits);
        }
    }
}
