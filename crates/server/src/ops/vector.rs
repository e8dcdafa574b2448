//! Vectors of an index: put, get, list, delete, query.

use bytes::Bytes;
use vb_api::oss::request::{
    DeleteVectors, GetVectors, IndexShape, ListVectors, PutVectors, QueryVectors, index_name,
};
use vb_api::oss::response::{self, Explanation, HitRow, VectorRow};
use vb_api::oss::{AccountId, Error, Fault, IndexName, ListScope, Position};
use vb_engine::{GetRequest, Hit, IndexHandle, ListRequest, PutBatch, Query, Row, VectorColumn};

use super::{Context, Input, convert, named};
use crate::authorize::{Authorized, Grant, NamesIndex};
use crate::exchange::Exchange;
use crate::reply::{Refusal, Reply};

impl NamesIndex for IndexName {
    fn index(&self) -> &IndexName {
        self
    }
}

macro_rules! names_index {
    ($($request:ident)*) => {$(
        impl NamesIndex for $request {
            fn index(&self) -> &IndexName {
                &self.index
            }
        }
    )*};
}
names_index!(GetVectors ListVectors DeleteVectors QueryVectors);

/// Puts a batch; nothing is written unless the body is the one that was signed.
pub(crate) async fn put(
    context: &Context,
    input: &Input<'_>,
    grant: Grant,
    exchange: &mut Exchange,
) -> Result<Reply, Refusal> {
    let name = input.decode(context, |body, _| index_name(body)).await;
    let done = match name.and_then(|name| named(grant, name, exchange)) {
        Ok(call) => {
            let put = |index| put_rows(context, input, call.owner(), index);
            on_index(context, &call, put).await
        }
        Err(error) => Err(error.into()),
    };
    if done.is_err() {
        // What a damaged body says is not worth an answer.
        input.verify(context).await?;
    }
    done.map(|()| Reply::empty(200))
}

/// The digests are checked beside decoding: for large bodies these are the two halves of the work.
async fn put_rows(
    context: &Context,
    input: &Input<'_>,
    owner: &AccountId,
    index: IndexHandle,
) -> Result<(), Refusal> {
    let (verified, batch) =
        tokio::join!(input.verify(context), decode_rows(context, input, &index));
    verified?;
    let batch = batch?;
    context.quotas.admit(owner, &index, &batch).await?;
    Ok(index.put(batch).await?)
}

/// Reads the rows against the settings of their index.
async fn decode_rows(
    context: &Context,
    input: &Input<'_>,
    index: &IndexHandle,
) -> Result<PutBatch, Refusal> {
    let (body, limits) = (input.body.clone(), std::sync::Arc::clone(&context.limits));
    let settings = std::sync::Arc::clone(index.settings());
    let batch = context.pool.run_sized(body.len(), move || {
        let shape = convert::shape(&settings).ok_or(Error::from(Fault::NotImplemented))?;
        PutVectors::decode(&body, &shape, &limits).map(batch)
    });
    Ok(batch.await?)
}

fn batch(request: PutVectors<'_>) -> PutBatch {
    let copied = |json: Option<&str>| json.map(|json| Bytes::copy_from_slice(json.as_bytes()));
    PutBatch {
        keys: request.keys.into_iter().map(str::into_boxed_bytes).collect(),
        vectors: vec![VectorColumn { values: request.values, present: None }],
        metadata: request.metadata.into_iter().map(copied).collect(),
        attributes: request.attributes.into_iter().map(convert::attributes).collect(),
    }
}

/// Reads vectors in the order asked for; missing keys are left out.
pub(crate) async fn get(context: &Context, call: Authorized<GetVectors>) -> Result<Reply, Refusal> {
    let request = call.request();
    let rows = on_index(context, &call, |index| async move {
        let keys = request.keys.iter().map(|key| key.as_bytes().into()).collect();
        let (with_data, with_metadata) = (request.return_data, request.return_metadata);
        Ok(index.get(GetRequest { keys, with_data, with_metadata }).await?)
    })
    .await?;
    let rows: Vec<Row> = rows.into_iter().flatten().collect();
    Ok(encode_rows(context, rows, None).await)
}

/// One page of an index, or of one of its segments.
pub(crate) async fn list(
    context: &Context,
    call: Authorized<ListVectors>,
) -> Result<Reply, Refusal> {
    let (rows, next) =
        on_index(context, &call, |index| list_page(context, call.request(), index)).await?;
    Ok(encode_rows(context, rows, next).await)
}

