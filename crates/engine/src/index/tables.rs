//! The writer's side of an index: applies log payloads, freezes the memtable, takes in a flush.
//!
//! There is at most one live document per key, over both memtables and all segments. Applying a put
//! or a delete therefore kills the key's older document wherever it stands: a bit in the dead rows
//! of a chunk or in the deletion bitmap of a segment. Nothing else marks a delete: until it is
//! folded, its log slot is what makes it durable, and the bit what makes it visible.
//!
//! Finding older documents in segments takes their key indexes, which may have to be read first. So
//! applying has two steps: [`Tables::stage`] copies the rows into the memtable, where nobody sees
//! them, and [`Tables::settle`] kills the older documents and publishes all that is staged. If a read
//! fails in between, everything stays staged for the next attempt.
//!
//! A flush works on the documents and bits as of the freeze. What is killed later in the frozen
//! memtable is carried over to the new segments when they take the frozen chunks' place.
//!
//! Readers never see a state between two published views; see [`super::view`].

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringBitmap;
use vb_kernel::Kernels;
use vb_search::{PartId, Schema, SectionKind, Segment, key_hash};

use super::body::{BitmapObject, DeletedBitmap};
use super::chunk::{ChunkView, Incoming, Place, append, delete_bytes, gather};
use super::compact;
use super::event::IndexEvent;
use super::flush::{Flushed, Moved};
use super::keymap::KeyMap;
use super::merge::Merged;
use super::view::{Maps, Published, SegmentView, View};
use crate::error::Error;
use crate::fetch::{Loaded, Missing, Origin, Wanted};
use crate::paths;
use crate::records::IndexId;

/// Owned by the index's one writer task.
#[derive(Debug)]
pub(crate) struct Tables {
    schema: Arc<Schema>,
    kernels: Kernels,
    published: Arc<Published>,
    segments: Vec<SegmentView>,
    /// Folded deletions that are objects of their own and were not read yet, by segment.
    unread: Vec<(u128, BitmapObject)>,
    frozen: Memtable,
    active: Memtable,
    /// In the memtable, but not in the maps and not published.
    staged: Vec<Prepared>,
    /// Live records as of the last publication.
    live: u64,
    /// Not published yet: the maps still belong to the tables that this one replaces.
    fresh: bool,
    /// Known bad: what is staged first is not looked for in the segments.
    overlay_kept: bool,
}

/// So many staged keys most likely have some older document in every segment.
const MANY_STAGED: usize = 256;
/// Keys and key indexes of so many documents, some MiB, cost less than another round.
const FEW_DOCS: u64 = 200_000;

/// Records that are in no segment yet.
#[derive(Clone, Debug, Default)]
struct Memtable {
    chunks: Vec<ChunkView>,
    /// Bytes of records and deletes, what decides about flushing.
    bytes: usize,
    puts: u64,
    deletes: u64,
}

impl Memtable {
    fn is_empty(&self) -> bool {
        self.puts == 0 && self.deletes == 0
    }
}

/// The state a flush starts from: everything the log says below one floor.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    /// Segments with the deletions as of the freeze.
    pub(crate) segments: Vec<SegmentView>,
    /// Chunks with their dead rows as of the freeze.
    pub(crate) chunks: Vec<ChunkView>,
    /// Records put and keys deleted since the last fold.
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
}

/// The keys of one delete or the rows of one put, hashed, not yet visible.
#[derive(Debug)]
enum Prepared {
    Put { incoming: Incoming, places: Vec<Place> },
    Delete { keys: Vec<Bytes>, hashes: Vec<u64> },
}

const KEYS: PartId = PartId::Section(SectionKind::KEYS, 0);
const KEY_INDEX: PartId = PartId::Section(SectionKind::KEY_INDEX, 0);

impl Tables {
    /// Tables of segments alone; the bitmaps `unread` come with [`Tables::take_bitmaps`]. Readers see
    /// them, and whatever is staged by then, with the first [`Tables::settle`]: one swap takes them
    /// from the tables before to these.
    pub(crate) fn new(
        schema: Arc<Schema>,
        kernels: Kernels,
        published: Arc<Published>,
        segments: Vec<SegmentView>,
        unread: Vec<(u128, BitmapObject)>,
    ) -> Self {
        Self {
            schema,
            kernels,
            published,
            segments,
            unread,
            frozen: Memtable::default(),
            active: Memtable::default(),
            staged: Vec::new(),
            live: 0,
            fresh: true,
            overlay_kept: false,
        }
    }

