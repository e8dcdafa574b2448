//! Looking at a store from outside: check, statistics, backup and restore, without an engine.
//!
//! ```text
//! log.rs       one log as it lies there: listed, its newest manifest, its slots
//! check/       is everything there, and is it what was written?   (vectorbucket fsck)
//! stat.rs      what is there, per index                            (vectorbucket stat)
//! backup/      a bucket copied to another store, and back          (vectorbucket backup, restore)
//! ```
//!
//! Check and statistics only read; they may run beside a service on a shared store, and read anew
//! what it changes under them. On a local folder the lock keeps them apart.

pub mod backup;
mod check;
mod checksum;
mod log;
mod stat;

pub use check::{CheckOptions, Counts, Finding, FindingKind, Level, Report, check};
pub(crate) use stat::index_stat;
pub use stat::{IndexStat, stat};

use vb_commit::{Store, WriterId};

use crate::catalog::state::Bucket;
use crate::error::Error;
use crate::paths;
use crate::records::BucketId;

/// Hears how far a long piece of work has come.
pub trait Watch: Send + Sync {
    /// There are this many more pieces of work.
    fn expect(&self, pieces: u64);
    /// A piece is done; `name` says which.
    fn done(&self, name: &str);
}

/// Nobody listens.
impl Watch for () {
    fn expect(&self, _: u64) {}
    fn done(&self, _: &str) {}
}

/// Every bucket that ever was, by account and name, of one account if it is given; and the paths in
/// the catalog that are no bucket's.
pub(crate) async fn buckets(
    store: &Store,
    account: Option<&[u8]>,
) -> Result<(Vec<BucketId>, Vec<String>), Error> {
    let accounts = match account {
        Some(account) => vec![paths::account(account)],
        None => store.list_level(paths::CATALOG).await?.prefixes,
    };
    let (mut buckets, mut strange) = (Vec::new(), Vec::new());
    for path in accounts {
        let Some(account) = last_part(&path) else {
            strange.push(path);
            continue;
        };
        let listing = store.list_level(&path).await?;
        strange.extend(listing.objects.into_iter().map(|object| object.path));
        for path in listing.prefixes {
            match last_part(&path) {
                Some(name) => buckets.push(BucketId { account: account.clone(), name }),
                None => strange.push(path),
            }
        }
    }
    buckets.sort_unstable();
    Ok((buckets, strange))
}

/// The state of a bucket as of now; `None` if it never had a log.
pub(crate) async fn bucket(store: &Store, id: &BucketId) -> Result<Option<Bucket>, Error> {
    let read = crate::catalog::read::bucket(store, WriterId::random(), id).await?;
    Ok(read.map(|(state, _)| state))
}

fn last_part(path: &str) -> Option<Box<[u8]>> {
    paths::decode_name(path.rsplit('/').next()?)
}

/// Every bucket that exists, of one account if it is given, by account and name.
///
/// # Errors
/// As the store fails, or [`Error::Corrupt`].
pub async fn live_buckets(store: &Store, account: Option<&[u8]>) -> Result<Vec<BucketId>, Error> {
    let mut live = Vec::new();
    for id in buckets(store, account).await?.0 {
        if bucket(store, &id).await?.is_some_and(|bucket| bucket.live.is_some()) {
            live.push(id);
        }
    }
    Ok(live)
}
