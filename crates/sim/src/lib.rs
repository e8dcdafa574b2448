//! Simulation and model checking of the real protocol. Development only; nothing here is shipped.

pub mod protocol;
