//! Reading immutable objects: parts of segments for one call, and bitmap objects.
//!
//! A call (a query, a get, a page, a write that looks for older documents) is a [`Job`]: code that
//! computes on what memory holds, goes as far as it can, and says what it has to read to go further.
//! [`run`] alternates between the two:
//!
//! ```text
//!        +--> advance on the CPU pool, or here if that is brief --> done
//!        |        |  needs parts that are not in memory
//!        +-- read them: one round of the store, in parallel, through the cache
//! ```
//!
//! So a call that finds everything in memory is one piece of work without a wait, and how many
//! rounds a cold one takes can be read off its `advance`.
//!
//! [`Loaded`] is what a call has of its segments. It holds on to the parts it was given, whatever the
//! cache does meanwhile; only what a scan streams through is let go of, window by window.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{join, try_join, try_join_all};
use vb_commit::StoreErrorKind;
use vb_search::{Corrupt, Part, PartId, Schema, Segment};

use crate::cache::{Near, ObjectRequest, PartRequest};
use crate::context::Context;
use crate::error::Error;
use crate::index::body::BitmapObject;
use crate::index::view::SegmentView;
use crate::paths;
use crate::records::IndexId;

/// Where an index's objects lie, and what it takes to read them.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) context: Arc<Context>,
    pub(crate) id: IndexId,
    pub(crate) schema: Arc<Schema>,
}

impl Origin {
    /// A segment whose bytes contradict each other.
    pub(crate) fn corrupt_segment(&self, name: u128, cause: Corrupt) -> Error {
        corrupt(&paths::segment(self.id, name), 0, &cause.to_string())
    }
}

/// A part of the segment of this number.
pub(crate) type Wanted = (usize, PartId);

/// What one call has of the segments of a snapshot, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    origin: Origin,
    views: Arc<[SegmentView]>,
    segments: Vec<Segment>,
    /// What of each is within reach.
    near: Vec<Option<Arc<Near>>>,
    /// How often the cache had let go of what was within reach, before the first look into it.
    clearings: u64,
    /// Read or found, and not taken yet: the cache may have dropped them again.
    arrived: HashMap<(u128, PartId), Part>,
    reads: Reads,
}

/// What a call has read so far, beyond what memory held.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reads {
    /// Rounds that were waited for.
    pub(crate) waves: usize,
    /// Parts and small objects.
    pub(crate) parts: usize,
    pub(crate) bytes: u64,
}

/// What has to be read before a job can go on.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    parts: Vec<PartRequest>,
    /// Small segments, to be read whole, and the parts of them that are wanted.
    objects: Vec<(ObjectRequest, Vec<PartId>)>,
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.objects.is_empty()
    }

    /// Both in one round.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self.objects.extend(other.objects);
        self
    }
}

impl Loaded {
    /// Nothing of these segments yet.
    pub(crate) fn new(origin: Origin, views: Arc<[SegmentView]>) -> Self {
        let segments = views.iter().map(|view| view.blank.clone()).collect();
        let near = vec![None; views.len()];
        let clearings = origin.context.cache.clearings();
        Self {
            origin,
            views,
            segments,
            near,
            clearings,
            arrived: HashMap::new(),
            reads: Reads::default(),
        }
    }

    /// What late queries needed of these segments, as far as it is within reach.
    pub(crate) fn within_reach(origin: Origin, views: Arc<[SegmentView]>) -> Self {
        let mut loaded = Self::new(origin, Arc::default());
        loaded.move_to(views);
        loaded
    }

    /// Goes over to the segments of another snapshot; what was read of those in both stays, of the others it is what is within
    /// reach.
    pub(crate) fn move_to(&mut self, views: Arc<[SegmentView]>) {
        if Arc::ptr_eq(&self.views, &views) {
            return;
        }
        let (old, old_near) = (std::mem::take(&mut self.segments), std::mem::take(&mut self.near));
        let loaded = |view: &SegmentView| match self
            .views
            .iter()
            .position(|old| old.meta.name == view.meta.name)
        {
            Some(at) => (old[at].clone(), old_near[at].clone()),
            None => {
                let near = view.shelf.get();
                let segment = near.as_ref().map_or(&view.blank, |near| near.segment());
                (segment.clone(), near)
            }
        };
        (self.segments, self.near) = views.iter().map(loaded).unzip();
        self.views = views;
    }

    /// Puts within reach of later queries what the segments have now, which are sections alone.
    pub(crate) fn shelve(&mut self) {
        let cache = &self.origin.context.cache;
        for (number, segment) in self.segments.iter().enumerate() {
            let near = &self.near[number];
            let has_more = near.as_ref().is_none_or(|near| !near.segment().is_same(segment));
            if has_more && cache.clearings() == self.clearings {
                let shelf = &self.views[number].shelf;
                cache.shelve(shelf, Near::new(segment.clone()), self.clearings);
                self.near[number] = shelf.get();
            }
        }
    }

