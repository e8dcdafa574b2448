//! Collection: which objects of an index nobody needs any more.
//!
//! Decided from lists made for the purpose and the manifests they show, never from memory:
//!
//! ```text
//! 1. list segments and bitmaps      2. note what this process is writing or still reads
//! 3. list and read manifests        4. list slots        5. decide ([`decide`], pure)
//! 6. delete segments and bitmaps, then slots, then manifests, so that a crash leaves the rest decidable
//! ```
//!
//! On a store with other writers:
//! - A manifest is *needed* if it is the newest, or was superseded less than `collect_grace` ago:
//!   somebody may be reading a snapshot of it. What a needed manifest names stays.
//! - Slots below the newest floor go at once, and soon after they were folded ([`Wanted::Slots`]): a
//!   log stays short whatever the grace is. Who still wants one finds it missing and opens anew.
//! - What an older manifest names goes: no later manifest can name it again, because it would be
//!   derived from one that does not.
//! - What no listed manifest names may be about to be named. It goes once its name has run out
//!   ([`super::object::may_name`]), which depends on manifest numbers and on no clock.
//! - Time is the store's: the latest time that any list has shown, plus what went by here since. It is
//!   never ahead of the store's clock, whatever this machine's says.
//!
//! Where this process is the only writer, an object goes as soon as the newest manifest does not name
//! it and nobody here writes it or holds a snapshot of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::time::Instant;
use vb_commit::{Log, Manifest, ObjectInfo, StoreErrorKind};

use super::body::{Body, DeletedBitmap, SegmentMeta};
use super::object::may_name;
use crate::context::Context;
use crate::error::Error;
use crate::fetch::corrupt;
use crate::paths;
use crate::records::IndexId;

/// Shortest time between two looks at garbage that has to stay for now, where others write, too.
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(30);
/// Manifests read at the same time.
const READS_MAX: usize = 8;

/// What an engine knows about garbage: where to look for some, and what must not be taken for it.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    /// Indexes with objects that will be garbage, of which kind, and from when on.
    due: Mutex<BTreeMap<(IndexId, Wanted), Instant>>,
    /// Objects being written by this process, not named by any manifest yet.
    writing: Arc<Mutex<BTreeSet<u128>>>,
    /// Segments that a manifest of this process dropped; alive while a snapshot has them.
    retired: Mutex<BTreeMap<u128, Weak<SegmentMeta>>>,
    /// The latest time a list has shown, milliseconds since 1970 by the store's clock, and when.
    shown: Mutex<Option<(i64, Instant)>>,
}

/// What a collection looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// Folded slots alone.
    Slots,
    All,
}

/// An object that is being written; kept until the manifest that names it is committed or given up.
#[derive(Debug)]
pub(crate) struct Writing {
    all: Arc<Mutex<BTreeSet<u128>>>,
    name: u128,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.all.lock().remove(&self.name);
    }
}

impl Garbage {
    /// Notes that this process is about to write an object.
    pub(crate) fn writing(&self, name: u128) -> Writing {
        self.writing.lock().insert(name);
        Writing { all: Arc::clone(&self.writing), name }
    }

    /// Notes a segment that the newest manifest does not name any more.
    pub(crate) fn retire(&self, meta: &Arc<SegmentMeta>) {
        self.retired.lock().insert(meta.name, Arc::downgrade(meta));
    }

    /// An index will have garbage after this time; an earlier note stays.
    pub(crate) fn note(&self, id: IndexId, wanted: Wanted, after: Duration) {
        let at = Instant::now() + after;
        let mut due = self.due.lock();
        let noted = due.entry((id, wanted)).or_insert(at);
        *noted = at.min(*noted);
    }

    /// Takes some of the indexes whose time has come.
    pub(crate) fn take_due(&self, count_max: usize) -> Vec<(IndexId, Wanted)> {
        let now = Instant::now();
        let mut due = self.due.lock();
        let come = due.iter().filter(|(_, at)| **at <= now).map(|(noted, _)| *noted);
        let come: Vec<(IndexId, Wanted)> = come.take(count_max).collect();
        for noted in &come {
            due.remove(noted);
        }
        come
    }

    /// Objects that this process writes or still reads.
    fn in_use(&self) -> BTreeSet<u128> {
        let mut in_use = self.writing.lock().clone();
        let mut retired = self.retired.lock();
        retired.retain(|_, meta| meta.strong_count() > 0);
        in_use.extend(retired.keys());
        in_use
    }

