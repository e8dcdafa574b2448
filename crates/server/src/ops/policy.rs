//! The bucket policy, stored byte for byte.

use bytes::Bytes;
use vb_api::oss::{Error, Fault};
use vb_engine::BucketChange;
use vb_policy::{Document, ErrorKind, Kind, Policy, PolicyError};

use super::Context;
use crate::authorize::{Authorized, Grant};
use crate::reply::{Refusal, Reply};

/// PutBucketPolicy: a document that was found valid.
pub(crate) struct Put {
    text: Bytes,
    /// Whether it lets everybody in.
    is_public: bool,
}
/// GetBucketPolicy.
pub(crate) struct Get;
/// DeleteBucketPolicy.
pub(crate) struct Delete;

impl Put {
    /// Checks the document and keeps its bytes.
    ///
    /// # Errors
    /// The four faults of policy documents, with the place in the message.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Error> {
        let document = Document::parse(Kind::Bucket, body).map_err(|refused| refusal(&refused))?;
        let is_public = Policy::new("", document).is_public();
        Ok(Self { text: Bytes::copy_from_slice(body), is_public })
    }
}

/// Only the syntax has a place worth telling; the other faults say it all.
fn refusal(refused: &PolicyError) -> Error {
    let fault = fault(refused.kind);
    match refused.kind {
        ErrorKind::Syntax => {
            let standard = fault.message().trim_end_matches('.');
            Error::with_message(fault, format!("{standard}: {}.", refused.message))
        }
        ErrorKind::TooLarge | ErrorKind::Version | ErrorKind::ItemTooLong => Error::new(fault),
    }
}

fn fault(kind: ErrorKind) -> Fault {
    match kind {
        ErrorKind::TooLarge => Fault::PolicyTooLarge,
        ErrorKind::Version => Fault::PolicyVersion,
        ErrorKind::ItemTooLong => Fault::PolicyItemTooLong,
        ErrorKind::Syntax => Fault::PolicySyntax,
    }
}

/// Whether the policy may be put.
///
/// # Errors
/// [`Fault::PublicPolicyBlocked`]: it lets everybody in where that is blocked.
pub(super) fn check(grant: &Grant, request: &Put) -> Result<(), Error> {
    let blocked = request.is_public && grant.blocks_public_access();
    if blocked { Err(Fault::PublicPolicyBlocked.into()) } else { Ok(()) }
}

/// Sets the policy.
pub(crate) async fn put(context: &Context, call: Authorized<Put>) -> Result<Reply, Refusal> {
    let (bucket, change) =
        (call.bucket_id(), BucketChange::Policy(Some(call.request().text.clone())));
    context.engine.configure_bucket(&bucket, change).await?;
    context.policies.appeared(&bucket);
    Ok(Reply::empty(200))
}

/// The policy as it was put.
pub(crate) async fn get(context: &Context, call: Authorized<Get>) -> Result<Reply, Refusal> {
    let record = context.engine.bucket(&call.bucket_id()).await?;
    record.policy.map(Reply::json).ok_or_else(|| Fault::NoSuchPolicy.into())
}

/// Removes the policy; also when there is none.
pub(crate) async fn delete(context: &Context, call: Authorized<Delete>) -> Result<Reply, Refusal> {
    context.engine.configure_bucket(&call.bucket_id(), BucketChange::Policy(None)).await?;
    Ok(Reply::empty(204))
}