    /// An extent or a block that is within reach.
    pub(crate) fn near(&self, (number, id): Wanted) -> Option<&Part> {
        self.near[number].as_ref()?.get(id)
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn views(&self) -> &[SegmentView] {
        &self.views
    }

    /// The same, to keep.
    pub(crate) fn shared_views(&self) -> Arc<[SegmentView]> {
        Arc::clone(&self.views)
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// A damage found in the segment of this number.
    pub(crate) fn corrupt(&self, segment: usize, cause: Corrupt) -> Error {
        self.origin.corrupt_segment(self.views[segment].meta.name, cause)
    }

    /// Takes parts in for good. `Some`: these have to be read first; what was found is kept at hand.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if parts of a segment contradict each other.
    pub(crate) fn hold(
        &mut self,
        wanted: impl IntoIterator<Item = Wanted>,
    ) -> Result<Option<Missing>, Error> {
        let (found, missing) = self.find(wanted)?;
        if !missing.is_empty() {
            self.keep(found);
            return Ok(Some(missing));
        }
        self.take(&found);
        for (number, part) in found {
            add(&self.origin, &self.views, &mut self.segments, number, &part)?;
        }
        Ok(None)
    }

    /// The segments with more parts, for as long as the caller keeps them.
    ///
    /// # Errors
    /// As [`Loaded::hold`].
    pub(crate) fn with(
        &mut self,
        wanted: impl IntoIterator<Item = Wanted>,
    ) -> Result<Result<Vec<Segment>, Missing>, Error> {
        let found = match self.parts(wanted)? {
            Ok(found) => found,
            Err(missing) => return Ok(Err(missing)),
        };
        let mut segments = self.segments.clone();
        for (number, part) in found {
            add(&self.origin, &self.views, &mut segments, number, &part)?;
        }
        Ok(Ok(segments))
    }

    /// Parts for as long as the caller keeps them; without those that the segments have.
    ///
    /// # Errors
    /// As [`Loaded::hold`].
    pub(crate) fn parts(
        &mut self,
        wanted: impl IntoIterator<Item = Wanted>,
    ) -> Result<Result<Vec<(usize, Part)>, Missing>, Error> {
        let (found, missing) = self.find(wanted)?;
        if !missing.is_empty() {
            self.keep(found);
            return Ok(Err(missing));
        }
        self.take(&found);
        Ok(Ok(found))
    }

    /// Whether a segment is so small that it is read whole.
    pub(crate) fn is_small(&self, number: usize) -> bool {
        self.views[number].meta.length <= self.origin.context.options.whole_bytes_max
    }

    /// A part that is at hand and that its segment does not have.
    pub(crate) fn peek(&self, (number, id): Wanted) -> Option<Part> {
        let name = self.views[number].meta.name;
        if self.segments[number].has(id) {
            return None;
        }
        // Left there: the same part may be wanted twice, and the cache may not have it.
        let arrived = match self.arrived.is_empty() {
            true => None,
            false => self.arrived.get(&(name, id)).cloned(),
        };
        arrived.or_else(|| self.look_up((number, id)))
    }

    /// A part that is in memory. Extents and blocks are within reach from then on.
    fn look_up(&self, (number, id): Wanted) -> Option<Part> {
        let Some(near) = &self.near[number] else {
            return self.origin.context.cache.peek(self.views[number].meta.name, id);
        };
        if let Some(part) = near.get(id) {
            return Some(part.clone());
        }
        let part = self.origin.context.cache.peek(self.views[number].meta.name, id)?;
        near.put(&part);
        Some(part)
    }

    /// Whether a part is at hand without reading.
    pub(crate) fn has(&self, (number, id): Wanted) -> bool {
        let name = self.views[number].meta.name;
        self.segments[number].has(id)
            || self.near((number, id)).is_some()
            || self.arrived.contains_key(&(name, id))
            || self.origin.context.cache.contains(name, id)
    }

    /// What of these would have to be read.
    pub(crate) fn missing(
        &self,
        wanted: impl IntoIterator<Item = Wanted>,
    ) -> Result<Missing, Error> {
        let absent = wanted.into_iter().filter(|wanted| !self.has(*wanted));
        self.requests(absent)
    }

    /// Leaves out what came meanwhile.
    fn leave_out_arrived(&self, missing: &mut Missing) {
        let arrived = &self.arrived;
        missing.parts.retain(|request| !arrived.contains_key(&(request.object, request.id)));
    }

    /// What was read for the call.
    pub(crate) fn reads(&self) -> Reads {
        self.reads
    }

    /// Counts a round of reads.
    fn count(&mut self, missing: &Missing) {
        let parts = missing.parts.iter().map(|part| part.range.end - part.range.start);
        let objects = missing.objects.iter().map(|(object, _)| object.length);
        self.reads.waves += usize::from(!missing.is_empty());
        self.reads.parts += missing.parts.len() + missing.objects.len();
        self.reads.bytes += parts.chain(objects).sum::<u64>();
    }

    /// Takes in what was read.
    pub(crate) fn receive(&mut self, parts: Vec<(u128, Part)>) {
        self.arrived.extend(parts.into_iter().map(|(name, part)| ((name, part.id()), part)));
    }

    /// Lets go of parts that somebody else holds from now on.
    fn take(&mut self, found: &[(usize, Part)]) {
        if !self.arrived.is_empty() {
            for (number, part) in found {
                self.arrived.remove(&(self.views[*number].meta.name, part.id()));
            }
        }
    }

    fn keep(&mut self, found: Vec<(usize, Part)>) {
        let named = found.into_iter().map(|(number, part)| (self.views[number].meta.name, part));
        let named: Vec<_> = named.collect();
        self.receive(named);
    }

    /// Parts that memory holds and the segments do not have yet, and requests for the others.
    fn find(
        &mut self,
        wanted: impl IntoIterator<Item = Wanted>,
    ) -> Result<(Vec<(usize, Part)>, Missing), Error> {
        let (mut found, mut absent) = (Vec::new(), Vec::new());
        for (number, id) in wanted {
            match self.peek((number, id)) {
                Some(part) => found.push((number, part)),
                None if self.segments[number].has(id) => {}
                None => absent.push((number, id)),
            }
        }
        Ok((found, self.requests(absent)?))
    }

    fn requests(&self, absent: impl IntoIterator<Item = Wanted>) -> Result<Missing, Error> {
        let mut by_segment: BTreeMap<usize, Vec<PartId>> = BTreeMap::new();
        for (number, id) in absent {
            by_segment.entry(number).or_default().push(id);
        }
        let mut missing = Missing::default();
        for (number, ids) in by_segment {
            let meta = &self.views[number].meta;
            let path: Arc<str> = paths::segment(self.origin.id, meta.name).into();
            if self.is_small(number) {
                missing.objects.push((self.object(number, path), ids));
                continue;
            }
            for id in ids {
                missing.parts.push(self.part(number, id, &path)?);
            }
        }
        Ok(missing)
    }

    fn object(&self, number: usize, path: Arc<str>) -> ObjectRequest {
        let view = &self.views[number];
        ObjectRequest {
            path,
            object: view.meta.name,
            length: view.meta.length,
            docs: view.meta.docs,
            schema: Arc::clone(&self.origin.schema),
            blank: view.blank.clone(),
        }
    }

    fn part(&self, number: usize, id: PartId, path: &Arc<str>) -> Result<PartRequest, Error> {
        let meta = &self.views[number].meta;
        let place = self.segments[number].place(id);
        let (range, crc) = place.ok_or_else(|| corrupt(path, 0, "a section is missing"))?;
        Ok(PartRequest {
            path: Arc::clone(path),
            object: meta.name,
            id,
            range,
            crc,
            schema: Arc::clone(&self.origin.schema),
            docs: meta.docs,
        })
    }
}

fn add(
    origin: &Origin,
    views: &[SegmentView],
    segments: &mut [Segment],
    number: usize,
    part: &Part,
) -> Result<(), Error> {
    let added = segments[number].add(part);
    added.map_err(|cause| origin.corrupt_segment(views[number].meta.name, cause))
}

/// One round of reads. Parts come with the name of their segment.
///
/// # Errors
/// [`Error::Corrupt`] with the object if bytes are not what was written; [`Error::Storage`] as the
/// store fails, also with `NotFound` if an object is gone.
pub(crate) async fn read(context: &Context, missing: Missing) -> Result<Vec<(u128, Part)>, Error> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let Missing { parts, objects } = missing;
    let names: Vec<u128> = parts.iter().map(|request| request.object).collect();
    let whole: Vec<_> = objects.into_iter().map(|object| read_whole(context, object)).collect();
    let (parts, whole) = try_join(context.cache.get(parts), try_join_all(whole)).await?;
    let mut read: Vec<_> = names.into_iter().zip(parts).collect();
    read.extend(whole.into_iter().flatten());
    Ok(read)
}

async fn read_whole(
    context: &Context,
    (request, wanted): (ObjectRequest, Vec<PartId>),
) -> Result<Vec<(u128, Part)>, Error> {
    let name = request.object;
    // It may have come since memory was asked.
    let here = wanted.into_iter().map(|id| context.cache.peek(name, id));
    let parts = match here.collect::<Option<Vec<_>>>() {
        Some(parts) => parts,
        None => context.cache.load_object(request).await?,
    };
    Ok(parts.into_iter().map(|part| (name, part)).collect())
}

/// Work that reads parts as it goes.
pub(crate) trait Job: Send + 'static {
    /// What it comes to.
    type Output: Send + 'static;

