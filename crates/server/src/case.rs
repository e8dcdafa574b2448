//! Everything that has a say about a request, gathered before anything is decided.
//!
//! The same is looked up whether the bucket is there or not, and what was not found is remembered
//! as long as what was: a refusal tells nobody by its time what the bucket's owner keeps.

use std::sync::Arc;

use http::header;
use http::request::Parts;
use vb_api::oss::{AccountId, BucketName, Level, Operation, Target};
use vb_engine::{BucketId, BucketRecord};
use vb_policy::Policy;

use crate::authenticate::Caller;
use crate::authorize::{self, Case, Circumstances};
use crate::exchange::Exchange;
use crate::reply::Refusal;
use crate::serve::Service;

/// A head that was understood.
#[derive(Clone, Copy)]
pub(crate) struct Heard<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) target: &'a Target,
    pub(crate) operation: Operation,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

impl Service {
    /// The case of a request, and the record of its bucket if that was looked at.
    ///
    /// # Errors
    /// Nobody addresses no account; the store does not tell about the bucket.
    pub(crate) async fn case(
        &self,
        heard: Heard<'_>,
        caller: Caller,
        exchange: &mut Exchange,
    ) -> Result<(Case, Option<BucketRecord>), Refusal> {
        let owner = authorize::owner(caller.principal(), heard.target);
        let owner = owner.inspect_err(|_| exchange.decided(authorize::nobody()))?;
        let block_public_access = self.blocks_public_access(&owner).await;
        let shut = caller.is_anonymous() && block_public_access;
        let (policy, record) = match policed_bucket(&heard, &owner).filter(|_| !shut) {
            Some(bucket) => self.policy_of(&bucket).await?,
            None => (None, None),
        };
        let circumstances = Circumstances {
            region: Arc::clone(self.context().region()),
            client: exchange.client(),
            secure_transport: exchange.is_secure(),
            time: heard.now,
            user_agent: heard.head.headers.get(header::USER_AGENT).cloned(),
        };
        let case = Case {
            caller,
            operation: heard.operation,
            owner,
            bucket: heard.target.bucket.clone(),
            policy,
            block_public_access,
            circumstances,
        };
        Ok((case, record))
    }

    async fn blocks_public_access(&self, owner: &AccountId) -> bool {
        let snapshot = self.identities().current().await;
        let account = vb_identity::AccountId::parse(owner.as_str());
        let record = account.and_then(|id| snapshot.account(&id));
        record.and_then(|account| account.block_public_access).unwrap_or(self.block_public_access)
    }

    async fn policy_of(
        &self,
        bucket: &BucketId,
    ) -> Result<(Option<Arc<Policy>>, Option<BucketRecord>), Refusal> {
        let policies = &self.context().policies;
        if policies.is_absent(bucket) {
            return Ok((None, None));
        }
        match self.context().engine.bucket_cached(bucket).await {
            Ok(record) => {
                let policy = record.policy.as_ref().map(|text| policies.compiled(bucket, text));
                Ok((policy, Some(record)))
            }
            Err(vb_engine::Error::NoSuchBucket) => {
                policies.note_absent(bucket);
                Ok((None, None))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The bucket whose policy has a say: not of the bucket list, and not before there is a bucket.
fn policed_bucket(heard: &Heard<'_>, owner: &AccountId) -> Option<BucketId> {
    if heard.operation.level() == Level::Account || heard.operation == Operation::PutVectorBucket {
        return None;
    }
    let name = BucketName::parse(heard.target.bucket.as_deref()?).ok()?;
    Some(BucketId::new(owner.as_bytes(), name.as_str()))
}
