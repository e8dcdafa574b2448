//! What can go wrong at the store, told by what the caller should do about it.

use std::error::Error;
use std::fmt;

/// The kind of a store failure: what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// A create met an object of that name: read it to learn whose it is.
    AlreadyExists,
    /// No object of that name.
    NotFound,
    /// The store has no room left (`ENOSPC`, `EDQUOT`): free some, then try again.
    Full,
    /// The store may not be read or written (`EACCES`, `EPERM`, `EROFS`, HTTP 403): fix the rights.
    Denied,
    /// Another process holds the lock of the local folder.
    Locked,
    /// The store did not answer, or answered with an error of its own: try again later.
    Unavailable,
    /// Bytes that are not what was written, or a store that breaks a promise the protocol needs.
    Corrupt,
    /// The request itself was wrong (bad path, bad range): a programming error of the caller.
    Invalid,
}

/// A failed request to the store: its kind, the object it was about and the cause.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    path: String,
    source: Option<Box<dyn Error + Send + Sync + 'static>>,
    not_executed: bool,
}

impl StoreError {
    /// Makes an error about the object or folder `path`.
    pub fn new(kind: StoreErrorKind, path: impl Into<String>) -> Self {
        Self { kind, path: path.into(), source: None, not_executed: false }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn Error + Send + Sync + 'static>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Marks a write that certainly was not and will not be executed.
    #[must_use]
    pub fn not_executed(mut self) -> Self {
        self.not_executed = true;
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The object path (or, for the local folder itself, the folder) the request was about.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the failed write certainly had, and will have, no effect. `false` means unknown.
    pub fn is_not_executed(&self) -> bool {
        self.not_executed
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyExists => "already exists",
            Self::NotFound => "not found",
            Self::Full => "the store is full",
            Self::Denied => "access denied",
            Self::Locked => "in use by another process",
            Self::Unavailable => "the store is unavailable",
            Self::Corrupt => "corrupt",
            Self::Invalid => "invalid request",
        })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.kind)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Why a commit (or another use of a log) did not succeed.
#[derive(Debug)]
pub enum CommitError {
    /// The log was closed (dropped) or never existed: nothing will ever be acknowledged on it. A
    /// group that was committed a moment before may be gone with it unacknowledged.
    Closed,
    /// It is not known whether the write took place: answer "outcome unknown". The next use of the
    /// log re-opens it, and the batch is then either there for good or never will be seen to vanish.
    Unknown(StoreError),
    /// One slot cannot hold the group: nothing was sent. See [`crate::SLOT_BYTES_MAX`].
    TooLarge {
        /// The encoded length the slot would have had, in bytes.
        bytes: usize,
    },
    /// The store refused, and certainly nothing was written.
    Store(StoreError),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the log is closed"),
            Self::Unknown(cause) => write!(f, "outcome unknown: {cause}"),
            Self::TooLarge { bytes } => write!(f, "a group of {bytes} bytes exceeds one log slot"),
            Self::Store(cause) => cause.fmt(f),
        }
    }
}

impl Error for CommitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed | Self::TooLarge { .. } => None,
            Self::Unknown(cause) | Self::Store(cause) => Some(cause),
        }
    }
}

/// Why a log could not be created.
#[derive(Debug)]
pub enum CreateError {
    /// A log that is not closed is there already.
    AlreadyExists,
    /// It is not known whether the log was created.
    Unknown(StoreError),
    /// The store refused; certainly nothing was written.
    Store(StoreError),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyExists => f.write_str("a log exists already"),
            Self::Unknown(cause) => write!(f, "outcome unknown: {cause}"),
            Self::Store(cause) => cause.fmt(f),
        }
    }
}

impl Error for CreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::AlreadyExists => None,
            Self::Unknown(cause) | Self::Store(cause) => Some(cause),
        }
    }
}
