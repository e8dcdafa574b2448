//! Why an order is not carried out: a code for programs, a message and a next step for people.

use std::fmt;

use vb_commit::StoreErrorKind;
use vb_identity::{AssumeRoleError, Error, Rejection};

macro_rules! codes {
    ($($code:ident $status:literal $next:expr,)*) => {
        /// What went wrong, by what the caller should do about it. `docs/admin-api.md` lists them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code { $($code,)* }

        impl Code {
            /// All of them.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The code as it is written.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// The HTTP status that goes with it.
            pub(crate) fn status(self) -> u16 {
                match self { $(Self::$code => $status,)* }
            }

            /// What to do next.
            pub(crate) fn next_step(self) -> &'static str {
                match self { $(Self::$code => $next,)* }
            }
        }
    };
}

codes! {
    InvalidRequest 400 "correct the request as the message says; docs/admin-api.md lists the arguments of each operation",
    InvalidPolicyDocument 400 "correct the document; docs/policies.md tells the language",
    InvalidSessionName 400 "take 2 to 64 characters of 0-9A-Za-z.@-_",
    InvalidDuration 400 "ask for a shorter session, or raise the role's session_max",
    BodyTooLarge 413 "send at most 64 KiB; a policy document has at most 16 KB",
    BodyTimeout 408 "send the whole body at once",
    UnknownOperation 404 "see docs/admin-api.md, or `vectorbucket admin --help`, for what there is",
    MethodNotAllowed 405 "send a POST with a JSON body",
    LocalOnly 400 "run the command without --endpoint, or see docs/admin-api.md for the operation that is meant for networks",
    TransportRefused 403 "connect over TLS, or from the machine itself to a loopback address",
    AuthenticationRequired 403 "sign the request with an access key, or send `Authorization: Bearer TOKEN`",
    InvalidToken 403 "send one of the tokens that the server's admin_token settings hold",
    TooManyFailures 429 "wait some seconds; whatever tries wrong keys or tokens from that address has to stop",
    UnsignedBody 403 "send the body's SHA-256 as x-oss-content-sha256 and sign the header",
    AccessDenied 403 "ask for a policy that allows the action named, or use the operator's token",
    NoPermission 403 "the role's trust policy must name the caller, and the caller's policies allow sts:AssumeRole on the role",
    NoSuchAccount 404 "`account list` shows what there is; `account create` makes a record",
    NoSuchUser 404 "`user list` shows what there is",
    NoSuchGroup 404 "`group list` shows what there is",
    NoSuchRole 404 "`role list` shows what there is",
    NoSuchPolicy 404 "`policy list` shows what there is",
    NoSuchKey 404 "`key list` shows what there is",
    NoSuchBucket 404 "check the bucket's name and its account",
    NotAttached 404 "look where it is attached with `account show`",
    NotMember 404 "look who is in the group with `group list`",
    AlreadyExists 409 "use what is there, or take another name",
    LimitExceeded 409 "remove what is not needed first",
    NotEmpty 409 "remove what it holds first, or force it",
    InUse 409 "detach the policy first",
    Changed 409 "look at it again, and repeat the change if it is still wanted",
    NoKeyRing 409 "configure a key ring: `vectorbucket admin ring generate` makes an entry for key_ring_file",
    OutcomeUnknown 503 "look whether it took effect before repeating it",
    StoreUnavailable 503 "try again later; the server's log has the cause",
    StoreDamaged 500 "run `vectorbucket fsck`, and restore what it names",
    NotReady 503 "try again when /readyz answers 200",
    Internal 500 "the server's log has the cause under this request id",
}

/// An order that is not carried out. It changed nothing, unless the code is `OutcomeUnknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Refusal {
    /// A refusal with a message for people; it must not hold a secret.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Rejected(rejection) => code_of(*rejection),
            Error::Invalid(_) => Code::InvalidRequest,
            Error::Policy(_) => Code::InvalidPolicyDocument,
            Error::NoKeyRing => Code::NoKeyRing,
            Error::OutcomeUnknown => Code::OutcomeUnknown,
            Error::Store { kind: StoreErrorKind::Corrupt, .. } | Error::Corrupt { .. } => {
                Code::StoreDamaged
            }
            Error::Store { .. } => Code::StoreUnavailable,
            Error::Closed => Code::NotReady,
        };
        Self::new(code, error.to_string())
    }
}

fn code_of(rejection: Rejection) -> Code {
    match rejection {
        Rejection::NoSuchAccount => Code::NoSuchAccount,
        Rejection::NoSuchUser => Code::NoSuchUser,
        Rejection::NoSuchGroup => Code::NoSuchGroup,
        Rejection::NoSuchRole => Code::NoSuchRole,
        Rejection::NoSuchPolicy => Code::NoSuchPolicy,
        Rejection::NoSuchKey => Code::NoSuchKey,
        Rejection::NotAttached => Code::NotAttached,
        Rejection::NotMember => Code::NotMember,
        Rejection::Exists => Code::AlreadyExists,
        Rejection::TooMany => Code::LimitExceeded,
        Rejection::NotEmpty => Code::NotEmpty,
        Rejection::InUse => Code::InUse,
        Rejection::Changed | Rejection::IdTaken => Code::Changed,
    }
}

impl From<AssumeRoleError> for Refusal {
    fn from(error: AssumeRoleError) -> Self {
        let code = match &error {
            AssumeRoleError::NotTrusted | AssumeRoleError::NotAllowed => Code::NoPermission,
            AssumeRoleError::NoSuchRole => Code::NoSuchRole,
            AssumeRoleError::InvalidSessionName => Code::InvalidSessionName,
            AssumeRoleError::InvalidDuration { .. } => Code::InvalidDuration,
            AssumeRoleError::InvalidPolicy(_) => Code::InvalidPolicyDocument,
            AssumeRoleError::ChainTooLong => Code::InvalidRequest,
            AssumeRoleError::NoKeyRing => Code::NoKeyRing,
        };
        Self::new(code, error.to_string())
    }
}

impl From<vb_engine::Error> for Refusal {
    fn from(error: vb_engine::Error) -> Self {
        use vb_engine::Error as E;
        let code = match &error {
            E::NoSuchBucket => Code::NoSuchBucket,
            E::OutcomeUnknown => Code::OutcomeUnknown,
            E::Storage(source) if source.kind() == StoreErrorKind::Corrupt => Code::StoreDamaged,
            _ => Code::StoreUnavailable,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented_and_says_what_to_do() {
        let page = include_str!("../../../../docs/admin-api.md");
        for code in Code::ALL {
            let row = format!("| `{}` | {} |", code.name(), code.status());
            assert!(page.contains(&row), "{row} is missing in docs/admin-api.md");
            assert!(!code.next_step().is_empty());
        }
    }
}
