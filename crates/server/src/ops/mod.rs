//! The operations: decode, authorize what the body names, call the engine, encode.
//!
//! One exhaustive match leads from the wire's operation to its function; the functions stand in
//! one file per group. None of them can be called without an [`Authorized`] of its own request.
//!
//! [`Authorized`]: crate::authorize::Authorized

mod bucket;
mod convert;
mod index;
mod logging;
mod policy;
mod vector;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use vb_api::oss::request::{
    DeleteBucketTags, DeleteVectors, GetVectors, IndexOnly, ListVectorBuckets, ListVectorIndexes,
    ListVectors, PutBucketLogging, PutBucketResourceGroup, PutBucketTags, PutVectorBucket,
    PutVectorIndex, QueryVectors, index_name,
};
use vb_api::oss::signature::BodyCheck;
use vb_api::oss::{Error, Fault, Limits, Operation, Query};
use vb_engine::{Engine, IndexId};

use crate::access_log::LogTargets;
use crate::authorize::{Authorized, Grant, NamesIndex};
use crate::body;
use crate::config::Config;
use crate::cpu::Pool;
use crate::exchange::Exchange;
use crate::limits::Quotas;
use crate::policies::BucketPolicies;
use crate::reply::{Refusal, Reply};

/// What operations work with.
pub(crate) struct Context {
    /// The engine.
    pub(crate) engine: Engine,
    /// The policies of buckets.
    pub(crate) policies: BucketPolicies,
    /// What accounts may have.
    pub(crate) quotas: Quotas,
    /// Limits of the wire, as configured.
    pub(crate) limits: Arc<Limits>,
    /// Where access logs may go.
    log_targets: LogTargets,
    /// Where large bodies are hashed, decoded and encoded.
    pool: Pool,
    region: Arc<str>,
    extranet_endpoint: Box<str>,
    intranet_endpoint: Box<str>,
}

impl Context {
    /// The context of a service.
    pub(crate) fn new(engine: Engine, quotas: Quotas, limits: Limits, config: &Config) -> Self {
        let domains = config.domains();
        let main = config.main_domain();
        let internal = domains.iter().find(|domain| domain.contains("-internal."));
        Self {
            engine,
            policies: BucketPolicies::default(),
            quotas,
            limits: Arc::new(limits),
            log_targets: LogTargets::new(&config.logging),
            pool: compute_pool(config),
            region: config.region.as_str().into(),
            intranet_endpoint: internal.unwrap_or(&main).as_str().into(),
            extranet_endpoint: main.into(),
        }
    }
}

fn compute_pool(config: &Config) -> Pool {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Pool::new(config.threads.map_or(cpus, |threads| threads as usize))
}

impl Context {
    /// The region in resource names.
    pub(crate) fn region(&self) -> &Arc<str> {
        &self.region
    }

    /// The index whose vectors a request is about, by its body; `None` if that does not say, or if
    /// the caller has no right there, which the operation itself will tell the client.
    pub(crate) async fn index_of(&self, grant: &Grant, body: Bytes) -> Option<IndexId> {
        let named = self.pool.run_sized(body.len(), move || index_name(&body)).await.ok()?;
        if !grant.reaches(&named) {
            return None;
        }
        Some(self.engine.resolve(&grant.bucket_id()?, named.as_bytes()).await.ok()?.id())
    }
}

/// A request as it arrived.
pub(crate) struct Input<'a> {
    /// Method, target and headers.
    pub(crate) head: &'a Parts,
    /// The whole body.
    pub(crate) body: Bytes,
}

impl Input<'_> {
    fn query(&self) -> Query<'_> {
        Query::parse(self.head.uri.query().unwrap_or(""))
    }

    /// Compares the body with the digests that the head promised.
    async fn verify(&self, context: &Context) -> Result<(), Error> {
        let check = BodyCheck::new(&self.head.headers)?;
        body::verify(&context.pool, check, self.body.clone()).await
    }

    /// Decodes the body, off the socket threads when it is large.
    async fn decode<T: Send + 'static>(
        &self,
        context: &Context,
        decode: impl FnOnce(&[u8], &Limits) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (body, limits) = (self.body.clone(), Arc::clone(&context.limits));
        context.pool.run_sized(body.len(), move || decode(&body, &limits)).await
    }
}

