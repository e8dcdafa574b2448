//! Segments of a large index scanned by several processes for one query.
//!
//! A segment is immutable and every process over a shared store can read it, so a scan of some
//! segments is a function of bytes that are the same everywhere: the request names the segments,
//! brings the deletions that the asking snapshot has and the query itself, and the answer is the
//! best records. The asking process merges them with its own. Nothing of the helper's own state
//! (its log, its memtable, its catalog) takes part, so the result is what local searches of the same
//! segments give, ties included; of exact queries it is what one search of all gives. A share that is not answered is scanned here.
//!
//! [`Spread`] is how requests reach other processes; what is in them is this module's business
//! (`message.rs`). Which segments go where depends on their sizes and names and on the list of helpers
//! only, so that the same segments meet the same caches, query after query.

mod message;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{join, try_join_all};
use vb_search::Metric;

use self::message::{Answer, Share};
use crate::engine::Engine;
use crate::error::Error;
use crate::fetch::{self, Origin};
use crate::index::view::{SegmentView, View};
use crate::query::{Found, Search};
use crate::records::IndexId;
use crate::requests::Query;

/// Another process that can take a share of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Name of the process.
    pub name: String,
}

/// A share was not scanned; the asking process scans it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotScanned(pub String);

impl fmt::Display for NotScanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotScanned {}

/// An answer that will come.
pub type Scanning<'a> = Pin<Box<dyn Future<Output = Result<Bytes, NotScanned>> + Send + 'a>>;

/// How scans reach other processes over the same store.
pub trait Spread: fmt::Debug + Send + Sync {
    /// Processes beside this one that can now take a share of a scan of this index, whose segments
    /// have so many bytes; the same ones in the same order as long as they can. Empty: not worth it.
    fn helpers(&self, index: IndexId, bytes: u64) -> Vec<Helper>;

    /// Has `helper` answer `request` by [`Engine::scan_share`], within a bounded time.
    fn scan(&self, helper: &Helper, request: Bytes) -> Scanning<'_>;
}

impl Engine {
    /// Scans segments for another process over the same store.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the request is none; [`Error::Corrupt`], or as the store fails.
    pub async fn scan_share(&self, request: Bytes) -> Result<Bytes, Error> {
        let context = &self.inner.context;
        let Share { index, schema, query, segments } =
            Share::decode(request).map_err(|_| Error::Invalid("no share of a scan"))?;
        let origin = Origin { context: Arc::clone(context), id: index, schema };
        let _first = context.budget.pace.foreground();
        let found = scan(&origin, segments, &Arc::new(query)).await?;
        context.meters.shares_served.add(1);
        context.meters.rows_scanned.add(found.explain.rows_compared());
        Ok(Answer::from(found).encode())
    }
}

/// A snapshot that is to be searched by several processes.
pub(crate) struct Spreading<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) view: &'a View,
    pub(crate) query: &'a Arc<Query>,
    pub(crate) helpers: &'a [Helper],
    pub(crate) spread: &'a dyn Spread,
}

impl Spreading<'_> {
    /// Answers the query: what a scan of the whole snapshot here would find.
    ///
    /// # Errors
    /// As a scan here.
    pub(crate) async fn run(&self) -> Result<Found, Error> {
        let sizes: Vec<_> =
            self.view.segments.iter().map(|s| (s.meta.length, s.meta.name)).collect();
        let places = share_out(&sizes, 1 + self.helpers.len());
        let of = |place: usize| -> Vec<SegmentView> {
            let all = self.view.segments.iter().zip(&places);
            all.filter(|(_, at)| **at == place).map(|(segment, _)| segment.clone()).collect()
        };
        let own = View { segments: of(0).into(), ..self.view.clone() };
        let shares = self.helpers.iter().enumerate().map(|(n, helper)| (helper, of(n + 1)));
        let shares: Vec<_> = shares
            .filter(|(_, segments)| !segments.is_empty())
            .map(|(helper, segments)| self.share(helper, segments))
            .collect();
        let here = search(self.origin, own, self.query);
        let (here, elsewhere) = join(here, try_join_all(shares)).await;
        let field = &self.origin.schema.vector_fields[self.query.field];
        Ok(merge(here?, elsewhere?, field.metric, self.query.top_k))
    }

    /// What a helper finds in some segments, or this process in its place.
    async fn share(&self, helper: &Helper, segments: Vec<SegmentView>) -> Result<Found, Error> {
        let meters = &self.origin.context.meters;
        meters.shares.add(1);
        match self.ask(helper, &segments).await {
            Ok(found) => Ok(found),
            Err(NotScanned(why)) => {
                meters.shares_failed.add(1);
                tracing::info!(helper = helper.name, why, "a share of a scan comes back");
                scan(self.origin, segments, self.query).await
            }
        }
    }

    async fn ask(&self, helper: &Helper, segments: &[SegmentView]) -> Result<Found, NotScanned> {
        let request = message::encode_share(self.origin, self.query, segments);
        let answer = self.spread.scan(helper, request).await?;
        let answer = Answer::decode(answer, self.query.top_k);
        let answer = answer.map_err(|error| NotScanned(format!("no answer: {error:?}")))?;
        let field = &self.origin.schema.vector_fields[self.query.field];
        Ok(answer.found(field.metric))
    }
}

/// Searches segments alone.
async fn scan(
    origin: &Origin,
    segments: Vec<SegmentView>,
    query: &Arc<Query>,
) -> Result<Found, Error> {
    search(origin, View { segments: segments.into(), ..View::default() }, query).await
}

async fn search(origin: &Origin, view: View, query: &Arc<Query>) -> Result<Found, Error> {
    let job = Search::new(Arc::clone(query), origin.clone(), Arc::clone(&view.segments));
    fetch::run(&origin.context, job.start(Arc::new(view))).await
}

/// Which process scans which segment, given as (bytes, name): 0 is this one. The largest go first,
/// each to the process that has least so far.
fn share_out(segments: &[(u64, u128)], processes: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..segments.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(segments[at].0), segments[at].1));
    let mut loads = vec![0u64; processes];
    let mut places = vec![0; segments.len()];
    for at in order {
        let least = (0..processes).min_by_key(|&place| loads[place]).unwrap_or(0);
        places[at] = least;
        loads[least] = loads[least].saturating_add(segments[at].0.max(1));
    }
    places
}

/// The `top_k` best of all finds by (rank, key). No key is in two of them.
fn merge(here: Found, elsewhere: Vec<Found>, metric: Metric, top_k: usize) -> Found {
    let mut all = here;
    let mut ranked: Vec<_> = all.ranks.drain(..).zip(all.hits.drain(..)).collect();
    for found in elsewhere {
        all.explain.add(&found.explain);
        ranked.extend(found.ranks.into_iter().zip(found.hits));
    }
    ranked.sort_by(|(a, x), (b, y)| a.total_cmp(b).then_with(|| x.key.cmp(&y.key)));
    ranked.truncate(top_k);
    debug_assert!(ranked.iter().all(|(rank, hit)| hit.distance == metric.distance(*rank)));
    (all.ranks, all.hits) = ranked.into_iter().unzip();
    all
}