    /// The store's clock: not ahead of it. `listed` is what a list just showed.
    fn store_now(&self, listed: &[&[ObjectInfo]]) -> i64 {
        let latest = listed.iter().copied().flatten().map(|object| object.modified_ms).max();
        let now = Instant::now();
        let mut shown = self.shown.lock();
        let advanced = shown.map(|(ms, at)| {
            ms.saturating_add(i64::try_from((now - at).as_millis()).unwrap_or(i64::MAX))
        });
        let best = latest.into_iter().chain(advanced).max().unwrap_or(i64::MIN);
        *shown = Some((best, now));
        best
    }
}

/// What a collection decides from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// No other process writes to the store.
    pub(crate) sole_writer: bool,
    /// Milliseconds by the store's clock; not ahead of it.
    pub(crate) now_ms: i64,
    pub(crate) grace_ms: i64,
    /// Names of segments and bitmaps that exist, listed before the manifests were.
    pub(crate) objects: BTreeSet<u128>,
    /// What this process writes or still reads, noted in between.
    pub(crate) in_use: BTreeSet<u128>,
    /// Manifests, ascending; the last is the newest.
    pub(crate) manifests: Vec<Listed>,
    /// Slots, ascending.
    pub(crate) slots: Vec<u64>,
}

/// A manifest that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) number: u64,
    pub(crate) modified_ms: i64,
    pub(crate) floor: u64,
    /// Segments and bitmaps that it names.
    pub(crate) names: BTreeSet<u128>,
}

/// What to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) objects: Vec<u128>,
    pub(crate) slots: Vec<u64>,
    pub(crate) manifests: Vec<u64>,
    /// Something stays for now that will be garbage later.
    pub(crate) again: bool,
}

/// Decides a collection. Never deleted: the newest manifest and what it names, its slots, and the
/// highest slot (a list that shows nothing behind it proves the tip).
pub(crate) fn decide(facts: &Facts) -> Decision {
    let Some(newest) = facts.manifests.last() else { return Decision::default() };
    let needed = needed(facts);
    let named = |name: &u128| needed.iter().any(|manifest| manifest.names.contains(name));
    let was_named = |name: &u128| facts.manifests.iter().any(|m| m.names.contains(name));
    let may_come =
        |name: &u128| !facts.sole_writer && !was_named(name) && may_name(*name, newest.number + 1);
    let free = |name: &&u128| !named(name) && !facts.in_use.contains(name) && !may_come(name);
    let highest = facts.slots.last();
    let spent = |seq: &&u64| **seq < newest.floor && Some(*seq) != highest;
    let superseded = |manifest: &&Listed| !needed.contains(manifest);
    let unnamed_newest = |name: &u128| !newest.names.contains(name);
    let decision = Decision {
        objects: facts.objects.iter().filter(free).copied().collect(),
        slots: facts.slots.iter().filter(spent).copied().collect(),
        manifests: facts.manifests.iter().filter(superseded).map(|m| m.number).collect(),
        again: false,
    };
    let stay = facts.objects.iter().filter(|name| unnamed_newest(name)).count();
    let again = needed.len() > 1 || stay > decision.objects.len();
    Decision { again, ..decision }
}

fn needed(facts: &Facts) -> Vec<&Listed> {
    let horizon = facts.now_ms.saturating_sub(facts.grace_ms);
    let is_young = |next: &Listed| !facts.sole_writer && next.modified_ms >= horizon;
    let successors = facts.manifests.iter().skip(1).map(Some).chain([None]);
    let with_next = facts.manifests.iter().zip(successors);
    with_next.filter(|(_, next)| next.is_none_or(is_young)).map(|(manifest, _)| manifest).collect()
}

/// Collects the garbage of one index, which need not be open.
///
/// # Errors
/// [`Error::Corrupt`] if a manifest is damaged: then nothing is deleted. Else as the store fails; the
/// rest is left to the next collection.
pub(crate) async fn run(context: &Context, id: IndexId, wanted: Wanted) -> Result<(), Error> {
    if wanted == Wanted::Slots {
        // Manifests of any age stay.
        Log::collect(&context.store, &paths::index(id), i64::MIN).await?;
        return Ok(());
    }
    let Some(mut facts) = read_facts(context, id).await? else { return Ok(()) };
    if let Some(manifest) = context.store.remembered(&paths::index(id)) {
        // Known bad: garbage is what the manifest does not name that this process knows.
        facts.sole_writer = true;
        facts.manifests = listed(id, &manifest, 0)?.into_iter().collect();
    }
    let decision = decide(&facts);
    delete(context, id, &decision).await?;
    context.meters.objects_collected.add(decision.objects.len());
    if decision.again {
        let after = match facts.sole_writer {
            true => Duration::from_secs(1),
            // What stays may stay for long, and looking for it is not free.
            false => context.options.collect_grace.max(LOOK_AGAIN_MIN),
        };
        context.garbage.note(id, Wanted::All, after);
    }
    Ok(())
}

