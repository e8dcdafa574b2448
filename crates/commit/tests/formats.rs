//! Formats: what is written is read, and hostile bytes are refused, never a panic.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use vb_commit::{
    FoldedWriter, FormatError, Manifest, SLOT_BYTES_MAX, Slot, WriterId, fuzz, groups, slot_bytes,
};

fn slots() -> impl Strategy<Value = Slot> {
    let payload = prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 16_000..17_000)];
    let batches = vec((1..1_000_u64, payload), 1..8);
    (any::<(u64, u128, u64)>(), batches, any::<bool>()).prop_map(|(ids, mut batches, closes)| {
        if closes {
            batches = vec![(batches[0].0, Vec::new())];
        }
        let mut number = 0;
        let mut numbered = |(step, payload): (u64, Vec<u8>)| {
            number += step;
            (number, Bytes::from(payload))
        };
        let batches = batches.into_iter().map(&mut numbered).collect();
        Slot { seq: ids.0, writer: WriterId(ids.1), incarnation: ids.2, batches, closes }
    })
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let writers = proptest::collection::btree_map(any::<u128>(), (any::<u64>(), 0..50_u64), 0..70);
    let numbers = any::<(u64, u128, u64, u64, bool, u64)>();
    (numbers, writers, vec(any::<u8>(), 0..300), 50..1_000_u64).prop_map(
        |((number, writer, stamp, incarnation, closed, batches), writers, body, floor)| {
            let entry = |(writer, (batch, seq)): (u128, (u64, u64))| FoldedWriter {
                writer: WriterId(writer),
                batch,
                seq,
            };
            let folded: Vec<_> = writers.into_iter().map(entry).collect();
            let folded_since = folded.iter().map(|entry| entry.seq).min().unwrap_or(0);
            let writer = WriterId(writer);
            let body = if closed { Bytes::new() } else { Bytes::from(body) };
            Manifest {
                number: number >> 1,
                writer,
                stamp,
                incarnation,
                floor,
                closed,
                batches,
                folded,
                folded_since,
                body,
            }
        },
    )
}

/// Sets the checksum so that mutated fields are looked at.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 12 {
        let checksum = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

fn mutated(mut bytes: Vec<u8>, at: usize, with: &[u8], cut: usize) -> Vec<u8> {
    for (offset, byte) in with.iter().enumerate() {
        let len = bytes.len();
        bytes[(at + offset) % len] = *byte;
    }
    bytes.truncate(bytes.len() - cut.min(bytes.len()));
    bytes
}

