//! Is everything there, and is it what was written? The work behind `vectorbucket fsck`.
//!
//! ```text
//! label -> list of index prefixes -> every bucket's log -> every index's log -> its objects
//!          (before the catalogs: an index that is created meanwhile is in neither)
//! ```
//!
//! Nothing is repaired. A finding names the object, so that an operator can restore it from a copy.
//! Whatever a service beside it removes or folds meanwhile is no finding: an index about which
//! something is missing is read again as long as its newest manifest changes.

mod index;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use vb_commit::Store;

use super::{Watch, log};
use crate::catalog::command::Command;
use crate::catalog::state::Bucket;
use crate::error::Error;
use crate::format;
use crate::paths;
use crate::records::{BucketId, IndexId, IndexRecord, IndexState};
use log::{Listed, Read, manifest_path, slot_path};

/// Indexes checked at the same time.
const INDEXES_MAX: usize = 16;
/// Findings kept; further ones are only counted.
const FINDINGS_MAX: usize = 10_000;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Logs, lengths of objects, bitmaps, counters. Some requests per index, whatever its size.
    Quick,
    /// Also the keys and directories of segments: no key has two live records.
    Keys,
    /// Also every byte of every segment, against its checksums.
    Deep,
}

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// How closely to look.
    pub level: Level,
    /// Objects that nothing names are reported when they are older than this: a flush, a merge or a
    /// creation under way has written what it names only later.
    pub grace: Duration,
    /// Now, milliseconds since 1970.
    pub now_ms: u64,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// The store's label is missing, damaged or of another format.
    Label,
    /// An object that no version of the format knows.
    Foreign,
    /// A manifest that does not decode or contradicts itself.
    ManifestDamaged,
    /// A slot that does not decode, or holds what cannot be applied.
    SlotDamaged,
    /// Slots between the manifest's floor and the highest slot are missing.
    SlotMissing,
    /// The catalog names an index whose log is not there, or is closed.
    IndexMissing,
    /// An index that no catalog names.
    IndexLeaked,
    /// A deletion that was begun and not finished.
    IndexHalfDropped,
    /// What is left of a dropped index after the grace period.
    IndexRemains,
    /// A restore that was interrupted and did not go on.
    RestoreUnfinished,
    /// The index's manifest has another schema than the catalog.
    SchemaDiffers,
    /// Counters of a manifest disagree with what they count.
    CounterWrong,
    /// A segment that a manifest names is not there.
    SegmentMissing,
    /// A segment has another length than its manifest says.
    SegmentLength,
    /// Bytes of a segment differ from their checksum.
    SegmentDamaged,
    /// Parts of a segment do not decode, or contradict each other.
    SegmentInconsistent,
    /// A deletion bitmap that a manifest names is not there.
    BitmapMissing,
    /// A deletion bitmap that differs from its checksum, does not decode, or deletes what is not there.
    BitmapDamaged,
    /// A key with more than one live record.
    DuplicateKey,
    /// The log of who may call cannot be read. The store of identities finds this, not the engine.
    IdentityDamaged,
    /// A segment or bitmap that no manifest names.
    Orphan,
}

