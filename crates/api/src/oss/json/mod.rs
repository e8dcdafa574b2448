//! JSON in and out, one pass each, without a tree.
//!
//! The reader is a cursor over the body: callers ask for what they expect and get
//! [`Fault::JsonShape`](crate::oss::Fault::JsonShape) when something else stands there.

mod float;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use read::{Kind, NumberText, Reader};
pub(crate) use write::{Object, string_len, write_float, write_string};
