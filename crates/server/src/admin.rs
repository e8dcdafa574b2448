//! The admin listener: is the process alive, is it ready, what has it counted.
//!
//! It starts before the store is opened, so that readiness can be watched during a long start, and
//! ends after the data listener, so that a drain can be watched too. It has no authentication and
//! therefore stays on loopback unless the operator says otherwise.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::phase::{Phase, Phases};

/// Connections served at once; scrapers and probes need a handful.
const CONNECTIONS_MAX: usize = 64;

/// What the admin listener can tell about.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) phases: Phases,
    pub(crate) metrics: Arc<Metrics>,
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
        let service = service_fn(|request: Request<Incoming>| {
            let answer = self.answer(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(answer) }
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

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD only\n".into());
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => readiness(self.phases.now()),
            "/metrics" => metrics(self.metrics.render()),
            "/" => text(StatusCode::OK, "vectorbucket: /healthz /readyz /metrics\n".into()),
            _ => text(StatusCode::NOT_FOUND, "see /healthz, /readyz and /metrics\n".into()),
        }
    }
}

fn readiness(phase: Phase) -> Response<Full<Bytes>> {
    match phase {
        Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
        Phase::Ready => text(StatusCode::OK, "ready\n".into()),
        Phase::Draining | Phase::Stopped => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into())
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, body, "text/plain; charset=utf-8")
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

    #[test]
    fn readiness_follows_the_phase() {
        let admin = Admin { phases: Phases::new(), metrics: Arc::new(Metrics::new()) };
        let status = |path| admin.answer(&Method::GET, path).status().as_u16();
        assert_eq!((status("/healthz"), status("/readyz")), (200, 503));
        admin.phases.advance(Phase::Ready);
        assert_eq!((status("/healthz"), status("/readyz")), (200, 200));
        admin.phases.advance(Phase::Draining);
        admin.phases.advance(Phase::Ready);
        assert_eq!((status("/healthz"), status("/readyz")), (200, 503));
        assert_eq!((status("/metrics"), status("/nothing")), (200, 404));
        assert_eq!(admin.answer(&Method::POST, "/metrics").status().as_u16(), 405);
    }
}