    /// Known bad, see [`crate::options::Sabotage::OverlayNotResolved`].
    pub(super) fn keep_overlay(&mut self, known: &[SegmentView]) {
        self.overlay_kept = true;
        for view in &mut self.segments {
            if let Some(old) = known.iter().find(|old| old.meta.name == view.meta.name) {
                view.deleted = Arc::new(view.deleted.as_ref() | old.deleted.as_ref());
            }
        }
    }

    /// Copies the rows of events, in order, into the memtable, where nobody sees them yet. Events are
    /// taken one by one, so that a replay does not hold them all.
    ///
    /// # Errors
    /// The first error among the events; the tables are of no use any more.
    pub(crate) fn stage<E>(
        &mut self,
        events: impl Iterator<Item = Result<IndexEvent, E>>,
    ) -> Result<(), E> {
        for event in events {
            let prepared = self.prepare(event?);
            self.staged.push(prepared);
        }
        Ok(())
    }

    /// Whether everything staged is visible, and every bitmap read.
    pub(crate) fn is_settled(&self) -> bool {
        self.staged.is_empty() && !self.fresh
    }

    /// Keys and rows that are staged.
    pub(crate) fn staged_rows(&self) -> usize {
        self.staged.iter().map(|event| event.hashed_keys().len()).sum()
    }

    /// Kills the older documents of everything staged and makes it visible, all at once. `Some`: this
    /// has to be read before, and the bitmaps still unread.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if parts of a segment contradict each other; nothing has changed.
    pub(crate) fn settle(&mut self, loaded: &mut Loaded) -> Result<Option<Missing>, Error> {
        if let Some(missing) = self.load_key_indexes(loaded)? {
            return Ok(Some(missing));
        }
        if !self.unread.is_empty() {
            return Ok(Some(Missing::default()));
        }
        if !std::mem::take(&mut self.overlay_kept) {
            self.kill_in_segments(loaded.segments());
        }
        self.publish_staged();
        Ok(None)
    }

    /// What settling will have to read first, if anything is staged.
    ///
    /// # Errors
    /// As [`Tables::settle`].
    pub(crate) fn first_reads(&self, origin: &Origin) -> Result<Option<Missing>, Error> {
        if self.staged.is_empty() {
            return Ok(None);
        }
        let mut loaded = Loaded::new(origin.clone(), self.segments.as_slice().into());
        self.load_key_indexes(&mut loaded)
    }

    fn publish_staged(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        let published = Arc::clone(&self.published);
        published.publish(|maps| {
            if std::mem::take(&mut self.fresh) {
                *maps = Maps::default();
            }
            for event in &staged {
                self.resolve(maps, event);
            }
            self.view()
        });
    }

    /// Takes in what settling needs: filters; where a filter does not say no, key indexes; where the
    /// hash is there, keys. A replay of many keys meets all segments, and asks for all at once.
    fn load_key_indexes(&self, loaded: &mut Loaded) -> Result<Option<Missing>, Error> {
        let mut candidates = self.candidates();
        if self.fresh && self.is_worth_one_round(&candidates) {
            let segments = loaded.segments();
            let parts = |number: usize| [segments[number].key_filter_part(), KEY_INDEX, KEYS];
            let of_number = |number| parts(number).map(|part| (number, part));
            let all: Vec<Wanted> = numbers(&candidates).flat_map(of_number).collect();
            return loaded.hold(all);
        }
        let segments = loaded.segments();
        let filter = |number: usize| (number, segments[number].key_filter_part());
        let filters: Vec<Wanted> = numbers(&candidates).map(filter).collect();
        if let Some(missing) = loaded.hold(filters)? {
            return Ok(Some(missing));
        }
        keep_possible(&mut candidates, |number, hash| loaded.segments()[number].may_contain(hash));
        let wanted: Vec<Wanted> = numbers(&candidates).map(|number| (number, KEY_INDEX)).collect();
        if let Some(missing) = loaded.hold(wanted)? {
            return Ok(Some(missing));
        }
        keep_possible(&mut candidates, |number, hash| has_hash(&loaded.segments()[number], hash));
        let wanted: Vec<Wanted> = numbers(&candidates).map(|number| (number, KEYS)).collect();
        loaded.hold(wanted)
    }

    /// Whether reading all there is to know about keys at once is better than one after the other.
    fn is_worth_one_round(&self, candidates: &Candidates) -> bool {
        let docs: u64 =
            numbers(candidates).map(|number| u64::from(self.segments[number].docs())).sum();
        self.staged_rows() >= MANY_STAGED || docs <= FEW_DOCS
    }