/// Does what a request asks for.
pub(crate) async fn run(
    context: &Context,
    input: Input<'_>,
    grant: Grant,
    exchange: &mut Exchange,
) -> Result<Reply, Refusal> {
    let operation = grant.operation();
    if operation == Operation::PutVectors {
        // Checks the digests beside decoding.
        return vector::put(context, &input, grant, exchange).await;
    }
    input.verify(context).await?;
    let (ctx, headers) = (context, &input.head.headers);
    match operation {
        Operation::ListVectorBuckets => {
            let request = ListVectorBuckets::decode(&input.query(), headers, &ctx.limits)?;
            bucket::list(ctx, grant.whole(request)).await
        }
        Operation::PutVectorBucket => {
            let request = PutVectorBucket::decode(headers, &ctx.limits)?;
            bucket::put(ctx, grant.whole(request)).await
        }
        Operation::GetVectorBucket => bucket::get(ctx, grant.whole(bucket::Get)).await,
        Operation::DeleteVectorBucket => bucket::delete(ctx, grant.whole(bucket::Delete)).await,
        Operation::PutBucketPolicy => {
            let request = input.decode(ctx, |body, _| policy::Put::decode(body)).await?;
            policy::check(&grant, &request)?;
            policy::put(ctx, grant.whole(request)).await
        }
        Operation::GetBucketPolicy => policy::get(ctx, grant.whole(policy::Get)).await,
        Operation::DeleteBucketPolicy => policy::delete(ctx, grant.whole(policy::Delete)).await,
        Operation::PutBucketLogging => {
            let request = input.decode(ctx, |body, _| PutBucketLogging::decode(body)).await?;
            if let Some(target) = &request.target {
                grant.log_target(&target.bucket, |verdict| exchange.decided(verdict))?;
            }
            logging::put(ctx, grant.whole(request)).await
        }
        Operation::GetBucketLogging => logging::get(ctx, grant.whole(logging::Get)).await,
        Operation::DeleteBucketLogging => logging::delete(ctx, grant.whole(logging::Delete)).await,
        Operation::PutBucketTags => {
            let request = input.decode(ctx, PutBucketTags::decode).await?;
            bucket::put_tags(ctx, grant.whole(request)).await
        }
        Operation::GetBucketTags => bucket::get_tags(ctx, grant.whole(bucket::GetTags)).await,
        Operation::DeleteBucketTags => {
            let request = DeleteBucketTags::decode(&input.query())?;
            bucket::delete_tags(ctx, grant.whole(request)).await
        }
        Operation::PutBucketResourceGroup => {
            let request = input.decode(ctx, |body, _| PutBucketResourceGroup::decode(body)).await?;
            bucket::put_resource_group(ctx, grant.whole(request)).await
        }
        Operation::GetBucketResourceGroup => {
            bucket::get_resource_group(ctx, grant.whole(bucket::GetResourceGroup)).await
        }
        Operation::PutVectorIndex => {
            let request = input.decode(ctx, PutVectorIndex::decode).await?;
            index::put(ctx, named(grant, request, exchange)?).await
        }
        Operation::GetVectorIndex => {
            let request = input.decode(ctx, |body, _| IndexOnly::decode(body)).await?;
            index::get(ctx, named(grant, index::Get(request.index), exchange)?).await
        }
        Operation::ListVectorIndexes => {
            let request = input.decode(ctx, ListVectorIndexes::decode).await?;
            index::list(ctx, grant.whole(request)).await
        }
        Operation::DeleteVectorIndex => {
            let request = input.decode(ctx, |body, _| IndexOnly::decode(body)).await?;
            index::delete(ctx, named(grant, index::Delete(request.index), exchange)?).await
        }
        Operation::PutVectors => vector::put(ctx, &input, grant, exchange).await,
        Operation::GetVectors => {
            let request = input.decode(ctx, GetVectors::decode).await?;
            vector::get(ctx, named(grant, request, exchange)?).await
        }
        Operation::ListVectors => {
            let request = input.decode(ctx, ListVectors::decode).await?;
            vector::list(ctx, named(grant, request, exchange)?).await
        }
        Operation::DeleteVectors => {
            let request = input.decode(ctx, DeleteVectors::decode).await?;
            vector::delete(ctx, named(grant, request, exchange)?).await
        }
        Operation::QueryVectors => {
            let request = input.decode(ctx, QueryVectors::decode).await?;
            vector::query(ctx, named(grant, request, exchange)?).await
        }
        Operation::PutVectorIndexFusion | Operation::QueryVectorsFusion => {
            let text = "Fusion indexes are not implemented in this version.";
            Err(Error::with_message(Fault::NotImplemented, text).into())
        }
    }
}

/// Authorizes a request on the index it names, and notes the index for the log.
fn named<Op: NamesIndex>(
    grant: Grant,
    request: Op,
    exchange: &mut Exchange,
) -> Result<Authorized<Op>, Error> {
    exchange.index = Some(request.index().as_str().into());
    grant.index(request, |verdict| exchange.decided(verdict))
}
