//! Who is calling: accounts, their root credentials, and the principal a request is made by.
//!
//! Root credentials come from the environment or from a file and are never stored. An account has
//! up to two access keys, so that one can be replaced while the other is in use.
//!
//! Invariants: an access key id belongs to one account; secrets never appear in `Debug`, `Display`
//! or an error; a file that other users can read is refused.

mod account;
mod credential;
mod load;
mod principal;

pub use account::AccountId;
pub use credential::{AccessKey, Secret};
pub use load::{LoadError, Roots};
pub use principal::Principal;
