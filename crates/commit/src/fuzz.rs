//! Bodies of the fuzz targets: any bytes, no panic, and what was read is what is written.

use bytes::Bytes;

use crate::manifest::Manifest;
use crate::slot::Slot;

/// Reads a slot; a valid one is written back to the same bytes.
///
/// # Panics
///
/// If reading and writing do not agree.
pub fn slot(data: &[u8]) {
    if let Ok(slot) = Slot::decode(Bytes::copy_from_slice(data)) {
        assert_eq!(slot.encode().concat(), data, "a slot has one encoding");
    }
}

/// Reads a manifest; a valid one is written back to the same bytes.
///
/// # Panics
///
/// If reading and writing do not agree.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::decode(Bytes::copy_from_slice(data)) {
        assert_eq!(manifest.encode().concat(), data, "a manifest has one encoding");
    }
}
