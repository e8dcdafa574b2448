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

mod tables;

mod bytes_of_any_kind {
    //! Decoders take whatever they are given.

    use proptest::prelude::*;

    use super::super::body::{
        Body, Counters, DeletedBitmap, SectionEntry, SegmentEntry, SegmentMeta,
    };
    use super::super::event::{check_batch, decode};
    use super::*;
    use crate::fuzz;

    fn a_body() -> Body {
        let section = |kind, offset, length| SectionEntry {
            kind: vb_search::SectionKind(kind),
            field: 0,
            offset,
            length,
            crc: 7,
        };
        let meta = SegmentMeta {
            name: 1,
            length: 1000,
            docs: 10,
            hashes: (3, 9),
            sections: vec![section(1, 64, 100), section(5, 192, 64)],
        };
        let deleted = DeletedBitmap::Inline(vec![1, 2, 3].into());
        Body {
            schema: schema(),
            counters: Counters { live: 7, docs: 10, deleted: 3, puts: 12, deletes: 1 },
            segments: vec![SegmentEntry { meta, deleted }],
        }
    }

    #[test]
    fn a_body_comes_back_and_its_invariants_are_checked() {
        let good = a_body();
        assert_eq!(Body::decode(good.encode()), Ok(good.clone()));
        let break_it: [fn(&mut Body); 6] = [
            |body| body.counters.live = 8,
            |body| body.counters.docs = 11,
            |body| body.segments[0].meta.docs = 0,
            |body| body.segments[0].meta.hashes = (9, 3),
            |body| body.segments[0].meta.sections[1].offset = 128,
            |body| body.segments[0].meta.length = 255,
        ];
        for (number, break_it) in break_it.iter().enumerate() {
            let mut bad = good.clone();
            break_it(&mut bad);
            assert!(Body::decode(bad.encode()).is_err(), "broken in way {number}");
        }
    }

    #[test]
    fn a_batch_comes_back_bit_for_bit() {
        let mut batch = batch(&["a", "", "\u{4f60}\u{597d}"]);
        let bits = [0x7fc0_1234, 0x8000_0000, 1, 0xff80_0000, 0x3f80_0000, 0];
        batch.vectors[0].values = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
        batch.vectors[0].present = Some(vec![true, false, true]);
        batch.metadata[1] = None;
        batch.metadata[2] = Some(Bytes::new());
        check_batch(&schema(), &batch).unwrap();
        let Ok(IndexEvent::Put(rows)) = decode(&schema(), encode_put(&schema(), &batch)) else {
            panic!("a put decodes as a put");
        };
        assert_eq!(rows.keys, ["a".as_bytes(), b"", "\u{4f60}\u{597d}".as_bytes()]);
        assert_eq!(rows.metadata, [batch.metadata[0].clone(), None, Some(Bytes::new())]);
        let field = &rows.fields[0];
        assert_eq!([0, 1, 2].map(|row| field.has(row)), [true, false, true]);
        let expected: Vec<u8> =
            [0, 1, 4, 5].iter().flat_map(|at: &usize| bits[*at].to_le_bytes()).collect();
        assert_eq!(field.values, expected);
    }

    /// A valid encoding with some bytes changed, cut or added.
    fn mutated(valid: Vec<Bytes>) -> impl Strategy<Value = Vec<u8>> {
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
        (prop::sample::select(valid), changes, any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(valid, changes, length, cut)| {
                let mut bytes = valid.to_vec();
                for (at, value) in changes {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
                if cut {
                    bytes.truncate(length.index(bytes.len() + 1));
                }
                bytes
            })
    }

    fn valid() -> Vec<Bytes> {
        let two_fields = [
            &[1u8, 1, 2, 1, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 1, 1][..],
            &[1, 0, 0, 0, b'k', 1, 0, 0, 0, b'm', 0, 0, 0, 0],
            &[0; 20],
        ];
        let bitmap = roaring::RoaringBitmap::from_iter([1u32, 5, 900]);
        vec![
            a_body().encode(),
            Bytes::from(two_fields.concat()),
            event::encode_delete(&[b"key".as_slice().into()]),
            Bytes::from(super::super::body::encode_bitmap(&bitmap)),
            crate::catalog::tests::full_bucket().encode(),
            Bytes::from_static(b"a%2Fb"),
        ]
        .into_iter()
        .chain(crate::catalog::tests::commands().iter().map(|command| command.encode()))
        .collect()
    }

    fn decode_all(bytes: &[u8]) {
        fuzz::catalog_command(bytes);
        fuzz::catalog_manifest(bytes);
        fuzz::index_event(bytes);
        fuzz::index_manifest(bytes);
        fuzz::deletion_bitmap(bytes);
        fuzz::path_name(bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn no_decoder_panics(bytes in mutated(valid())) {
            decode_all(&bytes);
        }

        #[test]
        fn no_decoder_panics_on_noise(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            decode_all(&bytes);
        }
    }
}
