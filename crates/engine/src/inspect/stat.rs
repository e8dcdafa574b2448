//! What is there, per index: the work behind `vectorbucket stat`.
//!
//! One LIST and one GET per index: what the newest manifest counts, and what is listed beside it.
//! Records in the unfolded tail are told in slots and bytes, since counting them means replaying it.

use futures_util::{StreamExt, TryStreamExt, stream};
use vb_commit::Store;

use super::Watch;
use super::log::{self, Listed, Read, manifest_path};
use crate::catalog::state::Bucket;
use crate::error::Error;
use crate::fetch::corrupt;
use crate::index::body::{Body, SegmentEntry};
use crate::paths;
use crate::records::{BucketId, IndexId, IndexRecord, IndexState};

/// Indexes and buckets read at the same time.
const READS_MAX: usize = 16;
/// How often an index that is folded while it is read is read.
const TRIES_MAX: usize = 5;

/// One index in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexStat {
    /// Its bucket.
    pub bucket: BucketId,
    /// Its name.
    pub name: Box<[u8]>,
    /// Its id.
    pub id: IndexId,
    /// Live, or being deleted.
    pub state: IndexState,
    /// Dimensions of its vector fields.
    pub dimensions: Vec<u32>,
    /// Live records in segments.
    pub records: u64,
    /// Deleted records that still take room in segments.
    pub deleted: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of these.
    pub segment_bytes: u64,
    /// Log slots that are not folded into segments.
    pub tail_slots: u64,
    /// Bytes of these.
    pub tail_bytes: u64,
    /// Manifests that are kept.
    pub manifests: u64,
    /// Bytes of everything under the index's prefix, what waits for collection too.
    pub bytes: u64,
}

impl IndexStat {
    /// The share of segment bytes that belongs to deleted records, about: 0 to 1.
    pub fn dead_share(&self) -> f64 {
        let all = self.records + self.deleted;
        if all == 0 { 0.0 } else { self.deleted as f64 / all as f64 }
    }
}

/// Statistics of every index of the store, or of one bucket, by bucket and name.
///
/// # Errors
/// [`Error::NoSuchBucket`], [`Error::Corrupt`] (see `vectorbucket fsck`), or as the store fails.
pub async fn stat(
    store: &Store,
    bucket: Option<&BucketId>,
    watch: &dyn Watch,
) -> Result<Vec<IndexStat>, Error> {
    let buckets = match bucket {
        Some(bucket) => vec![bucket.clone()],
        None => super::buckets(store, None).await?.0,
    };
    let reads: Vec<_> = buckets.into_iter().map(|id| catalog(store, id)).collect();
    let catalogs: Vec<(BucketId, Bucket)> =
        stream::iter(reads).buffered(READS_MAX).try_collect().await?;
    if let (Some(asked), [(_, Bucket { live: None, .. })]) = (bucket, catalogs.as_slice()) {
        tracing::debug!(bucket = ?asked, "no such bucket");
        return Err(Error::NoSuchBucket);
    }
    let mut reads = Vec::new();
    for (id, bucket) in &catalogs {
        let indexes = bucket.live.iter().flat_map(|live| live.indexes.iter());
        reads.extend(indexes.map(|index| read(store, id, index, watch)));
    }
    watch.expect(reads.len() as u64);
    let found: Vec<Option<IndexStat>> =
        stream::iter(reads).buffered(READS_MAX).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The state of a bucket as of now; empty for one that never was.
async fn catalog(store: &Store, id: BucketId) -> Result<(BucketId, Bucket), Error> {
    let state = super::bucket(store, &id).await?;
    Ok((id, state.unwrap_or_default()))
}

/// Statistics of one index; `None`: it was dropped meanwhile.
///
/// # Errors
/// [`Error::Corrupt`], or as the store fails.
pub(crate) async fn index_stat(
    store: &Store,
    bucket: &BucketId,
    index: &IndexRecord,
) -> Result<Option<IndexStat>, Error> {
    read(store, bucket, index, &()).await
}

/// `None`: the index was dropped meanwhile.
async fn read(
    store: &Store,
    bucket: &BucketId,
    index: &IndexRecord,
    watch: &dyn Watch,
) -> Result<Option<IndexStat>, Error> {
    let prefix = paths::index(index.id);
    let mut found = None;
    for _ in 0..TRIES_MAX {
        let listed = Listed::read(store, &prefix).await?;
        let Some(newest) = listed.newest() else { break };
        match log::manifest(store, &prefix, newest).await? {
            Read::Missing => {}
            Read::Damaged(why) => {
                return Err(corrupt(&manifest_path(&prefix, newest), 0, &why));
            }
            Read::Good(manifest) => {
                found = Some((listed, manifest));
                break;
            }
        }
    }
    watch.done(&format!("{bucket:?}/{}", index.name.escape_ascii()));
    let Some((listed, manifest)) = found else { return Ok(None) };
    let body = if manifest.closed {
        Body::empty(index.settings.schema.clone())
    } else {
        Body::decode(manifest.body.clone()).map_err(|error| {
            let path = manifest_path(&prefix, manifest.number);
            corrupt(&path, error.offset as u64, error.reason)
        })?
    };
    Ok(Some(summary(bucket, index, &listed, &body, manifest.floor)))
}

fn summary(
    bucket: &BucketId,
    index: &IndexRecord,
    listed: &Listed,
    body: &Body,
    floor: u64,
) -> IndexStat {
    let tail = listed.tail(floor);
    let length = |entry: &SegmentEntry| entry.meta.length;
    let numbered = listed.slots.iter().chain(&listed.manifests).map(|(_, object)| object);
    let fields = &index.settings.schema.vector_fields;
    IndexStat {
        bucket: bucket.clone(),
        name: index.name.clone(),
        id: index.id,
        state: index.state,
        dimensions: fields.iter().map(|field| field.dimension).collect(),
        records: body.counters.live,
        deleted: body.counters.deleted,
        segments: body.segments.len() as u64,
        segment_bytes: body.segments.iter().map(length).sum(),
        tail_slots: tail.len() as u64,
        tail_bytes: tail.iter().map(|(_, object)| object.size).sum(),
        manifests: listed.manifests.len() as u64,
        bytes: numbered.chain(&listed.others).map(|object| object.size).sum(),
    }
}
