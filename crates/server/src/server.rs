//! From a configuration to a running service, and back down again.
//!
//! Up: certificates are read and both sockets bound first (the cheapest failures), then the admin
//! listener answers, then credentials, store and engine are opened, then data connections are
//! accepted. Down, in reverse: readiness ends, after a while the data socket closes, requests in flight finish
//! within the drain time, the engine closes, the admin listener ends last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vb_commit::{Store, SystemClock};
use vb_engine::Engine;
use vb_identity::{AccountId, IdentityStore};

use crate::access_log::AccessLog;
use crate::admin::{Admin, Api, Office, Tokens};
use crate::administration::{Buckets, Desk};
use crate::audit::Audit;
use crate::authenticate::Authenticator;
use crate::config::Config;
use crate::cost::AccessPath;
use crate::failure::Failure;
use crate::limits::Rates;
use crate::listener::Connections;
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::open;
use crate::phase::{Phase, Phases};
use crate::serve::{Opened, Service};
use crate::transport::{Side, Tls};
use crate::workers::Workers;

/// The service.
#[derive(Debug)]
pub struct Server;

/// A running service. Dropping it leaves the service running; [`Handle::shutdown`] ends it.
pub struct Handle {
    addr: SocketAddr,
    admin_addr: SocketAddr,
    phases: Phases,
    /// Counts how often certificates were asked to be read again.
    certificates: watch::Sender<u64>,
    connections: Connections,
    engine: Engine,
    identities: IdentityStore,
    access_log: Arc<AccessLog>,
    audit: Option<Arc<Audit>>,
    metrics: Arc<Metrics>,
    office: Office,
    drain_delay: Duration,
    drain_timeout: Duration,
    data: JoinHandle<()>,
    admin: JoinHandle<()>,
}

/// What a service can be given instead of opening it itself.
#[doc(hidden)]
#[derive(Default)]
pub struct Given {
    /// A data listener that is bound already.
    pub listener: Option<TcpListener>,
    /// The store, whatever the configuration says; it is not probed.
    pub store: Option<Store>,
}

impl Server {
    /// Starts the service; returns once requests are served. Must be called in a tokio runtime.
    ///
    /// Port 0 in an address takes a free port; the handle tells which.
    ///
    /// # Errors
    /// One [`Failure`] per thing that can be wrong; nothing keeps running then.
    pub async fn start(config: &Config) -> Result<Handle, Failure> {
        Self::start_with(config, Given::default()).await
    }

    /// As [`Server::start`], with parts that exist already.
    #[doc(hidden)]
    pub async fn start_with(config: &Config, given: Given) -> Result<Handle, Failure> {
        let metrics = Arc::new(Metrics::new());
        let tokens = open::admin_tokens(config)?;
        let tls = Tls::configured(Side::Data, &config.tls, &metrics.tls)?;
        let admin_tls = Tls::configured(Side::Admin, &config.tls, &metrics.tls)?;
        let listener = match given.listener {
            Some(listener) => listener,
            None => bind("listen", config.listen).await?,
        };
        let admin_listener = bind("admin_listen", config.admin_listen).await?;
        let workers = Workers::start().map_err(Failure::System)?;
        let phases = Phases::new();
        let account = config.account_id.as_str().into();
        let office = Office::default();
        let admin = Admin {
            phases: phases.clone(),
            metrics: Arc::clone(&metrics),
            account,
            tls: admin_tls.clone(),
            office: office.clone(),
        };
        let admin_addr = local(&admin_listener)?;
        let admin = tokio::spawn(admin.run(admin_listener));
        let addr = local(&listener)?;
        let opened = open_all(config, addr, given.store, &metrics).await;
        let opened = opened.inspect_err(|_| phases.advance(Phase::Stopped))?;
        let (engine, identities) = (opened.engine.clone(), opened.identities.clone());
        let (access_log, audit) = (Arc::clone(&opened.access_log), opened.audit.clone());
        if let Some(nodes) = &opened.nodes {
            metrics.watch_nodes(Arc::clone(nodes));
            tokio::spawn(Arc::clone(nodes).watch(phases.clone()));
        }
        office.open(api(config, &opened, tokens, &metrics));
        let service = Service::new(config, opened, Arc::clone(&metrics), phases.clone());
        let (service, for_data) = (Arc::new(service), tls.clone());
        let connections = Connections::new(service, phases.clone(), config, for_data, workers);
        let data = tokio::spawn(connections.clone().run(listener));
        let certificates = watch::Sender::new(0);
        for tls in [tls, admin_tls].into_iter().flatten() {
            let (every, asked) = (config.tls.check_interval, certificates.subscribe());
            tokio::spawn(tls.watch(every, asked, phases.clone()));
        }
        phases.advance(Phase::Ready);
        Ok(Handle {
            addr,
            admin_addr,
            phases,
            certificates,
            connections,
            engine,
            identities,
            access_log,
            audit,
            metrics,
            office,
            drain_delay: config.drain_delay,
            drain_timeout: config.drain_timeout,
            data,
            admin,
        })
    }
}

