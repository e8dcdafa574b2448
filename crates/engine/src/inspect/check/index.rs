//! One index: its log, what its manifest names, and what lies beside it.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use vb_commit::Manifest;

use super::segment::{self, Opened};
use super::{Check, Counts, FindingKind, Findings, Level, all};
use crate::error::Error;
use crate::index::body::{Body, DeletedBitmap, SegmentEntry, decode_bitmap};
use crate::index::event::{self, IndexEvent};
use crate::inspect::log::{self, Listed, Read, manifest_path, slot_path};
use crate::paths;
use crate::records::{IndexId, IndexRecord};

/// How often an index that changes while it is looked at is read.
pub(super) const READS_MAX: usize = 5;

/// One reading of an index.
struct Reading<'a> {
    check: &'a Check<'a>,
    record: &'a IndexRecord,
    prefix: String,
    findings: Findings,
    counts: Counts,
}

/// Checks one live index. Read again while there are findings and the index changes.
pub(super) async fn check(
    check: &Check<'_>,
    record: &IndexRecord,
) -> Result<(Counts, Findings), Error> {
    let prefix = paths::index(record.id);
    let mut reads = 0;
    loop {
        reads += 1;
        let (findings, counts) = (Findings::default(), Counts::default());
        let mut reading = Reading { check, record, prefix: prefix.clone(), findings, counts };
        let newest = reading.run().await?;
        let suspicious = !reading.findings.0.is_empty() && !check.store.sole_writer();
        if suspicious && reads < READS_MAX {
            let now = Listed::read(check.store, &prefix).await?.newest();
            if now != newest {
                continue;
            }
        }
        return Ok((reading.counts, reading.findings));
    }
}

/// Reports slots that must be there and are not.
pub(super) fn report_gaps(prefix: &str, listed: &Listed, floor: u64, findings: &mut Findings) {
    for (first, last) in listed.gaps(floor) {
        let detail = match first == last {
            true => "missing: the slots behind it cannot be trusted to be complete".to_owned(),
            false => format!("missing, and all up to {last}"),
        };
        findings.add(FindingKind::SlotMissing, slot_path(prefix, first), detail);
    }
}