    /// Takes in what it will need whichever documents turn out to be deleted; `Some`: this has to be
    /// read first. Cheap.
    fn prepare(&mut self) -> Result<Option<Missing>, Error>;

    /// Goes as far as what memory holds allows. Computes, never waits.
    fn advance(&mut self) -> Result<Step<Self::Output>, Error>;

    /// Whether to go on takes some hundred microseconds at most, and no parallel iterator. Cheap.
    fn is_brief(&self) -> bool {
        false
    }

    /// Where what was read goes.
    fn loaded(&mut self) -> &mut Loaded;
}

/// How far a job came.
#[derive(Debug)]
pub(crate) enum Step<T> {
    Done(T),
    /// Read this, then go on.
    Read(Missing),
    /// Read the first, then go on; meanwhile read the second, which comes next.
    ReadAhead(Missing, Missing),
}

/// Bytes that a call reads at a time where it streams. It holds two such windows at most: one that
/// is being worked on, and the next on its way.
pub(crate) fn window_bytes(context: &Context) -> usize {
    (context.budget.scans.bytes() / 8).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)
}

const WINDOW_BYTES_MIN: usize = 1 << 20;
const WINDOW_BYTES_MAX: usize = 32 << 20;

/// Runs the part of a job that does not depend on deletions, for its reads.
///
/// # Errors
/// As the job or the reads fail.
pub(crate) async fn prepare(context: &Context, job: &mut impl Job) -> Result<(), Error> {
    while let Some(missing) = job.prepare()? {
        job.loaded().count(&missing);
        let parts = read(context, missing).await?;
        job.loaded().receive(parts);
    }
    Ok(())
}