async fn open_all(
    config: &Config,
    addr: SocketAddr,
    store: Option<Store>,
    metrics: &Metrics,
) -> Result<Opened, Failure> {
    let (roots, ring) = (open::credentials(config)?, open::key_ring(config)?);
    let nodes = Nodes::configured(config, addr)?.map(Arc::new);
    let store = match store {
        Some(store) => store,
        None => open::store(config).await?,
    };
    let has_ring = ring.is_some();
    let identities = open::identities(&store, roots, ring).await?;
    if let Err(failure) = open::check_ring(&identities.snapshot(), has_ring) {
        // A folder's lock goes with it.
        identities.close().await;
        return Err(failure);
    }
    let engine = open::engine(config, store.clone(), nodes.as_ref()).await?;
    metrics.watch(engine.clone(), store.clone());
    let audit = Audit::start(&config.audit, &config.region, metrics.audit.clone())?;
    let counters = Arc::clone(&metrics.access_log);
    let access_log = AccessLog::start(config, store, counters, Arc::new(SystemClock))?;
    Ok(Opened { engine, identities, nodes, access_log: Arc::new(access_log), audit })
}

/// What carries out the orders of the admin API.
fn api(config: &Config, opened: &Opened, tokens: Tokens, metrics: &Arc<Metrics>) -> Api {
    let identities = opened.identities.clone();
    Api {
        authenticator: Authenticator::new(identities.clone(), &config.region),
        desk: Desk {
            identities,
            buckets: Buckets::Running(opened.engine.clone()),
            region: config.region.as_str().into(),
            block_public_access: config.block_public_access,
            root: None,
        },
        tokens,
        account: AccountId::parse(&config.account_id),
        audit: opened.audit.clone(),
        rates: Rates::new(&config.rates),
        metrics: Arc::clone(metrics),
    }
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

    /// Reads the listeners' certificate files again, also if they are what they were. Connections
    /// that are open go on.
    pub fn reload_certificates(&self) {
        self.certificates.send_modify(|asked| *asked += 1);
    }

    /// Who may call.
    #[doc(hidden)]
    #[must_use]
    pub fn identities(&self) -> &IdentityStore {
        &self.identities
    }

    /// What is done for requests before their bodies are read, for measurements.
    #[doc(hidden)]
    #[must_use]
    pub fn access_path(&self) -> AccessPath {
        AccessPath::new(Arc::clone(self.connections.service()))
    }

    /// Stops accepting, lets requests in flight finish, closes the engine.
    ///
    /// # Errors
    /// [`Failure::DrainTimeout`] when connections had to be cut; everything is closed even so.
    pub async fn shutdown(self) -> Result<(), Failure> {
        self.phases.advance(Phase::Leaving);
        tokio::time::sleep(self.drain_delay).await;
        self.phases.advance(Phase::Draining);
        // The accept loop only ends or is cancelled; either way the socket is closed afterwards.
        let _ = self.data.await;
        let drained = tokio::time::timeout(self.drain_timeout, self.connections.closed()).await;
        let cut = drained.is_err().then(|| self.connections.open());
        self.access_log.close().await;
        if let Some(audit) = self.audit {
            // Neither panics nor is cancelled.
            let _ = tokio::task::spawn_blocking(move || audit.close()).await;
        }
        self.office.close();
        self.identities.close().await;
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
