//! Names and bytes of the files.
//!
//! ```text
//! "vbcache1" | segment u128 | part: u8 kind, u8 field, u16 section, u32 number | length u64
//!            | crc32c u32 of the contents | zeros up to 64 bytes | contents
//! ```
//!
//! All numbers are little-endian. The contents are the bytes of the part, or of the whole object, as
//! the store has them. The header says what they are, so that a file under a wrong name is found out.

use bytes::Bytes;
use vb_search::{PartId, SectionKind};

const MAGIC: &[u8; 8] = b"vbcache1";
const HEADER_BYTES: usize = 64;

/// File systems give out room in blocks.
const BLOCK_BYTES: u64 = 4096;

/// Names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cache) struct DiskKey {
    pub(super) object: u128,
    /// `None`: the whole object.
    part: Option<PartId>,
}

/// The contents of a file, and their CRC32C as its header has it.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Stored {
    pub(in crate::cache) bytes: Bytes,
    pub(in crate::cache) crc: u32,
}

impl DiskKey {
    pub(in crate::cache) fn part(object: u128, part: PartId) -> Self {
        Self { object, part: Some(part) }
    }

    pub(in crate::cache) fn whole(object: u128) -> Self {
        Self { object, part: None }
    }

    /// The first key of an object, in order.
    pub(super) fn first_of(object: u128) -> Self {
        Self::whole(object)
    }

    /// Two hex digits: names of segments begin at random.
    pub(super) fn folder(&self) -> String {
        format!("{:02x}", self.object >> 120)
    }

    pub(super) fn file_name(&self) -> String {
        let object = self.object;
        match self.part {
            None => format!("{object:032x}-whole"),
            Some(PartId::Section(SectionKind(kind), field)) => {
                format!("{object:032x}-section.{kind}.{field}")
            }
            Some(PartId::VectorExtent(field, number)) => {
                format!("{object:032x}-extent.{field}.{number}")
            }
            Some(PartId::MetadataBlock(number)) => format!("{object:032x}-block.{number}"),
            Some(PartId::KeyBlock(number)) => format!("{object:032x}-keys.{number}"),
            Some(PartId::AttributeBlock(number)) => format!("{object:032x}-values.{number}"),
            Some(PartId::CodeList(field, list)) => format!("{object:032x}-list.{field}.{list}"),
            Some(PartId::RowCodeList(field, list)) => {
                format!("{object:032x}-rows.{field}.{list}")
            }
        }
    }

    /// Reads [`DiskKey::file_name`]; `None` for any other name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (object, part) = name.split_once('-')?;
        let object = u128::from_str_radix(object, 16).ok()?;
        let mut words = part.split('.');
        let part = match words.next()? {
            "whole" => None,
            "section" => {
                let kind = SectionKind(words.next()?.parse().ok()?);
                Some(PartId::Section(kind, words.next()?.parse().ok()?))
            }
            "extent" => {
                let field = words.next()?.parse().ok()?;
                Some(PartId::VectorExtent(field, words.next()?.parse().ok()?))
            }
            "block" => Some(PartId::MetadataBlock(words.next()?.parse().ok()?)),
            "keys" => Some(PartId::KeyBlock(words.next()?.parse().ok()?)),
            "values" => Some(PartId::AttributeBlock(words.next()?.parse().ok()?)),
            "list" => {
                let field = words.next()?.parse().ok()?;
                Some(PartId::CodeList(field, words.next()?.parse().ok()?))
            }
            "rows" => {
                let field = words.next()?.parse().ok()?;
                Some(PartId::RowCodeList(field, words.next()?.parse().ok()?))
            }
            _ => return None,
        };
        let key = Self { object, part };
        (key.file_name() == name).then_some(key)
    }

    /// Kind, field, section and number, as the header has them.
    fn encode_part(&self) -> [u8; 8] {
        let (kind, field, section, number) = match self.part {
            None => (0, 0, 0, 0),
            Some(PartId::Section(SectionKind(section), field)) => (1, field, section, 0),
            Some(PartId::VectorExtent(field, number)) => (2, field, 0, number),
            Some(PartId::MetadataBlock(number)) => (3, 0, 0, number),
            Some(PartId::KeyBlock(number)) => (4, 0, 0, number),
            Some(PartId::CodeList(field, list)) => (5, field, 0, list),
            Some(PartId::RowCodeList(field, list)) => (6, field, 0, list),
            Some(PartId::AttributeBlock(number)) => (7, 0, 0, number),
        };
        let mut part = [kind, field, 0, 0, 0, 0, 0, 0];
        part[2..4].copy_from_slice(&u16::to_le_bytes(section));
        part[4..].copy_from_slice(&u32::to_le_bytes(number));
        part
    }

    fn header(&self, length: u64, crc: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..24].copy_from_slice(&self.object.to_le_bytes());
        header[24..32].copy_from_slice(&self.encode_part());
        header[32..40].copy_from_slice(&length.to_le_bytes());
        header[40..44].copy_from_slice(&crc.to_le_bytes());
        header
    }
}

