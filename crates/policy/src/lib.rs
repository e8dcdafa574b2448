//! May this caller do this action on this resource: the policy language.
//!
//! A document is parsed once into typed statements; everything the language does not know is
//! refused there, because ignoring an unknown restriction would widen access. The store keeps the
//! original text; what is read back from it is never refused but fails closed ([`Policy::stored`]).
//!
//! ```text
//! { "Version": "1", "Statement": [ { "Effect": "Allow" | "Deny",
//!     "Action" | "NotAction": s | [s], "Resource": s | [s], "Principal": s | [s],
//!     "Condition": { operator: { key: v | [v] } } } ] }
//!
//! text --Document::parse--> Document --Policy::new--> Policy --evaluate(PolicySet, Request)--> Decision
//!      <-Document::print---
//! ```
//!
//! Invariants: hostile documents never panic; a Deny never widens, an Allow never narrows; time is
//! linear in policy plus request, but for a 64th of a product where `?` stands behind a star.

mod action;
mod condition;
mod decision;
mod demand;
mod document;
mod error;
mod evaluate;
mod explain;
pub mod fuzz;
mod glob;
mod holds;
mod node;
mod pattern;
mod policy;
mod principal;
mod print;
mod public;
mod question;
mod request;
mod salvage;
mod sieve;
mod value;

pub use action::Action;
pub use condition::{Condition, ConditionKey, Operator};
pub use decision::{Cause, Decision, Denial, Source, StatementRef};
pub use document::{Actions, Document, Effect, Kind, Statement};
pub use error::{ErrorKind, PolicyError};
pub use evaluate::{PolicySet, assume_role, evaluate};
pub use explain::{Explanation, Line, explain};
pub use glob::Glob;
pub use pattern::{ActionPattern, ResourcePattern};
pub use policy::Policy;
pub use principal::PrincipalPattern;
pub use question::Verdict;
pub use request::{Caller, Context, Request, Resource, Target};
pub use value::{Network, Values};