/// Rows, and the token that leads to the next.
async fn list_page(
    context: &Context,
    request: &ListVectors,
    index: IndexHandle,
) -> Result<(Vec<Row>, Option<String>), Refusal> {
    request.check(&shape(&index)?)?;
    let id = index.id().0.to_be_bytes();
    let scope = ListScope::new(&id, request.segment_index, request.segment_count, &request.filter);
    let after = request.token.as_deref().map(|token| scope.decode(token)).transpose()?;
    let page = index
        .list(ListRequest {
            segment_index: request.segment_index,
            segment_count: request.segment_count,
            after: after.map(|at| vb_engine::Position { hash: at.hash, key: at.key.into() }),
            max: request.max,
            bytes_max: context.limits.list_bytes_max,
            filter: convert::filter(request.filter.clone()),
            with_data: request.return_data,
            with_metadata: request.return_metadata,
        })
        .await?;
    let next = page.next.map(|at| scope.encode(&Position { hash: at.hash, key: at.key.into() }));
    Ok((page.rows, next))
}

/// Deletes vectors; missing keys are no error.
pub(crate) async fn delete(
    context: &Context,
    call: Authorized<DeleteVectors>,
) -> Result<Reply, Refusal> {
    let keys = &call.request().keys;
    on_index(context, &call, |index| async move {
        Ok(index.delete(keys.iter().map(|key| key.as_bytes().into()).collect()).await?)
    })
    .await?;
    Ok(Reply::empty(204))
}

/// The nearest vectors that match.
pub(crate) async fn query(
    context: &Context,
    call: Authorized<QueryVectors>,
) -> Result<Reply, Refusal> {
    let request = call.request();
    let answer = on_index(context, &call, |index| async move {
        request.check(&shape(&index)?)?;
        let query = Query {
            field: 0,
            vector: request.vector.clone(),
            top_k: request.top_k,
            filter: convert::filter(request.filter.clone()),
            with_metadata: request.return_metadata,
            precision: convert::precision(request.precision),
        };
        Ok(index.search(query).await?)
    })
    .await?;
    let explain = request.explain.then(|| convert::explanation(&answer.explain));
    Ok(encode_hits(context, answer.hits, request.return_distance, explain).await)
}

async fn resolve<Op: NamesIndex>(
    context: &Context,
    call: &Authorized<Op>,
) -> Result<IndexHandle, Refusal> {
    let name = call.request().index().as_bytes();
    Ok(context.engine.resolve(&call.bucket_id(), name).await?)
}

/// Runs a call on the index that the request names.
///
/// The name is looked up in a record that may be a little older than the request. When a call is
/// refused, that may be because another node deleted the index since and created another of its
/// name: then the call runs again on that one.
async fn on_index<Op: NamesIndex, T, F: Future<Output = Result<T, Refusal>>>(
    context: &Context,
    call: &Authorized<Op>,
    run: impl Fn(IndexHandle) -> F,
) -> Result<T, Refusal> {
    let index = resolve(context, call).await?;
    match run(index.clone()).await {
        Err(refusal) if refusal.error.status() < 429 => {
            match successor(context, call, &index).await? {
                Some(index) => run(index).await,
                None => Err(refusal),
            }
        }
        done => done,
    }
}

/// The index that has the name now, if that is another than the one used.
async fn successor<Op: NamesIndex>(
    context: &Context,
    call: &Authorized<Op>,
    used: &IndexHandle,
) -> Result<Option<IndexHandle>, Refusal> {
    let now = context.engine.index(&call.bucket_id(), call.request().index().as_bytes()).await?;
    if now.id == used.id() { Ok(None) } else { resolve(context, call).await.map(Some) }
}

fn shape(index: &IndexHandle) -> Result<IndexShape<'_>, Error> {
    convert::shape(index.settings()).ok_or(Fault::NotImplemented.into())
}

/// Bytes that one number takes in JSON, about.
const NUMBER_BYTES: usize = 11;

async fn encode_rows(context: &Context, rows: Vec<Row>, next: Option<String>) -> Reply {
    let row_bytes = |row: &Row| {
        let numbers: usize = row.vectors.iter().flatten().map(Vec::len).sum();
        row.key.len() + numbers * NUMBER_BYTES + row.metadata.as_ref().map_or(0, Bytes::len)
    };
    let bytes = rows.iter().map(row_bytes).sum();
    let encode = move || {
        let views = rows.iter().map(|row| VectorRow {
            key: &row.key,
            data: row.vectors.first().and_then(Option::as_deref),
            metadata: row.metadata.as_deref(),
        });
        response::vector_list(views, next.as_deref())
    };
    Reply::json(context.pool.run_sized(bytes, encode).await)
}

async fn encode_hits(
    context: &Context,
    hits: Vec<Hit>,
    with_distance: bool,
    explain: Option<Explanation>,
) -> Reply {
    let hit_bytes = |hit: &Hit| hit.key.len() + hit.metadata.as_ref().map_or(0, Bytes::len);
    let bytes = hits.iter().map(hit_bytes).sum();
    let encode = move || {
        let views = hits.iter().map(|hit| HitRow {
            key: &hit.key,
            distance: with_distance.then_some(hit.distance),
            metadata: hit.metadata.as_deref(),
        });
        response::query_result(views, explain.as_ref())
    };
    Reply::json(context.pool.run_sized(bytes, encode).await)
}
