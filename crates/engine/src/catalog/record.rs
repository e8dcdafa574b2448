//! Bytes shared by catalog commands and the catalog manifest.

use bytes::Bytes;
use vb_search::Schema;

use crate::codec::{DecodeError, Reader, Write};
use crate::records::{IndexSettings, LoggingTarget};

pub(super) fn write_tags(out: &mut Vec<u8>, tags: &[(String, String)]) {
    out.put_list(tags, |out, (key, value)| {
        out.put_block(key.as_bytes());
        out.put_block(value.as_bytes());
    });
}

pub(super) fn read_tags(reader: &mut Reader) -> Result<Vec<(String, String)>, DecodeError> {
    reader.list(8, |reader| Ok((reader.string()?, reader.string()?)))
}

pub(super) fn write_logging(out: &mut Vec<u8>, target: &LoggingTarget) {
    out.put_block(target.bucket.as_bytes());
    out.put_block(target.prefix.as_bytes());
    out.put_block(target.role.as_bytes());
}

pub(super) fn read_logging(reader: &mut Reader) -> Result<LoggingTarget, DecodeError> {
    Ok(LoggingTarget { bucket: reader.string()?, prefix: reader.string()?, role: reader.string()? })
}

pub(super) fn write_settings(out: &mut Vec<u8>, settings: &IndexSettings) {
    let mut schema = Vec::new();
    settings.schema.encode(&mut schema);
    out.put_block(&schema);
    out.put_block(&settings.wire);
}

pub(super) fn read_settings(reader: &mut Reader) -> Result<IndexSettings, DecodeError> {
    let bytes = reader.block()?;
    let schema =
        Schema::decode(&bytes).map_err(|_| reader.error("the index schema does not decode"))?;
    Ok(IndexSettings { schema, wire: copy(&reader.block()?) })
}

/// Small values that live as long as the catalog must not keep a whole log slot in memory.
pub(super) fn copy(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
