//! What can be read off the API pages: operations, fields, limits, error codes, names, signature.
//!
//! Everything here is pure: bytes, headers, times and secrets come in, typed requests, encoded
//! answers and typed errors go out. No sockets, no clocks, no engine types.
//!
//! One dialect exists today, [`oss`]: the HTTP interface of OSS vector buckets. Rules that belong
//! to it (names, limits, the signature, the ARN form) live under that module so that a second
//! dialect can stand beside it.

pub mod admin;
pub mod oss;
