//! Building an index's tables from its manifest and the slots above it.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use roaring::RoaringBitmap;
use vb_commit::{Manifest, Slot, StoreErrorKind};
use vb_search::{Schema, Segment};

use super::body::{Body, Counters, DeletedBitmap, SegmentEntry, decode_bitmap};
use super::event::{self, IndexEvent};
use super::tables::Tables;
use super::view::{Published, SegmentView};
use crate::context::Context;
use crate::error::Error;
use crate::fetch::{self, corrupt};
use crate::paths;
use crate::records::IndexId;

/// Segments that are opened at the same time.
const SEGMENTS_MAX: usize = 4;

/// What is needed to read an index's objects.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) context: Arc<Context>,
    pub(crate) id: IndexId,
    pub(crate) schema: Arc<Schema>,
}

/// Tables as of a manifest and the slots from its floor on, published in one step; `known` are
/// segments that are open already. Also returns the manifest's counters.
pub(crate) async fn tables(
    source: &Source,
    manifest: &Manifest,
    slots: Vec<Slot>,
    known: Vec<SegmentView>,
    published: Arc<Published>,
) -> Result<(Tables, Counters), Error> {
    let body = body(source, manifest)?;
    let views = segments(source, &body, &known).await?;
    let deleted: u64 = views.iter().map(|view| view.deleted.len()).sum();
    if deleted != body.counters.deleted {
        let path = manifest_path(source.id, manifest.number);
        return Err(corrupt(
            &path,
            0,
            "the counter of deleted documents disagrees with the bitmaps",
        ));
    }
    let (schema, kernels) = (Arc::clone(&source.schema), source.context.kernels);
    let replayed = source.clone();
    let build = move || {
        let mut tables = Tables::new(schema, kernels, published, views);
        tables.apply(decode_slots(&replayed, slots)).map(|()| tables)
    };
    Ok((source.context.pool.run(build).await?, body.counters))
}

/// The payloads of slots, in order.
pub(crate) fn decode_slots(
    source: &Source,
    slots: Vec<Slot>,
) -> impl Iterator<Item = Result<IndexEvent, Error>> {
    let decode = move |seq: u64, payload| {
        event::decode(&source.schema, payload)
            .map_err(|error| corrupt(&slot_path(source.id, seq), error.offset as u64, error.reason))
    };
    let payloads = slots
        .into_iter()
        .flat_map(|slot| slot.batches.into_iter().map(move |(_, payload)| (slot.seq, payload)));
    payloads.map(move |(seq, payload)| decode(seq, payload))
}

fn body(source: &Source, manifest: &Manifest) -> Result<Body, Error> {
    let path = manifest_path(source.id, manifest.number);
    let body = Body::decode(manifest.body.clone())
        .map_err(|error| corrupt(&path, error.offset as u64, error.reason))?;
    if body.schema != *source.schema {
        return Err(corrupt(&path, 0, "another schema than the catalog's"));
    }
    Ok(body)
}

async fn segments(
    source: &Source,
    body: &Body,
    known: &[SegmentView],
) -> Result<Vec<SegmentView>, Error> {
    let opens: Vec<_> = body.segments.iter().map(|entry| segment(source, entry, known)).collect();
    stream::iter(opens).buffered(SEGMENTS_MAX).try_collect().await
}

async fn segment(
    source: &Source,
    entry: &SegmentEntry,
    known: &[SegmentView],
) -> Result<SegmentView, Error> {
    let open = known.iter().find(|view| view.meta.name == entry.meta.name);
    let segment = match open {
        Some(view) => view.segment.clone(),
        None => open_segment(source, entry).await?,
    };
    let deleted = deleted(source, entry).await?;
    Ok(SegmentView {
        meta: Arc::new(entry.meta.clone()),
        segment,
        folded: (deleted.len(), entry.deleted.clone()),
        deleted: Arc::new(deleted),
    })
}

async fn open_segment(source: &Source, entry: &SegmentEntry) -> Result<Segment, Error> {
    let context = &source.context;
    let path = paths::segment(source.id, entry.meta.name);
    let sections = fetch::sections(&context.store, &context.pool, &path, &entry.meta.sections);
    let sections = sections.await.map_err(|error| missing(error, &path))?;
    let (schema, docs) = (Arc::clone(&source.schema), entry.meta.docs);
    let opened = context.pool.run(move || Segment::open(&schema, docs, &sections)).await;
    opened.map_err(|error| corrupt(&path, 0, &error.to_string()))
}

async fn deleted(source: &Source, entry: &SegmentEntry) -> Result<RoaringBitmap, Error> {
    let (path, bytes) = match &entry.deleted {
        DeletedBitmap::None => return Ok(RoaringBitmap::new()),
        DeletedBitmap::Inline(bytes) => ("an inline deletion bitmap".to_owned(), bytes.clone()),
        DeletedBitmap::Object(object) => {
            let context = &source.context;
            let path = paths::bitmap(source.id, object.name);
            let read = fetch::bitmap(&context.store, &context.pool, &path, object).await;
            (path.clone(), read.map_err(|error| missing(error, &path))?)
        }
    };
    decode_bitmap(&bytes, entry.meta.docs)
        .map_err(|error| corrupt(&path, error.offset as u64, error.reason))
}

/// A manifest names only what exists.
fn missing(error: Error, path: &str) -> Error {
    match &error {
        Error::Storage(source) if source.kind() == StoreErrorKind::NotFound => {
            corrupt(path, 0, "named by the manifest but missing")
        }
        _ => error,
    }
}

fn manifest_path(id: IndexId, number: u64) -> String {
    format!("{}/manifest/{number:020}", paths::index(id))
}

fn slot_path(id: IndexId, seq: u64) -> String {
    format!("{}/log/{seq:020}", paths::index(id))
}
