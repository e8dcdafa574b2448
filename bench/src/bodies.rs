//! Request bodies as the Python SDK writes them: floats as the shortest decimals of a double, a space
//! behind commas and colons.

use std::fmt::Write;

/// A seeded source of numbers (SplitMix64), so that every run sends the same bytes.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Uniform in (-1, 1), a double with all its digits.
    pub(crate) fn symmetric(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// A PutVectors body of `rows` with keys counted from `first`.
pub(crate) fn put(index: &str, first: usize, rows: &[Vec<f64>]) -> Vec<u8> {
    let mut text = format!("{{\"indexName\": \"{index}\", \"vectors\": [");
    for (at, row) in rows.iter().enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let key = first + at;
        let _ = write!(text, "{separator}{{\"data\": {{\"float32\": [");
        write_floats(&mut text, row);
        let _ = write!(
            text,
            "]}}, \"key\": \"{key}\", \"metadata\": {{\"group\": \"g{}\"}}}}",
            key % 100
        );
    }
    text.push_str("]}");
    text.into_bytes()
}

/// A PutVectors body of records with any metadata.
pub(crate) fn put_records<'a>(
    index: &str,
    records: impl Iterator<Item = (usize, &'a [f32], &'a serde_json::Map<String, serde_json::Value>)>,
) -> Vec<u8> {
    let mut text = format!("{{\"indexName\": \"{index}\", \"vectors\": [");
    for (at, (key, row, metadata)) in records.enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let _ = write!(text, "{separator}{{\"data\": {{\"float32\": [");
        write_floats(&mut text, &row.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        let metadata = serde_json::to_string(metadata).unwrap_or_default();
        let _ = write!(text, "]}}, \"key\": \"{key}\", \"metadata\": {metadata}}}");
    }
    text.push_str("]}");
    text.into_bytes()
}

/// A QueryVectors body that asks for exact answers, and so for a scan of all rows.
pub(crate) fn exact_query(index: &str, vector: &[f32], top_k: usize) -> Vec<u8> {
    let body = query(index, vector, top_k, None);
    [b"{\"exact\": true, ", &body[1..]].concat()
}

/// A QueryVectors body.
pub(crate) fn query(index: &str, vector: &[f32], top_k: usize, filter: Option<&str>) -> Vec<u8> {
    let mut text = String::from("{");
    if let Some(filter) = filter {
        let _ = write!(text, "\"filter\": {filter}, ");
    }
    let _ = write!(text, "\"indexName\": \"{index}\", \"queryVector\": {{\"float32\": [");
    let wide: Vec<f64> = vector.iter().map(|v| f64::from(*v)).collect();
    write_floats(&mut text, &wide);
    let _ = write!(
        text,
        "]}}, \"returnDistance\": true, \"returnMetadata\": false, \"topK\": {top_k}}}"
    );
    text.into_bytes()
}

fn write_floats(text: &mut String, row: &[f64]) {
    for (at, value) in row.iter().enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let _ = write!(text, "{separator}{value:?}");
    }
}
