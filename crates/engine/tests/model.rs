//! The whole engine against a naive model, over random histories.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bytes::Bytes;
use common::{
    Model, Record, batch, bucket, check_all, engine, index, list_all, quiet, shared, sole,
    two_fields,
};
use proptest::prelude::*;
use tokio::task::JoinSet;
use vb_commit::Store;
use vb_engine::{Engine, Error, GetRequest, IndexHandle, ListRequest, Options, Precision, Query};
use vb_search::{Attributes, Filter, Number, Scalar, Schema, Test, Value};

/// Keys that meet again and again; some are prefixes of each other, one is empty.
const KEYS: [&str; 14] = [
    "",
    "a",
    "aa",
    "ab",
    "b",
    "key-1",
    "key-2",
    "key-3",
    "vector-key-1",
    "z",
    "\u{e9}",
    "0",
    "1",
    "k",
];

#[derive(Clone, Debug)]
enum Op {
    Put(Vec<(Box<[u8]>, Record)>),
    Delete(Vec<Box<[u8]>>),
    Get {
        keys: Vec<Box<[u8]>>,
        with_data: bool,
        with_metadata: bool,
    },
    Query(Query),
    List {
        segment_index: u32,
        segment_count: u32,
        max: usize,
        bytes_max: usize,
        filter: Filter,
    },
    Flush,
    Compact,
    /// Begin, and go on with what comes next.
    FlushBeside,
    CompactBeside,
    Reopen,
    Recreate,
}

fn key() -> impl Strategy<Value = Box<[u8]>> {
    prop::sample::select(&KEYS[..]).prop_map(|key| key.as_bytes().into())
}

fn vector(dimension: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-2i8..=2).prop_map(f32::from), dimension)
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        (0i64..3).prop_map(Scalar::Integer),
        prop::sample::select(vec![0.0, 0.5, 1.0, 2.0]).prop_map(Scalar::Float),
        any::<bool>().prop_map(Scalar::Bool),
        prop::sample::select(vec!["x", "y", "1"]).prop_map(|text| Scalar::String(text.into())),
    ]
}

fn attribute_key() -> impl Strategy<Value = Box<str>> {
    prop::sample::select(vec!["p", "q", "r"]).prop_map(Box::from)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let value = prop_oneof![
        3 => scalar().prop_map(Value::One),
        1 => prop::collection::vec(scalar(), 0..3).prop_map(|many| Value::Many(many.into())),
    ];
    prop::collection::vec((attribute_key(), value), 0..3).prop_map(Attributes::from_pairs)
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        (0i64..3).prop_map(Number::Integer),
        prop::sample::select(vec![0.5, 1.0, 1.5]).prop_map(Number::Float),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let test = prop_oneof![
        scalar().prop_map(Test::Eq),
        scalar().prop_map(Test::Ne),
        number().prop_map(Test::Gt),
        number().prop_map(Test::Gte),
        number().prop_map(Test::Lt),
        number().prop_map(Test::Lte),
        prop::collection::vec(scalar(), 1..3).prop_map(Test::In),
        prop::collection::vec(scalar(), 1..3).prop_map(Test::NotIn),
        any::<bool>().prop_map(Test::Exists),
    ];
    let leaf = prop_oneof![
        1 => Just(Filter::All),
        4 => (attribute_key(), test).prop_map(|(key, test)| Filter::Test { key, test }),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::And),
            prop::collection::vec(inner, 1..3).prop_map(Filter::Or),
        ]
    })
}

fn record() -> impl Strategy<Value = Record> {
    let vectors = (prop::option::weighted(0.8, vector(3)), prop::option::weighted(0.7, vector(2)));
    let metadata = prop::option::of("[a-z]{0,12}".prop_map(Bytes::from));
    (vectors, metadata, attributes()).prop_map(|((first, second), metadata, attributes)| Record {
        vectors: vec![first, second],
        metadata,
        attributes,
    })
}

fn a_query() -> impl Strategy<Value = Query> {
    let target = prop_oneof![vector(3).prop_map(|v| (0, v)), vector(2).prop_map(|v| (1, v))];
    (target, 0usize..9, filter(), any::<bool>()).prop_map(
        |((field, vector), top_k, filter, with_metadata)| Query {
            field,
            vector,
            top_k,
            filter,
            with_metadata,
            precision: Precision::Usual,
        },
    )
}

fn list() -> impl Strategy<Value = Op> {
    (1u32..5, any::<u32>(), 1usize..6, prop::sample::select(vec![1usize, 40, 10_000]), filter())
        .prop_map(|(segment_count, index, max, bytes_max, filter)| Op::List {
            segment_index: index % segment_count,
            segment_count,
            max,
            bytes_max,
            filter,
        })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => prop::collection::vec((key(), record()), 1..6).prop_map(Op::Put),
        4 => prop::collection::vec(key(), 1..4).prop_map(Op::Delete),
        3 => (prop::collection::vec(key(), 1..5), any::<bool>(), any::<bool>())
            .prop_map(|(keys, with_data, with_metadata)| Op::Get { keys, with_data, with_metadata }),
        6 => a_query().prop_map(Op::Query),
        3 => list(),
        3 => Just(Op::Flush),
        2 => Just(Op::Compact),
        2 => Just(Op::FlushBeside),
        2 => Just(Op::CompactBeside),
        1 => Just(Op::Reopen),
        1 => Just(Op::Recreate),
    ]
}

