//! A bucket's catalog as a replicated state machine.
//!
//! Every process that reads the log applies the same commands in the same order and so reaches the
//! same state and the same outcomes; nothing here looks at a clock or at another bucket.
//!
//! Rules:
//! - an index name stands for at most one index, live or being deleted;
//! - a bucket with an index, live or being deleted, is not deleted, so that deletion of the bucket
//!   and creation of indexes are totally ordered;
//! - ids of deleted indexes stay in `dropped` until their objects are known to be gone, also after
//!   the bucket itself was deleted.
//!
//! The manifest body is `format u8 = 1`, the live bucket (if any) with its indexes, then the
//! dropped ids.

use std::sync::Arc;

use bytes::Bytes;

use super::command::{Command, CreateIndex};
use super::indexes::Indexes;
use super::record::{
    copy, read_logging, read_settings, read_tags, write_logging, write_settings, write_tags,
};
use crate::codec::{DecodeError, Reader, Write};
use crate::records::{
    BucketChange, BucketRecord, BucketSettings, Created, IndexId, IndexRecord, IndexState,
};

const FORMAT: u8 = 1;

/// Everything one catalog log says about its bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bucket {
    /// The bucket, unless it was never created or is deleted.
    pub(crate) live: Option<LiveBucket>,
    /// Deleted indexes whose objects may still be there.
    pub(crate) dropped: Vec<Dropped>,
}

/// An existing bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LiveBucket {
    pub(crate) created_ms: u64,
    pub(crate) resource_group: String,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) policy: Option<Bytes>,
    pub(crate) logging: Option<crate::LoggingTarget>,
    pub(crate) indexes: Indexes,
}

/// An index that was marked deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) id: IndexId,
    pub(crate) at_ms: u64,
}

/// A command that took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Done,
    /// The bucket was there already and stays as it is.
    BucketThere,
}

impl From<Applied> for Created {
    fn from(applied: Applied) -> Self {
        match applied {
            Applied::Done => Self::New,
            Applied::BucketThere => Self::Same,
        }
    }
}

/// A command that had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    NoSuchBucket,
    BucketNotEmpty,
    NoSuchIndex,
    IndexExists,
    TooManyIndexes,
}

impl From<Rejection> for crate::Error {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchBucket => Self::NoSuchBucket,
            Rejection::BucketNotEmpty => Self::BucketNotEmpty,
            Rejection::NoSuchIndex => Self::NoSuchIndex,
            Rejection::IndexExists => Self::IndexExists,
            Rejection::TooManyIndexes => Self::TooManyIndexes,
        }
    }
}

type Outcome = Result<Applied, Rejection>;

impl Bucket {
    /// Applies one command; a rejected one changes nothing.
    pub(crate) fn apply(&mut self, command: &Command) -> Outcome {
        match command {
            Command::CreateBucket { created_ms, settings } => {
                Ok(self.create(*created_ms, settings))
            }
            Command::DeleteBucket => self.delete(),
            Command::Configure(change) => self.live_mut()?.configure(change),
            Command::CreateIndex(create) => self.live_mut()?.create_index(create),
            Command::MarkDeleting(id) => self.mark_deleting(*id),
            Command::MarkDeleted { id, at_ms } => self.mark_deleted(*id, *at_ms),
            Command::Swept(id) => {
                self.dropped.retain(|dropped| dropped.id != *id);
                Ok(Applied::Done)
            }
        }
    }

    /// What [`Bucket::apply`] would answer now.
    pub(crate) fn judge(&self, command: &Command) -> Outcome {
        self.clone().apply(command)
    }

    /// The index of this id, live or being deleted.
    pub(crate) fn index_of(&self, id: IndexId) -> Option<&IndexRecord> {
        self.live.as_ref()?.indexes.of(id)
    }

    /// Indexes whose deletion was begun and not finished.
    pub(crate) fn half_dropped(&self) -> Vec<IndexId> {
        let indexes = self.live.iter().flat_map(|live| live.indexes.iter());
        indexes.filter(|index| index.state == IndexState::Deleting).map(|index| index.id).collect()
    }

    /// The state with live indexes alone, and nothing left to clean.
    pub(crate) fn only_live(mut self) -> Self {
        self.half_dropped().into_iter().for_each(|id| {
            if let Some(live) = &mut self.live {
                live.indexes.remove(id);
            }
        });
        self.dropped.clear();
        self
    }

