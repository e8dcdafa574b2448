//! What the catalog knows about buckets and indexes, as callers see it.
//!
//! Names are opaque byte strings: which names are allowed is a rule of the wire, not of the engine.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use vb_search::Schema;

/// A bucket's full name: the owning account and the bucket's own name, both opaque.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketId {
    /// The account that owns the bucket.
    pub account: Box<[u8]>,
    /// The bucket's name within the account.
    pub name: Box<[u8]>,
}

impl BucketId {
    /// A bucket id from its two parts.
    pub fn new(account: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> Self {
        Self { account: account.as_ref().into(), name: name.as_ref().into() }
    }
}

impl fmt::Debug for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account.escape_ascii(), self.name.escape_ascii())
    }
}

/// What a bucket is created with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketSettings {
    /// Resource group; empty means the default group.
    pub resource_group: String,
    /// Tags in the order given.
    pub tags: Vec<(String, String)>,
}

/// Whether a create made something or found the same thing already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The bucket did not exist before.
    New,
    /// The bucket was there; its settings were left as they are.
    Same,
}

/// Where access logs of a bucket go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggingTarget {
    /// Target bucket.
    pub bucket: String,
    /// Prefix of the log objects' names.
    pub prefix: String,
    /// Role named in the request.
    pub role: String,
}

/// One change of a bucket's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketChange {
    /// Sets (or with `None` removes) the bucket policy, kept byte for byte.
    Policy(Option<Bytes>),
    /// Sets (or with `None` removes) the access-log target.
    Logging(Option<LoggingTarget>),
    /// Replaces all tags.
    Tags(Vec<(String, String)>),
    /// Removes the named tags; names that are not set are ignored. `None` removes all tags.
    RemoveTags(Option<Vec<String>>),
    /// Moves the bucket to a resource group; empty means the default group.
    ResourceGroup(String),
}

/// A bucket as of one position of its catalog log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRecord {
    /// The bucket's name.
    pub name: Box<[u8]>,
    /// Creation time, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Resource group; empty means the default group.
    pub resource_group: String,
    /// Tags, in the order they were given.
    pub tags: Vec<(String, String)>,
    /// Bucket policy as it was put.
    pub policy: Option<Bytes>,
    /// Where access logs go.
    pub logging: Option<LoggingTarget>,
}

/// Identity of an index: random, never reused, also not after a re-creation under the same name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexId(pub u128);

impl fmt::Display for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What an index is created with; immutable afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexSettings {
    /// Vector fields and non-filterable metadata keys.
    pub schema: Schema,
    /// Bytes that belong to the wire's dialect; the engine keeps them unread.
    pub wire: Bytes,
}

/// Life of an index in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// Readable and writable.
    Live,
    /// A drop has begun; records can no longer be reached.
    Deleting,
}

/// An index as of one position of its bucket's catalog log.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexRecord {
    /// The index's name.
    pub name: Box<[u8]>,
    /// Its identity.
    pub id: IndexId,
    /// Creation time, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Whether it can be used.
    pub state: IndexState,
    /// What it was created with.
    pub settings: Arc<IndexSettings>,
}