    /// Segments in whose range staged keys lie, and these keys' hashes.
    fn candidates(&self) -> Candidates {
        let of_view = |(number, view): (usize, &SegmentView)| {
            let keys = self.staged.iter().flat_map(Prepared::hashed_keys);
            let hashes = keys.map(|(hash, _)| hash).filter(|hash| view.may_hold(*hash));
            (number, hashes.collect::<Vec<_>>())
        };
        let all = self.segments.iter().enumerate().map(of_view);
        all.filter(|(_, hashes)| !hashes.is_empty()).collect()
    }

    /// Bitmaps that have to be read before anything can settle.
    pub(crate) fn unread(&self) -> &[(u128, BitmapObject)] {
        &self.unread
    }

    /// Takes in the bitmaps that were unread, in their order. False, and nothing has changed: with them
    /// another number of documents is deleted than the manifest says.
    pub(crate) fn take_bitmaps(&mut self, bitmaps: Vec<RoaringBitmap>, deleted: u64) -> bool {
        let read: u64 = bitmaps.iter().map(RoaringBitmap::len).sum();
        if self.folded_deletions() + read != deleted {
            return false;
        }
        for ((name, _), bits) in std::mem::take(&mut self.unread).into_iter().zip(bitmaps) {
            let mut views = self.segments.iter_mut();
            if let Some(view) = views.find(|view| view.meta.name == name) {
                view.folded.bits = Arc::new(bits);
                view.deleted = Arc::clone(&view.folded.bits);
            }
        }
        true
    }

    /// Folded deletions of all segments, as far as they were read.
    pub(crate) fn folded_deletions(&self) -> u64 {
        self.segments.iter().map(|view| view.folded.bits.len()).sum()
    }

    /// Bytes that wait for a flush, frozen ones too.
    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.active.bytes + self.frozen.bytes
    }

    /// Bytes that a freeze would take.
    pub(crate) fn active_bytes(&self) -> usize {
        self.active.bytes
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Whether a flush is under way (or failed and will be tried again).
    pub(crate) fn is_frozen(&self) -> bool {
        !self.frozen.is_empty()
    }

    pub(crate) fn segments(&self) -> &[SegmentView] {
        &self.segments
    }

    /// Every object that the manifest of these tables names.
    pub(crate) fn object_paths(&self, id: IndexId) -> HashSet<String> {
        let bitmaps = self.segments.iter().filter_map(|view| match &view.folded.stored {
            DeletedBitmap::Object(object) => Some(paths::bitmap(id, object.name)),
            DeletedBitmap::None | DeletedBitmap::Inline(_) => None,
        });
        let segments = self.segments.iter().map(|view| paths::segment(id, view.meta.name));
        segments.chain(bitmaps).collect()
    }

    /// Sets the active memtable aside for a flush; the frozen one must be empty.
    pub(crate) fn freeze(&mut self) -> Frozen {
        assert!(!self.is_frozen(), "one flush at a time");
        assert!(self.is_settled(), "a flush starts from a state that was visible");
        self.frozen = std::mem::take(&mut self.active);
        let published = Arc::clone(&self.published);
        published.publish(|maps| {
            maps.frozen = std::mem::take(&mut maps.active);
            self.view()
        });
        Frozen {
            segments: self.segments.clone(),
            chunks: self.frozen.chunks.clone(),
            puts: self.frozen.puts,
            deletes: self.frozen.deletes,
        }
    }

    /// Takes in a committed flush: its segments (none if no record was left to write) replace the
    /// frozen chunks, the segments that it emptied are gone.
    pub(crate) fn swap(&mut self, at_freeze: &Frozen, flushed: Flushed) {
        assert!(self.is_settled(), "what is published next holds all that is known");
        let frozen = std::mem::take(&mut self.frozen);
        self.segments.retain(|view| !flushed.emptied.contains(&view.meta.name));
        for view in &mut self.segments {
            let mut folded = flushed.folded.iter();
            if let Some((_, folded)) = folded.find(|(name, _)| *name == view.meta.name) {
                view.folded = folded.clone();
            }
        }
        let mut new = flushed.segments;
        kill_carried_over(&mut new, &flushed.moved, &frozen.chunks, &at_freeze.chunks);
        self.segments.extend(new);
        let published = Arc::clone(&self.published);
        published.publish(|maps| {
            maps.frozen = KeyMap::default();
            self.view()
        });
    }

    /// Takes in a committed merge: its segment takes the place of its inputs.
    pub(crate) fn swap_merged(&mut self, merged: &Merged, output: Option<SegmentView>) {
        assert!(self.is_settled(), "what is published next holds all that is known");
        self.segments = compact::replace(&self.segments, merged, output);
        let published = Arc::clone(&self.published);
        published.publish(|_| self.view());
    }

    /// Nothing is staged any more.
    fn view(&mut self) -> View {
        let in_segments: u64 = self.segments.iter().map(SegmentView::live).sum();
        let chunks = self.frozen.chunks.iter().chain(&self.active.chunks);
        self.live = in_segments + chunks.map(ChunkView::live).sum::<u64>();
        View {
            segments: self.segments.as_slice().into(),
            frozen: self.frozen.chunks.as_slice().into(),
            active: self.active.chunks.as_slice().into(),
            live: self.live,
        }
    }

    /// Copies rows into chunks. Readers do not see them yet: they hold other copies of the chunks.
    fn prepare(&mut self, event: IndexEvent) -> Prepared {
        match event {
            IndexEvent::Put(rows) => {
                let mut incoming = Incoming::new(rows);
                let chunks = &mut self.active.chunks;
                let (places, bytes) = append(chunks, &self.schema, self.kernels, &mut incoming);
                self.active.bytes += bytes;
                self.active.puts += places.len() as u64;
                Prepared::Put { incoming, places }
            }
            IndexEvent::Delete(keys) => {
                let keys = gather(&keys);
                self.active.bytes += keys.iter().map(|key| delete_bytes(key)).sum::<usize>();
                self.active.deletes += keys.len() as u64;
                let hashes = keys.iter().map(|key| key_hash(key)).collect();
                Prepared::Delete { keys, hashes }
            }
        }
    }

    /// The one live document that a key has in the segments. Segments of which keys were not read
    /// have none of the hashes.
    fn kill_in_segments(&mut self, segments: &[Segment]) {
        let read = self.segments.iter_mut().zip(segments);
        let mut read: Vec<_> = read.filter(|(_, segment)| segment.has(KEYS)).collect();
        for (hash, key) in self.staged.iter().flat_map(Prepared::hashed_keys) {
            for (view, segment) in &mut read {
                let found = view.may_hold(hash).then(|| segment.find_hashed(hash, key)).flatten();
                if found.is_some_and(|doc| view.kill(doc)) {
                    break;
                }
            }
        }
    }

    fn resolve(&mut self, maps: &mut Maps, event: &Prepared) {
        for (number, (hash, key)) in event.hashed_keys().enumerate() {
            let chunks = &self.active.chunks;
            let old = match event {
                Prepared::Put { places, .. } => {
                    maps.active.insert(chunks, hash, key, places[number])
                }
                Prepared::Delete { .. } => maps.active.remove(chunks, hash, key),
            };
            if let Some(old) = old {
                kill(&mut self.active.chunks, old);
            } else if let Some(old) = maps.frozen.find(&self.frozen.chunks, hash, key) {
                kill(&mut self.frozen.chunks, old);
            }
        }
    }
}