impl FindingKind {
    /// The word by which output and scripts know it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Foreign => "foreign",
            Self::ManifestDamaged => "manifest-damaged",
            Self::SlotDamaged => "slot-damaged",
            Self::SlotMissing => "slot-missing",
            Self::IndexMissing => "index-missing",
            Self::IndexLeaked => "index-leaked",
            Self::IndexHalfDropped => "index-half-dropped",
            Self::IndexRemains => "index-remains",
            Self::RestoreUnfinished => "restore-unfinished",
            Self::SchemaDiffers => "schema-differs",
            Self::CounterWrong => "counter-wrong",
            Self::SegmentMissing => "segment-missing",
            Self::SegmentLength => "segment-length",
            Self::SegmentDamaged => "segment-damaged",
            Self::SegmentInconsistent => "segment-inconsistent",
            Self::BitmapMissing => "bitmap-missing",
            Self::BitmapDamaged => "bitmap-damaged",
            Self::DuplicateKey => "duplicate-key",
            Self::IdentityDamaged => "identity-damaged",
            Self::Orphan => "orphan",
        }
    }

    /// Whether records are lost or wrong; other findings only take room.
    pub fn is_damage(self) -> bool {
        match self {
            Self::Foreign
            | Self::IndexLeaked
            | Self::IndexHalfDropped
            | Self::IndexRemains
            | Self::RestoreUnfinished
            | Self::Orphan => false,
            Self::Label
            | Self::ManifestDamaged
            | Self::SlotDamaged
            | Self::SlotMissing
            | Self::IndexMissing
            | Self::SchemaDiffers
            | Self::CounterWrong
            | Self::SegmentMissing
            | Self::SegmentLength
            | Self::SegmentDamaged
            | Self::SegmentInconsistent
            | Self::BitmapMissing
            | Self::BitmapDamaged
            | Self::DuplicateKey
            | Self::IdentityDamaged => true,
        }
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// The object, or the prefix of the index.
    pub path: String,
    /// What is wrong with it.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind.code(), self.path, self.detail)
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Buckets that exist.
    pub buckets: u64,
    /// Indexes that exist.
    pub indexes: u64,
    /// Segments of these.
    pub segments: u64,
    /// Live records in these segments.
    pub records: u64,
    /// Log slots that are not folded.
    pub slots: u64,
    /// Bytes of all objects of the indexes.
    pub bytes: u64,
}

/// The outcome of a check.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was looked at.
    pub counts: Counts,
    /// What is not as it should be, sorted; at most 10,000.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_more: u64,
}

impl Report {
    /// Whether records are lost or wrong.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind.is_damage())
    }

    fn add(&mut self, counts: Counts, findings: impl IntoIterator<Item = Finding>) {
        let sum = &mut self.counts;
        sum.buckets += counts.buckets;
        sum.indexes += counts.indexes;
        sum.segments += counts.segments;
        sum.records += counts.records;
        sum.slots += counts.slots;
        sum.bytes += counts.bytes;
        for finding in findings {
            let room = self.findings.len() < FINDINGS_MAX;
            if room { self.findings.push(finding) } else { self.findings_more += 1 }
        }
    }
}

/// Findings while they are collected.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, kind: FindingKind, path: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Finding { kind, path: path.into(), detail: detail.into() });
    }
}

/// What a check works with.
struct Check<'a> {
    store: &'a Store,
    options: &'a CheckOptions,
    watch: &'a dyn Watch,
    report: Mutex<Report>,
}

/// Checks a whole store. Reads only.
///
/// # Errors
/// As the store fails. What is damaged or missing is a finding, not an error.
pub async fn check(
    store: &Store,
    options: &CheckOptions,
    watch: &dyn Watch,
) -> Result<Report, Error> {
    let check = Check { store, options, watch, report: Mutex::default() };
    check.label().await?;
    check.foreign().await?;
    let listed = check.index_prefixes().await?;
    let (named, indexes) = check.catalogs().await?;
    watch.expect(indexes.len() as u64);
    let checks: Vec<_> = indexes.iter().map(|(bucket, index)| check.index(bucket, index)).collect();
    let mut checks = stream::iter(checks).buffer_unordered(INDEXES_MAX);
    while let Some(done) = checks.next().await {
        done?;
    }
    drop(checks);
    check.leaked(listed, &named).await?;
    let mut report = check.report.into_inner();
    report.findings.sort_unstable();
    Ok(report)
}

/// Ids that catalogs name, and what their indexes are.
#[derive(Default)]
struct Named {
    /// Live, or being deleted.
    indexes: BTreeSet<IndexId>,
    /// Dropped, and when, milliseconds since 1970.
    dropped: Vec<(IndexId, u64)>,
}

