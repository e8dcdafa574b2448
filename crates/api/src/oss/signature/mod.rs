//! OSS4-HMAC-SHA256 against the ARN canonical URI: parse, verify, sign.
//!
//! Order of a verification, each step with its own answer: pick the mode; credential scope;
//! timestamp; skew or validity window; then the caller looks up the key; signature. Content
//! digests are checked while the body is read ([`BodyCheck`]).

mod body;
mod canonical;
mod claim;
mod key;
mod sign;

pub use body::BodyCheck;
pub use claim::{Claim, Request, Rules, Signed};
pub use key::{KeyCache, SigningKey};
pub use sign::{Credentials, SignInput, authorization, presign};

#[cfg(test)]
mod tests;
