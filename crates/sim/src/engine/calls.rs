//! The calls that clients make, and what they are answered.

use std::collections::BTreeSet;

use vb_engine::{
    BucketChange, BucketId, BucketSettings, Created, Engine, Error, GetRequest, Hit, IndexHandle,
    IndexState, ListRequest, Precision, Query, Row,
};

use super::record::{self, Version, Wish};

/// One call of a client.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Put { index: u64, keys: Vec<u64> },
    Delete { index: u64, keys: Vec<u64> },
    Get { index: u64, keys: Vec<u64> },
    Query { index: u64, target: Vec<f32>, count: usize, wish: Wish },
    List { index: u64, page: usize, parts: u32, wish: Wish },
    Flush { index: u64 },
    Compact { index: u64 },
    CreateIndex { index: u64 },
    DropIndex { index: u64 },
    ListIndexes,
    CreateBucket,
    DropBucket,
    ListBuckets,
    TagBucket,
}

/// What a call came to.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It took place.
    Done,
    /// The bucket or index was there already, or is not there: nothing changed.
    Refused(Refusal),
    /// Keys that were asked for one by one.
    Got(Vec<(u64, Option<Version>)>),
    /// Every record found, in the order of the answer.
    Found(Vec<(u64, Version)>),
    /// Indexes by name and creating call; live ones.
    Indexes(Vec<(u64, u64)>),
    /// Whether the second bucket is there.
    Bucket(bool),
    /// It may take place later, or have taken place, or neither.
    Unknown,
    /// It did not take place.
    Failed(Error),
    /// An answer that is wrong whatever else happened.
    Wrong(String),
}

/// Why a call did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoSuchIndex,
    IndexExists,
    NoSuchBucket,
    BucketExists,
    BucketNotEmpty,
}

/// An answered call: the index that it reached, by its creating call, and the outcome.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) creation: Option<u64>,
    pub(super) outcome: Outcome,
    /// Indexes that turned out to be gone while the call was at them. Others may have seen a write
    /// there before the end.
    pub(super) gone: Vec<u64>,
    /// Where the index that it reached lies.
    pub(super) prefix: Option<String>,
}

impl Told {
    pub(super) fn new(creation: Option<u64>, outcome: Outcome) -> Self {
        let is_gone = matches!(outcome, Outcome::Refused(Refusal::NoSuchIndex));
        let gone = creation.filter(|_| is_gone).into_iter().collect();
        Self { gone, creation, outcome, prefix: None }
    }
}

const ACCOUNT: &str = "1234567890123456";

/// The bucket that is always there and holds the indexes.
pub(super) fn bucket() -> BucketId {
    BucketId::new(ACCOUNT, "bucket")
}

/// The bucket that comes and goes.
fn second_bucket() -> BucketId {
    BucketId::new(ACCOUNT, "second")
}

fn index_name(index: u64) -> String {
    format!("index-{index}")
}

