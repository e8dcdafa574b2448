//! Reading buckets without keeping them open: for lists of buckets and for the walk.
//!
//! A record that was read is remembered with the tip of its log. While the log lives its highest
//! slot is never deleted, so one LIST from that tip which shows it and nothing behind it proves the
//! record current (rule 9 of the commit protocol). A list of a thousand buckets is then a thousand
//! small LISTs, many at a time, instead of a thousand opened logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use vb_commit::{Event, Log, Slot, Store, WriterId};

use super::state::Bucket;
use super::writer::{apply_slots, decode_manifest};
use crate::context::Context;
use crate::error::Error;
use crate::paths;
use crate::records::{BucketId, BucketRecord};

/// Memory of remembered records, in bytes; beyond it all are forgotten.
const REMEMBERED_MAX: usize = 4 << 20;

/// A bucket's state as of now and the tip of its log. `None`: it never had a log.
///
/// # Errors
/// As the store fails, or [`Error::Corrupt`].
pub(crate) async fn bucket(
    store: &Store,
    writer: WriterId,
    id: &BucketId,
) -> Result<Option<(Bucket, u64)>, Error> {
    let prefix = paths::bucket(id);
    let opened = Log::open(store, &prefix, writer).await?;
    let Some((mut log, opened)) = opened else { return Ok(None) };
    let mut state = decode_manifest(&prefix, &opened.manifest)?;
    apply_slots(&prefix, &mut state, &opened.slots)?;
    for event in log.catch_up().await? {
        apply_event(&prefix, &mut state, event)?;
    }
    Ok(Some((state, log.tip())))
}

fn apply_event(prefix: &str, state: &mut Bucket, event: Event) -> Result<(), Error> {
    let slots: Vec<Slot> = match event {
        Event::Slot(slot) => vec![slot],
        Event::Reopened { manifest, slots, .. } => {
            *state = decode_manifest(prefix, &manifest)?;
            slots
        }
    };
    apply_slots(prefix, state, &slots)
}

/// Records of buckets that are not open, each provable by one LIST.
#[derive(Debug, Default)]
pub(crate) struct RecordCache(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    entries: BTreeMap<BucketId, Entry>,
    bytes: usize,
}

/// What a bucket was when its log ended at `tip`; no record: it was deleted.
#[derive(Clone, Debug)]
struct Entry {
    tip: u64,
    record: Option<Arc<BucketRecord>>,
}

impl RecordCache {
    /// The record of a bucket as of now; `None` if there is no such bucket.
    ///
    /// # Errors
    /// As [`bucket`].
    pub(crate) async fn record(
        &self,
        context: &Context,
        id: &BucketId,
    ) -> Result<Option<Arc<BucketRecord>>, Error> {
        let known = self.0.lock().entries.get(id).cloned();
        if let Some(entry) = known
            && is_tip(context, id, entry.tip).await
        {
            return Ok(entry.record);
        }
        let read = bucket(&context.store, context.writer, id).await?;
        let Some((state, tip)) = read else { return Ok(None) };
        let record = state.live.map(|live| Arc::new(live.record(&id.name)));
        self.remember(id, Entry { tip, record: record.clone() });
        Ok(record)
    }

    fn remember(&self, id: &BucketId, entry: Entry) {
        let mut remembered = self.0.lock();
        let bytes = weight(id, &entry);
        if remembered.bytes + bytes > REMEMBERED_MAX {
            *remembered = Remembered::default();
        }
        remembered.bytes += bytes;
        if let Some(old) = remembered.entries.insert(id.clone(), entry) {
            let bytes = weight(id, &old);
            remembered.bytes = remembered.bytes.saturating_sub(bytes);
        }
    }
}

/// About the bytes of memory that an entry takes.
fn weight(id: &BucketId, entry: &Entry) -> usize {
    let record = entry.record.as_ref().map_or(0, |record| {
        let tags = record.tags.iter().map(|(key, value)| key.len() + value.len() + 48);
        let logging = record.logging.as_ref();
        size_of::<BucketRecord>()
            + record.policy.as_ref().map_or(0, bytes::Bytes::len)
            + logging.map_or(0, |to| to.bucket.len() + to.prefix.len() + to.role.len())
            + tags.sum::<usize>()
    });
    record + size_of::<Entry>() + 2 * (id.account.len() + id.name.len()) + 64
}

/// Whether the log's highest slot is this one. A failed list proves nothing: the caller then reads
/// the log itself, and reports what is wrong with it.
async fn is_tip(context: &Context, id: &BucketId, tip: u64) -> bool {
    let log = format!("{}/log", paths::bucket(id));
    let name = |number: u64| format!("{log}/{number:020}");
    let after = tip.checked_sub(1).map(name);
    match context.store.list_after(&log, after.as_deref()).await {
        Ok(listed) if tip == 0 => listed.is_empty(),
        Ok(listed) => matches!(listed.as_slice(), [only] if only.path == name(tip)),
        Err(_) => false,
    }
}
