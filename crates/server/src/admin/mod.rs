//! The admin listener: is the process alive, is it ready, what has it counted, who are the nodes;
//! it can be told to warm an index up, and, by those who may, to change identities.
//!
//! It starts before the store is opened, so that readiness can be watched during a long start, and
//! ends after the data listener, so that a drain can be watched too. What it tells without being
//! asked who wants to know has no secrets in it; still it stays on loopback unless the operator
//! says otherwise. Orders ([`api`]) take a signature or a token, and a way that nobody can read.

mod answer;
mod api;
mod assume;
mod caller;
mod link;
mod record;
mod token;

pub(crate) use api::Api;
pub(crate) use link::Link;
pub(crate) use token::{Tokens, generate_token};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use vb_api::admin::PREFIX;
use vb_api::oss::{Query, RequestId};
use vb_engine::{BucketId, IndexHandle};

use crate::administration::{Code, Refusal};
use crate::metrics::Metrics;
use crate::nodes::{Nodes, Peer};
use crate::phase::{Phase, Phases};
use crate::transport::Tls;

/// Connections served at once; scrapers and probes need a handful.
const CONNECTIONS_MAX: usize = 64;

/// What the admin listener can tell about.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) phases: Phases,
    pub(crate) metrics: Arc<Metrics>,
    /// The account whose buckets are meant where none is named.
    pub(crate) account: Arc<str>,
    /// Connections are encrypted.
    pub(crate) tls: Option<Arc<Tls>>,
    /// What carries orders out, while the service is open.
    pub(crate) office: Office,
}

/// The place of the [`Api`], which is there after the store was opened and until it is closed.
#[derive(Clone, Default)]
pub(crate) struct Office(Arc<Mutex<Option<Arc<Api>>>>);

impl Office {
    /// From now on orders are carried out.
    pub(crate) fn open(&self, api: Api) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(api));
    }

    /// From now on they are not.
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn api(&self) -> Option<Arc<Api>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why a request about an index is not done.
enum Refused {
    NotNamed,
    /// The engine is not open yet, or any more.
    NotOpen,
    Failed(vb_engine::Error),
}

impl Admin {
    /// Serves until [`Phase::Stopped`].
    pub(crate) async fn run(self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let stopped = self.phases.clone();
        tokio::select! {
            () = self.accept(listener, permits) => {}
            () = stopped.reached(Phase::Stopped) => {}
        }
    }

