//! What can go wrong with the store of identities, told by what the caller should do about it.

use std::fmt;
use std::sync::Arc;

use vb_commit::{CommitError, CreateError, StoreError, StoreErrorKind};
use vb_policy::PolicyError;

use crate::Rejection;

/// A failed use of the store of identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The command had no effect.
    Rejected(Rejection),
    /// The command itself is not valid: correct it.
    Invalid(Arc<str>),
    /// A policy in the command is not valid: correct it.
    Policy(PolicyError),
    /// Secrets are to be sealed, and there is no key ring: configure one.
    NoKeyRing,
    /// It is not known whether the command took effect: look.
    OutcomeUnknown,
    /// The store refused or did not answer.
    Store {
        /// What can be done about it.
        kind: StoreErrorKind,
        /// The object and the cause.
        message: Arc<str>,
    },
    /// Bytes that are not what was written: restore the object.
    Corrupt {
        /// The object.
        path: Arc<str>,
        /// Where in the manifest's body or the slot's batch.
        offset: usize,
        /// What was expected there.
        reason: &'static str,
    },
    /// The store was closed.
    Closed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Invalid(text) => f.write_str(text),
            Self::Policy(error) => error.fmt(f),
            Self::NoKeyRing => f.write_str(
                "access keys and sessions need a key ring: set VECTORBUCKET_KEY_RING_FILE",
            ),
            Self::OutcomeUnknown => f.write_str(
                "it is not known whether the command took effect; look before repeating",
            ),
            Self::Store { message, .. } => f.write_str(message),
            Self::Corrupt { path, offset, reason } => {
                write!(f, "{path} is damaged at byte {offset} of its content: {reason}")
            }
            Self::Closed => f.write_str("the store of identities is closed"),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchAccount => "there is no such account",
            Self::NoSuchUser => "there is no such user",
            Self::NoSuchGroup => "there is no such group",
            Self::NoSuchRole => "there is no such role",
            Self::NoSuchPolicy => "there is no such policy",
            Self::NoSuchKey => "there is no such access key",
            Self::NotAttached => "the policy is not attached there",
            Self::NotMember => "the user is not in the group",
            Self::Exists => "the name is taken (names that differ in case alone count as one)",
            Self::TooMany => "the limit of such things is reached",
            Self::NotEmpty => "it is not empty: remove what it holds first",
            Self::InUse => "the policy is attached: detach it first",
            Self::Changed => "it was changed meanwhile: look and try again",
            Self::IdTaken => "a random id was taken: try again",
        })
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<&StoreError> for Error {
    fn from(error: &StoreError) -> Self {
        Self::Store { kind: error.kind(), message: error.to_string().into() }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Closed => Self::Closed,
            CommitError::Unknown(cause) => {
                tracing::warn!(%cause, "the outcome of a commit is unknown");
                Self::OutcomeUnknown
            }
            CommitError::TooLarge { bytes } => {
                Self::Invalid(format!("a command of {bytes} bytes is too large").into())
            }
            CommitError::Store(error) => (&error).into(),
        }
    }
}

impl From<CreateError> for Error {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::AlreadyExists => Self::Rejected(Rejection::Exists),
            CreateError::Unknown(cause) => {
                tracing::warn!(%cause, "the outcome of a create is unknown");
                Self::OutcomeUnknown
            }
            CreateError::Store(error) => (&error).into(),
        }
    }
}
