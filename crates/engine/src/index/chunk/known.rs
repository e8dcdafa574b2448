//! What late queries found out about a run, for those that come with the same filters again.

use std::sync::Arc;

use parking_lot::Mutex;
use roaring::RoaringBitmap;
use vb_search::Filter;
use vb_search::ann::RowMask;

use super::super::codes;
use super::ChunkView;

/// How many filters are kept per run.
const FILTERS_KEPT: usize = 8;

/// What is known of the run, or the piece of one, that begins with a chunk.
#[derive(Debug)]
pub(super) struct Shared {
    /// Codes, per field.
    pub(super) codes: Arc<[codes::Cell]>,
    /// What filters matched, the latest last.
    filters: Mutex<Vec<Arc<Known>>>,
}

/// What a filter matched, given which rows were dead.
#[derive(Debug)]
pub(super) struct Known {
    filter: Filter,
    /// Dead rows, per chunk. Holding them keeps them what they are: a row that dies changes a copy.
    dead: Vec<Arc<RoaringBitmap>>,
    /// Live rows that match, per chunk.
    pub(super) matching: Vec<Arc<RoaringBitmap>>,
    /// The same, numbered through all chunks, by field.
    masks: Mutex<Vec<(usize, Arc<RowMask>)>>,
}

impl Shared {
    pub(super) fn new(fields: usize) -> Self {
        let codes = (0..fields).map(|_| codes::Cell::default()).collect();
        Self { codes, filters: Mutex::default() }
    }

    pub(super) fn find(&self, filter: &Filter, chunks: &[ChunkView]) -> Option<Arc<Known>> {
        let mut filters = self.filters.lock();
        let place =
            filters.iter().position(|known| known.is_of(chunks) && known.filter == *filter)?;
        let known = filters.remove(place);
        filters.push(Arc::clone(&known));
        Some(known)
    }

    pub(super) fn keep(
        &self,
        filter: &Filter,
        chunks: &[ChunkView],
        matching: Vec<Arc<RoaringBitmap>>,
    ) -> Arc<Known> {
        let dead = chunks.iter().map(|view| Arc::clone(&view.dead)).collect();
        let known = Known { filter: filter.clone(), dead, matching, masks: Mutex::default() };
        let known = Arc::new(known);
        let mut filters = self.filters.lock();
        filters.retain(|old| old.is_of(chunks) && old.filter != *filter);
        if filters.len() >= FILTERS_KEPT {
            filters.remove(0);
        }
        filters.push(Arc::clone(&known));
        known
    }
}

impl Known {
    /// Whether it is about these chunks with these dead rows.
    fn is_of(&self, chunks: &[ChunkView]) -> bool {
        self.dead.len() == chunks.len()
            && self.dead.iter().zip(chunks).all(|(dead, view)| Arc::ptr_eq(dead, &view.dead))
    }

    /// The rows of a field, which `make` finds the first time.
    pub(super) fn mask(&self, field: usize, make: impl FnOnce() -> RowMask) -> Arc<RowMask> {
        let mut masks = self.masks.lock();
        if let Some((_, mask)) = masks.iter().find(|(of, _)| *of == field) {
            return Arc::clone(mask);
        }
        let mask = Arc::new(make());
        masks.push((field, Arc::clone(&mask)));
        mask
    }
}
