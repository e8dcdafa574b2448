//! What an account has stored, for quotas: counted where it is known, estimated where it is not.
//!
//! Indexes that are open here are counted exactly, as of the last log slot that was seen. Of the
//! others the newest manifest is read (one LIST and one GET each); records that are not folded into a
//! segment yet are estimated from the bytes of their slots, as new ones of the shortest form.

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::engine::{Engine, Inner};
use crate::error::Error;
use crate::index::OpenIndex;
use crate::inspect::{IndexStat, index_stat};
use crate::records::{BucketId, IndexRecord};

/// Indexes read at the same time.
const READS_MAX: usize = 16;
/// Bytes that a record takes in a slot beside its vectors, at least.
const RECORD_BYTES_MIN: u64 = 32;

/// What is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Live records.
    pub records: u64,
    /// Bytes of them: of segments the share that is not deleted, and what is not in a segment yet.
    pub bytes: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Engine {
    /// What an account has stored in all its indexes, about. Takes two requests per index that is
    /// not open here; not for every call.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn usage(&self, account: &[u8]) -> Result<Usage, Error> {
        let mut reads = Vec::new();
        for record in self.list_buckets(account).await? {
            let bucket = BucketId { account: account.into(), name: record.name.clone() };
            let indexes = match self.list_indexes(&bucket).await {
                // Deleted a moment ago.
                Err(Error::NoSuchBucket) => continue,
                found => found?,
            };
            reads
                .extend(indexes.into_iter().map(|index| self.inner.used_by(bucket.clone(), index)));
        }
        let add = |mut sum: Usage, used: Usage| async move {
            sum += used;
            Ok(sum)
        };
        stream::iter(reads).buffered(READS_MAX).try_fold(Usage::default(), add).await
    }

    /// Live records of an index, if it is open here.
    pub fn records_of(&self, index: &crate::handle::IndexHandle) -> Option<u64> {
        Some(self.inner.indexes.open(&index.id())?.published().view().live)
    }
}

impl Inner {
    async fn used_by(&self, bucket: BucketId, index: IndexRecord) -> Result<Usage, Error> {
        if let Some(open) = self.indexes.open(&index.id) {
            return Ok(used_by_open(&open));
        }
        let stat = index_stat(&self.context.store, &bucket, &index).await?;
        Ok(stat.as_ref().map(used_by_closed).unwrap_or_default())
    }
}

fn used_by_open(open: &OpenIndex) -> Usage {
    let view = open.published().view();
    let live_bytes = view
        .segments
        .iter()
        .map(|segment| share(segment.meta.length, segment.live(), u64::from(segment.docs())));
    let (live, rows) = view
        .chunks()
        .fold((0, 0), |(live, rows), chunk| (live + chunk.live(), rows + chunk.chunk.len() as u64));
    let unflushed = share(open.status.unflushed_bytes() as u64, live, rows);
    Usage { records: view.live, bytes: live_bytes.sum::<u64>() + unflushed }
}

fn used_by_closed(stat: &IndexStat) -> Usage {
    let vector_bytes: u64 = stat.dimensions.iter().map(|dimension| u64::from(*dimension) * 4).sum();
    let tail_records = stat.tail_bytes / (vector_bytes + RECORD_BYTES_MIN);
    let live_bytes = share(stat.segment_bytes, stat.records, stat.records + stat.deleted);
    Usage { records: stat.records + tail_records, bytes: live_bytes + stat.tail_bytes }
}

/// The bytes of `part` of `whole` things that take `bytes` together.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let exact = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_records_take_no_share() {
        assert_eq!(share(1000, 10, 10), 1000);
        assert_eq!(share(1000, 1, 4), 250);
        assert_eq!(share(1000, 0, 0), 0);
        assert_eq!(share(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
    }
}
