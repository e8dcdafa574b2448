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

mod tables {
    //! The writer's tables against a map, with freezes and swaps between any two batches.

    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::sync::Arc;

    use proptest::prelude::*;
    use vb_search::key_hash;

    use super::super::body::{Body, Counters, DeletedBitmap, decode_bitmap};
    use super::super::event::{decode, encode_delete};
    use super::super::flush::{Flush, plan};
    use super::super::tables::Tables;
    use super::super::view::{Published, Source, View};
    use super::*;
    use crate::records::IndexId;

    #[derive(Clone, Debug)]
    enum Step {
        /// The payloads of one group.
        Apply(Vec<Payload>),
        Freeze,
        Swap,
    }

    #[derive(Clone, Debug)]
    enum Payload {
        /// Keys and values.
        Put(Vec<(u8, u8)>),
        Delete(Vec<u8>),
    }

    impl Payload {
        fn event(&self) -> IndexEvent {
            match self {
                Self::Put(rows) => put(rows),
                Self::Delete(numbers) => delete(numbers),
            }
        }

        fn apply_to(&self, expected: &mut BTreeMap<Vec<u8>, f32>) {
            match self {
                Self::Put(rows) => {
                    for (number, value) in rows {
                        expected.insert(key(*number).to_vec(), f32::from(*value));
                    }
                }
                Self::Delete(numbers) => expected.retain(|key, _| !numbers.contains(&key[1])),
            }
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        let put = prop::collection::vec((0u8..12, any::<u8>()), 1..5);
        let delete = prop::collection::vec(0u8..14, 1..4);
        let payload =
            prop_oneof![3 => put.prop_map(Payload::Put), 2 => delete.prop_map(Payload::Delete)];
        prop_oneof![
            6 => prop::collection::vec(payload, 1..4).prop_map(Step::Apply),
            2 => Just(Step::Freeze),
            2 => Just(Step::Swap),
        ]
    }

    fn key(number: u8) -> Box<[u8]> {
        vec![b'k', number].into()
    }

    fn put(rows: &[(u8, u8)]) -> IndexEvent {
        let batch = PutBatch {
            keys: rows.iter().map(|(number, _)| key(*number)).collect(),
            vectors: vec![VectorColumn {
                values: rows.iter().flat_map(|(_, value)| [f32::from(*value), 0.0]).collect(),
                present: None,
            }],
            metadata: vec![None; rows.len()],
            attributes: vec![Attributes::default(); rows.len()],
        };
        decode(&schema(), encode_put(&schema(), &batch)).unwrap()
    }

    fn delete(numbers: &[u8]) -> IndexEvent {
        let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
        decode(&schema(), encode_delete(&keys)).unwrap()
    }

    /// Every live document of a view, by scanning it; a key that is live twice is an error.
    fn live(view: &View) -> BTreeMap<Vec<u8>, f32> {
        let mut found = BTreeMap::new();
        for source in view.sources() {
            let docs = match source {
                Source::Segment(view) => view.segment.docs(),
                Source::Chunk(view) => u32::try_from(view.chunk.len()).unwrap(),
            };
            for doc in (0..docs).filter(|doc| !source.deleted().contains(*doc)) {
                let value = source.vector(0, doc).unwrap()[0];
                let before = found.insert(source.key(doc).to_vec(), value);
                assert_eq!(before, None, "one live document per key");
            }
        }
        found
    }

    fn check(published: &Published, expected: &BTreeMap<Vec<u8>, f32>) {
        let view = published.view();
        assert_eq!(&live(&view), expected);
        assert_eq!(view.live, expected.len() as u64);
        let keys: Vec<_> = (0..14).map(key).collect();
        let hashed: Vec<_> = keys.iter().map(|key| (key_hash(key), key.as_ref())).collect();
        let (view, found) = published.find(&hashed);
        for (key, found) in keys.iter().zip(found) {
            let value = found.map(|at| view.source(at.source).vector(0, at.doc).unwrap()[0]);
            assert_eq!(value, expected.get(key.as_ref()).copied(), "{key:?}");
        }
    }

