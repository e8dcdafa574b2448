//! JSON in and out, one pass each.

mod write;

pub(crate) use write::{write_float, write_string};
