//! Committing a merge: the new segment takes the place of its inputs, with all that was deleted
//! meanwhile.
//!
//! A merge leaves out what the manifest that it began with says to be deleted. By its end more
//! documents of the inputs are deleted: some by flushes meanwhile, some by slots that are not folded.
//! Those bits are translated into the new segment's documents, the folded ones into the manifest, all
//! of them into the view:
//!
//! ```text
//!   input A:  doc  0 1 2 3 4     folded at the start {1}, deleted now {1, 3}
//!                  |   | : |
//!   output:   doc  0   1 2 4 ..  deleted from the beginning {2}
//! ```
//!
//! What is folded stays folded, so a document that was left out is deleted by every later manifest
//! ([`Unfit::Revived`] checks that). Documents whose deletion is not folded must not be left out, even
//! though replaying its slot would find nothing left to delete: who opens the index lists slots and
//! manifests at once, and may take this manifest together with a list of slots from before. Then the
//! old record of a key would be gone, and the new one not there yet.
//!
//! It commits only if all its inputs are still listed, and as long as its object may be named
//! ([`super::object`]). While a flush is under way it waits, because the flush's manifest was derived
//! from the segments that the merge replaces.

use std::sync::Arc;

use roaring::RoaringBitmap;
use vb_search::{Corrupt, DocId, MergeInput, Schema};

use super::body::{
    BITMAP_INLINE_MAX, BitmapObject, Body, Counters, DeletedBitmap, SegmentEntry, encode_bitmap,
};
use super::merge::Merged;
use super::object::may_name;
use super::view::{Folded, SegmentView};
use crate::options::Sabotage;

/// A merge made ready for its manifest.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) body: Body,
    /// The new segment; `None` if no document was kept.
    pub(crate) output: Option<SegmentView>,
    /// The new segment's bitmap object, to be written before the manifest: name and bytes.
    pub(crate) bitmap: Option<(u128, Vec<u8>)>,
}

/// Why a merge cannot be committed any more: its object is garbage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// An input is not listed any more: another merge came first, or it was emptied.
    Replaced,
    /// It took so long that collection may take its object for garbage.
    Late,
    /// A document that it left out is not deleted by the manifest.
    Revived,
    /// The table of its sections does not hold together.
    Corrupt(Corrupt),
}

/// The documents of a merged segment that are deleted, given those that are in each input.
pub(crate) fn translate<'a>(
    deleted: impl Iterator<Item = &'a RoaringBitmap>,
    moved: &[Vec<DocId>],
) -> RoaringBitmap {
    let mut translated = RoaringBitmap::new();
    for (bits, moved) in deleted.zip(moved) {
        let places = bits.iter().filter_map(|doc| moved.get(doc as usize).copied());
        // A document beyond the input's would be a damaged bitmap, and those do not decode.
        translated.extend(places.filter(|place| *place != MergeInput::DROPPED));
    }
    translated
}

/// Whether every document that was left out is deleted.
fn left_out_deleted(deleted: &RoaringBitmap, moved: &[DocId]) -> bool {
    let left_out = (0..).zip(moved).filter(|(_, place)| **place == MergeInput::DROPPED);
    left_out.map(|(doc, _)| doc).all(|doc: DocId| deleted.contains(doc))
}

/// The manifest body in which the merge's output replaces its inputs. `segments` are those of the
/// newest manifest, `counters` its counters, `manifest` the number that the new one will have.
pub(crate) fn plan_commit(
    schema: &Schema,
    counters: Counters,
    segments: &[SegmentView],
    manifest: u64,
    merged: &Merged,
    bitmap_name: u128,
    sabotage: Sabotage,
) -> Result<Commit, Unfit> {
    if merged.output.is_some() && !may_name(merged.merge.name, manifest) {
        return Err(Unfit::Late);
    }
    let inputs = listed_inputs(segments, merged)?;
    let mut pairs = inputs.iter().zip(merged.moved.iter());
    if !pairs.all(|(view, moved)| left_out_deleted(&view.folded.bits, moved)) {
        return Err(Unfit::Revived);
    }
    let mut bitmap = None;
    let output = match &merged.output {
        None => None,
        Some(meta) => {
            let mut deleted = translate(inputs.iter().map(|view| &*view.deleted), &merged.moved);
            let mut folded = translate(inputs.iter().map(|view| &*view.folded.bits), &merged.moved);
            if sabotage == Sabotage::CompactionDropsBitmap {
                (deleted, folded) = Default::default();
            }
            let stored = store_bitmap(&folded, bitmap_name, &mut bitmap);
            let folded = Folded { bits: Arc::new(folded), stored };
            let mut view =
                SegmentView::new(schema, Arc::new(meta.clone()), folded).map_err(Unfit::Corrupt)?;
            view.deleted = Arc::new(deleted);
            Some(view)
        }
    };
    let after = replace(segments, merged, output.clone());
    let body = Body {
        schema: schema.clone(),
        counters: count(counters, &after),
        segments: entries(&after),
    };
    Ok(Commit { body, output, bitmap })
}

/// The inputs as they are now, in the merge's order.
fn listed_inputs<'a>(
    segments: &'a [SegmentView],
    merged: &Merged,
) -> Result<Vec<&'a SegmentView>, Unfit> {
    let find = |input: &SegmentView| {
        segments.iter().find(|view| view.meta.name == input.meta.name).ok_or(Unfit::Replaced)
    };
    merged.merge.inputs.iter().map(find).collect()
}

/// The segments with the output in the place of the first input.
pub(crate) fn replace(
    segments: &[SegmentView],
    merged: &Merged,
    output: Option<SegmentView>,
) -> Vec<SegmentView> {
    let mut output = output;
    let mut after = Vec::with_capacity(segments.len());
    for view in segments {
        match merged.merge.inputs.iter().any(|input| input.meta.name == view.meta.name) {
            true => after.extend(output.take()),
            false => after.push(view.clone()),
        }
    }
    after
}

fn entries(segments: &[SegmentView]) -> Vec<SegmentEntry> {
    let entry = |view: &SegmentView| SegmentEntry {
        meta: view.meta.as_ref().clone(),
        deleted: view.folded.stored.clone(),
    };
    segments.iter().map(entry).collect()
}

/// A merge folds no slots: only documents are fewer.
fn count(counters: Counters, segments: &[SegmentView]) -> Counters {
    let docs = segments.iter().map(|view| u64::from(view.docs())).sum();
    let deleted = segments.iter().map(|view| view.folded.bits.len()).sum();
    Counters { live: docs - deleted, docs, deleted, ..counters }
}

/// How a manifest holds a bitmap: a large one becomes the object `name`, noted in `object`.
pub(crate) fn store_bitmap(
    bits: &RoaringBitmap,
    name: u128,
    object: &mut Option<(u128, Vec<u8>)>,
) -> DeletedBitmap {
    let bytes = encode_bitmap(bits);
    match bytes.len() {
        0 => DeletedBitmap::None,
        1..=BITMAP_INLINE_MAX => DeletedBitmap::Inline(bytes.into()),
        length => {
            let crc = vb_search::checksum(&bytes);
            *object = Some((name, bytes));
            DeletedBitmap::Object(BitmapObject { name, length: length as u64, crc })
        }
    }
}
