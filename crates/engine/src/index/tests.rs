//! Values that several tests of this folder need.

use bytes::Bytes;
use vb_kernel::Kernels;
use vb_search::{Attributes, Metric, Schema, VectorField};

use super::event::{self, IndexEvent, PutRows, encode_put};
use crate::requests::{PutBatch, VectorColumn};

pub(crate) fn kernels() -> Kernels {
    Kernels::detect()
}

/// One Euclidean field of two dimensions.
pub(crate) fn schema() -> Schema {
    let field = VectorField { name: "float32".into(), dimension: 2, metric: Metric::Euclidean };
    Schema { vector_fields: vec![field], non_filterable: Vec::new() }
}

/// A batch of these keys; the i-th vector is (i, i), its metadata `{"n":i}`.
pub(crate) fn batch(keys: &[&str]) -> PutBatch {
    let numbers = || (0u16..).take(keys.len());
    PutBatch {
        keys: keys.iter().map(|key| key.as_bytes().into()).collect(),
        vectors: vec![VectorColumn {
            values: numbers().flat_map(|n| [f32::from(n); 2]).collect(),
            present: None,
        }],
        metadata: numbers().map(|n| Some(Bytes::from(format!("{{\"n\":{n}}}")))).collect(),
        attributes: vec![Attributes::default(); keys.len()],
    }
}

pub(crate) fn put_rows(keys: &[&str]) -> PutRows {
    match event::decode(&schema(), encode_put(&schema(), &batch(keys))) {
        Ok(IndexEvent::Put(rows)) => rows,
        other => panic!("a put decodes as a put: {other:?}"),
    }
}
