//! The bytes of a spool file.
//!
//! ```text
//! file   = frame(header) frame(line) frame(line) ...
//! frame  = length u32 | crc32c u32 of the length's bytes and the payload | payload
//! header = "vb-log 1" | hour i64 | account | bucket | sink | prefix      each text: length u16 | bytes
//! ```
//!
//! All numbers are little-endian; the hour is its first second since 1970. A file is only ever
//! appended to, so what a killed process or a power failure leaves is a prefix, perhaps with a torn
//! frame behind it or zeros. Reading ends at the first frame that is not whole; any bytes read
//! without panic.

use super::piece::{Destination, Key};

const MAGIC: &[u8; 8] = b"vb-log 1";
const FRAME_HEAD: usize = 8;

/// Longest payload: lines are bounded far below it.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Appends a frame. The payload is a line or a header, both far below the limit.
pub(super) fn push_frame(out: &mut Vec<u8>, payload: &[u8]) {
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "lines are bounded");
    let length = u32::try_from(payload.len()).expect("at most a mebibyte").to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

/// The frame at the start of `bytes`, as the length of its payload, if it is whole.
fn frame_at(bytes: &[u8]) -> Option<usize> {
    let (head, rest) = bytes.split_first_chunk::<FRAME_HEAD>()?;
    let (length, sum) = head.split_first_chunk::<4>()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let fits = payload.len() <= PAYLOAD_BYTES_MAX;
    (fits && sum == checksum(*length, payload).to_le_bytes()).then_some(payload.len())
}

/// The header's payload.
pub(super) fn header(key: &Key) -> Vec<u8> {
    let Destination { account, bucket, sink, prefix } = &*key.destination;
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&key.hour.to_le_bytes());
    for text in [account, bucket, sink, prefix] {
        let length = u16::try_from(text.len()).expect("names and prefixes are short");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn read_header(payload: &[u8]) -> Option<Key> {
    let rest = payload.strip_prefix(MAGIC)?;
    let (hour, mut rest) = rest.split_first_chunk::<8>()?;
    let mut text = || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = after;
        std::str::from_utf8(text).ok().map(Box::<str>::from)
    };
    let (account, bucket, sink, prefix) = (text()?, text()?, text()?, text()?);
    let destination = Destination { account, bucket, sink, prefix };
    rest.is_empty()
        .then(|| Key { destination: destination.into(), hour: i64::from_le_bytes(*hour) })
}

/// Whose lines a file holds, from its first bytes; `None` if the header is not whole.
pub(super) fn key(bytes: &[u8]) -> Option<Key> {
    let length = frame_at(bytes)?;
    read_header(&bytes[FRAME_HEAD..FRAME_HEAD + length])
}

/// Whether a file ends within its header, as one that was just begun does.
pub(super) fn is_torn(bytes: &[u8]) -> bool {
    let is_zero = bytes.iter().all(|byte| *byte == 0);
    let claimed = bytes.first_chunk::<4>().map(|length| u32::from_le_bytes(*length));
    is_zero || claimed.is_none_or(|length| bytes.len() < FRAME_HEAD.saturating_add(length as usize))
}

/// Longest header with its frame: four texts, of which none is longer than a setting may be.
pub(super) const HEADER_BYTES_MAX: usize = FRAME_HEAD + 8 + 8 + 4 * (2 + u16::MAX as usize);

/// What a file says: its lines, each ended by a line feed, and how many bytes behind them are none.
///
/// Works in place, so that a file of the largest size is in memory once.
pub(super) fn lines(mut file: Vec<u8>) -> (Vec<u8>, usize) {
    let Some(header) = frame_at(&file) else { return (Vec::new(), file.len()) };
    let (mut read, mut written) = (FRAME_HEAD + header, 0);
    while let Some(length) = frame_at(&file[read..]) {
        let start = read + FRAME_HEAD;
        file.copy_within(start..start + length, written);
        // A frame's head is longer than a line feed, so writing never overtakes reading.
        file[written + length] = b'\n';
        (read, written) = (start + length, written + length + 1);
    }
    let torn = file.len() - read;
    file.truncate(written);
    (file, torn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Key {
        let destination = Destination {
            account: "1234567890123456".into(),
            bucket: "vb".into(),
            sink: "logs".into(),
            prefix: "Mÿ/Log-".into(),
        };
        Key { destination: destination.into(), hour: 1_767_322_800 }
    }

    fn file(lines: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        push_frame(&mut out, &header(&sample()));
        lines.iter().for_each(|line| push_frame(&mut out, line));
        out
    }

    fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
        lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect()
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_the_whole_lines_before_the_cut() {
        let all = [b"first".to_vec(), Vec::new(), b"the third line".to_vec()];
        let whole = file(&all);
        let ends: Vec<usize> = (0..=all.len()).map(|count| file(&all[..count]).len()).collect();
        for cut in 0..=whole.len() {
            let part = whole[..cut].to_vec();
            assert_eq!(key(&part), (cut >= ends[0]).then(sample), "cut at {cut}");
            let count = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
            let torn = if cut < ends[0] { cut } else { cut - ends[count] };
            assert_eq!(lines(part.clone()), (joined(&all[..count]), torn), "cut at {cut}");
            let zeros = [part, vec![0; 50]].concat();
            assert_eq!(lines(zeros).0, joined(&all[..count]), "cut at {cut}, then zeros");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = key(&bytes);
            let (text, torn) = lines(bytes.clone());
            prop_assert!(text.len() + torn <= bytes.len());
        }

        #[test]
        fn one_changed_byte_never_changes_a_line(at in 0usize..200, with in 1u8..) {
            let all = [b"first".to_vec(), b"the second line".to_vec(), b"third".to_vec()];
            let mut bytes = file(&all);
            let at = at % bytes.len();
            bytes[at] ^= with;
            let (text, torn) = lines(bytes);
            prop_assert!(joined(&all).starts_with(&text), "{:?}", text);
            prop_assert!(torn > 0);
        }
    }
}
