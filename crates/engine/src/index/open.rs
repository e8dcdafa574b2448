//! Building an index's tables from its manifest and the slots above it.
//!
//! Nothing is read for a segment here, and nothing of its object: a view of it is what the manifest
//! says. Deletion bitmaps that are objects of their own, and the key indexes that show which
//! documents the slots replace, are read when the tables settle ([`super::tables`]).

use std::sync::Arc;

use roaring::RoaringBitmap;
use vb_commit::{Manifest, Slot};

use super::body::{BitmapObject, Body, Counters, DeletedBitmap, SegmentEntry, decode_bitmap};
use super::event::{self, IndexEvent};
use super::tables::Tables;
use super::view::{Folded, Published, SegmentView};
use crate::error::Error;
use crate::fetch::{Origin, corrupt};
use crate::options::Sabotage;
use crate::paths;
use crate::records::IndexId;

/// Tables as of a manifest and the slots from its floor on, staged and not visible; `known` are
/// segments that are open already. Also returns the manifest's counters.
pub(crate) async fn tables(
    origin: &Origin,
    manifest: &Manifest,
    slots: Vec<Slot>,
    known: &[SegmentView],
    published: Arc<Published>,
) -> Result<(Tables, Counters), Error> {
    let body = body(origin, manifest)?;
    let mut unread = Vec::new();
    let mut views = Vec::with_capacity(body.segments.len());
    for entry in body.segments {
        views.push(segment(origin, entry, known, &mut unread)?);
    }
    let (schema, kernels) = (Arc::clone(&origin.schema), origin.context.kernels);
    let overlay_kept = origin.context.options.sabotage == Sabotage::OverlayNotResolved;
    let mut tables = Tables::new(schema, kernels, published, views, unread);
    if overlay_kept && !known.is_empty() {
        tables.keep_overlay(known);
    }
    let tables = stage(origin, tables, slots).await?;
    if tables.unread().is_empty() && tables.folded_deletions() != body.counters.deleted {
        return Err(wrong_deletions(origin.id, manifest.number));
    }
    Ok((tables, body.counters))
}

/// Slots up to this size are staged on the async thread: handing over would cost more.
const STAGE_INLINE_MAX: usize = 64 << 10;

/// Stages the payloads of slots, on the pool if they are many.
pub(crate) async fn stage(
    origin: &Origin,
    mut tables: Tables,
    slots: Vec<Slot>,
) -> Result<Tables, Error> {
    let payloads = slots.iter().flat_map(|slot| &slot.batches);
    let bytes: usize = payloads.map(|(_, payload)| payload.len()).sum();
    if bytes <= STAGE_INLINE_MAX {
        return tables.stage(decode_slots(origin, slots)).map(|()| tables);
    }
    let of = origin.clone();
    let work = move || tables.stage(decode_slots(&of, slots)).map(|()| tables);
    origin.context.pool.run(work).await
}

/// The payloads of slots, in order.
fn decode_slots(
    origin: &Origin,
    slots: Vec<Slot>,
) -> impl Iterator<Item = Result<IndexEvent, Error>> {
    let decode = move |seq: u64, payload| {
        event::decode(&origin.schema, payload)
            .map_err(|error| corrupt(&slot_path(origin.id, seq), error.offset as u64, error.reason))
    };
    let payloads = slots
        .into_iter()
        .flat_map(|slot| slot.batches.into_iter().map(move |(_, payload)| (slot.seq, payload)));
    payloads.map(move |(seq, payload)| decode(seq, payload))
}

fn body(origin: &Origin, manifest: &Manifest) -> Result<Body, Error> {
    let path = manifest_path(origin.id, manifest.number);
    let body = Body::decode(manifest.body.clone())
        .map_err(|error| corrupt(&path, error.offset as u64, error.reason))?;
    if body.schema != *origin.schema {
        return Err(corrupt(&path, 0, "another schema than the catalog's"));
    }
    Ok(body)
}

/// The view of a segment; of one that is open already it shares what does not change.
fn segment(
    origin: &Origin,
    entry: SegmentEntry,
    known: &[SegmentView],
    unread: &mut Vec<(u128, BitmapObject)>,
) -> Result<SegmentView, Error> {
    let open = known.iter().find(|view| view.meta.name == entry.meta.name);
    let read = open.filter(|view| view.folded.stored == entry.deleted);
    let bits = match (&entry.deleted, read) {
        // Nothing was folded since.
        (_, Some(view)) => Arc::clone(&view.folded.bits),
        (DeletedBitmap::None, None) => Arc::default(),
        (DeletedBitmap::Inline(bytes), None) => {
            let bits = decode_bitmap(bytes, entry.meta.docs);
            Arc::new(bits.map_err(|error| {
                corrupt("an inline deletion bitmap", error.offset as u64, error.reason)
            })?)
        }
        (DeletedBitmap::Object(object), None) => {
            unread.push((entry.meta.name, *object));
            Arc::default()
        }
    };
    let folded = Folded { bits, stored: entry.deleted };
    let name = entry.meta.name;
    match open {
        Some(open) => Ok(open.with_folded(folded)),
        None => SegmentView::new(&origin.schema, Arc::new(entry.meta), folded)
            .map_err(|cause| origin.corrupt_segment(name, cause)),
    }
}

/// The manifest's counter of deleted documents is wrong.
pub(crate) fn wrong_deletions(id: IndexId, manifest: u64) -> Error {
    let reason = "the counter of deleted documents disagrees with the bitmaps";
    corrupt(&manifest_path(id, manifest), 0, reason)
}

/// Reads a deletion bitmap object of a segment with `docs` documents.
pub(crate) async fn bitmap(
    origin: &Origin,
    object: BitmapObject,
    docs: u32,
) -> Result<RoaringBitmap, Error> {
    let path = paths::bitmap(origin.id, object.name);
    let bytes = crate::fetch::bitmap(&origin.context, &path, &object).await?;
    decode_bitmap(&bytes, docs).map_err(|error| corrupt(&path, error.offset as u64, error.reason))
}

fn manifest_path(id: IndexId, number: u64) -> String {
    format!("{}/manifest/{number:020}", paths::index(id))
}

fn slot_path(id: IndexId, seq: u64) -> String {
    format!("{}/log/{seq:020}", paths::index(id))
}
