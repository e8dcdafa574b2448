//! What administrators can do: one command each, and its bytes in the log.
//!
//! ```text
//! format u8 = 1 | at_ms u64 | fresh u64 | limits, 8 x u32 | account string | tag u8 | by tag
//! ```
//!
//! `at_ms`, `fresh` (a random number for a new id) and the limits travel with the command, so that
//! every reader of the log decides alike. A log slot is covered by a checksum of its own.

use std::sync::Arc;

use crate::codec::{DecodeError, Format, Reader, format_of_fields};
use crate::record::{Quotas, SealedSecret};
use crate::{AccountId, KeyId, Name, Networks, Uid};

const FORMAT: u8 = 1;

/// A change of what the store knows of one account. It takes effect, whole, or is rejected at its
/// place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The account it is about.
    pub account: AccountId,
    /// What is to be done.
    pub action: Action,
}

/// A user, group or role: what holds policies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Holder {
    User(Name),
    Group(Name),
    Role(Name),
}

/// Whose sessions are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// All sessions of roles of the account, and all that its users opened elsewhere.
    OfAccount,
    /// All that the user opened, of whatever role.
    OfUser(Name),
    /// All of the role, and all that were opened out of these.
    OfRole(Name),
}

/// What is to be done. Unless it says otherwise, an action is rejected when what it names is not
/// there, and repeating it is no error.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "fields are named as in the records they change")]
pub enum Action {
    /// Rejected if the account has a record.
    CreateAccount {
        comment: Box<str>,
    },
    SetAccountComment {
        comment: Box<str>,
    },
    SuspendAccount {
        suspended: bool,
    },
    /// `None`: as the server is set.
    SetBlockPublicAccess {
        block: Option<bool>,
    },
    SetQuotas {
        quotas: Quotas,
    },
    /// Rejected while it has users, groups, roles or policies.
    DeleteAccount,
    /// Rejected if the name is taken, also in other case.
    CreateUser {
        user: Name,
        comment: Box<str>,
    },
    SetUserComment {
        user: Name,
        comment: Box<str>,
    },
    EnableUser {
        user: Name,
        enabled: bool,
    },
    /// Rejected while it has keys, groups or policies, unless `force`.
    DeleteUser {
        user: Name,
        force: bool,
    },
    /// Rejected if the name is taken, also in other case.
    CreateGroup {
        group: Name,
        comment: Box<str>,
    },
    SetGroupComment {
        group: Name,
        comment: Box<str>,
    },
    /// Rejected while it has members or policies, unless `force`.
    DeleteGroup {
        group: Name,
        force: bool,
    },
    AddMember {
        group: Name,
        user: Name,
    },
    RemoveMember {
        group: Name,
        user: Name,
    },
    /// Rejected if the name is taken, also in other case. `session_s_max`: 3600 to 43200.
    CreateRole {
        role: Name,
        comment: Box<str>,
        trust: Arc<str>,
        session_s_max: u32,
    },
    SetRoleComment {
        role: Name,
        comment: Box<str>,
    },
    SetTrust {
        role: Name,
        trust: Arc<str>,
    },
    SetSessionMax {
        role: Name,
        session_s_max: u32,
    },
    /// Rejected while it has policies, unless `force`.
    DeleteRole {
        role: Name,
        force: bool,
    },
    /// Rejected if the name is taken, also in other case.
    CreatePolicy {
        policy: Name,
        comment: Box<str>,
        text: Arc<str>,
    },
    /// Rejected if a `version` is given that is not the policy's.
    SetPolicy {
        policy: Name,
        text: Arc<str>,
        version: Option<u32>,
    },
    SetPolicyComment {
        policy: Name,
        comment: Box<str>,
    },
    /// Rejected while it is attached.
    DeletePolicy {
        policy: Name,
    },
    Attach {
        to: Holder,
        policy: Name,
    },
    Detach {
        from: Holder,
        policy: Name,
    },
    PutInline {
        to: Holder,
        name: Name,
        text: Arc<str>,
    },
    DeleteInline {
        from: Holder,
        name: Name,
    },
    /// Rejected if the user has two, or another id. Made by
    /// [`crate::IdentityStore::create_access_key`].
    AddKey {
        user: Name,
        uid: Uid,
        key: KeyId,
        secret: SealedSecret,
    },
    EnableKey {
        user: Name,
        key: KeyId,
        enabled: bool,
    },
    LimitKey {
        user: Name,
        key: KeyId,
        networks: Networks,
    },
    DeleteKey {
        user: Name,
        key: KeyId,
    },
    RevokeSessions {
        of: Sessions,
    },
    /// Replaces secrets that are still the `old` ones. Made by [`crate::IdentityStore::rekey`].
    Reseal {
        secrets: Vec<Resealed>,
    },
    /// Notes when keys were used; those that are gone are passed over.
    NoteUse {
        keys: Vec<KeyUse>,
    },
}