proptest! {
    #[test]
    fn a_slot_is_read_as_it_was_written(slot in slots()) {
        let bytes = Bytes::from(slot.encode().concat());
        let payloads: Vec<_> = slot.batches.iter().map(|(_, payload)| payload.clone()).collect();
        prop_assert_eq!(slot_bytes(&payloads), bytes.len());
        prop_assert_eq!(Slot::decode(bytes).unwrap(), slot);
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written(manifest in manifests()) {
        let bytes = Bytes::from(manifest.encode().concat());
        prop_assert_eq!(Manifest::decode(bytes).unwrap(), manifest);
    }

    #[test]
    fn any_bytes_are_refused_or_read(data in vec(any::<u8>(), 0..200)) {
        fuzz::slot(&data);
        fuzz::manifest(&data);
    }

    #[test]
    fn mutated_objects_are_refused_or_read_consistently(
        slot in slots(),
        manifest in manifests(),
        at in 0..120_usize,
        with in vec(any::<u8>(), 0..9),
        cut in 0..60_usize,
    ) {
        fuzz::slot(&mutated(slot.encode().concat(), at, &with, cut));
        fuzz::manifest(&mutated(manifest.encode().concat(), at, &with, cut));
    }

    #[test]
    fn one_flipped_bit_is_noticed(
        slot in slots(),
        manifest in manifests(),
        bit in prop_oneof![0..96_usize, any::<usize>()],
    ) {
        let flipped = |mut bytes: Vec<u8>| {
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            Bytes::from(bytes)
        };
        prop_assert!(Slot::decode(flipped(slot.encode().concat())).is_err());
        prop_assert!(Manifest::decode(flipped(manifest.encode().concat())).is_err());
    }

    #[test]
    fn groups_keep_order_and_fit(lens in vec(prop_oneof![0..100_usize, Just(9 << 20)], 0..30)) {
        let zeros = Bytes::from_static(&[0; 9 << 20]);
        let batches: Vec<_> = lens.iter().map(|len| zeros.slice(..*len)).collect();
        let grouped = groups(batches);
        prop_assert!(grouped.iter().all(|group| slot_bytes(group) <= SLOT_BYTES_MAX));
        for pair in grouped.windows(2) {
            let joined: Vec<_> = [&pair[0][..], &pair[1][..1]].concat();
            prop_assert!(slot_bytes(&joined) > SLOT_BYTES_MAX, "a group could have been longer");
        }
        let kept: Vec<_> = grouped.concat().iter().map(Bytes::len).collect();
        prop_assert_eq!(kept, lens);
    }
}

#[test]
fn refusals_name_the_reason() {
    let slot = Slot {
        seq: 1,
        writer: WriterId(2),
        incarnation: 3,
        batches: vec![(4, Bytes::from_static(b"five"))],
        closes: false,
    };
    let bytes = slot.encode().concat();
    let check = |at: usize, value: u8, expected: FormatError| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert_eq!(Slot::decode(sealed(bytes).into()), Err(expected), "byte {at}");
    };
    check(0, b'X', FormatError::Magic);
    check(4, 9, FormatError::Version(9));
    check(6, 4, FormatError::Flags(4));
    check(6, 1, FormatError::Checksum);
    check(12, 0, FormatError::Field("count"));
    check(15, 255, FormatError::Field("count"));
    check(56, 5, FormatError::Truncated);
    check(56, 3, FormatError::Field("length"));
    assert_eq!(Slot::decode(Bytes::from_static(b"VBS")), Err(FormatError::Truncated));
    let mut torn = bytes.clone();
    torn[50] ^= 1;
    assert_eq!(Slot::decode(torn.into()), Err(FormatError::Checksum));
    let long = Bytes::from(vec![0; SLOT_BYTES_MAX + 1]);
    assert_eq!(Slot::decode(long), Err(FormatError::TooLong));
}

#[test]
fn formats_stay_as_released() {
    let slot = Slot {
        seq: 7,
        writer: WriterId(0x0102),
        incarnation: 9,
        batches: vec![(3, Bytes::from_static(b"ab")), (4, Bytes::new())],
        closes: false,
    };
    let expected = "5642534c010000001f48c608020000000700000000000000090000000000000002010000000000000000\
                    000000000000030000000000000002000000040000000000000000000000\
                    6162";
    assert_eq!(hex(&slot.encode().concat()), expected);
    let closing = Slot { batches: vec![(4, Bytes::new())], closes: true, ..slot };
    let expected = "5642534c010001003b96ee75010000000700000000000000090000000000000002010000000000000000\
                    000000000000040000000000000000000000";
    assert_eq!(hex(&closing.encode().concat()), expected);
    let manifest = Manifest {
        number: 5,
        writer: WriterId(0x0102),
        stamp: 6,
        incarnation: 9,
        floor: 8,
        closed: false,
        batches: 3,
        folded: vec![FoldedWriter { writer: WriterId(0x0102), batch: 4, seq: 7 }],
        folded_since: 0,
        body: Bytes::from_static(b"ab"),
    };
    let expected = "56424d4601000000875447ff010000000500000000000000090000000000000002010000\
                    000000000000000000000000060000000000000008000000000000000300000000000000\
                    000000000000000002000000000000000201000000000000000000000000000004000000\
                    0000000007000000000000006162";
    assert_eq!(hex(&manifest.encode().concat()), expected);
    let closed = Manifest { closed: true, body: Bytes::new(), ..manifest };
    let expected = "56424d4601000100c5e9651d010000000500000000000000090000000000000002010000\
                    000000000000000000000000060000000000000008000000000000000300000000000000\
                    000000000000000000000000000000000201000000000000000000000000000004000000000000000700000000000000";
    assert_eq!(hex(&closed.encode().concat()), expected);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