    async fn accept(self, listener: TcpListener, permits: Arc<Semaphore>) {
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await;
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let admin = self.clone();
            tokio::spawn(async move {
                let _permit = permit;
                let stopped = admin.phases.clone();
                tokio::select! {
                    () = admin.accepted(stream, peer) => {}
                    () = stopped.reached(Phase::Stopped) => {}
                }
            });
        }
    }

    async fn accepted(&self, stream: TcpStream, peer: SocketAddr) {
        match &self.tls {
            None => self.serve(stream, Link { peer, tls: false }).await,
            // A handshake that fails is counted where it is made.
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    let link = Link { peer, tls: stream.is_secure() };
                    self.serve(stream, link).await;
                }
            }
        }
    }

    /// Answers the requests of one connection.
    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send, link: Link) {
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(self.respond(request, link).await)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "admin connection");
        }
    }

    async fn respond(&self, request: Request<Incoming>, link: Link) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let Some(operation) = path.strip_prefix(PREFIX) else {
            return self.answer(request.method(), request.uri()).await;
        };
        match self.office.api() {
            Some(api) => api.respond(request, operation, link).await,
            None => {
                let text = "the service is starting or stopping";
                let told = Err(Refusal::new(Code::NotReady, text).into());
                answer::response(&told, &RequestId::from_random([0; 12]))
            }
        }
    }

    async fn answer(&self, method: &Method, uri: &Uri) -> Response<Full<Bytes>> {
        let query = Query::parse(uri.query().unwrap_or(""));
        match (method.as_str(), uri.path()) {
            ("POST", "/warmup") => self.warm_up(&query).await,
            (_, "/warmup") => text(StatusCode::METHOD_NOT_ALLOWED, "POST only\n".into()),
            ("GET" | "HEAD", path) => self.tell(path, &query).await,
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD only\n".into()),
        }
    }

    async fn tell(&self, path: &str, query: &Query<'_>) -> Response<Full<Bytes>> {
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => self.readiness(),
            "/metrics" => {
                let shut_out = i64::try_from(self.keys_unavailable()).unwrap_or(i64::MAX);
                self.metrics.keys_unavailable.set(shut_out);
                metrics(self.metrics.render())
            }
            "/nodes" => self.nodes(query).await,
            "/" => text(StatusCode::OK, format!("vectorbucket: {PATHS}\n")),
            _ => text(StatusCode::NOT_FOUND, format!("see {PATHS}\n")),
        }
    }

    /// Access keys whose secrets the key ring does not open.
    fn keys_unavailable(&self) -> usize {
        self.office.api().map_or(0, |api| api.keys_unavailable())
    }

    /// Ready or not, and in further lines what is wrong all the same.
    fn readiness(&self) -> Response<Full<Bytes>> {
        let (status, mut body) = readiness(self.phases.now());
        let shut_out = self.keys_unavailable();
        if shut_out > 0 {
            body += &format!("warning: the key ring does not open {shut_out} access keys\n");
        }
        text(status, body)
    }

    /// The nodes with their states, and who owns an index if one is named.
    async fn nodes(&self, query: &Query<'_>) -> Response<Full<Bytes>> {
        let nodes = self.metrics.nodes();
        let mut told = json!({"state": self.phases.now().name()});
        if let Some(nodes) = nodes {
            told["node"] = nodes.own().into();
            told["peers"] = nodes.peers().iter().map(|peer| state(peer)).collect();
        }
        if query.pairs().is_empty() {
            return json(StatusCode::OK, &told);
        }
        match self.owner(nodes, query).await {
            Ok(owner) => {
                told["owner"] = owner.into();
                json(StatusCode::OK, &told)
            }
            Err(refused) => refused.answer(),
        }
    }

    /// Name of the node that owns the index; empty where there is only one.
    async fn owner(
        &self,
        nodes: Option<&Arc<Nodes>>,
        query: &Query<'_>,
    ) -> Result<String, Refused> {
        let index = self.index(query).await?;
        let own = nodes.map_or("", |nodes| nodes.own());
        let owner = nodes.and_then(|nodes| nodes.owner(index.id()));
        Ok(owner.map_or(own.to_owned(), |peer| peer.name().to_owned()))
    }

    /// Brings what queries need of an index into this node's memory.
    async fn warm_up(&self, query: &Query<'_>) -> Response<Full<Bytes>> {
        let index = match self.index(query).await {
            Ok(index) => index,
            Err(refused) => return refused.answer(),
        };
        match index.warm().await {
            Ok(()) => text(StatusCode::OK, "warm\n".into()),
            Err(error) => Refused::Failed(error).answer(),
        }
    }

    /// The index that a query string names.
    async fn index(&self, query: &Query<'_>) -> Result<IndexHandle, Refused> {
        let value = |key| query.value(key).ok().flatten();
        let (Some(bucket), Some(index)) = (value("bucket"), value("index")) else {
            return Err(Refused::NotNamed);
        };
        let account = value("account").unwrap_or((&*self.account).into());
        let engine = self.metrics.engine().ok_or(Refused::NotOpen)?;
        let bucket = BucketId::new(account.as_bytes(), &*bucket);
        engine.resolve(&bucket, index.as_bytes()).await.map_err(Refused::Failed)
    }
}

const PATHS: &str =
    "/healthz /readyz /metrics /nodes, POST /warmup?bucket=..&index=.., POST /admin/v1/NOUN/VERB";

fn state(peer: &Peer) -> serde_json::Value {
    match peer.down() {
        None => json!({"node": peer.name(), "state": "up"}),
        Some(why) => json!({"node": peer.name(), "state": "down", "why": why.name()}),
    }
}

impl Refused {
    fn answer(self) -> Response<Full<Bytes>> {
        use vb_engine::Error as E;
        match self {
            Self::NotNamed => {
                let hint = "expected ?bucket=NAME&index=NAME, and &account=ID of another account\n";
                text(StatusCode::BAD_REQUEST, hint.into())
            }
            Self::NotOpen => text(StatusCode::SERVICE_UNAVAILABLE, "starting or stopped\n".into()),
            Self::Failed(error @ (E::NoSuchBucket | E::NoSuchIndex)) => {
                text(StatusCode::NOT_FOUND, format!("{error}\n"))
            }
            Self::Failed(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        }
    }
}

fn readiness(phase: Phase) -> (StatusCode, String) {
    match phase {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
        Phase::Ready => (StatusCode::OK, "ready\n".into()),
        Phase::Leaving | Phase::Draining | Phase::Stopped => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into())
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, body, "text/plain; charset=utf-8")
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    typed(status, format!("{body}\n"), "application/json")
}

