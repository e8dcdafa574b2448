//! The admin listener: is the process alive, is it ready, what has it counted, who are the nodes;
//! and the one thing it can be told, to warm an index up.
//!
//! It starts before the store is opened, so that readiness can be watched during a long start, and
//! ends after the data listener, so that a drain can be watched too. It has no authentication and
//! therefore stays on loopback unless the operator says otherwise.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use vb_api::oss::Query;
use vb_engine::{BucketId, IndexHandle};

use crate::metrics::Metrics;
use crate::nodes::{Nodes, Peer};
use crate::phase::{Phase, Phases};

/// Connections served at once; scrapers and probes need a handful.
const CONNECTIONS_MAX: usize = 64;

/// What the admin listener can tell about.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) phases: Phases,
    pub(crate) metrics: Arc<Metrics>,
    /// The account whose buckets are meant where none is named.
    pub(crate) account: Arc<str>,
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
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let admin = self.clone();
            tokio::spawn(async move {
                let _permit = permit;
                let stopped = admin.phases.clone();
                tokio::select! {
                    () = admin.connection(stream) => {}
                    () = stopped.reached(Phase::Stopped) => {}
                }
            });
        }
    }

    async fn connection(self, stream: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| async {
            let (head, _) = request.into_parts();
            Ok::<_, Infallible>(self.answer(&head.method, &head.uri).await)
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
            "/readyz" => readiness(self.phases.now()),
            "/metrics" => metrics(self.metrics.render()),
            "/nodes" => self.nodes(query).await,
            "/" => text(StatusCode::OK, format!("vectorbucket: {PATHS}\n")),
            _ => text(StatusCode::NOT_FOUND, format!("see {PATHS}\n")),
        }
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

const PATHS: &str = "/healthz /readyz /metrics /nodes, POST /warmup?bucket=..&index=..";

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

fn readiness(phase: Phase) -> Response<Full<Bytes>> {
    match phase {
        Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
        Phase::Ready => text(StatusCode::OK, "ready\n".into()),
        Phase::Leaving | Phase::Draining | Phase::Stopped => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into())
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
    use super::*;

    fn admin() -> Admin {
        Admin { phases: Phases::new(), metrics: Arc::new(Metrics::new()), account: "1".into() }
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
