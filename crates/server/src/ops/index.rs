//! Indexes: create, look at, list, delete.

use vb_api::oss::request::{ListVectorIndexes, PutVectorIndex};
use vb_api::oss::response::{self, IndexInfo, IndexStatus};
use vb_api::oss::{Error, Fault, IndexName};
use vb_engine::{IndexRecord, IndexState};

use super::{Context, convert};
use crate::authorize::{Authorized, NamesIndex};
use crate::reply::{Refusal, Reply};

/// GetVectorIndex.
pub(crate) struct Get(pub(super) IndexName);
/// DeleteVectorIndex.
pub(crate) struct Delete(pub(super) IndexName);

impl NamesIndex for Get {
    fn index(&self) -> &IndexName {
        &self.0
    }
}

impl NamesIndex for Delete {
    fn index(&self) -> &IndexName {
        &self.0
    }
}

impl NamesIndex for PutVectorIndex {
    fn index(&self) -> &IndexName {
        &self.index
    }
}

/// Creates an index; an existing name is refused, also with equal settings.
pub(crate) async fn put(
    context: &Context,
    call: Authorized<PutVectorIndex>,
) -> Result<Reply, Refusal> {
    let request = call.request();
    let settings = convert::index_settings(request);
    let indexes_max = context.quotas.indexes_max(call.owner());
    let (bucket, name) = (call.bucket_id(), request.index.as_bytes());
    context.engine.create_index_within(&bucket, name, settings, indexes_max).await?;
    Ok(Reply::empty(200))
}

/// What an index is.
pub(crate) async fn get(context: &Context, call: Authorized<Get>) -> Result<Reply, Refusal> {
    let name = call.request().index().as_bytes();
    let record = context.engine.index(&call.bucket_id(), name).await?;
    let info = info(context, &call, &record)?;
    Ok(Reply::json(response::index_info(&info)))
}

/// One page of the bucket's indexes, by name.
pub(crate) async fn list(
    context: &Context,
    call: Authorized<ListVectorIndexes>,
) -> Result<Reply, Refusal> {
    let records = context.engine.list_indexes(&call.bucket_id()).await?;
    let (page, truncated) = page(&records, call.request());
    let next = page.last().filter(|_| truncated).map(|record| name(record)).transpose()?;
    let infos: Result<Vec<IndexInfo<'_>>, Refusal> =
        page.iter().map(|record| info(context, &call, record)).collect();
    Ok(Reply::json(response::index_list(infos?, next)))
}

fn page<'a>(
    records: &'a [IndexRecord],
    request: &ListVectorIndexes,
) -> (Vec<&'a IndexRecord>, bool) {
    let prefix = request.prefix.as_deref().unwrap_or("").as_bytes();
    let after = request.after.as_deref().unwrap_or("").as_bytes();
    let mut wanted: Vec<&IndexRecord> = records
        .iter()
        .filter(|record| record.name.starts_with(prefix) && *record.name > *after)
        .take(request.max + 1)
        .collect();
    let truncated = wanted.len() > request.max;
    wanted.truncate(request.max);
    (wanted, truncated)
}

/// Deletes an index with all its vectors.
pub(crate) async fn delete(context: &Context, call: Authorized<Delete>) -> Result<Reply, Refusal> {
    let name = call.request().index().as_bytes();
    context.engine.delete_index(&call.bucket_id(), name).await?;
    Ok(Reply::empty(204))
}

fn info<'a, Op>(
    context: &'a Context,
    call: &'a Authorized<Op>,
    record: &'a IndexRecord,
) -> Result<IndexInfo<'a>, Refusal> {
    let shape = convert::shape(&record.settings).ok_or(Error::from(Fault::NotImplemented))?;
    Ok(IndexInfo {
        name: name(record)?,
        region: &context.region,
        account: call.owner().as_str(),
        bucket: call.bucket(),
        created_ms: i64::try_from(record.created_ms).unwrap_or(i64::MAX),
        status: match record.state {
            IndexState::Live => IndexStatus::Enable,
            IndexState::Deleting => IndexStatus::Deleting,
        },
        dimension: shape.dimension,
        metric: shape.metric,
        non_filterable: shape.non_filterable,
    })
}

fn name(record: &IndexRecord) -> Result<&str, Refusal> {
    std::str::from_utf8(&record.name)
        .map_err(|e| Refusal::internal(format!("an index's name is no text: {e}")))
}