/// `None`: there is no such index any more.
async fn read_facts(context: &Context, id: IndexId) -> Result<Option<Facts>, Error> {
    let store = &context.store;
    let segments = store.list_after(&paths::segments(id), None).await?;
    let bitmaps = store.list_after(&paths::bitmaps(id), None).await?;
    let in_use = context.garbage.in_use();
    let listed = store.list_after(&paths::manifests(id), None).await?;
    let now_ms = context.garbage.store_now(&[&segments, &bitmaps, &listed]);
    let Some(manifests) = read_manifests(context, id, listed).await? else { return Ok(None) };
    let slots = store.list_after(&paths::slots(id), None).await?;
    let grace = context.options.collect_grace.as_millis();
    Ok(Some(Facts {
        sole_writer: store.sole_writer(),
        now_ms,
        grace_ms: i64::try_from(grace).unwrap_or(i64::MAX),
        objects: segments.iter().chain(&bitmaps).filter_map(object_of).collect(),
        in_use,
        manifests,
        slots: slots.iter().filter_map(|object| number_of(&object.path)).collect(),
    }))
}

/// The newest manifest and superseded ones, ascending. Where nobody else writes the newest alone says
/// all, and the others are only listed. `None`: there is none, or it was closed.
async fn read_manifests(
    context: &Context,
    id: IndexId,
    listed: Vec<ObjectInfo>,
) -> Result<Option<Vec<Listed>>, Error> {
    let numbered = listed.iter().filter_map(|object| Some((number_of(&object.path)?, object)));
    let mut numbered: Vec<_> = numbered.collect();
    numbered.sort_unstable_by_key(|(number, _)| *number);
    let Some((newest, superseded)) = numbered.split_last() else { return Ok(None) };
    let Some(newest) = read_manifest(context, id, *newest).await? else { return Ok(None) };
    let mut manifests: Vec<Listed> = if context.store.sole_writer() {
        let unread = |(number, object): &(u64, &ObjectInfo)| Listed {
            number: *number,
            modified_ms: object.modified_ms,
            ..Listed::default()
        };
        superseded.iter().map(unread).collect()
    } else {
        let reads: Vec<_> =
            superseded.iter().map(|manifest| read_manifest(context, id, *manifest)).collect();
        let read: Vec<Option<Listed>> =
            stream::iter(reads).buffered(READS_MAX).try_collect().await?;
        read.into_iter().flatten().collect()
    };
    manifests.push(newest);
    Ok(Some(manifests))
}