    /// Whether deletions wait to be completed, or dropped indexes to be removed.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.dropped.is_empty() || !self.half_dropped().is_empty()
    }

    fn create(&mut self, created_ms: u64, settings: &BucketSettings) -> Applied {
        if self.live.is_some() {
            return Applied::BucketThere;
        }
        self.live = Some(LiveBucket {
            created_ms,
            resource_group: settings.resource_group.clone(),
            tags: settings.tags.clone(),
            policy: None,
            logging: None,
            indexes: Indexes::default(),
        });
        Applied::Done
    }

    fn delete(&mut self) -> Outcome {
        if !self.live_mut()?.indexes.is_empty() {
            return Err(Rejection::BucketNotEmpty);
        }
        self.live = None;
        Ok(Applied::Done)
    }

    fn live_mut(&mut self) -> Result<&mut LiveBucket, Rejection> {
        self.live.as_mut().ok_or(Rejection::NoSuchBucket)
    }

    fn mark_deleting(&mut self, id: IndexId) -> Outcome {
        self.live_mut()?.index_mut(id)?.state = IndexState::Deleting;
        Ok(Applied::Done)
    }

    /// Marking twice is no error: whoever completes a half-done drop may be the second.
    fn mark_deleted(&mut self, id: IndexId, at_ms: u64) -> Outcome {
        if self.dropped.iter().any(|dropped| dropped.id == id) {
            return Ok(Applied::Done);
        }
        let live = self.live_mut()?;
        let index = live.index_mut(id)?;
        if index.state == IndexState::Live {
            return Err(Rejection::NoSuchIndex);
        }
        live.indexes.remove(id);
        self.dropped.push(Dropped { id, at_ms });
        Ok(Applied::Done)
    }
}

impl LiveBucket {
    pub(crate) fn record(&self, name: &[u8]) -> BucketRecord {
        BucketRecord {
            name: name.into(),
            created_ms: self.created_ms,
            resource_group: self.resource_group.clone(),
            tags: self.tags.clone(),
            policy: self.policy.clone(),
            logging: self.logging.clone(),
        }
    }

    fn index_mut(&mut self, id: IndexId) -> Result<&mut IndexRecord, Rejection> {
        self.indexes.of_mut(id).ok_or(Rejection::NoSuchIndex)
    }

    fn create_index(&mut self, create: &CreateIndex) -> Outcome {
        if self.indexes.contains(&create.name) {
            return Err(Rejection::IndexExists);
        }
        if self.indexes.len() >= create.indexes_max as usize {
            return Err(Rejection::TooManyIndexes);
        }
        let record = IndexRecord {
            name: create.name.clone(),
            id: create.id,
            created_ms: create.created_ms,
            state: IndexState::Live,
            settings: Arc::clone(&create.settings),
        };
        self.indexes.insert(record);
        Ok(Applied::Done)
    }

    fn configure(&mut self, change: &BucketChange) -> Outcome {
        match change {
            BucketChange::Policy(policy) => self.policy = policy.as_ref().map(copy),
            BucketChange::Logging(target) => self.logging.clone_from(target),
            BucketChange::Tags(tags) => self.tags.clone_from(tags),
            BucketChange::RemoveTags(None) => self.tags.clear(),
            BucketChange::RemoveTags(Some(names)) => {
                self.tags.retain(|(key, _)| !names.contains(key));
            }
            BucketChange::ResourceGroup(group) => self.resource_group.clone_from(group),
        }
        Ok(Applied::Done)
    }
}

impl Bucket {
    /// The manifest body.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![FORMAT];
        out.put_option(self.live.as_ref(), |out, live| live.encode(out));
        out.put_list(&self.dropped, |out, dropped| {
            out.put_u128(dropped.id.0);
            out.put_u64(dropped.at_ms);
        });
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(reader.error("unknown catalog manifest format"));
        }
        let live = reader.option(LiveBucket::decode)?;
        let dropped = reader
            .list(24, |reader| Ok(Dropped { id: IndexId(reader.u128()?), at_ms: reader.u64()? }))?;
        reader.finish()?;
        Ok(Self { live, dropped })
    }
}

impl LiveBucket {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.created_ms);
        out.put_block(self.resource_group.as_bytes());
        write_tags(out, &self.tags);
        out.put_option(self.policy.as_ref(), |out, policy| out.put_block(policy));
        out.put_option(self.logging.as_ref(), write_logging);
        let indexes: Vec<&IndexRecord> = self.indexes.iter().collect();
        out.put_list(&indexes, |out, index| write_index(out, index));
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut live = Self {
            created_ms: reader.u64()?,
            resource_group: reader.string()?,
            tags: read_tags(reader)?,
            policy: reader.option(|reader| Ok(copy(&reader.block()?)))?,
            logging: reader.option(read_logging)?,
            indexes: Indexes::default(),
        };
        for index in reader.list(37, read_index)? {
            if !live.indexes.insert(index) {
                return Err(reader.error("two indexes of one name"));
            }
        }
        live.indexes.shrink();
        Ok(live)
    }
}

fn write_index(out: &mut Vec<u8>, index: &IndexRecord) {
    out.put_u128(index.id.0);
    out.put_u64(index.created_ms);
    out.put_u8(match index.state {
        IndexState::Live => 0,
        IndexState::Deleting => 1,
    });
    out.put_block(&index.name);
    write_settings(out, &index.settings);
}

fn read_index(reader: &mut Reader) -> Result<IndexRecord, DecodeError> {
    Ok(IndexRecord {
        id: IndexId(reader.u128()?),
        created_ms: reader.u64()?,
        state: match reader.u8()? {
            0 => IndexState::Live,
            1 => IndexState::Deleting,
            _ => return Err(reader.error("unknown index state")),
        },
        name: reader.block()?.as_ref().into(),
        settings: Arc::new(read_settings(reader)?),
    })
}
