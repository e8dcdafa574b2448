//! What is kept of an account: users, groups, roles, policies, access keys.
//!
//! Records are plain values. They change only in [`crate::state`]; readers get them through a
//! snapshot. The names of things are the keys of the maps they are in. A record's bytes are its
//! fields in the order told at the end of this file (and in `docs/format.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::codec::{DecodeError, Format, Reader, Write, format_of_fields};
use crate::{KeyId, Name, Networks, Uid};

/// A tenant: it owns buckets, users, groups, roles and policies.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// For people.
    pub comment: Box<str>,
    /// When the record was made.
    pub created_ms: u64,
    /// Nobody of the account gets in, its root included.
    pub suspended: bool,
    /// Whether public grants of its bucket policies are ignored; `None`: as the server is set.
    pub block_public_access: Option<bool>,
    /// What it may have; what is not set is as the server is set.
    pub quotas: Quotas,
    /// How often all sessions of the account were revoked.
    pub revoked: u32,
    /// By name, as all that follow.
    pub users: BTreeMap<Name, Arc<User>>,
    /// Who have policies in common.
    pub groups: BTreeMap<Name, Arc<Group>>,
    /// What can be assumed.
    pub roles: BTreeMap<Name, Arc<Role>>,
    /// What can be attached.
    pub policies: BTreeMap<Name, Arc<ManagedPolicy>>,
}

/// Limits of what an account may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Vector buckets.
    pub buckets: Option<u64>,
    /// Indexes of one bucket.
    pub indexes_per_bucket: Option<u64>,
    /// Records of all indexes.
    pub vectors: Option<u64>,
    /// Bytes stored for all indexes.
    pub bytes: Option<u64>,
}

/// The policies of a user, group or role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Names of attached policies of the account.
    pub attached: BTreeSet<Name>,
    /// Policies of its own: the documents as written.
    pub inline: BTreeMap<Name, Arc<str>>,
}

/// Somebody with access keys.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Its number: what bucket policies name.
    pub id: Uid,
    /// For people.
    pub comment: Box<str>,
    /// When it was created.
    pub created_ms: u64,
    /// Whether its keys, and the sessions it opened, let anybody in.
    pub enabled: bool,
    /// How often the sessions it opened were revoked.
    pub revoked: u32,
    /// Names of its groups.
    pub groups: BTreeSet<Name>,
    /// Its own policies.
    pub grants: Grants,
    /// Its access keys.
    pub keys: Vec<Key>,
}

/// A stored access key.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The access key id.
    pub id: KeyId,
    /// When it was created.
    pub created_ms: u64,
    /// Whether it lets anybody in.
    pub enabled: bool,
    /// From where it may be used.
    pub networks: Networks,
    /// When it was last seen in use, about an hour exact; 0: never.
    pub used_ms: u64,
    /// The secret.
    pub secret: SealedSecret,
}

/// A secret as it is stored: sealed with a key of the ring.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(pub(crate) Arc<[u8]>);

impl SealedSecret {
    /// The id of the ring key that it says it is sealed with.
    pub fn ring_key(&self) -> Option<&str> {
        crate::seal::ring_key_of(&self.0)
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedSecret({})", self.ring_key().unwrap_or("?"))
    }
}

/// Users who have policies in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// For people.
    pub comment: Box<str>,
    /// When it was created.
    pub created_ms: u64,
    /// What its members are granted.
    pub grants: Grants,
}

/// Rights that whoever is trusted may take on for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its number: what bucket policies name.
    pub id: Uid,
    /// For people.
    pub comment: Box<str>,
    /// When it was created.
    pub created_ms: u64,
    /// Who may assume it: the trust policy as written.
    pub trust: Arc<str>,
    /// Longest session, seconds.
    pub session_s_max: u32,
    /// How often its sessions were revoked.
    pub revoked: u32,
    /// What its sessions are granted.
    pub grants: Grants,
}

/// A policy that can be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedPolicy {
    /// For people.
    pub comment: Box<str>,
    /// When it was created.
    pub created_ms: u64,
    /// When it was last changed.
    pub changed_ms: u64,
    /// Counts the changes, from 1.
    pub version: u32,
    /// The document as written.
    pub text: Arc<str>,
}

format_of_fields!(Account {
    comment,
    created_ms,
    suspended,
    block_public_access,
    quotas,
    revoked,
    users,
    groups,
    roles,
    policies,
});
format_of_fields!(Quotas { buckets, indexes_per_bucket, vectors, bytes });
format_of_fields!(Grants { attached, inline });
format_of_fields!(User { id, comment, created_ms, enabled, revoked, groups, grants, keys });
format_of_fields!(Key { id, created_ms, enabled, networks, used_ms, secret });
format_of_fields!(Group { comment, created_ms, grants });
format_of_fields!(Role { id, comment, created_ms, trust, session_s_max, revoked, grants });
format_of_fields!(ManagedPolicy { comment, created_ms, changed_ms, version, text });

impl Format for SealedSecret {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_block(&self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let sealed = Self(reader.block()?.into());
        match sealed.ring_key() {
            Some(_) => Ok(sealed),
            None => Err(reader.error("not a sealed secret")),
        }
    }
}

impl Format for Networks {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_length(self.iter().len());
        self.iter().for_each(|network| out.put_str(network));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let texts = Vec::<Box<str>>::read(reader)?;
        Self::parse(texts.iter().map(|text| &**text)).ok_or_else(|| reader.error("not networks"))
    }
}

impl Format for Uid {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = Self(u64::read(reader)?);
        if id.is_user() || id.is_role() { Ok(id) } else { Err(reader.error("not an id")) }
    }
}