/// Segments and hashes that may be in them.
type Candidates = Vec<(usize, Vec<u64>)>;

fn keep_possible(candidates: &mut Candidates, is_possible: impl Fn(usize, u64) -> bool) {
    for (number, hashes) in candidates.iter_mut() {
        hashes.retain(|hash| is_possible(*number, *hash));
    }
    candidates.retain(|(_, hashes)| !hashes.is_empty());
}

fn numbers(candidates: &Candidates) -> impl Iterator<Item = usize> {
    candidates.iter().map(|(number, _)| *number)
}

/// Needs the key index.
fn has_hash(segment: &Segment, hash: u64) -> bool {
    let rank = segment.rank_of_hash(hash);
    rank < segment.docs() && segment.hash_at(rank) == hash
}

impl Prepared {
    fn hashed_keys(&self) -> impl ExactSizeIterator<Item = (u64, &[u8])> {
        let (hashes, keys) = match self {
            Self::Put { incoming, .. } => (&incoming.hashes, &incoming.keys),
            Self::Delete { keys, hashes } => (hashes, keys),
        };
        hashes.iter().copied().zip(keys.iter().map(|key| key.as_ref()))
    }
}

fn kill(chunks: &mut [ChunkView], place: Place) -> bool {
    chunks[place.chunk as usize].kill(place.row)
}

/// Rows of the frozen chunks that died after the freeze are documents of the new segments.
fn kill_carried_over(
    new: &mut [SegmentView],
    moved: &Moved,
    now: &[ChunkView],
    at_freeze: &[ChunkView],
) {
    for (chunk, (now, then)) in now.iter().zip(at_freeze).enumerate() {
        let died: RoaringBitmap = now.dead.as_ref() - then.dead.as_ref();
        for row in &died {
            let (segment, doc) = moved
                .place(chunk, row)
                .expect("a record that was alive at the freeze went somewhere");
            new[segment].kill(doc);
        }
    }
}
