//! Parts of a segment that queries ask for again and again, within reach without a look into the cache.
//!
//! Looking a part up takes a hash, a lock, a count, and some waits for memory, and a query asks for dozens of
//! parts. So a segment has a [`Shelf`], and on it a [`Near`]: the segment with the sections that late queries
//! needed, and its extents and blocks in slots by number.
//!
//! What stands on shelves is in the cache as well, and takes no memory of its own: a shelf is filled only with what was found while
//! nothing was pushed out of the cache, and as soon as anything is, all shelves are cleared. Where memory is
//! short they stay empty, and parts are looked up one by one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use vb_search::{Part, PartId, Segment};

/// Where a segment's parts stand within reach.
#[derive(Debug, Default)]
pub(crate) struct Shelf(ArcSwapOption<Near>);

impl Shelf {
    pub(crate) fn get(&self) -> Option<Arc<Near>> {
        self.0.load_full()
    }
}

/// Parts of a segment within reach.
#[derive(Debug)]
pub(crate) struct Near {
    segment: Segment,
    /// Per vector field.
    extents: Vec<Slots>,
    keys: Slots,
    metadata: Slots,
    attributes: Slots,
}

impl Near {
    /// A segment with the sections it was given, and room for the pieces that its directories lead to.
    pub(crate) fn new(segment: Segment) -> Self {
        let count = segment.piece_counts();
        Self {
            extents: count.extents.into_iter().map(Slots::new).collect(),
            keys: Slots::new(count.key_blocks),
            metadata: Slots::new(count.metadata_blocks),
            attributes: Slots::new(count.attribute_blocks),
            segment,
        }
    }

    /// The segment, with sections alone.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// An extent or a block.
    pub(crate) fn get(&self, id: PartId) -> Option<&Part> {
        let (slots, number) = self.slot(id)?;
        slots.get(number)
    }

    /// Keeps an extent or a block; other parts come with the segment.
    pub(crate) fn put(&self, part: &Part) {
        if let Some((slots, number)) = self.slot(part.id()) {
            slots.put(number, part);
        }
    }

    fn slot(&self, id: PartId) -> Option<(&Slots, u32)> {
        match id {
            PartId::VectorExtent(field, extent) => {
                Some((self.extents.get(usize::from(field))?, extent))
            }
            PartId::KeyBlock(block) => Some((&self.keys, block)),
            PartId::MetadataBlock(block) => Some((&self.metadata, block)),
            PartId::AttributeBlock(block) => Some((&self.attributes, block)),
            PartId::Section(..) | PartId::CodeList(..) | PartId::RowCodeList(..) => None,
        }
    }
}

/// Parts by number, each put there once.
#[derive(Debug)]
struct Slots(Box<[OnceLock<Box<Row>>]>);

/// Neighbouring slots, made together.
type Row = [OnceLock<Part>; SLOTS];

const SLOTS: usize = 64;

impl Slots {
    fn new(count: u32) -> Self {
        Self((0..count.div_ceil(SLOTS as u32)).map(|_| OnceLock::new()).collect())
    }

    fn get(&self, number: u32) -> Option<&Part> {
        let slots = self.0.get(number as usize / SLOTS)?.get()?;
        slots[number as usize % SLOTS].get()
    }

    fn put(&self, number: u32, part: &Part) {
        if let Some(slots) = self.0.get(number as usize / SLOTS) {
            let slots = slots.get_or_init(|| Box::new([const { OnceLock::new() }; SLOTS]));
            slots[number as usize % SLOTS].get_or_init(|| part.clone());
        }
    }
}

/// The shelves of all segments.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    /// How often they were cleared.
    clearings: AtomicU64,
    filled: Mutex<Vec<Weak<Shelf>>>,
}

impl Shelves {
    /// How often they were cleared so far.
    pub(super) fn clearings(&self) -> u64 {
        self.clearings.load(Ordering::Acquire)
    }

    /// Fills a shelf, unless shelves were cleared since there had been so many clearings.
    pub(super) fn fill(&self, shelf: &Arc<Shelf>, near: Near, clearings: u64) {
        // Whoever clears counts first: either its count is seen here, or it finds the shelf.
        let mut filled = self.filled.lock();
        if self.clearings() != clearings {
            return;
        }
        shelf.0.store(Some(Arc::new(near)));
        if filled.len() == filled.capacity() {
            filled.retain(|shelf| shelf.strong_count() > 0);
        }
        filled.push(Arc::downgrade(shelf));
    }

    /// Clears them all.
    pub(super) fn clear(&self) {
        self.clearings.fetch_add(1, Ordering::AcqRel);
        let filled = std::mem::take(&mut *self.filled.lock());
        filled.iter().filter_map(Weak::upgrade).for_each(|shelf| shelf.0.store(None));
    }
}