/// Runs a job to its end: on the CPU pool, or here while it is brief, with reads in between.
///
/// # Errors
/// As the job or the reads fail.
pub(crate) async fn run<J: Job>(context: &Context, mut job: J) -> Result<J::Output, Error> {
    let mut room = None;
    let mut ahead = Missing::default();
    loop {
        let is_brief = job.is_brief();
        let work = move || {
            let step = job.advance();
            (job, step)
        };
        let work = async {
            match is_brief {
                true => context.pool.run_here(work).await,
                false => context.pool.run(work).await,
            }
        };
        let early = read(context, std::mem::take(&mut ahead));
        let ((back, step), early) = join(work, early).await;
        job = back;
        // What failed early is read again when it is needed, and fails then.
        job.loaded().receive(early.unwrap_or_default());
        let mut missing = match step? {
            Step::Done(output) => return Ok(output),
            Step::Read(missing) => missing,
            Step::ReadAhead(missing, next) => {
                ahead = next;
                missing
            }
        };
        if room.is_none() {
            room = Some(context.budget.scans.take(2 * window_bytes(context)).await);
        }
        job.loaded().leave_out_arrived(&mut missing);
        job.loaded().count(&missing);
        let parts = read(context, missing).await?;
        job.loaded().receive(parts);
    }
}

/// A deletion bitmap object.
///
/// # Errors
/// As [`read`].
pub(crate) async fn bitmap(
    context: &Context,
    path: &str,
    object: &BitmapObject,
) -> Result<Bytes, Error> {
    let bytes = match context.store.get_range(path, 0..object.length).await {
        // Object stores refuse a range beyond the end, and so tell that the object was cut.
        Err(error) if error.kind() == StoreErrorKind::Invalid => {
            return Err(corrupt(path, 0, "shorter than its manifest says"));
        }
        read => read?,
    };
    if bytes.len() as u64 != object.length {
        return Err(corrupt(path, bytes.len() as u64, "shorter than its manifest says"));
    }
    match vb_search::checksum(&bytes) == object.crc {
        true => Ok(bytes),
        false => Err(corrupt(path, 0, "checksum mismatch")),
    }
}

/// Whether a read failed because the object is gone: collected since the caller took its view, or
/// lost.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Storage(source) if source.kind() == StoreErrorKind::NotFound)
}

/// An object that is gone although the newest manifest names it.
pub(crate) fn lost(error: Error) -> Error {
    match &error {
        Error::Storage(source) if is_gone(&error) => {
            corrupt(source.path(), 0, "named by the manifest but missing")
        }
        _ => error,
    }
}

pub(crate) fn corrupt(path: &str, offset: u64, reason: &str) -> Error {
    Error::Corrupt { path: path.to_owned(), offset, reason: reason.to_owned() }
}
