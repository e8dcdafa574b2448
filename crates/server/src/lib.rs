//! The vectorbucket service: a socket on one side, the engine on the other.
//!
//! A request's life is the list of calls in `serve.rs`; everything else here serves one of its
//! lines, or starts, watches and stops the process. [`Server::start`] runs the service inside
//! another program (tests, benchmarks); [`command_line`] is the whole binary.

mod access_log;
mod admin;
mod administration;
mod admission;
mod audit;
mod authenticate;
mod authorize;
mod body;
mod case;
mod clock;
mod command;
mod commands;
mod config;
mod cost;
mod cpu;
mod dev;
#[cfg(test)]
mod documentation;
mod exchange;
mod failure;
mod limits;
mod listener;
mod logs;
mod metrics;
mod nodes;
mod open;
mod ops;
mod peer_calls;
mod phase;
mod policies;
mod reply;
mod route;
mod serve;
mod server;
mod transport;
mod workers;

pub use command::command_line;
pub use config::{
    AdmissionConfig, AuditConfig, AuditOutput, AuditRequests, BackgroundConfig, ByteSize, Config,
    Effective, FlushConfig, Invalid, LimitConfig, LogConfig, LogFormat, LogSinks, LoggingConfig,
    NodeConfig, QuotaConfig, Rate, RateConfig, ReadConsistency, Secret, Source, Sources, StoreUrl,
    TlsConfig, TrustedProxies, load,
};
#[doc(hidden)]
pub use cost::AccessPath;
pub use failure::Failure;
pub use server::{Given, Handle, Server};
