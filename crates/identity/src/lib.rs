//! Who is calling: accounts, users, groups, roles, their access keys and sessions.
//!
//! Root credentials come from the environment or from a file and are never stored. Everything else
//! is one log of commands in the object store ([`IdentityStore`]); requests read a [`Snapshot`] of
//! it, in which an access key id leads to a [`Candidate`] at once: the secret to verify with, the
//! [`Principal`], its compiled policies. Secrets are stored sealed with the operator's [`KeyRing`];
//! sessions are sealed tokens that every node opens and nobody stores.
//!
//! Invariants: an access key id belongs to one user or root; secrets never appear in `Debug`,
//! `Display` or an error; a file that other users can read is refused; whatever cannot be opened or
//! read lets nobody in; what is revoked anywhere is refused everywhere within three seconds.

mod account;
mod candidate;
mod codec;
mod command;
mod compiled;
pub mod copy;
mod credential;
mod error;
pub mod fuzz;
mod keys;
mod load;
mod name;
mod outside;
mod owner;
mod principal;
mod record;
mod ring;
mod seal;
mod shared;
mod snapshot;
mod source;
mod state;
mod store;
mod sts;
mod token;
mod validate;

pub use account::AccountId;
pub use candidate::{AuthenticateError, Candidate, SecretError};
pub use command::{Action, Command, Holder, KeyUse, Limits, Resealed, Sessions};
pub use credential::{AccessKey, KeyId, Networks, Secret};
pub use error::Error;
pub use keys::Rekeyed;
pub use load::{LoadError, Roots};
pub use name::{Name, Uid};
pub use outside::{Random, SystemRandom};
pub use principal::Principal;
pub use record::{Account, Grants, Group, Key, ManagedPolicy, Quotas, Role, SealedSecret, User};
pub use ring::KeyRing;
pub use snapshot::Snapshot;
pub use source::secret_text;
pub use state::Rejection;
pub use store::{IdentityStore, Options};
pub use sts::{
    AssumeRole, AssumeRoleError, CHAINED_SESSION_S_MAX, SESSION_S_DEFAULT, SESSION_S_MAX,
    SESSION_S_MIN, Session,
};
pub use token::{SESSION_POLICY_BYTES_MAX, TOKEN_CHARS_MAX};
