//! Values and a naive model that several tests share.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(unreachable_pub, reason = "shared by several test binaries")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use vb_commit::{Log, Store, WriterId};
use vb_engine::{
    BucketId, BucketSettings, Compaction, Engine, GetRequest, Hit, IndexHandle, IndexId,
    IndexSettings, ListRequest, Options, Precision, PutBatch, Query, Recall, Row, VectorColumn,
};
use vb_search::{Attributes, Filter, Metric, Schema, VectorField, key_hash};

/// A record of the model. Vectors are small integers, so every distance is exact.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub vectors: Vec<Option<Vec<f32>>>,
    pub metadata: Option<Bytes>,
    pub attributes: Attributes,
}

/// The specification: what an index is.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub records: BTreeMap<Box<[u8]>, Record>,
}

impl Model {
    pub fn put(&mut self, rows: &[(Box<[u8]>, Record)]) {
        self.records.extend(rows.iter().cloned());
    }

    pub fn delete(&mut self, keys: &[Box<[u8]>]) {
        for key in keys {
            self.records.remove(key);
        }
    }

    /// Sort everything by (distance, key), take k.
    pub fn query(&self, schema: &Schema, query: &Query) -> Vec<Hit> {
        let metric = schema.vector_fields[query.field].metric;
        let candidates = self.records.iter().filter_map(|(key, record)| {
            let vector = record.vectors[query.field].as_ref()?;
            let rank = rank(metric, &query.vector, vector);
            query.filter.matches(&record.attributes).then_some((rank, key.as_ref(), record))
        });
        let mut sorted: Vec<_> = candidates.collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
        let hit = |(rank, key, record): (f64, &[u8], &Record)| Hit {
            key: Bytes::copy_from_slice(key),
            distance: metric.distance(rank),
            metadata: record.metadata.clone().filter(|_| query.with_metadata),
        };
        sorted.into_iter().take(query.top_k).map(hit).collect()
    }

    /// Matching keys of part `index` of `count`, in listing order.
    pub fn list(&self, index: u32, count: u32, filter: &Filter) -> Vec<Bytes> {
        let part = |key: &[u8]| (u128::from(key_hash(key)) * u128::from(count)) >> 64;
        let mut keys: Vec<&Box<[u8]>> = self
            .records
            .iter()
            .filter(|(key, record)| {
                part(key) == u128::from(index) && filter.matches(&record.attributes)
            })
            .map(|(key, _)| key)
            .collect();
        keys.sort_by_key(|key| (key_hash(key), (*key).clone()));
        keys.into_iter().map(|key| Bytes::copy_from_slice(key)).collect()
    }

    pub fn row(&self, key: &[u8], with_data: bool, with_metadata: bool) -> Option<Row> {
        let record = self.records.get(key)?;
        Some(Row {
            key: Bytes::copy_from_slice(key),
            vectors: if with_data { record.vectors.clone() } else { Vec::new() },
            metadata: record.metadata.clone().filter(|_| with_metadata),
        })
    }
}

/// The rank of two vectors of small integers, in the plainest way.
fn rank(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |term: &dyn Fn(f32, f32) -> f32| -> f32 {
        a.iter().zip(b).map(|(x, y)| term(*x, *y)).sum()
    };
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    match metric {
        Metric::Euclidean => f64::from(sum(&|x, y| (x - y) * (x - y))),
        Metric::InnerProduct => f64::from(0.0 - sum(&|x, y| x * y)),
        Metric::Cosine => {
            let norms = norm(a) * norm(b);
            let cosine = if norms == 0.0 { 0.0 } else { sum(&|x, y| x * y) / norms };
            f64::from((1.0 - cosine).clamp(0.0, 2.0))
        }
    }
}

pub fn field(name: &str, dimension: u32, metric: Metric) -> VectorField {
    VectorField { name: name.into(), dimension, metric }
}

/// Two fields, so that presence and field numbers are exercised.
pub fn two_fields() -> Schema {
    Schema {
        vector_fields: vec![
            field("first", 3, Metric::Euclidean),
            field("second", 2, Metric::Cosine),
        ],
        non_filterable: vec!["note".into()],
    }
}

/// One Euclidean field.
pub fn one_field(dimension: u32) -> Schema {
    Schema {
        vector_fields: vec![field("float32", dimension, Metric::Euclidean)],
        non_filterable: Vec::new(),
    }
}

pub fn settings(schema: Schema) -> IndexSettings {
    IndexSettings { schema, wire: Bytes::from_static(b"{\"wire\":1}") }
}

pub fn bucket() -> BucketId {
    BucketId::new("1234567890123456", "bucket")
}

/// Nothing happens by itself: flushes are asked for.
pub fn quiet() -> Options {
    Options {
        memtable_bytes_max: 1 << 30,
        flush_age: Duration::from_secs(1 << 20),
        threads: Some(2),
        memory_limit: 8 << 30,
        compaction: Compaction { automatic: false, ..Compaction::default() },
        recall: Recall { sample_share: 0.0, ..Recall::default() },
        ..Options::default()
    }
}

