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

/// How the answer of a query was found: an extension, given only where it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Explanation {
    /// What was done with segments: looked into clusters, looked at the few matches, scanned, skipped.
    pub segments: [u64; 4],
    /// Vectors whose exact distance was computed in scans.
    pub rows_scanned: u64,
    /// Posting lists read, and left out because nothing in them matches.
    pub lists: [u64; 2],
    /// 1-bit and row codes compared.
    pub codes: [u64; 2],
    /// Candidates whose exact distance decided.
    pub candidates: u64,
    /// Bytes of codes and vectors gone over.
    pub bytes: u64,
    /// Waits for reads, parts read, and their bytes.
    pub reads: [u64; 3],
    /// Estimated share of the nearest that was found.
    pub recall: f32,
}

impl Explanation {
    fn write(&self, object: &mut Object<'_>) {
        let [clusters, matches, scanned, skipped] = self.segments;
        object.object("segments", |inner| {
            let plan = [("clusters", clusters), ("matches", matches), ("scan", scanned)];
            plan.into_iter().for_each(|(name, count)| write_count(inner, name, count));
            write_count(inner, "skipped", skipped);
        });
        let counts = [
            ("rowsScanned", self.rows_scanned),
            ("lists", self.lists[0]),
            ("listsSkipped", self.lists[1]),
            ("codes", self.codes[0]),
            ("rowCodes", self.codes[1]),
            ("candidates", self.candidates),
            ("bytes", self.bytes),
            ("waves", self.reads[0]),
            ("reads", self.reads[1]),
            ("bytesRead", self.reads[2]),
        ];
        counts.into_iter().for_each(|(name, count)| write_count(object, name, count));
        write_float(object.name("recall"), self.recall);
    }
}

fn write_count(object: &mut Object<'_>, name: &str, count: u64) {
    object.name(name).extend_from_slice(count.to_string().as_bytes());
}

/// `{"vectors":[...]}` of a query, with `explain` behind it where it was asked for.
pub fn query_result<'a>(
    hits: impl IntoIterator<Item = HitRow<'a>>,
    explanation: Option<&Explanation>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let mut object = Object::begin(&mut out);
    object.array("vectors", hits, |out, hit| hit.write(out));
    if let Some(explanation) = explanation {
        object.object("explain", |inner| explanation.write(inner));
    }
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
        assert_eq!(text(query_result([hit], None)), r#"{"vectors":[{"key":"a","distance":0.12}]}"#);
        let hit = HitRow { distance: None, metadata: Some(b"{}"), ..hit };
        assert_eq!(text(query_result([hit], None)), r#"{"vectors":[{"key":"a","metadata":{}}]}"#);
        let explanation = Explanation { candidates: 7, recall: 0.5, ..Explanation::default() };
        let answer: Value = serde_json::from_slice(&query_result([], Some(&explanation))).unwrap();
        assert_eq!(answer["explain"]["candidates"], 7);
        assert_eq!(answer["explain"]["recall"], 0.5);
        assert_eq!(answer["explain"]["segments"]["scan"], 0);
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