/// How parts of segments are read and kept.
#[derive(Clone, Copy, Debug)]
enum Cache {
    /// Small segments are read whole, and stay in memory.
    Roomy,
    /// They are pushed out again and again.
    Tiny,
    /// They are read part by part, and pushed out again and again.
    TinyByParts,
}

impl Cache {
    fn options(self) -> Options {
        match self {
            Self::Roomy => quiet(),
            Self::Tiny => Options { cache_memory_bytes: Some(3000), ..quiet() },
            Self::TinyByParts => {
                Options { cache_memory_bytes: Some(3000), whole_bytes_max: 0, ..quiet() }
            }
        }
    }
}

/// The engine under test and what it should be.
struct Run {
    store: Store,
    options: Options,
    schema: Schema,
    engine: Engine,
    index: IndexHandle,
    model: Model,
    /// Flushes and merges under way.
    beside: JoinSet<Result<(), Error>>,
}

impl Run {
    async fn start(store: Store, options: Options) -> Self {
        let schema = two_fields();
        let engine = engine(&store, options.clone()).await;
        let index = index(&engine, "index", schema.clone()).await;
        let beside = JoinSet::new();
        Self { store, options, schema, engine, index, model: Model::default(), beside }
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Put(rows) => {
                self.index.put(batch(&self.schema, &rows)).await.unwrap();
                self.model.put(&rows);
            }
            Op::Delete(keys) => {
                self.index.delete(keys.clone()).await.unwrap();
                self.model.delete(&keys);
            }
            Op::Get { keys, with_data, with_metadata } => {
                self.get(keys, with_data, with_metadata).await;
            }
            Op::Query(query) => {
                let expected = self.model.query(&self.schema, &query);
                assert_eq!(self.index.query(query).await.unwrap(), expected);
            }
            Op::List { segment_index, segment_count, max, bytes_max, filter } => {
                let keys = self.model.list(segment_index, segment_count, &filter);
                let request = ListRequest {
                    segment_index,
                    segment_count,
                    after: None,
                    max,
                    bytes_max,
                    filter,
                    with_data: true,
                    with_metadata: true,
                };
                let rows = list_all(&self.index, request).await;
                let expected: Vec<_> =
                    keys.iter().map(|key| self.model.row(key, true, true).unwrap()).collect();
                assert_eq!(rows, expected);
            }
            Op::Flush => self.index.flush().await.unwrap(),
            Op::Compact => match self.index.compact().await {
                // A flush beside it emptied one of its inputs.
                Ok(()) | Err(Error::Conflict) => {}
                Err(error) => panic!("{error}"),
            },
            Op::FlushBeside => {
                let index = self.index.clone();
                self.beside.spawn(async move { index.flush().await });
            }
            Op::CompactBeside => {
                let index = self.index.clone();
                self.beside.spawn(async move { index.compact().await });
            }
            Op::Reopen => self.reopen().await,
            Op::Recreate => self.recreate().await,
        }
    }

    async fn get(&self, keys: Vec<Box<[u8]>>, with_data: bool, with_metadata: bool) {
        let expected: Vec<_> =
            keys.iter().map(|key| self.model.row(key, with_data, with_metadata)).collect();
        let request = GetRequest { keys, with_data, with_metadata };
        assert_eq!(self.index.get(request).await.unwrap(), expected);
    }

    /// Waits for what goes on beside. A merge gives way when a flush empties one of its inputs.
    async fn join(&mut self) {
        while let Some(done) = self.beside.join_next().await {
            assert!(matches!(done.unwrap(), Ok(()) | Err(Error::Conflict)));
        }
    }

    async fn reopen(&mut self) {
        // What is under way now meets a closed engine.
        self.engine.shutdown().await;
        while self.beside.join_next().await.is_some() {}
        self.engine = engine(&self.store, self.options.clone()).await;
        self.index = self.engine.resolve(&bucket(), b"index").await.unwrap();
    }

    async fn recreate(&mut self) {
        self.engine.delete_index(&bucket(), b"index").await.unwrap();
        while self.beside.join_next().await.is_some() {}
        self.index = index(&self.engine, "index", self.schema.clone()).await;
        self.model = Model::default();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_as_the_model_says(
        ops in prop::collection::vec(op(), 1..60),
        alone in any::<bool>(),
        cache in prop::sample::select(vec![Cache::Roomy, Cache::Tiny, Cache::TinyByParts]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::start(if alone { sole() } else { shared() }, cache.options()).await;
            for op in ops {
                run.step(op).await;
            }
            run.join().await;
            check_all(&run.index, &run.model).await;
            run.reopen().await;
            check_all(&run.index, &run.model).await;
            run.engine.shutdown().await;
        });
    }
}