fn metrics(body: String) -> Response<Full<Bytes>> {
    typed(StatusCode::OK, body, "application/openmetrics-text; version=1.0.0; charset=utf-8")
}

fn typed(status: StatusCode, body: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn admin() -> Admin {
        Admin {
            phases: Phases::new(),
            metrics: Arc::new(Metrics::new()),
            account: "1".into(),
            tls: None,
            office: Office::default(),
        }
    }

    async fn status(admin: &Admin, method: Method, target: &'static str) -> u16 {
        admin.answer(&method, &Uri::from_static(target)).await.status().as_u16()
    }

    #[tokio::test]
    async fn readiness_follows_the_phase() {
        let admin = admin();
        for (phase, expected) in [
            (Phase::Starting, 503),
            (Phase::Ready, 200),
            (Phase::Leaving, 503),
            (Phase::Draining, 503),
            (Phase::Ready, 503),
        ] {
            admin.phases.advance(phase);
            assert_eq!(status(&admin, Method::GET, "/healthz").await, 200);
            assert_eq!(status(&admin, Method::GET, "/readyz").await, expected, "{phase:?}");
        }
    }

    /// The answer to a request that arrives on such a link.
    async fn over(admin: &Admin, link: Link, request: &str) -> String {
        let (mut near, far) = tokio::io::duplex(64 << 10);
        near.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = async { near.read_to_string(&mut answer).await.unwrap() };
        let (_, _) = tokio::join!(admin.serve(far, link), read);
        answer
    }

    async fn opened() -> Admin {
        let admin = admin();
        let store = vb_commit::Store::memory();
        let options = vb_identity::Options::default();
        let roots = vb_identity::Roots::default();
        let identities = vb_identity::IdentityStore::open(&store, roots, None, options).await;
        let identities = identities.unwrap();
        let engine = vb_engine::Engine::open(store, vb_engine::Options::default()).await.unwrap();
        admin.office.open(Api {
            authenticator: crate::authenticate::Authenticator::new(identities.clone(), "r"),
            desk: crate::administration::Desk {
                identities,
                buckets: crate::administration::Buckets::Running(engine),
                region: "r".into(),
                block_public_access: true,
                root: None,
            },
            tokens: Tokens::parse(TOKEN).unwrap(),
            account: None,
            audit: None,
            rates: crate::limits::Rates::new(&crate::config::RateConfig::default()),
            metrics: Arc::clone(&admin.metrics),
        });
        admin
    }

    const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHI";

    #[tokio::test]
    async fn orders_come_over_loopback_and_tls_only() {
        let admin = opened().await;
        let order = format!(
            "POST /admin/v1/account/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {TOKEN}\r\nContent-Length: 2\r\n\
             X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\r\n{{}}"
        );
        let health = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let link = |peer: &str, tls| Link { peer: peer.parse().unwrap(), tls };
        for (link, expected) in [
            (link("192.0.2.1:9", false), "TransportRefused"),
            (link("192.0.2.1:9", true), "200 OK"),
            (link("127.0.0.1:9", false), "200 OK"),
            (link("[::1]:9", false), "200 OK"),
        ] {
            let answer = over(&admin, link, &order).await;
            assert!(answer.contains(expected), "{link:?}: {answer}");
            assert!(over(&admin, link, health).await.contains("200 OK"));
        }
    }

    #[tokio::test]
    async fn nothing_is_ordered_before_the_store_is_open() {
        let order = "POST /admin/v1/account/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                     Content-Length: 0\r\n\r\n";
        let link = Link { peer: "127.0.0.1:9".parse().unwrap(), tls: false };
        assert!(over(&admin(), link, order).await.contains("NotReady"));
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let admin = admin();
        for (method, target, expected) in [
            (Method::GET, "/metrics", 200),
            (Method::GET, "/nodes", 200),
            (Method::GET, "/nothing", 404),
            (Method::POST, "/metrics", 405),
            (Method::GET, "/warmup", 405),
            (Method::POST, "/warmup", 400),
            (Method::POST, "/warmup?bucket=b", 400),
            (Method::POST, "/warmup?bucket=b&index=i", 503),
            (Method::GET, "/nodes?bucket=b&index=i", 503),
            (Method::GET, "/nodes?bucket=b", 400),
        ] {
            assert_eq!(status(&admin, method, target).await, expected, "{target}");
        }
    }
}
