//! Vector answers: the hot path of reads.
//!
//! Keys and metadata are bytes as the engine holds them. Metadata is JSON that was accepted when it
//! was written, so it is copied, not parsed.

use crate::oss::json::{Object, write_float, write_string};

/// One record of GetVectors or ListVectors.
#[derive(Clone, Copy, Debug)]
pub struct VectorRow<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The vector, if asked for.
    pub data: Option<&'a [f32]>,
    /// The metadata object as written, if asked for and present.
    pub metadata: Option<&'a [u8]>,
}

impl VectorRow<'_> {
    /// About how many bytes the row takes in an answer; never less than it takes without data.
    pub fn bytes_about(&self) -> usize {
        let data = self.data.map_or(0, |data| data.len() * 12);
        48 + self.key.len() + data + self.metadata.map_or(0, <[u8]>::len)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut row = Object::begin(out);
        write_key(row.name("key"), self.key);
        if let Some(data) = self.data {
            row.object("data", |inner| {
                inner.array("float32", data, |out, number| write_float(out, *number));
            });
        }
        write_metadata(&mut row, self.metadata);
        row.end();
    }
}

/// One result of QueryVectors.
#[derive(Clone, Copy, Debug)]
pub struct HitRow<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The distance, if asked for.
    pub distance: Option<f32>,
    /// The metadata object as written, if asked for and present.
    pub metadata: Option<&'a [u8]>,
}

impl HitRow<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut row = Object::begin(out);
        write_key(row.name("key"), self.key);
        if let Some(distance) = self.distance {
            write_float(row.name("distance"), distance);
        }
        write_metadata(&mut row, self.metadata);
        row.end();
    }
}

/// Keys come from JSON strings, so they are UTF-8; other bytes are shown as replacement characters.
fn write_key(out: &mut Vec<u8>, key: &[u8]) {
    write_string(out, &String::from_utf8_lossy(key));
}

fn write_metadata(row: &mut Object<'_>, metadata: Option<&[u8]>) {
    if let Some(metadata) = metadata {
        row.name("metadata").extend_from_slice(metadata);
    }
}

/// `{"vectors":[...]}`, with `nextToken` when there is a further page.
pub fn vector_list<'a>(
    rows: impl IntoIterator<Item = VectorRow<'a>>,
    next_token: Option<&str>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let mut object = Object::begin(&mut out);
    object.array("vectors", rows, |out, row| row.write(out)).optional("nextToken", next_token);
    object.end();
    out
}

/// `{"vectors":[...]}` of a query.
pub fn query_result<'a>(hits: impl IntoIterator<Item = HitRow<'a>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let mut object = Object::begin(&mut out);
    object.array("vectors", hits, |out, hit| hit.write(out));
    object.end();
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn rows_hold_what_was_asked_for() {
        assert_eq!(text(vector_list([], None)), r#"{"vectors":[]}"#);
        let bare = VectorRow { key: b"a", data: None, metadata: None };
        assert_eq!(text(vector_list([bare], None)), r#"{"vectors":[{"key":"a"}]}"#);
        let full = VectorRow {
            key: "\"é".as_bytes(),
            data: Some(&[0.1, -2.0, 1e-7, 3.402_823_5e38]),
            metadata: Some(br#"{"source": "web"}"#),
        };
        assert_eq!(
            text(vector_list([bare, full], Some("t"))),
            "{\"vectors\":[{\"key\":\"a\"},{\"key\":\"\\\"é\",\"data\":{\"float32\":\
             [0.1,-2.0,1e-7,3.4028235e+38]},\"metadata\":{\"source\": \"web\"}}],\"nextToken\":\"t\"}"
        );
        let empty = VectorRow { data: Some(&[]), ..bare };
        assert_eq!(
            text(vector_list([empty], None)),
            r#"{"vectors":[{"key":"a","data":{"float32":[]}}]}"#
        );
    }

    #[test]
    fn hits_hold_what_was_asked_for() {
        let hit = HitRow { key: b"a", distance: Some(0.12), metadata: None };
        assert_eq!(text(query_result([hit])), r#"{"vectors":[{"key":"a","distance":0.12}]}"#);
        let hit = HitRow { distance: None, metadata: Some(b"{}"), ..hit };
        assert_eq!(text(query_result([hit])), r#"{"vectors":[{"key":"a","metadata":{}}]}"#);
    }

    proptest! {
        #[test]
        fn answers_are_json_and_floats_survive(
            key in "\\PC{1,20}",
            data in prop::collection::vec(any::<f32>().prop_filter("finite", |n| n.is_finite()), 0..9),
        ) {
            let row = VectorRow { key: key.as_bytes(), data: Some(&data), metadata: None };
            let answer: Value = serde_json::from_slice(&vector_list([row], Some(&key))).unwrap();
            prop_assert_eq!(&answer["nextToken"], &Value::from(key.clone()));
            let row = &answer["vectors"][0];
            prop_assert_eq!(&row["key"], &Value::from(key));
            let numbers = row["data"]["float32"].as_array().unwrap();
            let back: Vec<u32> = numbers.iter().map(|n| (n.as_f64().unwrap() as f32).to_bits()).collect();
            prop_assert_eq!(back, data.iter().map(|n| n.to_bits()).collect::<Vec<_>>());
        }
    }
}