/// The bytes of a file.
pub(super) fn encode(key: &DiskKey, stored: &Stored) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADER_BYTES + stored.bytes.len());
    file.extend_from_slice(&key.header(stored.bytes.len() as u64, stored.crc));
    file.extend_from_slice(&stored.bytes);
    file
}

/// The contents of a file of this key; `None` if it is something else. The checksum is still to be
/// compared.
pub(super) fn decode(key: &DiskKey, file: &Bytes) -> Option<Stored> {
    let (header, contents) = file.split_first_chunk::<HEADER_BYTES>()?;
    let crc = u32::from_le_bytes(*header[40..].first_chunk()?);
    let sound = *header == key.header(contents.len() as u64, crc);
    sound.then(|| Stored { bytes: file.slice(HEADER_BYTES..), crc })
}

/// Length of a file with contents of this length.
pub(super) fn file_length(contents: u64) -> u64 {
    contents.saturating_add(HEADER_BYTES as u64)
}

/// What room a file with contents of this length takes on the disk.
pub(super) fn room_of(contents: u64) -> u64 {
    room_of_file(file_length(contents))
}

/// What room a file of this length takes on the disk.
pub(super) fn room_of_file(length: u64) -> u64 {
    length.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX)
}

/// Reads a name and a file from any bytes: the name up to the first zero, the file after it. What is
/// read must come out the same when written again.
pub(crate) fn fuzz(bytes: &[u8]) {
    let zero = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at(zero);
    let Some(key) = std::str::from_utf8(name).ok().and_then(DiskKey::parse) else {
        return;
    };
    assert_eq!(key.file_name().as_bytes(), name);
    let file = Bytes::copy_from_slice(rest.get(1..).unwrap_or_default());
    if let Some(stored) = decode(&key, &file) {
        assert_eq!(encode(&key, &stored), file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> impl Strategy<Value = DiskKey> {
        let part = prop_oneof![
            Just(None),
            (any::<u16>(), any::<u8>())
                .prop_map(|(kind, field)| Some(PartId::Section(SectionKind(kind), field))),
            (any::<u8>(), any::<u32>())
                .prop_map(|(field, number)| Some(PartId::VectorExtent(field, number))),
            any::<u32>().prop_map(|number| Some(PartId::MetadataBlock(number))),
            any::<u32>().prop_map(|number| Some(PartId::KeyBlock(number))),
            any::<u32>().prop_map(|number| Some(PartId::AttributeBlock(number))),
            (any::<u8>(), any::<u32>())
                .prop_map(|(field, list)| Some(PartId::CodeList(field, list))),
            (any::<u8>(), any::<u32>())
                .prop_map(|(field, list)| Some(PartId::RowCodeList(field, list))),
        ];
        (any::<u128>(), part).prop_map(|(object, part)| DiskKey { object, part })
    }

    proptest! {
        #[test]
        fn names_and_files_come_back(
            key in keys(),
            other in keys(),
            contents in prop::collection::vec(any::<u8>(), 0..200),
            crc in any::<u32>(),
        ) {
            prop_assert_eq!(DiskKey::parse(&key.file_name()), Some(key));
            let stored = Stored { bytes: contents.clone().into(), crc };
            let file = Bytes::from(encode(&key, &stored));
            prop_assert_eq!(file.len() as u64, file_length(contents.len() as u64));
            let read = decode(&key, &file).expect("just written");
            prop_assert_eq!((&read.bytes[..], read.crc), (&contents[..], crc));
            prop_assert_eq!(decode(&other, &file).is_some(), other == key);
            let mut fuzzed = key.file_name().into_bytes();
            fuzzed.push(0);
            fuzzed.extend_from_slice(&file);
            fuzz(&fuzzed);
        }

        #[test]
        fn no_change_of_the_header_goes_unnoticed(
            key in keys(),
            place in 0..40usize,
            change in 1..=255u8,
            cut in 0..80usize,
        ) {
            let stored = Stored { bytes: Bytes::from_static(b"contents of a part"), crc: 7 };
            let mut file = encode(&key, &stored);
            file[place] ^= change;
            prop_assert!(decode(&key, &file.clone().into()).is_none());
            file[place] ^= change;
            file.truncate(cut);
            prop_assert!(decode(&key, &file.into()).is_none());
        }

        #[test]
        fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&bytes);
            let name = [b"00000000000000000000000000000000-block.7\0", &bytes[..]].concat();
            fuzz(&name);
        }
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "",
            "-",
            "x-whole",
            "00-whole",
            "00000000000000000000000000000000-block.007",
            "00000000000000000000000000000000-block.7.tmp",
            "0000000000000000000000000000000A-whole",
            "00000000000000000000000000000000-section.1",
        ] {
            assert_eq!(DiskKey::parse(name), None, "{name}");
        }
    }
}