/// A secret sealed anew.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Resealed {
    pub user: Name,
    pub key: KeyId,
    pub old: SealedSecret,
    pub new: SealedSecret,
}

/// When a key was last seen in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct KeyUse {
    pub user: Name,
    pub key: KeyId,
    pub used_ms: u64,
}

/// How much one account may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Users.
    pub users: u32,
    /// Groups.
    pub groups: u32,
    /// Roles.
    pub roles: u32,
    /// Policies that can be attached.
    pub policies: u32,
    /// Policies attached to one user, group or role.
    pub attached: u32,
    /// Policies of its own of one user, group or role.
    pub inline: u32,
    /// Groups of one user.
    pub groups_per_user: u32,
    /// Access keys of one user.
    pub keys_per_user: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            users: 1000,
            groups: 100,
            roles: 1000,
            policies: 1500,
            attached: 20,
            inline: 20,
            groups_per_user: 20,
            keys_per_user: 2,
        }
    }
}

/// A command with what its outcome depends on: one batch of the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at_ms: u64,
    /// A random number, for the id of what is created.
    pub(crate) fresh: u64,
    pub(crate) limits: Limits,
    pub(crate) command: Command,
}

impl Format for Entry {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        self.at_ms.write(out);
        self.fresh.write(out);
        self.limits.write(out);
        self.command.account.write(out);
        self.command.action.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u8()? != FORMAT {
            return Err(reader.error("unknown format of an identity command"));
        }
        Ok(Self {
            at_ms: u64::read(reader)?,
            fresh: u64::read(reader)?,
            limits: Limits::read(reader)?,
            command: Command { account: AccountId::read(reader)?, action: Action::read(reader)? },
        })
    }
}

format_of_fields!(Limits {
    users,
    groups,
    roles,
    policies,
    attached,
    inline,
    groups_per_user,
    keys_per_user,
});
format_of_fields!(Resealed { user, key, old, new });
format_of_fields!(KeyUse { user, key, used_ms });

/// The format of actions: `tag u8`, then the fields in this order.
macro_rules! format_of_actions {
    ($($tag:literal $action:ident { $($field:ident),* },)*) => {
        impl Format for Action {
            fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$action { $($field),* } => {
                        out.push($tag);
                        $($field.write(out);)*
                    })*
                }
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                match reader.u8()? {
                    $($tag => Ok(Self::$action { $($field: Format::read(reader)?),* }),)*
                    _ => Err(reader.error("unknown identity command")),
                }
            }
        }
    };
}

format_of_actions! {
    1 CreateAccount { comment },
    2 SetAccountComment { comment },
    3 SuspendAccount { suspended },
    4 SetBlockPublicAccess { block },
    5 SetQuotas { quotas },
    6 DeleteAccount {},
    7 CreateUser { user, comment },
    8 SetUserComment { user, comment },
    9 EnableUser { user, enabled },
    10 DeleteUser { user, force },
    11 CreateGroup { group, comment },
    12 SetGroupComment { group, comment },
    13 DeleteGroup { group, force },
    14 AddMember { group, user },
    15 RemoveMember { group, user },
    16 CreateRole { role, comment, trust, session_s_max },
    17 SetRoleComment { role, comment },
    18 SetTrust { role, trust },
    19 SetSessionMax { role, session_s_max },
    20 DeleteRole { role, force },
    21 CreatePolicy { policy, comment, text },
    22 SetPolicy { policy, text, version },
    23 SetPolicyComment { policy, comment },
    24 DeletePolicy { policy },
    25 Attach { to, policy },
    26 Detach { from, policy },
    27 PutInline { to, name, text },
    28 DeleteInline { from, name },
    29 AddKey { user, uid, key, secret },
    30 EnableKey { user, key, enabled },
    31 LimitKey { user, key, networks },
    32 DeleteKey { user, key },
    33 RevokeSessions { of },
    34 Reseal { secrets },
    35 NoteUse { keys },
}
impl Format for Holder {
    fn write(&self, out: &mut Vec<u8>) {
        let (tag, name) = match self {
            Self::User(name) => (0, name),
            Self::Group(name) => (1, name),
            Self::Role(name) => (2, name),
        };
        out.push(tag);
        name.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Name::read(reader).map(Self::User),
            1 => Name::read(reader).map(Self::Group),
            2 => Name::read(reader).map(Self::Role),
            _ => Err(reader.error("unknown holder of policies")),
        }
    }
}

impl Format for Sessions {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::OfAccount => out.push(0),
            Self::OfUser(name) => {
                out.push(1);
                name.write(out);
            }
            Self::OfRole(name) => {
                out.push(2);
                name.write(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::OfAccount),
            1 => Name::read(reader).map(Self::OfUser),
            2 => Name::read(reader).map(Self::OfRole),
            _ => Err(reader.error("unknown sessions")),
        }
    }
}