impl Reading<'_> {
    fn add(&mut self, kind: FindingKind, path: impl Into<String>, detail: impl Into<String>) {
        self.findings.add(kind, path, detail);
    }

    /// Reads the index once; tells which manifest was the newest.
    async fn run(&mut self) -> Result<Option<u64>, Error> {
        let store = self.check.store;
        let listed = Listed::read(store, &self.prefix).await?;
        self.counts.indexes = 1;
        self.counts.bytes = all(&listed).map(|object| object.size).sum();
        let Some(newest) = listed.newest() else {
            let detail = "the catalog names an index that has no manifest";
            self.add(FindingKind::IndexMissing, self.prefix.clone(), detail);
            return Ok(None);
        };
        let path = manifest_path(&self.prefix, newest);
        match log::manifest(store, &self.prefix, newest).await? {
            Read::Missing => self.add(FindingKind::ManifestDamaged, path, "missing"),
            Read::Damaged(why) => self.add(FindingKind::ManifestDamaged, path, why),
            Read::Good(manifest) if manifest.closed => {
                let detail = "the catalog names an index whose log is closed";
                self.add(FindingKind::IndexMissing, self.prefix.clone(), detail);
            }
            Read::Good(manifest) => self.manifest(&listed, &manifest).await?,
        }
        Ok(Some(newest))
    }

    async fn manifest(&mut self, listed: &Listed, manifest: &Manifest) -> Result<(), Error> {
        report_gaps(&self.prefix, listed, manifest.floor, &mut self.findings);
        self.tail(listed, manifest).await?;
        let path = manifest_path(&self.prefix, manifest.number);
        let body = match Body::decode(manifest.body.clone()) {
            Ok(body) => body,
            Err(error) => {
                let detail = format!("at byte {} of its body: {}", error.offset, error.reason);
                self.add(FindingKind::ManifestDamaged, path, detail);
                return Ok(());
            }
        };
        if body.schema != self.record.settings.schema {
            self.add(FindingKind::SchemaDiffers, path.clone(), "another schema than the catalog's");
        }
        self.counts.segments = body.segments.len() as u64;
        self.counts.records = body.counters.live;
        let deleted = self.bitmaps(&body).await?;
        self.counters(&path, &body, &deleted);
        self.segments(listed, &body, &deleted).await?;
        self.orphans(listed, &body).await
    }

    /// Every slot of the tail decodes, belongs to this life of the log and fits the schema.
    async fn tail(&mut self, listed: &Listed, manifest: &Manifest) -> Result<(), Error> {
        let schema = &self.record.settings.schema;
        let (prefix, findings) = (&self.prefix, &mut self.findings);
        let tail = listed.tail(manifest.floor);
        self.counts.slots = tail.len() as u64;
        let numbers = tail.iter().map(|(number, _)| *number);
        log::slots(self.check.store, prefix, numbers, |number, read| {
            let path = slot_path(prefix, number);
            let slot = match read {
                Read::Good(slot) => slot,
                Read::Missing => return findings.add(FindingKind::SlotMissing, path, "missing"),
                Read::Damaged(why) => return findings.add(FindingKind::SlotDamaged, path, why),
            };
            if slot.incarnation != manifest.incarnation {
                findings.add(FindingKind::SlotDamaged, &path, "of another life of the log");
            }
            if slot.closes {
                return;
            }
            for (_, payload) in slot.batches {
                match event::decode(schema, payload) {
                    Ok(IndexEvent::Put(_) | IndexEvent::Delete(_)) => {}
                    Err(error) => findings.add(FindingKind::SlotDamaged, &path, error.reason),
                }
            }
        })
        .await
    }

    /// The deletions of each segment; what cannot be read counts as none.
    async fn bitmaps(&mut self, body: &Body) -> Result<Vec<Option<RoaringBitmap>>, Error> {
        let mut bitmaps = Vec::with_capacity(body.segments.len());
        for entry in &body.segments {
            bitmaps.push(self.bitmap(entry).await?);
        }
        Ok(bitmaps)
    }

    async fn bitmap(&mut self, entry: &SegmentEntry) -> Result<Option<RoaringBitmap>, Error> {
        let segment = paths::segment(self.record.id, entry.meta.name);
        let (path, bytes) = match &entry.deleted {
            DeletedBitmap::None => return Ok(Some(RoaringBitmap::new())),
            DeletedBitmap::Inline(bytes) => (segment, bytes.clone()),
            DeletedBitmap::Object(object) => {
                let path = paths::bitmap(self.record.id, object.name);
                let Some(bytes) = log::get(self.check.store, &path).await? else {
                    self.add(FindingKind::BitmapMissing, path, "named by the manifest but missing");
                    return Ok(None);
                };
                let same = bytes.len() as u64 == object.length
                    && vb_search::checksum(&bytes) == object.crc;
                if !same {
                    self.add(FindingKind::BitmapDamaged, path, "differs from its checksum");
                    return Ok(None);
                }
                (path, bytes)
            }
        };
        match decode_bitmap(&bytes, entry.meta.docs) {
            Ok(bitmap) => Ok(Some(bitmap)),
            Err(error) => {
                self.add(FindingKind::BitmapDamaged, path, error.reason);
                Ok(None)
            }
        }
    }

    fn counters(&mut self, path: &str, body: &Body, deleted: &[Option<RoaringBitmap>]) {
        let Some(bitmaps) = deleted.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
            return;
        };
        let bits: u64 = bitmaps.iter().map(|bitmap| bitmap.len()).sum();
        if bits != body.counters.deleted {
            let counter = body.counters.deleted;
            let detail = format!("the manifest counts {counter} deleted records, bitmaps {bits}");
            self.add(FindingKind::CounterWrong, path, detail);
        }
    }

    /// Every segment is there, as long as its manifest says, and holds what it must.
    async fn segments(
        &mut self,
        listed: &Listed,
        body: &Body,
        deleted: &[Option<RoaringBitmap>],
    ) -> Result<(), Error> {
        let sizes: BTreeMap<&str, u64> =
            listed.others.iter().map(|object| (object.path.as_str(), object.size)).collect();
        let mut opened: Vec<Opened<'_>> = Vec::new();
        for (entry, deleted) in body.segments.iter().zip(deleted) {
            let path = paths::segment(self.record.id, entry.meta.name);
            let size = sizes.get(path.as_str()).copied();
            if self.is_whole(&path, size, entry.meta.length)
                && self.check.options.level >= Level::Keys
            {
                let source = segment::Source {
                    store: self.check.store,
                    schema: &body.schema,
                    meta: &entry.meta,
                    path: &path,
                    deep: self.check.options.level >= Level::Deep,
                };
                let segment = segment::check(&source, &mut self.findings).await?;
                let known = segment.zip(deleted.as_ref());
                opened.extend(known.map(|(segment, deleted)| Opened { segment, path, deleted }));
            }
        }
        segment::duplicates(&opened, &mut self.findings);
        Ok(())
    }

    fn is_whole(&mut self, path: &str, size: Option<u64>, length: u64) -> bool {
        match size {
            None => {
                self.add(FindingKind::SegmentMissing, path, "named by the manifest but missing");
                false
            }
            Some(size) if size != length => {
                let detail = format!("{size} bytes, its manifest says {length}");
                self.add(FindingKind::SegmentLength, path, detail);
                false
            }
            Some(_) => true,
        }
    }

    /// What lies beside the log and is named by none of its manifests. Older ones name what readers
    /// may still need.
    async fn orphans(&mut self, listed: &Listed, body: &Body) -> Result<(), Error> {
        let id = self.record.id;
        let mut orphans = Vec::new();
        for object in listed.others.iter().filter(|object| !is_named(id, body, &object.path)) {
            if !is_ours(id, &object.path) {
                self.add(FindingKind::Foreign, &object.path, "not an object of an index");
            } else if self.check.is_old(object.modified_ms) {
                orphans.push(object);
            }
        }
        for (number, _) in listed.manifests.iter().rev().skip(1) {
            if orphans.is_empty() {
                break;
            }
            // An older manifest that is gone or damaged harms nobody.
            let read = log::manifest(self.check.store, &self.prefix, *number).await?;
            let Read::Good(manifest) = read else { continue };
            if let Ok(older) = Body::decode(manifest.body) {
                orphans.retain(|object| !is_named(id, &older, &object.path));
            }
        }
        for object in orphans {
            let detail = format!("no manifest names it; {} bytes", object.size);
            self.add(FindingKind::Orphan, &object.path, detail);
        }
        Ok(())
    }
}

fn is_named(id: IndexId, body: &Body, path: &str) -> bool {
    body.segments.iter().any(|entry| {
        let bitmap = match &entry.deleted {
            DeletedBitmap::Object(object) => Some(paths::bitmap(id, object.name)),
            DeletedBitmap::None | DeletedBitmap::Inline(_) => None,
        };
        path == paths::segment(id, entry.meta.name) || bitmap.as_deref() == Some(path)
    })
}

/// Whether a path is one that the engine gives to segments or bitmaps.
fn is_ours(id: IndexId, path: &str) -> bool {
    let name = |folder: String| path.strip_prefix(&folder)?.strip_prefix('/');
    let named = name(paths::segments(id)).or_else(|| name(paths::bitmaps(id)));
    named.is_some_and(|name| paths::object_name(name).is_some())
}
