//! From a configuration to a running service, and back down again.
//!
//! Up: both sockets are bound first (a port in use is the cheapest failure), then the admin
//! listener answers, then credentials, store and engine are opened, then data connections are
//! accepted. Down, in reverse: readiness ends and the data socket closes, requests in flight finish
//! within the drain time, the engine closes, the admin listener ends last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use vb_engine::Engine;

use crate::admin::Admin;
use crate::config::Config;
use crate::failure::Failure;
use crate::listener::Connections;
use crate::metrics::Metrics;
use crate::open;
use crate::phase::{Phase, Phases};
use crate::serve::Service;

/// The service.
#[derive(Debug)]
pub struct Server;

/// A running service. Dropping it leaves the service running; [`Handle::shutdown`] ends it.
pub struct Handle {
    addr: SocketAddr,
    admin_addr: SocketAddr,
    phases: Phases,
    connections: Connections,
    engine: Engine,
    metrics: Arc<Metrics>,
    drain_timeout: Duration,
    data: JoinHandle<()>,
    admin: JoinHandle<()>,
}

impl Server {
    /// Starts the service; returns once requests are served. Must be called in a tokio runtime.
    ///
    /// Port 0 in an address takes a free port; the handle tells which.
    ///
    /// # Errors
    /// One [`Failure`] per thing that can be wrong; nothing keeps running then.
    pub async fn start(config: &Config) -> Result<Handle, Failure> {
        let listener = bind("listen", config.listen).await?;
        let admin_listener = bind("admin_listen", config.admin_listen).await?;
        let phases = Phases::new();
        let metrics = Arc::new(Metrics::new());
        let admin = Admin { phases: phases.clone(), metrics: Arc::clone(&metrics) };
        let admin_addr = local(&admin_listener)?;
        let admin = tokio::spawn(admin.run(admin_listener));
        let opened = open_all(config, &metrics, &phases).await;
        let (service, engine) = opened.inspect_err(|_| phases.advance(Phase::Stopped))?;
        let connections =
            Connections::new(Arc::new(service), phases.clone(), config.limits.clone());
        let addr = local(&listener)?;
        let data = tokio::spawn(connections.clone().run(listener));
        phases.advance(Phase::Ready);
        Ok(Handle {
            addr,
            admin_addr,
            phases,
            connections,
            engine,
            metrics,
            drain_timeout: config.drain_timeout,
            data,
            admin,
        })
    }
}

async fn open_all(
    config: &Config,
    metrics: &Arc<Metrics>,
    phases: &Phases,
) -> Result<(Service, Engine), Failure> {
    let credentials = open::credentials(config)?;
    let store = open::store(config).await?;
    let engine = open::engine(config, store.clone()).await?;
    metrics.watch(engine.clone(), store);
    let metrics = Arc::clone(metrics);
    let service = Service::new(config, engine.clone(), credentials, metrics, phases.clone());
    Ok((service, engine))
}

async fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|source| Failure::Listen { setting, address, source })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(Failure::System)
}

impl Handle {
    /// Address of the data listener.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Address of the admin listener.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Stops accepting, lets requests in flight finish, closes the engine.
    ///
    /// # Errors
    /// [`Failure::DrainTimeout`] when connections had to be cut; everything is closed even so.
    pub async fn shutdown(self) -> Result<(), Failure> {
        self.phases.advance(Phase::Draining);
        // The accept loop only ends or is cancelled; either way the socket is closed afterwards.
        let _ = self.data.await;
        let drained = tokio::time::timeout(self.drain_timeout, self.connections.closed()).await;
        let cut = drained.is_err().then(|| self.connections.open());
        self.engine.shutdown().await;
        self.phases.advance(Phase::Stopped);
        self.connections.closed().await;
        self.metrics.unwatch();
        let _ = self.admin.await;
        match cut {
            Some(connections) if connections > 0 => Err(Failure::DrainTimeout { connections }),
            _ => Ok(()),
        }
    }
}
