//! Simulation and model checking of the real protocol. Development only; nothing here is shipped.
//!
//! [`protocol`] explores every interleaving of a bounded world of the commit protocol.
//! [`fault_store`] is an object store that fails on demand.

pub mod fault_store;
pub mod protocol;
