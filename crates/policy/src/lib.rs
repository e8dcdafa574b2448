//! May this principal do this action on this resource: the policy language.
//!
//! A document is parsed once into typed statements; everything the language does not know is
//! refused there, because ignoring an unknown restriction would widen access. The store keeps the
//! original text; this crate never prints one.
//!
//! ```text
//! { "Version": "1", "Statement": [ { "Effect": "Allow" | "Deny",
//!     "Action" | "NotAction": s | [s], "Resource": s | [s], "Principal": s | [s],
//!     "Condition": { operator: { key: v | [v] } } } ] }
//! ```
//!
//! Invariants: hostile documents never panic; matching is bounded by pattern length times text
//! length.

mod condition;
mod document;
mod error;
pub mod fuzz;
mod glob;
mod node;
mod pattern;
mod value;

pub use condition::{Condition, ConditionKey, Operator};
pub use document::{Actions, Document, Effect, Statement};
pub use error::{ErrorKind, PolicyError};
pub use glob::Glob;
pub use pattern::{ActionPattern, PrincipalPattern, ResourcePattern, Service};
pub use value::{Network, Values};
