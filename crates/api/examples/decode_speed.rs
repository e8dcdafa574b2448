//! How fast PutVectors bodies are read and GetVectors answers are written: one core, MB/s of JSON.
//!
//! ```text
//! cargo run --release -p vb-api --example decode_speed
//! ```
//!
//! `serde_json` reads the same body into borrowed typed structs (`Vec<f32>`, no tree); `ours` is
//! the decoder with all its checks; `MD5` is what the body's Content-MD5 costs; `write` is an answer
//! with the same vectors. The last column is the share that ours plus MD5 keeps of serde_json plus
//! MD5 (above 100 % is faster).

use std::hint::black_box;
use std::time::Instant;

use md5::{Digest, Md5};
use serde::Deserialize;
use vb_api::oss::request::{IndexShape, PutVectors};
use vb_api::oss::response::{VectorRow, vector_list};
use vb_api::oss::{Limits, Metric};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    index_name: &'a str,
    #[serde(borrow)]
    vectors: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    key: &'a str,
    data: Data,
    #[serde(borrow)]
    metadata: Option<&'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct Data {
    float32: Vec<f32>,
}

/// Numbers as Python writes float32 values: widened to float64, 16 to 18 significant digits.
fn body(dimension: usize, rows: usize, widened: bool) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut component = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        let number = unit / (dimension as f32).sqrt();
        if widened { format!("{}", f64::from(number)) } else { format!("{number}") }
    };
    let row = |index: usize| {
        let numbers: Vec<String> = (0..dimension).map(|_| component()).collect();
        format!(
            "{{\"data\": {{\"float32\": [{}]}}, \"key\": \"doc-{index}\", \"metadata\": {{\"source\": \"web\", \"year\": {index}}}}}",
            numbers.join(", ")
        )
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("{{\"indexName\": \"i\", \"vectors\": [{}]}}", rows.join(", ")).into_bytes()
}

/// Best of several runs, in MB/s.
fn speed(bytes: usize, mut run: impl FnMut()) -> f64 {
    let best = (0..15).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    bytes as f64 / best.fold(f64::INFINITY, f64::min) / 1e6
}

#[expect(clippy::print_stdout, reason = "an example reports on standard output")]
fn main() {
    println!(
        "dimension  digits  body MB  serde_json MB/s  ours MB/s  MD5 MB/s  write MB/s  ours+MD5 / serde+MD5"
    );
    for dimension in [100, 384, 768, 1536] {
        for widened in [true, false] {
            let text = body(dimension, 500, widened);
            let shape = IndexShape {
                dimension: u32::try_from(dimension).expect("small"),
                metric: Metric::Cosine,
                non_filterable: &[],
            };
            let limits = Limits::default();
            let serde = speed(text.len(), || {
                let body: Body<'_> = serde_json::from_slice(&text).expect("valid");
                let touched = (body.index_name, body.vectors.len());
                let first = &body.vectors[0];
                black_box((touched, first.key, first.data.float32[0], first.metadata.is_some()));
            });
            let ours = speed(text.len(), || {
                black_box(PutVectors::decode(&text, &shape, &limits).expect("valid"));
            });
            let md5 = speed(text.len(), || {
                black_box(Md5::digest(&text));
            });
            let batch = PutVectors::decode(&text, &shape, &limits).expect("valid");
            let rows = || {
                let rows = batch.keys.iter().zip(batch.values.chunks_exact(dimension));
                rows.map(|(key, data)| VectorRow {
                    key: key.as_bytes(),
                    data: Some(data),
                    metadata: None,
                })
            };
            let written = vector_list(rows(), None).len();
            let write = speed(written, || {
                black_box(vector_list(rows(), None));
            });
            let both = |parse: f64| 1.0 / (1.0 / parse + 1.0 / md5);
            println!(
                "{dimension:9}  {:>6}  {:7.1}  {serde:15.0}  {ours:9.0}  {md5:8.0}  {write:10.0}  {:20.0} %",
                if widened { "f64" } else { "f32" },
                text.len() as f64 / 1e6,
                100.0 * both(ours) / both(serde),
            );
        }
    }
}
