//! Codes of memtable vectors: what lets queries find the near ones without going over every float.
//!
//! Codes are made per run of full chunks ([`super::chunk::runs`]), which never change, beside queries and once
//! a query has met the run without them: an index that is only written to pays nothing. Until they are there
//! the run is scanned. Which of its rows are dead or do not match is the query's business, as it is with
//! segments.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use vb_search::ann::{Built, Index, Slots, Whole, build};

use super::chunk::ChunkView;
use super::clusters::params;
use crate::fetch::Origin;

/// The codes of one run's vectors of one field, in the order of its chunks.
#[derive(Debug)]
pub(crate) struct RunCodes {
    index: Index,
    built: Built,
    slots: Option<Slots>,
}

impl RunCodes {
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn source(&self) -> Whole<'_> {
        Whole {
            index: &self.index,
            lists: &self.built.lists,
            codes: &self.built.codes,
            slots: self.slots.as_ref(),
        }
    }
}

/// Where a run's codes of one field will be.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    is_begun: AtomicBool,
    codes: OnceLock<RunCodes>,
}

impl Cell {
    pub(crate) fn get(&self) -> Option<&RunCodes> {
        self.codes.get()
    }

    /// True the first time.
    fn begin(&self) -> bool {
        !self.is_begun.swap(true, Ordering::AcqRel)
    }
}

/// Codes of a run that a query has met without them.
#[derive(Debug)]
pub(crate) struct Wish {
    cells: Arc<[Cell]>,
    field: usize,
    chunks: Vec<ChunkView>,
}

impl Wish {
    /// `None`: they are on their way.
    pub(super) fn new(cells: &Arc<[Cell]>, field: usize, chunks: &[ChunkView]) -> Option<Self> {
        let wish = || Self { cells: Arc::clone(cells), field, chunks: chunks.to_vec() };
        cells[field].begin().then(wish)
    }

    fn make(self, origin: &Origin) {
        let Self { cells, field, chunks } = self;
        let columns = chunks.iter().map(|view| {
            let chunk = &view.chunk;
            chunk.rows(field, 0..chunk.vector_count(field)).values
        });
        let vectors = columns.collect::<Vec<_>>().concat();
        let built = build(&vectors, params(origin, field), origin.context.kernels);
        let index = Index::open(&built.tree);
        let index = index.expect("what was just built opens");
        let slots = index.slots(&built.lists).expect("each row has its first list");
        // Nobody else has begun it.
        let _ = cells[field].codes.set(RunCodes { index, built, slots });
    }
}

/// Makes codes on the builders' threads.
pub(crate) fn make_soon(origin: &Origin, wishes: Vec<Wish>) {
    if wishes.is_empty() {
        return;
    }
    let on = origin.clone();
    origin.context.builders.spawn(move || {
        for wish in wishes {
            wish.make(&on);
        }
    });
}
