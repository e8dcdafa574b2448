//! Commands of a bucket's catalog log: one per batch of a log slot.
//!
//! ```text
//! format u8 = 1 | tag u8 | fields by tag
//!   1 create bucket    created_ms u64, resource group, tags
//!   2 delete bucket
//!   3 configure        change tag u8, value
//!   4 create index     id u128, created_ms u64, indexes_max u32, name, schema, wire
//!   5 mark deleting    id u128
//!   6 mark deleted     id u128, at_ms u64
//!   7 swept            id u128
//! ```
//! Strings and byte strings are a u32 length and the bytes; lists a u32 count and the items. A log
//! slot is covered by a checksum of its own, so a command that does not decode was never written.

use std::sync::Arc;

use bytes::Bytes;

use super::record::{
    read_logging, read_settings, read_tags, write_logging, write_settings, write_tags,
};
use crate::codec::{DecodeError, Reader, Write};
use crate::records::{BucketChange, BucketSettings, IndexId, IndexSettings};

const FORMAT: u8 = 1;

/// One change of a bucket's catalog. Whether it takes effect is decided at its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    CreateBucket { created_ms: u64, settings: BucketSettings },
    DeleteBucket,
    Configure(BucketChange),
    CreateIndex(CreateIndex),
    MarkDeleting(IndexId),
    MarkDeleted { id: IndexId, at_ms: u64 },
    Swept(IndexId),
}

/// The quota travels with the command, so that every reader of the log decides alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CreateIndex {
    pub(crate) name: Box<[u8]>,
    pub(crate) id: IndexId,
    pub(crate) created_ms: u64,
    pub(crate) indexes_max: u32,
    pub(crate) settings: Arc<IndexSettings>,
}

impl Command {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![FORMAT];
        match self {
            Self::CreateBucket { created_ms, settings } => {
                out.put_u8(1);
                out.put_u64(*created_ms);
                out.put_block(settings.resource_group.as_bytes());
                write_tags(&mut out, &settings.tags);
            }
            Self::DeleteBucket => out.put_u8(2),
            Self::Configure(change) => {
                out.put_u8(3);
                write_change(&mut out, change);
            }
            Self::CreateIndex(create) => {
                out.put_u8(4);
                out.put_u128(create.id.0);
                out.put_u64(create.created_ms);
                out.put_u32(create.indexes_max);
                out.put_block(&create.name);
                write_settings(&mut out, &create.settings);
            }
            Self::MarkDeleting(id) => {
                out.put_u8(5);
                out.put_u128(id.0);
            }
            Self::MarkDeleted { id, at_ms } => {
                out.put_u8(6);
                out.put_u128(id.0);
                out.put_u64(*at_ms);
            }
            Self::Swept(id) => {
                out.put_u8(7);
                out.put_u128(id.0);
            }
        }
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(reader.error("unknown catalog command format"));
        }
        let command = match reader.u8()? {
            1 => Self::CreateBucket {
                created_ms: reader.u64()?,
                settings: BucketSettings {
                    resource_group: reader.string()?,
                    tags: read_tags(&mut reader)?,
                },
            },
            2 => Self::DeleteBucket,
            3 => Self::Configure(read_change(&mut reader)?),
            4 => Self::CreateIndex(read_create_index(&mut reader)?),
            5 => Self::MarkDeleting(IndexId(reader.u128()?)),
            6 => Self::MarkDeleted { id: IndexId(reader.u128()?), at_ms: reader.u64()? },
            7 => Self::Swept(IndexId(reader.u128()?)),
            _ => return Err(reader.error("unknown catalog command")),
        };
        reader.finish()?;
        Ok(command)
    }
}

fn read_create_index(reader: &mut Reader) -> Result<CreateIndex, DecodeError> {
    Ok(CreateIndex {
        id: IndexId(reader.u128()?),
        created_ms: reader.u64()?,
        indexes_max: reader.u32()?,
        name: reader.block()?.as_ref().into(),
        settings: Arc::new(read_settings(reader)?),
    })
}

fn write_change(out: &mut Vec<u8>, change: &BucketChange) {
    match change {
        BucketChange::Policy(policy) => {
            out.put_u8(1);
            out.put_option(policy.as_ref(), |out, policy| out.put_block(policy));
        }
        BucketChange::Logging(target) => {
            out.put_u8(2);
            out.put_option(target.as_ref(), write_logging);
        }
        BucketChange::Tags(tags) => {
            out.put_u8(3);
            write_tags(out, tags);
        }
        BucketChange::RemoveTags(names) => {
            out.put_u8(4);
            out.put_option(names.as_ref(), |out, names| {
                out.put_list(names, |out, name| out.put_block(name.as_bytes()));
            });
        }
        BucketChange::ResourceGroup(group) => {
            out.put_u8(5);
            out.put_block(group.as_bytes());
        }
    }
}

fn read_change(reader: &mut Reader) -> Result<BucketChange, DecodeError> {
    Ok(match reader.u8()? {
        1 => BucketChange::Policy(reader.option(Reader::block)?),
        2 => BucketChange::Logging(reader.option(read_logging)?),
        3 => BucketChange::Tags(read_tags(reader)?),
        4 => BucketChange::RemoveTags(reader.option(|reader| reader.list(4, Reader::string))?),
        5 => BucketChange::ResourceGroup(reader.string()?),
        _ => return Err(reader.error("unknown configuration change")),
    })
}