/// `None`: collected by another process meanwhile, or closed.
async fn read_manifest(
    context: &Context,
    id: IndexId,
    (number, object): (u64, &ObjectInfo),
) -> Result<Option<Listed>, Error> {
    let bytes = match context.store.get(&object.path).await {
        Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let path = paths::manifest(id, number);
    let manifest =
        Manifest::decode(bytes).map_err(|error| corrupt(&path, 0, &error.to_string()))?;
    listed(id, &manifest, object.modified_ms)
}

/// `None`: it was closed.
fn listed(id: IndexId, manifest: &Manifest, modified_ms: i64) -> Result<Option<Listed>, Error> {
    if manifest.closed {
        return Ok(None);
    }
    let (number, path) = (manifest.number, paths::manifest(id, manifest.number));
    let body = Body::decode(manifest.body.clone())
        .map_err(|error| corrupt(&path, error.offset as u64, error.reason))?;
    let bitmaps = body.segments.iter().filter_map(|entry| match &entry.deleted {
        DeletedBitmap::Object(object) => Some(object.name),
        DeletedBitmap::None | DeletedBitmap::Inline(_) => None,
    });
    let names = body.segments.iter().map(|entry| entry.meta.name).chain(bitmaps).collect();
    Ok(Some(Listed { number, modified_ms, floor: manifest.floor, names }))
}

async fn delete(context: &Context, id: IndexId, decision: &Decision) -> Result<(), Error> {
    let Decision { objects, slots, manifests, .. } = decision;
    // A name is of one kind only, and deleting what does not exist is no error.
    let of_both =
        objects.iter().flat_map(|name| [paths::segment(id, *name), paths::bitmap(id, *name)]);
    context.store.delete_all(&of_both.collect::<Vec<_>>()).await?;
    context.cache.forget(objects);
    let slots: Vec<String> = slots.iter().map(|seq| paths::slot(id, *seq)).collect();
    context.store.delete_all(&slots).await?;
    let manifests: Vec<String> =
        manifests.iter().map(|number| paths::manifest(id, *number)).collect();
    Ok(context.store.delete_all(&manifests).await?)
}

fn object_of(object: &ObjectInfo) -> Option<u128> {
    let name = object.path.rsplit('/').next()?;
    (name.len() == 32).then(|| u128::from_str_radix(name, 16).ok()).flatten()
}

fn number_of(path: &str) -> Option<u64> {
    let digits = path.rsplit('/').next()?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::object::{BIRTHS, object_name};
    use super::*;

    fn manifest(number: u64, modified_ms: i64, names: &[u128]) -> Listed {
        Listed { number, modified_ms, floor: number * 10, names: names.iter().copied().collect() }
    }

    fn facts(sole_writer: bool, manifests: Vec<Listed>, objects: &[u128]) -> Facts {
        Facts {
            sole_writer,
            now_ms: 10_000,
            grace_ms: 1_000,
            objects: objects.iter().copied().collect(),
            in_use: BTreeSet::new(),
            manifests,
            slots: vec![5, 15, 25, 35, 45],
        }
    }

    #[test]
    fn a_sole_writer_keeps_what_the_newest_manifest_names_and_what_is_in_use() {
        let manifests = vec![manifest(1, 9_998, &[]), manifest(2, 9_999, &[7, 8])];
        let mut facts = facts(true, manifests, &[6, 7, 8, 9]);
        facts.in_use = [9].into();
        let expected =
            Decision { objects: vec![6], slots: vec![5, 15], manifests: vec![1], again: true };
        assert_eq!(decide(&facts), expected);
        facts.in_use.clear();
        let expected = Decision { objects: vec![6, 9], again: false, ..expected };
        assert_eq!(decide(&facts), expected);
    }

    #[test]
    fn elsewhere_a_superseded_manifest_is_needed_until_its_grace_is_over() {
        let manifests =
            vec![manifest(1, 1_000, &[1]), manifest(2, 2_000, &[2]), manifest(3, 9_500, &[3])];
        // Manifest 2 was the newest until 9,500.
        let young = facts(false, manifests.clone(), &[1, 2, 3]);
        let expected =
            Decision { objects: vec![1], slots: vec![5, 15, 25], manifests: vec![1], again: true };
        assert_eq!(decide(&young), expected);
        let old = Facts { now_ms: 10_501, ..young };
        let expected = Decision {
            objects: vec![1, 2],
            slots: vec![5, 15, 25],
            manifests: vec![1, 2],
            again: false,
        };
        assert_eq!(decide(&old), expected);
    }

    #[test]
    fn an_object_that_may_still_be_named_stays_however_old_it_is() {
        let object = object_name(0xabcd << 64, 3);
        let at = |newest| {
            let facts = facts(false, vec![manifest(newest, 0, &[])], &[object]);
            decide(&Facts { now_ms: i64::MAX, ..facts })
        };
        assert_eq!(at(3 + BIRTHS - 1).objects, []);
        assert!(at(3 + BIRTHS - 1).again);
        assert_eq!(at(3 + BIRTHS).objects, [object]);
        // Once named and dropped, it cannot come back.
        let manifests = vec![manifest(4, 0, &[object]), manifest(5, 0, &[])];
        assert_eq!(decide(&facts(false, manifests, &[object])).objects, [object]);
    }

    #[test]
    fn the_highest_slot_and_the_newest_manifest_stay() {
        let mut facts = facts(true, vec![manifest(9, 0, &[])], &[]);
        let decision = decide(&facts);
        assert_eq!((decision.slots, decision.manifests), (vec![5, 15, 25, 35], vec![]));
        facts.manifests.clear();
        assert_eq!(decide(&facts), Decision::default());
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_the_latest_the_store_has_shown_and_what_went_by_since() {
        let garbage = Garbage::default();
        let object = |modified_ms| ObjectInfo { path: String::new(), size: 0, modified_ms };
        assert_eq!(garbage.store_now(&[&[]]), i64::MIN);
        assert_eq!(garbage.store_now(&[&[object(70), object(50)]]), 70);
        tokio::time::advance(Duration::from_millis(30)).await;
        assert_eq!(garbage.store_now(&[&[object(60)]]), 100);
        assert_eq!(garbage.store_now(&[&[object(500)], &[]]), 500);
    }
}