impl Check<'_> {
    fn add(&self, counts: Counts, findings: Findings) {
        self.report.lock().add(counts, findings.0);
    }

    fn found(&self, kind: FindingKind, path: impl Into<String>, detail: impl Into<String>) {
        let mut findings = Findings::default();
        findings.add(kind, path, detail);
        self.add(Counts::default(), findings);
    }

    /// Whether something written then is old enough to be nobody's work in progress.
    fn is_old(&self, modified_ms: i64) -> bool {
        let grace = u64::try_from(self.options.grace.as_millis()).unwrap_or(u64::MAX);
        let modified = u64::try_from(modified_ms).unwrap_or(0);
        self.options.now_ms.saturating_sub(modified) >= grace
    }

    async fn label(&self) -> Result<(), Error> {
        let Some(bytes) = log::get(self.store, paths::FORMAT).await? else {
            let empty = self.store.list_level("").await?;
            if !(empty.objects.is_empty() && empty.prefixes.is_empty()) {
                self.found(FindingKind::Label, paths::FORMAT, "missing");
            }
            return Ok(());
        };
        if let Err(Error::Corrupt { reason, .. }) = format::read(&bytes) {
            self.found(FindingKind::Label, paths::FORMAT, reason);
        }
        Ok(())
    }

    /// Objects at the top of the store that are not ours.
    async fn foreign(&self) -> Result<(), Error> {
        let top = self.store.list_level("").await?;
        let mut foreign: Vec<String> = top.objects.into_iter().map(|object| object.path).collect();
        for path in top.prefixes.into_iter().filter(|path| !paths::is_known_top(path)) {
            // A local folder shows folders without objects, too.
            let is_empty = self.store.list_after(&path, None).await?.is_empty();
            foreign.extend((!is_empty).then_some(path));
        }
        for path in foreign.into_iter().filter(|path| !paths::is_known_top(path)) {
            self.found(FindingKind::Foreign, path, "not an object of this format");
        }
        Ok(())
    }

    async fn index_prefixes(&self) -> Result<BTreeSet<IndexId>, Error> {
        let listing = self.store.list_level(paths::INDEX).await?;
        let mut ids = BTreeSet::new();
        for path in listing.prefixes {
            match paths::index_id(&path) {
                Some(id) => ids.extend([id]),
                None => self.found(FindingKind::Foreign, path, "not the name of an index"),
            }
        }
        for object in listing.objects {
            self.found(FindingKind::Foreign, object.path, "not an object of an index");
        }
        Ok(ids)
    }

    /// Reads every catalog.
    async fn catalogs(&self) -> Result<(Named, Vec<(BucketId, IndexRecord)>), Error> {
        let (buckets, strange) = super::buckets(self.store, None).await?;
        for path in strange {
            self.found(FindingKind::Foreign, path, "not the name of a bucket");
        }
        self.watch.expect(buckets.len() as u64);
        let reads: Vec<_> = buckets.into_iter().map(|id| self.catalog(id)).collect();
        let mut reads = stream::iter(reads).buffered(INDEXES_MAX);
        let (mut named, mut indexes) = (Named::default(), Vec::new());
        while let Some(read) = reads.next().await {
            let (id, bucket) = read?;
            named.dropped.extend(bucket.dropped.iter().map(|gone| (gone.id, gone.at_ms)));
            let live = bucket.live.iter().flat_map(|live| live.indexes.iter());
            for index in live {
                named.indexes.insert(index.id);
                indexes.push((id.clone(), index.clone()));
            }
        }
        Ok((named, indexes))
    }

    /// The state of one bucket, as far as its log can be read.
    async fn catalog(&self, id: BucketId) -> Result<(BucketId, Bucket), Error> {
        let (mut bucket, mut findings) = (Bucket::default(), Findings::default());
        for _ in 0..index::READS_MAX {
            findings = Findings::default();
            let (state, newest) = self.read_catalog(&id, &mut findings).await?;
            bucket = state;
            if findings.0.is_empty() {
                break;
            }
            let now = Listed::read(self.store, &paths::bucket(&id)).await?.newest();
            if now == newest {
                break;
            }
        }
        let buckets = u64::from(bucket.live.is_some());
        self.add(Counts { buckets, ..Counts::default() }, findings);
        self.watch.done(&format!("{id:?}"));
        Ok((id, bucket))
    }

    async fn read_catalog(
        &self,
        id: &BucketId,
        findings: &mut Findings,
    ) -> Result<(Bucket, Option<u64>), Error> {
        let prefix = paths::bucket(id);
        let listed = Listed::read(self.store, &prefix).await?;
        for object in &listed.others {
            findings.add(FindingKind::Foreign, &object.path, "not an object of a bucket's log");
        }
        let newest = listed.newest();
        let mut bucket = Bucket::default();
        let Some(number) = newest else {
            findings.add(FindingKind::ManifestDamaged, prefix, "a bucket's log without a manifest");
            return Ok((bucket, newest));
        };
        let path = manifest_path(&prefix, number);
        let manifest = match log::manifest(self.store, &prefix, number).await? {
            Read::Good(manifest) => manifest,
            Read::Missing => {
                findings.add(FindingKind::ManifestDamaged, path, "missing");
                return Ok((bucket, newest));
            }
            Read::Damaged(why) => {
                findings.add(FindingKind::ManifestDamaged, path, why);
                return Ok((bucket, newest));
            }
        };
        match Bucket::decode(manifest.body.clone()) {
            Ok(state) => bucket = state,
            Err(error) => findings.add(FindingKind::ManifestDamaged, path, error.reason),
        }
        index::report_gaps(&prefix, &listed, manifest.floor, findings);
        let tail = listed.tail(manifest.floor).iter().map(|(number, _)| *number);
        log::slots(self.store, &prefix, tail, |number, read| match read {
            Read::Good(slot) => {
                for (_, payload) in slot.batches {
                    match Command::decode(payload) {
                        // A rejected command is part of a healthy log.
                        Ok(command) => {
                            let _ = bucket.apply(&command);
                        }
                        Err(error) => {
                            let path = slot_path(&prefix, number);
                            findings.add(FindingKind::SlotDamaged, path, error.reason);
                        }
                    }
                }
            }
            Read::Missing => {
                findings.add(FindingKind::SlotMissing, slot_path(&prefix, number), "missing");
            }
            Read::Damaged(why) => {
                findings.add(FindingKind::SlotDamaged, slot_path(&prefix, number), why);
            }
        })
        .await?;
        Ok((bucket, newest))
    }

    /// Checks one index that a catalog names.
    async fn index(&self, bucket: &BucketId, record: &IndexRecord) -> Result<(), Error> {
        let name = format!("{bucket:?}/{}", record.name.escape_ascii());
        if record.state == IndexState::Deleting {
            let detail = format!("the deletion of {name} was begun and not finished");
            self.found(FindingKind::IndexHalfDropped, paths::index(record.id), detail);
        } else {
            let (counts, mut findings) = index::check(self, record).await?;
            for finding in &mut findings.0 {
                finding.detail = format!("{} ({name})", finding.detail);
            }
            // What was dropped meanwhile has nothing to complain about.
            if findings.0.is_empty() || self.still_lives(bucket, record.id).await? {
                self.add(counts, findings);
            }
        }
        self.watch.done(&name);
        Ok(())
    }

    async fn still_lives(&self, bucket: &BucketId, id: IndexId) -> Result<bool, Error> {
        let (state, _) = self.read_catalog(bucket, &mut Findings::default()).await?;
        let index = state.index_of(id);
        Ok(index.is_some_and(|index| index.state == IndexState::Live))
    }

    /// Looks at index prefixes that no live index has.
    async fn leaked(&self, mut listed: BTreeSet<IndexId>, named: &Named) -> Result<(), Error> {
        for (id, at_ms) in &named.dropped {
            let old = self.is_old(i64::try_from(*at_ms).unwrap_or(i64::MAX));
            if listed.remove(id) && old {
                let detail = "what is left of a dropped index; the service sweeps it";
                self.found(FindingKind::IndexRemains, paths::index(*id), detail);
            }
        }
        for (path, ids) in super::backup::unfinished(self.store).await? {
            listed.retain(|id| !ids.contains(id));
            let detail = "an unfinished restore: run it again to finish it";
            self.found(FindingKind::RestoreUnfinished, path, detail);
        }
        for id in listed.difference(&named.indexes) {
            let prefix = paths::index(*id);
            let objects = Listed::read(self.store, &prefix).await?;
            if self.is_old(objects.modified_ms()) && objects.modified_ms() > 0 {
                let bytes: u64 = all(&objects).map(|object| object.size).sum();
                let detail = format!("no catalog names this index; {bytes} bytes");
                self.found(FindingKind::IndexLeaked, prefix, detail);
            }
        }
        Ok(())
    }
}

/// Every listed object.
fn all(listed: &Listed) -> impl Iterator<Item = &vb_commit::ObjectInfo> {
    let numbered = listed.slots.iter().chain(&listed.manifests).map(|(_, object)| object);
    numbered.chain(&listed.others)
}
