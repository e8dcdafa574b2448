//! Bodies of the fuzz targets: any bytes, no panic, and what was read is what is written.

use bytes::Bytes;

use crate::format::{FRAME_BYTES, seal};
use crate::manifest::Manifest;
use crate::slot::Slot;

/// Reads a slot, also with its checksum set right; a valid one is written back to the same bytes.
///
/// # Panics
///
/// If reading and writing do not agree.
pub fn slot(data: &[u8]) {
    for bytes in [Bytes::copy_from_slice(data), sealed(data)] {
        if let Ok(slot) = Slot::decode(bytes.clone()) {
            assert_eq!(slot.encode().concat(), bytes, "a slot has one encoding");
        }
    }
}

/// Reads a manifest, also with its checksum set right; a valid one is written back to the same
/// bytes.
///
/// # Panics
///
/// If reading and writing do not agree.
pub fn manifest(data: &[u8]) {
    for bytes in [Bytes::copy_from_slice(data), sealed(data)] {
        if let Ok(manifest) = Manifest::decode(bytes.clone()) {
            assert_eq!(manifest.encode().concat(), bytes, "a manifest has one encoding");
        }
    }
}

/// The bytes with the checksum that belongs to them, so that the fields behind it are reached.
fn sealed(data: &[u8]) -> Bytes {
    let mut bytes = data.to_vec();
    if bytes.len() >= FRAME_BYTES {
        seal(&mut bytes, std::iter::empty());
    }
    bytes.into()
}
