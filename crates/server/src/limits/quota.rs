//! Quotas of accounts: what an account may have in buckets, indexes, vectors and bytes.
//!
//! Limits are the account's own, or else those of the configuration. Buckets and indexes are counted
//! by the catalog, exactly. Vectors and bytes are counted over all indexes of an account now and
//! then ([`Engine::usage`]), only for accounts that have such a limit and write, and kept up in
//! between ([`tally`](super::tally)). A put that overwrites without growing is never refused: near
//! the limit the keys of a batch are looked up before it is.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use vb_api::oss::{AccountId, Fault};
use vb_engine::{Engine, GetRequest, IndexHandle, PutBatch, Row, Usage};
use vb_identity::IdentityStore;

use super::tally::{Ceiling, Tally};
use crate::config::QuotaConfig;
use crate::reply::Refusal;

/// A refusal does not rest on a count that is older, where a newer one can be made.
const REFUSAL_AGE_MAX: Duration = Duration::from_secs(1);

/// The quotas of all accounts.
#[derive(Clone)]
pub(crate) struct Quotas(Arc<Inner>);

struct Inner {
    engine: Engine,
    identities: IdentityStore,
    config: QuotaConfig,
    /// Of accounts with a limit that wrote since the start.
    known: std::sync::Mutex<HashMap<AccountId, Arc<Known>>>,
}

/// What is known of one account.
#[derive(Default)]
struct Known {
    tally: std::sync::Mutex<Tally>,
    /// When the last count began. Held while one is made.
    counted: tokio::sync::Mutex<Option<Instant>>,
}

