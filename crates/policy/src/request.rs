//! What is asked: who, what, on which resource, under which circumstances.
//!
//! All of it comes as values; this crate has no clock and no socket.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::{Action, ConditionKey};

/// Who asks. Ids are the numeric ids that policies name, names those that role ARNs name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// Nobody: the request carried no credentials.
    Anonymous,
    /// The root of an account.
    Root {
        /// The account's id.
        account: &'a str,
    },
    /// A user of an account.
    User {
        /// The account's id.
        account: &'a str,
        /// The user's id.
        id: &'a str,
        /// The user's name.
        name: &'a str,
    },
    /// A session of a role of an account.
    Role {
        /// The account's id.
        account: &'a str,
        /// The role's id.
        id: &'a str,
        /// The role's name.
        name: &'a str,
        /// The session's name.
        session: &'a str,
    },
}

impl<'a> Caller<'a> {
    /// The account the caller belongs to.
    pub fn account(&self) -> Option<&'a str> {
        match self {
            Caller::Anonymous => None,
            Caller::Root { account }
            | Caller::User { account, .. }
            | Caller::Role { account, .. } => Some(account),
        }
    }

    /// Whether the caller is the root of the account.
    pub fn is_root_of(&self, owner: &str) -> bool {
        matches!(self, Caller::Root { account } if *account == owner)
    }
}

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The account as a whole: ListVectorBuckets.
    Account,
    /// A bucket.
    Bucket(&'a str),
    /// The list of a bucket's indexes; a grant on `{bucket}/*` reaches it as well.
    Indexes(&'a str),
    /// An index itself.
    Index {
        /// The bucket's name.
        bucket: &'a str,
        /// The index's name.
        index: &'a str,
    },
    /// The vectors of an index.
    Data {
        /// The bucket's name.
        bucket: &'a str,
        /// The index's name.
        index: &'a str,
    },
    /// Some index of a bucket, or its vectors: asked before the body that names it is read.
    /// Allowed then means "perhaps", refused means "no index at all".
    SomeIndex(&'a str),
    /// The objects of an ordinary bucket: where access logs go.
    Objects(&'a str),
    /// Something of the account's identities, by the end of its ARN: `user/alice`,
    /// `acs:ram:*:{account}:user/alice`.
    Identity(&'a str),
}

/// The resource of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The region of the service.
    pub region: &'a str,
    /// The account that owns the bucket; the caller's own for [`Target::Account`].
    pub account: &'a str,
    /// What of it.
    pub target: Target<'a>,
}

/// The circumstances that conditions look at; only the server may fill them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context<'a> {
    /// The client's address.
    pub source_ip: Option<IpAddr>,
    /// Whether the request came over TLS.
    pub secure_transport: bool,
    /// The server's time, in seconds since 1970.
    pub time: i64,
    /// The header User-Agent, which clients choose.
    pub user_agent: Option<&'a str>,
    /// The access key that signed.
    pub access_key_id: Option<&'a str>,
}

impl<'a> Context<'a> {
    /// The value of a key as text; `None` if the request does not have it.
    pub(crate) fn text(&self, key: &ConditionKey) -> Option<Cow<'a, str>> {
        let boolean = |value: bool| Cow::Borrowed(if value { "true" } else { "false" });
        match key {
            ConditionKey::SourceIp => {
                self.source_ip.map(|ip| Cow::Owned(ip.to_canonical().to_string()))
            }
            // Always there and empty, so that `StringLike *` holds: there is no VPC here.
            ConditionKey::SourceVpc => Some(Cow::Borrowed("")),
            ConditionKey::UserAgent => self.user_agent.map(Cow::Borrowed),
            ConditionKey::AccessId => self.access_key_id.map(Cow::Borrowed),
            ConditionKey::SecureTransport => Some(boolean(self.secure_transport)),
            ConditionKey::MfaPresent => Some(boolean(false)),
            ConditionKey::CurrentTime | ConditionKey::Foreign(_) => None,
        }
    }
}

/// A question to [`evaluate`](crate::evaluate()).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: Caller<'a>,
    /// What is to be done.
    pub action: Action,
    /// To what.
    pub resource: Resource<'a>,
    /// Under which circumstances.
    pub context: Context<'a>,
}