fn index_of(name: &[u8]) -> u64 {
    let digits = name.rsplit(|byte| *byte == b'-').next().unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

/// Makes call number `id` on an engine.
///
/// As the server does, it looks the name up again when the index that it found is gone: the name
/// may stand for another one by now, which a record of the bucket as of some seconds ago does not
/// know.
pub(super) async fn perform(engine: Engine, id: u64, call: Call) -> Told {
    let first = attempt(&engine, id, call.clone()).await;
    if first.gone.is_empty() {
        return first;
    }
    let mut told = attempt(&engine, id, call).await;
    told.gone.extend(first.gone);
    told
}

async fn attempt(engine: &Engine, id: u64, call: Call) -> Told {
    let on = match &call {
        Call::Put { index, .. }
        | Call::Delete { index, .. }
        | Call::Get { index, .. }
        | Call::Query { index, .. }
        | Call::List { index, .. }
        | Call::Flush { index }
        | Call::Compact { index } => *index,
        _ => {
            let outcome = catalog(engine, id, &call).await;
            return Told::new(None, outcome.unwrap_or_else(failed));
        }
    };
    let handle = match engine.resolve(&bucket(), index_name(on).as_bytes()).await {
        Ok(handle) => handle,
        Err(error) => return Told::new(None, failed(error)),
    };
    match record::creation(handle.settings()) {
        Err(wrong) => Told::new(None, Outcome::Wrong(wrong)),
        Ok(creation) => {
            let outcome = records(&handle, id, call).await.unwrap_or_else(failed);
            let prefix = Some(format!("index/{}", handle.id()));
            Told { prefix, ..Told::new(Some(creation), outcome) }
        }
    }
}

fn failed(error: Error) -> Outcome {
    match error {
        Error::NoSuchIndex => Outcome::Refused(Refusal::NoSuchIndex),
        Error::IndexExists => Outcome::Refused(Refusal::IndexExists),
        Error::NoSuchBucket => Outcome::Refused(Refusal::NoSuchBucket),
        Error::BucketExists => Outcome::Refused(Refusal::BucketExists),
        Error::BucketNotEmpty => Outcome::Refused(Refusal::BucketNotEmpty),
        Error::OutcomeUnknown => Outcome::Unknown,
        error => Outcome::Failed(error),
    }
}

async fn catalog(engine: &Engine, id: u64, call: &Call) -> Result<Outcome, Error> {
    let bucket = bucket();
    match call {
        Call::CreateIndex { index } => {
            let settings = record::settings(id);
            engine.create_index(&bucket, index_name(*index).as_bytes(), settings).await?;
            Ok(Outcome::Done)
        }
        Call::DropIndex { index } => {
            engine.delete_index(&bucket, index_name(*index).as_bytes()).await?;
            Ok(Outcome::Done)
        }
        Call::ListIndexes => {
            let mut listed = Vec::new();
            for index in engine.list_indexes(&bucket).await? {
                match record::creation(&index.settings) {
                    Ok(creation) if index.state == IndexState::Live => {
                        listed.push((index_of(&index.name), creation));
                    }
                    Ok(_) => {}
                    Err(wrong) => return Ok(Outcome::Wrong(wrong)),
                }
            }
            Ok(Outcome::Indexes(listed))
        }
        Call::CreateBucket => {
            let made = engine.create_bucket(&second_bucket(), BucketSettings::default()).await?;
            Ok(match made {
                Created::New => Outcome::Done,
                Created::Same => Outcome::Refused(Refusal::BucketExists),
            })
        }
        Call::DropBucket => {
            engine.delete_bucket(&second_bucket()).await?;
            Ok(Outcome::Done)
        }
        Call::ListBuckets => {
            let listed = engine.list_buckets(ACCOUNT.as_bytes()).await?;
            let mut names: Vec<_> = listed.into_iter().map(|bucket| bucket.name).collect();
            names.retain(|name| **name != *bucket.name);
            Ok(Outcome::Bucket(!names.is_empty()))
        }
        Call::TagBucket => {
            let tags = vec![("call".to_owned(), id.to_string())];
            engine.configure_bucket(&bucket, BucketChange::Tags(tags)).await?;
            Ok(Outcome::Done)
        }
        _ => unreachable!("the caller tells calls on records apart"),
    }
}

async fn records(index: &IndexHandle, id: u64, call: Call) -> Result<Outcome, Error> {
    match call {
        Call::Put { keys, .. } => index.put(record::batch(&keys, id)).await?,
        Call::Delete { keys, .. } => {
            index.delete(keys.into_iter().map(record::key_bytes).collect()).await?;
        }
        Call::Flush { .. } => index.flush().await?,
        Call::Compact { .. } => index.compact().await?,
        Call::Get { keys, .. } => return get(index, keys).await,
        Call::Query { target, count, wish, .. } => return query(index, target, count, wish).await,
        Call::List { page, parts, wish, .. } => return list(index, page, parts, wish).await,
        _ => unreachable!("the caller tells calls on records apart"),
    }
    Ok(Outcome::Done)
}

async fn get(index: &IndexHandle, keys: Vec<u64>) -> Result<Outcome, Error> {
    let wanted = keys.iter().map(|key| record::key_bytes(*key)).collect();
    let request = GetRequest { keys: wanted, with_data: true, with_metadata: true };
    let rows = index.get(request).await?;
    if rows.len() != keys.len() {
        return Ok(Outcome::Wrong(format!("{} answers for {} keys", rows.len(), keys.len())));
    }
    let read = keys.into_iter().zip(rows).map(|(key, row)| match row {
        None => Ok((key, None)),
        Some(row) => match self::row(&row) {
            Ok((found, version)) if found == key => Ok((key, Some(version))),
            Ok((found, _)) => Err(format!("key {found} for key {key}")),
            Err(wrong) => Err(wrong),
        },
    });
    let read: Result<Vec<_>, String> = read.collect();
    Ok(read.map_or_else(Outcome::Wrong, Outcome::Got))
}

/// A row's key and version: vector and metadata must both be of that version.
fn row(row: &Row) -> Result<(u64, Version), String> {
    let key = record::key_of(&row.key)?;
    let version = record::metadata_version(key, row.metadata.as_ref())?;
    let vector = record::vector(key, version);
    match row.vectors.as_slice() {
        [Some(found)] if *found == vector => Ok((key, version)),
        other => Err(format!("key {key} has the metadata of {version} and the vector {other:?}")),
    }
}

async fn query(
    index: &IndexHandle,
    target: Vec<f32>,
    count: usize,
    wish: Wish,
) -> Result<Outcome, Error> {
    let query = Query {
        field: 0,
        vector: target.clone(),
        top_k: count,
        filter: wish.filter(),
        with_metadata: true,
        precision: Precision::Usual,
    };
    let hits = index.query(query).await?;
    Ok(check_hits(&hits, &target, count, wish).map_or_else(Outcome::Wrong, Outcome::Found))
}

fn check_hits(
    hits: &[Hit],
    target: &[f32],
    count: usize,
    wish: Wish,
) -> Result<Vec<(u64, Version)>, String> {
    let mut found = Vec::new();
    let mut last: Option<(f32, Box<[u8]>)> = None;
    for hit in hits {
        let key = record::key_of(&hit.key)?;
        let version = record::metadata_version(key, hit.metadata.as_ref())?;
        let rank = record::rank(target, key, version);
        if (rank.0 - hit.distance).abs() > rank.0 * 1e-6 {
            return Err(format!("key {key} of {version}: distance {} not {rank:?}", hit.distance));
        }
        if last.as_ref().is_some_and(|last| *last >= rank) {
            return Err(format!("key {key} of {version} is out of order"));
        }
        if !wish.matches(version) {
            return Err(format!("key {key} of {version} does not match {wish:?}"));
        }
        last = Some(rank);
        found.push((key, version));
    }
    let distinct: BTreeSet<u64> = found.iter().map(|(key, _)| *key).collect();
    match distinct.len() == found.len() && found.len() <= count {
        true => Ok(found),
        false => Err(format!("a key twice, or more than {count}: {found:?}")),
    }
}

/// Every page of every part. Positions only rise, so a key can stand on one page only.
async fn list(index: &IndexHandle, page: usize, parts: u32, wish: Wish) -> Result<Outcome, Error> {
    let mut found = Vec::new();
    for part in 0..parts {
        let mut after = None;
        loop {
            let request = ListRequest {
                segment_index: part,
                segment_count: parts,
                after: after.take(),
                max: page,
                bytes_max: 1 << 20,
                filter: wish.filter(),
                with_data: true,
                with_metadata: true,
            };
            let listed = index.list(request).await?;
            for listed in &listed.rows {
                match row(listed) {
                    Ok((_, version)) if !wish.matches(version) => {
                        return Ok(Outcome::Wrong(format!("{version} is not {wish:?}")));
                    }
                    Ok(record) => found.push(record),
                    Err(wrong) => return Ok(Outcome::Wrong(wrong)),
                }
            }
            match listed.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    let distinct: BTreeSet<u64> = found.iter().map(|(key, _)| *key).collect();
    Ok(match distinct.len() == found.len() {
        true => Outcome::Found(found),
        false => Outcome::Wrong(format!("a listing has a key twice: {found:?}")),
    })
}
