//! Where a bucket's access logs go; see [`crate::access_log`] for how they get there.

use vb_api::oss::request::{LoggingTarget, PutBucketLogging};
use vb_api::oss::response;
use vb_engine::BucketChange;

use super::Context;
use crate::authorize::Authorized;
use crate::reply::{Refusal, Reply};

/// GetBucketLogging.
pub(crate) struct Get;
/// DeleteBucketLogging.
pub(crate) struct Delete;

/// Sets the target, or with an empty status removes it.
pub(crate) async fn put(
    context: &Context,
    call: Authorized<PutBucketLogging>,
) -> Result<Reply, Refusal> {
    if let Some(target) = &call.request().target {
        context.log_targets.check(&target.bucket)?;
    }
    let target = call.request().target.as_ref().map(stored);
    set(context, &call, target).await?;
    Ok(Reply::empty(200))
}

/// The target; an empty one when logging is off.
pub(crate) async fn get(context: &Context, call: Authorized<Get>) -> Result<Reply, Refusal> {
    let record = context.engine.bucket(&call.bucket_id()).await?;
    let target = record.logging.map(shown);
    Ok(Reply::json(response::bucket_logging(target.as_ref())))
}

/// Switches logging off; also when it never was on.
pub(crate) async fn delete(context: &Context, call: Authorized<Delete>) -> Result<Reply, Refusal> {
    set(context, &call, None).await?;
    Ok(Reply::empty(204))
}

async fn set<Op>(
    context: &Context,
    call: &Authorized<Op>,
    target: Option<vb_engine::LoggingTarget>,
) -> Result<(), Refusal> {
    let change = BucketChange::Logging(target);
    Ok(context.engine.configure_bucket(&call.bucket_id(), change).await?)
}

/// What was left out is kept as empty and left out again.
fn stored(target: &LoggingTarget) -> vb_engine::LoggingTarget {
    vb_engine::LoggingTarget {
        bucket: target.bucket.clone(),
        prefix: target.prefix.clone().unwrap_or_default(),
        role: target.role.clone().unwrap_or_default(),
    }
}

fn shown(target: vb_engine::LoggingTarget) -> LoggingTarget {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    LoggingTarget { bucket: target.bucket, prefix: given(target.prefix), role: given(target.role) }
}
