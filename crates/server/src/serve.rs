//! The life of a request.
//!
//! [`Service::answer`] lists it; each line is one call into the room that knows. Clients observe
//! this order of checks: head, signature, right on the account, bucket name, bucket existence,
//! body. Nothing of a body is read before the caller is known and room for it was admitted.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderMap, Request, Response, Version, header};
use hyper::body::Incoming;
use vb_api::oss::{Domains, Error, Fault, Limits, Operation, Query, Target};
use vb_engine::{BucketRecord, Engine};
use vb_identity::IdentityStore;

use crate::access_log::AccessLog;
use crate::admission::{ANSWER_BYTES, Admission, Budget, Permit};
use crate::audit::Audit;
use crate::authenticate::{Authenticator, Caller};
use crate::authorize::Grant;
use crate::body::{self, Declared, Pace};
use crate::case::Heard;
use crate::clock::unix_seconds;
use crate::config::{Config, TrustedProxies};
use crate::exchange::Exchange;
use crate::limits::{Quotas, Rates};
use crate::listener::Connected;
use crate::metrics::{Finished, Metrics};
use crate::nodes::{Nodes, NotValid};
use crate::ops::{self, Context, Input};
use crate::peer_calls::PeerCall;
use crate::phase::{Phase, Phases};
use crate::reply::{Outcome, Refusal, Reply, ReplyBody};

/// Bytes that are read of a body where the operation means none.
const BODYLESS_BYTES_MAX: u64 = 64 << 10;

/// What every request needs; shared by all connections.
pub(crate) struct Service {
    context: Context,
    identities: IdentityStore,
    authenticator: Authenticator,
    /// Unless an account says otherwise.
    pub(crate) block_public_access: bool,
    rates: Rates,
    admission: Admission,
    /// Of requests that come from other nodes.
    pub(crate) peer_admission: Admission,
    nodes: Option<Arc<Nodes>>,
    domains: Domains,
    /// Who is believed about where a request comes from.
    proxies: TrustedProxies,
    pub(crate) pace: Pace,
    discard_bytes_max: u64,
    log_access: bool,
    access_log: Arc<AccessLog>,
    audit: Option<Arc<Audit>>,
    metrics: Arc<Metrics>,
    pub(crate) phases: Phases,
}

/// What a service is made over.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) identities: IdentityStore,
    pub(crate) nodes: Option<Arc<Nodes>>,
    pub(crate) access_log: Arc<AccessLog>,
    pub(crate) audit: Option<Arc<Audit>>,
}

/// A request whose head was found good: what may be done, and room to do it.
struct Admitted {
    grant: Grant,
    declared: Declared,
    bytes_max: u64,
}

impl Service {
    /// A service over what was opened.
    pub(crate) fn new(
        config: &Config,
        opened: Opened,
        metrics: Arc<Metrics>,
        phases: Phases,
    ) -> Self {
        let Opened { engine, identities, nodes, access_log, audit } = opened;
        let admission = || {
            let (write, query) = (config.write_budget(), config.query_budget());
            Admission::new(write, query, config.admission.wait_max, Arc::clone(&metrics))
        };
        let quotas = Quotas::new(engine.clone(), identities.clone(), config.quotas.clone());
        let (admission, peer_admission) = (admission(), admission().of_peers());
        Self {
            context: Context::new(engine, quotas, limits(config), config),
            authenticator: Authenticator::new(identities.clone(), &config.region),
            identities,
            block_public_access: config.block_public_access,
            rates: Rates::new(&config.rates),
            admission,
            peer_admission,
            nodes,
            domains: Domains::new(config.domains()),
            proxies: config.trusted_proxies.clone(),
            pace: Pace::new(&config.limits),
            discard_bytes_max: config.limits.put_vectors_bytes_max.0.saturating_mul(2),
            log_access: config.log.access,
            access_log,
            audit,
            metrics,
            phases,
        }
    }

    /// The counters of the process.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The other nodes, if this is one of several.
    pub(crate) fn nodes(&self) -> Option<&Arc<Nodes>> {
        self.nodes.as_ref()
    }

    /// Who may call.
    pub(crate) fn identities(&self) -> &IdentityStore {
        &self.identities
    }

