//! Simulation and model checking of the real protocol. Development only; nothing here is shipped.
//!
//! [`protocol`] explores every interleaving of a bounded world of the commit protocol.
//! [`engine`] runs the real engine under seeds, faults and crashes, against a model.
//! [`fault_store`] is an object store that fails on demand.

pub mod engine;
pub mod fault_store;
pub mod protocol;