impl Known {
    fn tally<T>(&self, work: impl FnOnce(&mut Tally) -> T) -> T {
        work(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Quotas {
    /// Quotas of the accounts of `identities`, counted in `engine`.
    pub(crate) fn new(engine: Engine, identities: IdentityStore, config: QuotaConfig) -> Self {
        Self(Arc::new(Inner { engine, identities, config, known: std::sync::Mutex::default() }))
    }

    /// Buckets that an account may have.
    pub(crate) fn buckets_max(&self, account: &AccountId) -> usize {
        count(self.own(account).buckets, self.0.config.buckets_max)
    }

    /// Indexes that a bucket of the account may have.
    pub(crate) fn indexes_max(&self, account: &AccountId) -> usize {
        count(self.own(account).indexes_per_bucket, self.0.config.indexes_max)
    }

    /// Lets a put through if what it adds fits.
    ///
    /// # Errors
    /// [`Fault::IndexVectorsQuota`], [`Fault::VectorsQuota`], [`Fault::BytesQuota`]; as the store
    /// fails.
    pub(crate) async fn admit(
        &self,
        account: &AccountId,
        index: &IndexHandle,
        batch: &PutBatch,
    ) -> Result<(), Refusal> {
        let ceiling = self.ceiling(account);
        let in_index = self.0.engine.records_of(index).unwrap_or(0);
        let index_max = u64::from(self.0.config.index_vectors_max);
        let most = at_most(batch);
        let index_fits = in_index.saturating_add(most.records) <= index_max;
        if index_fits && !ceiling.is_set() {
            return Ok(());
        }
        let known = self.known(account).await?;
        if index_fits && known.tally(|tally| tally.add(&ceiling, most)).is_ok() {
            return Ok(());
        }
        let growth = growth(index, batch).await?;
        if growth.records > 0 && in_index.saturating_add(growth.records) > index_max {
            return Err(Fault::IndexVectorsQuota.into());
        }
        if known.tally(|tally| tally.add(&ceiling, growth)).is_ok() {
            return Ok(());
        }
        self.count(account, &known, REFUSAL_AGE_MAX).await?;
        Ok(known.tally(|tally| tally.add(&ceiling, growth))?)
    }

    /// What the account's own record says.
    fn own(&self, account: &AccountId) -> vb_identity::Quotas {
        let snapshot = self.0.identities.snapshot();
        let id = vb_identity::AccountId::parse(account.as_str());
        id.and_then(|id| snapshot.account(&id)).map(|record| record.quotas).unwrap_or_default()
    }

    fn ceiling(&self, account: &AccountId) -> Ceiling {
        let (own, config) = (self.own(account), &self.0.config);
        Ceiling {
            vectors: own.vectors.or(config.vectors_max),
            bytes: own.bytes.or(config.bytes_max.map(|size| size.0)),
        }
    }

    /// What is known of the account: counted before its first put, and again in the background once
    /// that is long ago.
    async fn known(&self, account: &AccountId) -> Result<Arc<Known>, Refusal> {
        let known = {
            let mut all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(account.clone()).or_default())
        };
        // Somebody else is counting: that will do, unless it is the first time.
        let age = known.counted.try_lock().map(|counted| counted.map(|at| at.elapsed()));
        match age {
            Ok(Some(age)) if age < self.0.config.usage_age_max => {}
            Ok(Some(_)) => {
                let (this, account, known) = (self.clone(), account.clone(), Arc::clone(&known));
                tokio::spawn(async move {
                    let age_max = this.0.config.usage_age_max;
                    if let Err(refusal) = this.count(&account, &known, age_max).await {
                        let cause = refusal.cause.unwrap_or_default();
                        tracing::warn!(account = account.as_str(), cause, "use not counted");
                    }
                });
            }
            Ok(None) => self.count(account, &known, Duration::MAX).await?,
            Err(_) if known.tally(|tally| *tally == Tally::default()) => {
                self.count(account, &known, Duration::MAX).await?;
            }
            Err(_) => {}
        }
        Ok(known)
    }

    /// Counts, unless somebody did so within `age_max`.
    async fn count(
        &self,
        account: &AccountId,
        known: &Known,
        age_max: Duration,
    ) -> Result<(), Refusal> {
        let mut counted = known.counted.lock().await;
        if counted.is_some_and(|at| at.elapsed() < age_max) {
            return Ok(());
        }
        let (counting, begun) = (known.tally(|tally| tally.begin()), Instant::now());
        let usage = self.0.engine.usage(account.as_bytes()).await?;
        known.tally(|tally| tally.end(counting, usage));
        *counted = Some(begun);
        Ok(())
    }
}

fn count(own: Option<u64>, configured: u32) -> usize {
    own.map_or(configured as usize, |own| usize::try_from(own).unwrap_or(usize::MAX))
}

/// What a batch adds if all its records are new.
fn at_most(batch: &PutBatch) -> Usage {
    let rows = 0..batch.keys.len();
    Usage { records: rows.len() as u64, bytes: rows.map(|row| row_bytes(batch, row)).sum() }
}

/// What a batch adds to what is stored: records whose keys are not there, and what others grow by.
async fn growth(index: &IndexHandle, batch: &PutBatch) -> Result<Usage, Refusal> {
    let keys = batch.keys.clone();
    let request = GetRequest { keys, with_data: false, with_metadata: true };
    let rows = index.get(request).await?;
    let grown = |(place, old): (usize, &Option<Row>)| match old {
        None => Usage { records: 1, bytes: row_bytes(batch, place) },
        Some(old) => Usage { records: 0, bytes: grown_bytes(batch, place, old) },
    };
    let add = |mut sum: Usage, more: Usage| {
        sum += more;
        sum
    };
    Ok(rows.iter().enumerate().map(grown).fold(Usage::default(), add))
}

/// Vectors of one index are equally long, so only metadata can make a record larger.
fn grown_bytes(batch: &PutBatch, place: usize, old: &Row) -> u64 {
    let old = old.metadata.as_ref().map_or(0, bytes::Bytes::len);
    (metadata_bytes(batch, place) as u64).saturating_sub(old as u64)
}

fn row_bytes(batch: &PutBatch, place: usize) -> u64 {
    let values: usize = batch.vectors.iter().map(|column| column.values.len()).sum();
    let vector = values * 4 / batch.keys.len().max(1);
    (batch.keys[place].len() + vector + metadata_bytes(batch, place)) as u64
}

fn metadata_bytes(batch: &PutBatch, place: usize) -> usize {
    batch.metadata[place].as_ref().map_or(0, bytes::Bytes::len)
}