    /// What operations work with.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Answers one request, whatever happens in it, and accounts for it.
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        connected: &Connected,
    ) -> Response<ReplyBody> {
        let client = connected.other_end().of(request.headers(), &self.proxies);
        let mut exchange = Exchange::begin(&request, client, &self.metrics);
        let answer = AssertUnwindSafe(self.answer(request, &mut exchange)).catch_unwind().await;
        let outcome = answer.unwrap_or_else(|_| {
            self.metrics.panics.inc();
            Err(Refusal::internal("the request panicked"))
        });
        if exchange.mark().is_some() {
            connected.is_a_node();
        }
        let (response, finished) = self.conclude(&mut exchange, &Outcome(outcome));
        self.record(&exchange, &finished).await;
        response
    }

    /// The life of a request: everything the head decides, then the body, then the operation.
    async fn answer(
        &self,
        request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Reply, Refusal> {
        let (head, mut incoming) = request.into_parts();
        let marked = self.marked(&head, exchange);
        let done = match PeerCall::resolve(&head, exchange.mark()) {
            Some(call) => self.answer_peer(call, &head, &mut incoming, exchange).await,
            None => match self.admit(&head, marked, exchange).await {
                Ok(admitted) => self.perform(&head, &mut incoming, admitted, exchange).await,
                Err(refusal) => Err(refusal),
            },
        };
        if let Err(refusal) = &done {
            self.leave_clean(&head.headers, incoming, refusal, exchange).await;
        }
        done
    }

    /// Whether another node sent the request, and then for whom.
    fn marked(&self, head: &Parts, exchange: &mut Exchange) -> Result<(), NotValid> {
        if let Some(mark) = Nodes::mark_of(self.nodes.as_deref(), head)? {
            exchange.sent_on(mark);
        }
        Ok(())
    }

    /// Everything that the head decides, in the order that clients observe.
    async fn admit(
        &self,
        head: &Parts,
        marked: Result<(), NotValid>,
        exchange: &mut Exchange,
    ) -> Result<Admitted, Refusal> {
        let target = Target::parse(&head.uri, &head.headers, &self.domains)
            .inspect(|target| exchange.addressed(target));
        // What nodes ask each other has paths of its own: with a mark that is not valid the mark is
        // what is wrong.
        marked.map_err(|NotValid| Fault::NodeMark)?;
        let target = target?;
        let query = Query::parse(head.uri.query().unwrap_or(""));
        let operation = Operation::resolve(head.method.as_str(), &query, target.has_bucket())?;
        exchange.operation = operation.name();
        let now = unix_seconds();
        let caller = self.caller(head, &target, now, exchange).await?;
        let heard = Heard { head, target: &target, operation, now };
        let (case, record) = self.case(heard, caller, exchange).await?;
        let grant = case.coarse(|verdict| exchange.decided(verdict));
        let grant = grant.inspect_err(|e| self.metrics.auth_failed(e.code().as_str()))?;
        self.check_bucket(&grant, record, exchange).await?;
        let bytes_max = self.body_bytes_max(operation);
        let declared = body::declared(&head.method, &head.headers, bytes_max)?;
        let from_peer = exchange.mark().is_some();
        exchange.permit = Some(self.room(operation, declared.bytes(bytes_max), from_peer).await?);
        Ok(Admitted { grant, declared, bytes_max })
    }

    /// What a measurement asks for: everything about the caller that a head decides.
    pub(crate) async fn granted(
        &self,
        head: &Parts,
        exchange: &mut Exchange,
    ) -> Result<Grant, Refusal> {
        Ok(self.admit(head, Ok(()), exchange).await?.grant)
    }

    /// Who calls. What another node sent on was counted there.
    async fn caller(
        &self,
        head: &Parts,
        target: &Target,
        now: i64,
        exchange: &mut Exchange,
    ) -> Result<Caller, Refusal> {
        let (client, counts) = (exchange.client(), exchange.mark().is_none());
        if counts {
            self.rates.check_source(client)?;
        }
        let caller = self.authenticator.caller(head, target, client, now).await;
        let caller = caller.inspect_err(|error| {
            self.metrics.auth_failed(error.code().as_str());
            if counts {
                self.rates.note_failure(client, error.status());
            }
        })?;
        exchange.called_by(caller.principal());
        if counts {
            self.rates.admit(caller.principal(), client)?;
        }
        Ok(caller)
    }

    /// The body and the operation itself.
    async fn perform(
        &self,
        head: &Parts,
        incoming: &mut Incoming,
        admitted: Admitted,
        exchange: &mut Exchange,
    ) -> Result<Reply, Refusal> {
        let Admitted { grant, declared, bytes_max } = admitted;
        let read = body::read(incoming, declared, bytes_max, self.pace).await;
        exchange.body_read = true;
        let body = read?;
        exchange.bytes_in = body.len() as u64;
        if let Some(reply) = self.elsewhere(head, &body, &grant, exchange).await? {
            return Ok(reply);
        }
        ops::run(&self.context, Input { head, body }, grant, exchange).await
    }

    /// Every bucket-scoped operation but its creation needs the bucket to be there. `seen` is the
    /// record that the decision was made with.
    async fn check_bucket(
        &self,
        grant: &Grant,
        seen: Option<BucketRecord>,
        exchange: &mut Exchange,
    ) -> Result<(), Refusal> {
        let Some(bucket) = grant.bucket_id() else { return Ok(()) };
        if grant.operation() == Operation::PutVectorBucket {
            return Ok(());
        }
        let found = match seen {
            Some(record) => Ok(record),
            None => self.context.engine.bucket_cached(&bucket).await,
        };
        if matches!(found, Ok(_) | Err(vb_engine::Error::NoSuchBucket)) {
            let target = found.as_ref().ok().and_then(|record| record.logging.as_ref());
            exchange.logged_to(self.access_log.learn(&bucket, target));
        }
        Ok(found.map(drop)?)
    }

    /// Largest body of an operation. Clients may send one, usually empty and sometimes chunked,
    /// where none is meant; room for the largest must not be kept for those.
    fn body_bytes_max(&self, operation: Operation) -> u64 {
        let bytes_max = self.context.limits.body_bytes_max(operation) as u64;
        if operation.has_body() { bytes_max } else { bytes_max.min(BODYLESS_BYTES_MAX) }
    }

    async fn room(
        &self,
        operation: Operation,
        body_bytes: u64,
        from_peer: bool,
    ) -> Result<Permit, Error> {
        let (budget, bytes) = match operation {
            Operation::PutVectors | Operation::DeleteVectors => (Budget::Write, body_bytes),
            _ => (Budget::Query, body_bytes + ANSWER_BYTES),
        };
        let admission = if from_peer { &self.peer_admission } else { &self.admission };
        let room = admission.admit(budget, bytes).await;
        room.map_err(|_| Error::new(Fault::Unavailable))
    }

    /// Leaves the connection usable, or says that it is not: reads and forgets what is left of a
    /// refused request's body. A client that asked first (`Expect`) has not sent it, and one that
    /// was too slow gets no second chance.
    async fn leave_clean(
        &self,
        headers: &HeaderMap,
        incoming: Incoming,
        refusal: &Refusal,
        exchange: &mut Exchange,
    ) {
        let asked_first = headers.contains_key(header::EXPECT) && !exchange.body_read;
        let broken = matches!(refusal.error.fault(), Fault::BodyTimeout | Fault::BodyIncomplete);
        let clean = !asked_first
            && !broken
            && body::discard(incoming, self.discard_bytes_max, self.pace.hurried()).await;
        exchange.keep_alive &= clean;
    }

    /// The response, its log line and its counts.
    fn conclude(
        &self,
        exchange: &mut Exchange,
        outcome: &Outcome,
    ) -> (Response<ReplyBody>, Finished) {
        exchange.keep_alive &= self.phases.now() < Phase::Leaving;
        let mut response = outcome.response(&exchange.origin());
        let bytes_out = response.body().len();
        let finished = exchange.account(&self.metrics, outcome, &response, self.log_access);
        response.body_mut().hold(exchange.permit.take().filter(|_| bytes_out > 0));
        (response, finished)
    }

    /// The audit, and the access log of the bucket.
    async fn record(&self, exchange: &Exchange, finished: &Finished) {
        if let Some(audit) = self.audit.as_ref().filter(|_| !exchange.quiet) {
            audit.note(&exchange.event(finished), self.access_log.now_ms());
        }
        let line = |at_s| exchange.line(at_s, finished, self.context.region()).text();
        self.access_log.note(exchange.told(), finished.elapsed, line).await;
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        buckets_max: config.quotas.buckets_max as usize,
        indexes_max: config.quotas.indexes_max as usize,
        top_k_max: config.quotas.top_k_max as usize,
        put_body_bytes_max: config.limits.put_vectors_bytes_max.usize(),
        body_bytes_max: config.limits.body_bytes_max.usize(),
        ..Limits::default()
    }
}

/// Whether the client wants the connection kept after this request.
pub(crate) fn wants_keep_alive(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        let values = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    !says("close") && (version != Version::HTTP_10 || says("keep-alive"))
}