/// A store in memory with this engine as its only writer, as a local folder has it.
pub fn sole() -> Store {
    Store::from_object_store(Arc::new(InMemory::new()), true)
}

/// A store in memory that other processes may write to.
pub fn shared() -> Store {
    Store::from_object_store(Arc::new(InMemory::new()), false)
}

pub async fn engine(store: &Store, options: Options) -> Engine {
    Engine::open(store.clone(), options).await.unwrap()
}

/// The bucket, the index `name` and a handle to it.
pub async fn index(engine: &Engine, name: &str, schema: Schema) -> IndexHandle {
    engine.create_bucket(&bucket(), BucketSettings::default()).await.unwrap();
    engine.create_index(&bucket(), name.as_bytes(), settings(schema)).await.unwrap();
    engine.resolve(&bucket(), name.as_bytes()).await.unwrap()
}

/// Rows as a batch of a schema.
pub fn batch(schema: &Schema, rows: &[(Box<[u8]>, Record)]) -> PutBatch {
    let column = |(number, field): (usize, &VectorField)| {
        let absent = vec![f32::NAN; field.dimension as usize];
        let value = |row: &(Box<[u8]>, Record)| {
            row.1.vectors[number].clone().unwrap_or_else(|| absent.clone())
        };
        VectorColumn {
            values: rows.iter().flat_map(value).collect(),
            present: Some(rows.iter().map(|row| row.1.vectors[number].is_some()).collect()),
        }
    };
    PutBatch {
        keys: rows.iter().map(|row| row.0.clone()).collect(),
        vectors: schema.vector_fields.iter().enumerate().map(column).collect(),
        metadata: rows.iter().map(|row| row.1.metadata.clone()).collect(),
        attributes: rows.iter().map(|row| row.1.attributes.clone()).collect(),
    }
}

/// A record of a one-field index.
pub fn record(vector: &[f32]) -> Record {
    Record {
        vectors: vec![Some(vector.to_vec())],
        metadata: Some(Bytes::from(format!("{{\"v\":{}}}", vector[0]))),
        attributes: Attributes::default(),
    }
}

pub fn key(number: usize) -> Box<[u8]> {
    format!("key-{number}").into_bytes().into()
}

pub fn query(vector: &[f32], top_k: usize) -> Query {
    Query {
        field: 0,
        vector: vector.to_vec(),
        top_k,
        filter: Filter::All,
        with_metadata: true,
        precision: Precision::Usual,
    }
}

pub fn get(keys: Vec<Box<[u8]>>) -> GetRequest {
    GetRequest { keys, with_data: true, with_metadata: true }
}

/// A page of the whole index.
pub fn page(max: usize) -> ListRequest {
    ListRequest {
        segment_index: 0,
        segment_count: 1,
        after: None,
        max,
        bytes_max: 1 << 20,
        filter: Filter::All,
        with_data: true,
        with_metadata: true,
    }
}

/// Every page of a listing, checked for size.
pub async fn list_all(index: &IndexHandle, mut request: ListRequest) -> Vec<Row> {
    let mut rows = Vec::new();
    loop {
        let page = index.list(request.clone()).await.unwrap();
        assert!(page.rows.len() <= request.max);
        assert!(page.next.is_none() || !page.rows.is_empty(), "an empty page is the last");
        rows.extend(page.rows);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return rows,
        }
    }
}

/// Everything a reader can ask agrees with the model.
pub async fn check_all(index: &IndexHandle, model: &Model) {
    let schema = index.schema().clone();
    let listed = list_all(index, page(7)).await;
    let expected: Vec<Row> = model
        .list(0, 1, &Filter::All)
        .iter()
        .map(|key| model.row(key, true, true).unwrap())
        .collect();
    assert_eq!(listed, expected);
    for (number, field) in schema.vector_fields.iter().enumerate() {
        let mut query = query(&vec![1.0; field.dimension as usize], model.records.len() + 1);
        query.field = number;
        assert_eq!(index.query(query.clone()).await.unwrap(), model.query(&schema, &query));
    }
    let keys: Vec<Box<[u8]>> = model.records.keys().cloned().collect();
    let got = index.get(get(keys.clone())).await.unwrap();
    let expected: Vec<Option<Row>> = keys.iter().map(|key| model.row(key, true, true)).collect();
    assert_eq!(got, expected);
}

/// Does the first step of an index's deletion (or the first two) the way the engine writes them,
/// and then nothing more, as a crash leaves it.
pub async fn half_delete(store: &Store, bucket: &BucketId, id: IndexId, fenced: bool) {
    let account = String::from_utf8(bucket.account.to_vec()).unwrap();
    let name = String::from_utf8(bucket.name.to_vec()).unwrap();
    let catalog = format!("catalog/{account}/{name}");
    let writer = WriterId(1);
    let (mut log, _) = Log::open(store, &catalog, writer).await.unwrap().unwrap();
    // Format 1, "mark deleting", the id.
    let command = [&[1, 5][..], &id.0.to_le_bytes()].concat();
    log.commit(vec![command.into()]).await.unwrap();
    if fenced {
        let opened = Log::open(store, &format!("index/{id}"), writer).await.unwrap();
        opened.unwrap().0.close().await.unwrap();
    }
}
