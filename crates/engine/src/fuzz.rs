//! Bodies of fuzz targets: every decoder of this crate, on any bytes. None may panic, and whatever
//! decodes must encode to bytes that decode to the same.

use bytes::Bytes;
use vb_search::{Metric, Schema, VectorField};

use crate::catalog::command::Command;
use crate::catalog::state::Bucket;
use crate::index::body::{Body, decode_bitmap, encode_bitmap};
use crate::index::event::{self, IndexEvent};
use crate::paths;

/// A catalog command.
pub fn catalog_command(bytes: &[u8]) {
    if let Ok(command) = Command::decode(Bytes::copy_from_slice(bytes)) {
        let again = Command::decode(command.encode()).expect("an encoded command decodes");
        assert_eq!(again, command);
        // Whatever a command says, the machine takes or rejects it.
        let mut bucket = Bucket::default();
        let _ = bucket.apply(&command);
    }
}

/// The name of a file of the disk cache, a zero, and the file.
pub fn cache_file(bytes: &[u8]) {
    crate::cache::fuzz_file(bytes);
}

/// A catalog manifest body.
pub fn catalog_manifest(bytes: &[u8]) {
    if let Ok(bucket) = Bucket::decode(Bytes::copy_from_slice(bytes)) {
        let again = Bucket::decode(bucket.encode()).expect("an encoded bucket decodes");
        assert_eq!(again, bucket);
    }
}

/// A payload of an index's log, against a schema of two fields.
pub fn index_event(bytes: &[u8]) {
    let field = |name: &str, dimension| VectorField {
        name: name.into(),
        dimension,
        metric: Metric::Cosine,
    };
    let schema =
        Schema { vector_fields: vec![field("a", 2), field("b", 3)], non_filterable: Vec::new() };
    if let Ok(IndexEvent::Put(rows)) = event::decode(&schema, Bytes::copy_from_slice(bytes)) {
        let present =
            |field: &event::FieldRows| (0..rows.len()).filter(|row| field.has(*row)).count();
        for field in &rows.fields {
            assert_eq!(field.values.len(), present(field) * field.row_bytes());
        }
    }
}

/// The body of an index's manifest.
pub fn index_manifest(bytes: &[u8]) {
    if let Ok(body) = Body::decode(Bytes::copy_from_slice(bytes)) {
        let again = Body::decode(body.encode()).expect("an encoded body decodes");
        assert_eq!(again, body);
    }
}

/// A deletion bitmap.
pub fn deletion_bitmap(bytes: &[u8]) {
    if let Ok(bitmap) = decode_bitmap(bytes, 1000) {
        let again = decode_bitmap(&encode_bitmap(&bitmap), 1000);
        assert!(bitmap.is_empty() || again.as_ref() == Ok(&bitmap));
    }
}

/// A name in an object path.
pub fn path_name(bytes: &[u8]) {
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(paths::decode_name) {
        assert_eq!(paths::encode_name(&name).as_bytes(), bytes);
    }
}