    /// What a restart on the flush's manifest would find is what was there at the freeze.
    fn check_body(body: &Body, expected: usize) {
        let body = Body::decode(body.encode()).unwrap();
        assert_eq!(body.counters.live, expected as u64);
        let bits = |entry: &super::super::body::SegmentEntry| match &entry.deleted {
            DeletedBitmap::None => 0,
            DeletedBitmap::Inline(bytes) => decode_bitmap(bytes, entry.meta.docs).unwrap().len(),
            DeletedBitmap::Object(_) => panic!("small bitmaps are inline"),
        };
        assert_eq!(body.segments.iter().map(bits).sum::<u64>(), body.counters.deleted);
    }

    fn apply(tables: &mut Tables, events: Vec<IndexEvent>) {
        tables.apply(events.into_iter().map(Ok::<_, Infallible>)).unwrap();
    }

    #[test]
    fn a_large_memtable_becomes_several_segments_in_hash_order() {
        let (schema, published) = (Arc::new(schema()), Arc::new(Published::default()));
        let mut tables = Tables::new(Arc::clone(&schema), kernels(), published, Vec::new());
        let rows: Vec<_> = (0..10).map(|number| (number, number)).collect();
        apply(&mut tables, vec![put(&rows)]);
        let flush = Flush {
            id: IndexId(1),
            schema,
            base: 0,
            from: 1,
            counters: Counters::default(),
            floor: 2,
            frozen: tables.freeze(),
        };
        for (bytes_max, docs) in [(0, vec![1; 10]), (600, vec![3, 3, 3, 1]), (usize::MAX, vec![10])]
        {
            let mut names = 1u128..;
            let next = || names.next().unwrap();
            let body = plan(&flush, kernels(), bytes_max, next).unwrap().done.body;
            let metas: Vec<_> = body.segments.iter().map(|entry| &entry.meta).collect();
            assert_eq!(metas.iter().map(|meta| meta.docs).collect::<Vec<_>>(), docs);
            assert!(metas.windows(2).all(|pair| pair[0].hashes.1 < pair[1].hashes.0));
            assert_eq!(body.counters.live, 10);
        }
    }

    fn run(steps: Vec<Step>) {
        let (schema, published) = (Arc::new(schema()), Arc::new(Published::default()));
        let mut tables =
            Tables::new(Arc::clone(&schema), kernels(), Arc::clone(&published), Vec::new());
        apply(&mut tables, Vec::new());
        let mut expected = BTreeMap::new();
        let mut flush: Option<(Flush, usize)> = None;
        for (name, step) in (0u128..).zip(steps) {
            match step {
                Step::Apply(payloads) => {
                    payloads.iter().for_each(|payload| payload.apply_to(&mut expected));
                    apply(&mut tables, payloads.iter().map(Payload::event).collect());
                }
                Step::Freeze if flush.is_none() => {
                    let frozen = tables.freeze();
                    let of = Flush {
                        id: IndexId(1),
                        schema: Arc::clone(&schema),
                        base: 0,
                        from: 1,
                        counters: Counters::default(),
                        floor: 2,
                        frozen,
                    };
                    flush = Some((of, expected.len()));
                }
                Step::Swap => {
                    if let Some((of, live)) = flush.take() {
                        // About three rows to a segment.
                        let mut names = (name << 32)..;
                        let next = || names.next().unwrap();
                        let flushed = plan(&of, kernels(), 600, next).unwrap().done;
                        check_body(&flushed.body, live);
                        tables.swap(&of.frozen, flushed);
                    }
                }
                Step::Freeze => {}
            }
            check(&published, &expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn any_interleaving_of_batches_and_flushes_shows_the_newest_records(
            steps in prop::collection::vec(step(), 1..40),
        ) {
            run(steps);
        }
    }
}

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
