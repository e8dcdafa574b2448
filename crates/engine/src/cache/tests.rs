//! The cache before a store in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{join_all, poll_immediate};
use vb_commit::{Store, StoreErrorKind};
use vb_kernel::Kernels;
use vb_search::{
    Attributes, Metric, Part, PartId, RowRef, Schema, SectionPlace, Segment, SegmentBuilder,
    VectorField, key_hash,
};

use super::{Cache, CacheOptions, DiskOptions, Near, ObjectRequest, PartRequest, Shelf};
use crate::error::Error;
use crate::pool::Pool;

const DIMENSION: u32 = 512;
const DOCS: u32 = 400;
const OBJECT: u128 = 0xAB00_0000_0000_0000_0000_0000_0000_0007;
const PATH: &str = "index/x/segment/y";

/// A segment of four extents and some blocks, as an object.
struct Fixture {
    store: Store,
    object: Vec<u8>,
    schema: Arc<Schema>,
    blank: Segment,
}

fn vector(doc: u32) -> Vec<f32> {
    (0..DIMENSION).map(|place| (doc * 1000 + place) as f32).collect()
}

fn metadata(doc: u32) -> Vec<u8> {
    // Too random to shrink.
    (0..100u64)
        .flat_map(|n| key_hash(&[doc as u8, (doc >> 8) as u8, n as u8]).to_le_bytes())
        .collect()
}

impl Fixture {
    async fn new() -> Self {
        Self::on(Store::memory()).await
    }

    async fn on(store: Store) -> Self {
        let field =
            VectorField { name: "v".into(), dimension: DIMENSION, metric: Metric::Euclidean };
        let schema = Schema { vector_fields: vec![field], non_filterable: Vec::new() };
        let mut keys: Vec<[u8; 4]> = (0..DOCS).map(u32::to_le_bytes).collect();
        keys.sort_by_key(|key| key_hash(key));
        let mut builder = SegmentBuilder::new(&schema, Kernels::detect());
        for (doc, key) in (0..).zip(&keys) {
            builder.push(RowRef {
                key,
                vectors: &[Some(&vector(doc))],
                metadata: Some(&metadata(doc)),
                attributes: &Attributes::default(),
            });
        }
        let (mut object, mut table) = (Vec::new(), Vec::new());
        for (kind, field, bytes) in builder.finish().sections {
            object.resize(object.len().next_multiple_of(64), 0);
            let range = object.len() as u64..(object.len() + bytes.len()) as u64;
            table.push(SectionPlace { kind, field, range, crc: vb_search::checksum(&bytes) });
            object.extend_from_slice(&bytes);
        }
        store.put(PATH, object.clone().into()).await.expect("memory takes it");
        let blank = Segment::of_parts(&schema, DOCS, table).expect("valid");
        Self { store, object, schema: schema.into(), blank }
    }

    fn cache(&self, memory_bytes: u64, disk: Option<DiskOptions>) -> Cache {
        let options = CacheOptions { memory_bytes, load_bytes_max: 8 << 20, disk };
        Cache::new(self.store.clone(), Pool::new(Some(1)), options)
    }

    fn request(&self, segment: &Segment, id: PartId) -> PartRequest {
        let (range, crc) = segment.place(id).expect("a place");
        PartRequest {
            path: PATH.into(),
            object: OBJECT,
            id,
            range,
            crc,
            schema: Arc::clone(&self.schema),
            docs: DOCS,
        }
    }

    fn whole(&self) -> ObjectRequest {
        ObjectRequest {
            path: PATH.into(),
            object: OBJECT,
            length: self.object.len() as u64,
            docs: DOCS,
            schema: Arc::clone(&self.schema),
            blank: self.blank.clone(),
        }
    }

    fn sections(&self) -> Vec<PartRequest> {
        let ids = self.blank.section_parts();
        ids.into_iter().map(|id| self.request(&self.blank, id)).collect()
    }

    /// Extents and blocks.
    fn pieces(&self) -> Vec<PartRequest> {
        let mut segment = self.blank.clone();
        for request in self.sections() {
            let bytes = &self.object[request.range.start as usize..request.range.end as usize];
            let part = Part::open(&self.schema, DOCS, request.id, bytes).expect("valid");
            segment.add(&part).expect("valid");
        }
        let ids = segment.piece_parts();
        ids.into_iter().map(|id| self.request(&segment, id)).collect()
    }

    fn all(&self) -> Vec<PartRequest> {
        [self.sections(), self.pieces()].concat()
    }

    /// Reads everything through the cache, and every document from what came.
    async fn check(&self, cache: &Cache) {
        let requests = self.all();
        let ids: Vec<PartId> = requests.iter().map(|request| request.id).collect();
        let parts = cache.get(requests).await.expect("sound");
        assert_eq!(parts.iter().map(Part::id).collect::<Vec<_>>(), ids, "in the order asked for");
        self.check_parts(&parts);
    }

    fn check_parts(&self, parts: &[Part]) {
        let mut segment = self.blank.clone();
        parts.iter().for_each(|part| segment.add(part).expect("parts of one segment"));
        for doc in 0..DOCS {
            assert_eq!(segment.vector(0, doc), Some(&vector(doc)[..]));
            assert_eq!(segment.metadata(doc).expect("sound"), Some(metadata(doc).into()));
            assert_eq!(segment.find(segment.key(doc)), Some(doc));
        }
    }

    fn reads(&self) -> u64 {
        self.store.counts().get.requests
    }

    async fn damage(&self, place: u64) {
        let mut object = self.object.clone();
        object[place as usize] ^= 0x10;
        self.store.put(PATH, object.into()).await.expect("memory takes it");
    }
}

const PLENTY: u64 = 64 << 20;

#[tokio::test]
async fn parts_are_read_once_and_in_few_requests() {
    let fixture = Fixture::new().await;
    let cache = fixture.cache(PLENTY, None);
    fixture.check(&cache).await;
    assert_eq!(fixture.reads(), 1, "neighbours are read together");
    let first = cache.stats();
    assert_eq!((first.memory_hits, first.reads), (0, 1));
    assert_eq!(first.memory_misses, fixture.all().len() as u64);
    assert!(first.memory_bytes > fixture.object.len() as u64 / 2);
    fixture.check(&cache).await;
    assert_eq!(fixture.reads(), 1, "the second time all is in memory");
    assert_eq!(cache.stats().memory_hits, fixture.all().len() as u64);
    for request in fixture.all() {
        assert!(cache.contains(OBJECT, request.id));
        assert_eq!(cache.peek(OBJECT, request.id).map(|part| part.id()), Some(request.id));
        assert!(cache.peek(OBJECT + 1, request.id).is_none());
    }
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_read() {
    let fixture = Fixture::new().await;
    let cache = fixture.cache(PLENTY, None);
    join_all((0..10).map(|_| fixture.check(&cache))).await;
    assert_eq!(fixture.reads(), 1);
    let pieces = fixture.pieces();
    let doubled = [&pieces[..2], &pieces[..2]].concat();
    let cache = fixture.cache(PLENTY, None);
    assert_eq!(
        cache.get(doubled).await.expect("sound").len(),
        4,
        "the same part twice in one call"
    );
    assert_eq!(fixture.reads(), 2);
}

#[tokio::test]
async fn a_small_object_is_read_whole_once() {
    let fixture = Fixture::new().await;
    let cache = fixture.cache(PLENTY, None);
    let loads = join_all((0..5).map(|_| cache.load_object(fixture.whole()))).await;
    for parts in loads {
        fixture.check_parts(&parts.expect("sound"));
    }
    assert_eq!(fixture.reads(), 1);
    fixture.check(&cache).await;
    assert_eq!(fixture.reads(), 1, "its parts are in memory");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_reads_to_the_others() {
    let fixture = Fixture::new().await;
    let cache = fixture.cache(PLENTY, None);
    assert!(poll_immediate(cache.get(fixture.all())).await.is_none(), "it has begun to wait");
    fixture.check(&cache).await;
    assert_eq!(fixture.reads(), 1);
}

#[tokio::test]
async fn what_does_not_fit_is_read_again() {
    let fixture = Fixture::new().await;
    let cache = fixture.cache(600 << 10, None);
    for _ in 0..3 {
        fixture.check(&cache).await;
        assert!(cache.stats().memory_bytes <= 600 << 10);
    }
    assert!(cache.stats().memory_evictions > 0);
    assert!(fixture.reads() > 1);
}

#[tokio::test]
async fn reads_wait_for_room_and_still_come_through() {
    let fixture = Fixture::new().await;
    let options = CacheOptions { memory_bytes: PLENTY, load_bytes_max: 1, disk: None };
    let cache = Cache::new(fixture.store.clone(), Pool::new(Some(1)), options);
    let (parts, object) = (fixture.check(&cache), cache.load_object(fixture.whole()));
    let ((), object) = tokio::join!(parts, object);
    fixture.check_parts(&object.expect("sound"));
}

fn corrupt_at(error: &Error) -> u64 {
    match error {
        Error::Corrupt { path, offset, .. } if path == PATH => *offset,
        other => panic!("not corrupt: {other:?}"),
    }
}

#[tokio::test]
async fn damage_fails_those_who_need_the_damaged_part() {
    let fixture = Fixture::new().await;
    let pieces = fixture.pieces();
    fixture.damage(pieces[1].range.start + 5).await;
    let cache = fixture.cache(PLENTY, None);
    let error = cache.get(pieces.clone()).await.expect_err("damaged");
    assert_eq!(corrupt_at(&error), pieces[1].range.start);
    assert!(cache.load_object(fixture.whole()).await.is_err());
    let sound = [&pieces[..1], &pieces[2..]].concat();
    assert_eq!(cache.get(sound).await.expect("not these").len(), pieces.len() - 1);
    assert!(!cache.contains(OBJECT, pieces[1].id), "nothing damaged is kept");
    fixture.store.put(PATH, fixture.object.clone().into()).await.expect("memory takes it");
    fixture.check(&cache).await;
}

#[tokio::test]
async fn an_object_that_was_cut_or_lost_is_told() {
    let fixture = Fixture::new().await;
    let cache = fixture.cache(PLENTY, None);
    let cut = Bytes::copy_from_slice(&fixture.object[..fixture.object.len() - 1]);
    fixture.store.put(PATH, cut).await.expect("memory takes it");
    corrupt_at(&cache.get(fixture.sections()).await.expect_err("cut"));
    corrupt_at(&cache.load_object(fixture.whole()).await.expect_err("cut"));
    fixture.store.delete(PATH).await.expect("memory deletes");
    match cache.get(fixture.sections()).await.expect_err("lost") {
        Error::Storage(source) => assert_eq!(source.kind(), StoreErrorKind::NotFound),
        other => panic!("not lost: {other:?}"),
    }
    let nowhere = PartRequest { range: 0..0, crc: 0, ..fixture.sections().remove(0) };
    corrupt_at(&cache.get(vec![nowhere]).await.expect_err("no bytes"));
}

/// The segment with all sections, as a query has it.
async fn with_sections(fixture: &Fixture, cache: &Cache) -> Segment {
    let mut segment = fixture.blank.clone();
    let parts = cache.get(fixture.sections()).await.expect("sound");
    parts.iter().for_each(|part| segment.add(part).expect("parts of one segment"));
    segment
}

#[tokio::test]
async fn parts_stay_within_reach_until_any_is_pushed_out() {
    let fixture = Fixture::new().await;
    let cache = fixture.cache(fixture.object.len() as u64 * 2, None);
    let segment = with_sections(&fixture, &cache).await;
    let shelf = Arc::new(Shelf::default());
    cache.shelve(&shelf, Near::new(segment.clone()), cache.clearings());
    let near = shelf.get().expect("nothing was pushed out");
    assert!(near.segment().is_same(&segment));
    for part in cache.get(fixture.pieces()).await.expect("sound") {
        assert!(near.get(part.id()).is_none());
        near.put(&part);
        assert_eq!(near.get(part.id()).map(Part::id), Some(part.id()));
    }
    for section in fixture.sections() {
        assert!(near.get(section.id).is_none(), "sections come with the segment");
    }
    assert!(shelf.get().is_some() && cache.stats().memory_evictions == 0);
    let extent = cache.peek(OBJECT, PartId::VectorExtent(0, 0)).expect("it is in memory");
    for object in 0.. {
        cache.keep(object, extent.clone());
        if cache.stats().memory_evictions > 0 {
            break;
        }
        assert!(shelf.get().is_some());
    }
    assert!(shelf.get().is_none(), "something was pushed out");
}

#[tokio::test]
async fn what_may_have_been_pushed_out_is_not_put_within_reach() {
    let fixture = Fixture::new().await;
    let cache = fixture.cache(100 << 10, None);
    let clearings = cache.clearings();
    let segment = with_sections(&fixture, &cache).await;
    let _ = cache.get(fixture.pieces()).await.expect("sound");
    assert!(cache.clearings() > clearings, "all of it does not fit");
    let shelf = Arc::new(Shelf::default());
    cache.shelve(&shelf, Near::new(segment.clone()), clearings);
    assert!(shelf.get().is_none());
    cache.shelve(&shelf, Near::new(segment), cache.clearings());
    assert!(shelf.get().is_some());
}

#[tokio::test]
async fn what_is_no_more_is_forgotten() {
    let fixture = Fixture::new().await;
    let cache = fixture.cache(PLENTY, None);
    fixture.check(&cache).await;
    cache.forget(&[OBJECT + 1]);
    assert!(fixture.all().iter().all(|request| cache.contains(OBJECT, request.id)));
    cache.forget(&[OBJECT]);
    assert!(!fixture.all().iter().any(|request| cache.contains(OBJECT, request.id)));
    assert_eq!(cache.stats().memory_bytes, 0);
}

/// A folder for a disk tier.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn options(&self, bytes_max: u64) -> Option<DiskOptions> {
        Some(DiskOptions { dir: self.0.path().into(), bytes_max, store_id: 0x5E })
    }

    fn root(&self) -> PathBuf {
        self.0.path().join(format!("{:032x}", 0x5E))
    }

    /// All files, by name.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("readable").path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }
}

/// No part stays in memory.
const NOTHING: u64 = 0;

async fn settled(cache: &Cache) {
    cache.disk.as_ref().expect("a disk tier").settled().await;
}

async fn filled(fixture: &Fixture, folder: &Folder) -> Cache {
    let cache = fixture.cache(NOTHING, folder.options(PLENTY));
    settled(&cache).await;
    fixture.check(&cache).await;
    settled(&cache).await;
    assert_eq!(folder.files().len(), fixture.all().len(), "one file per part");
    cache
}

#[tokio::test]
async fn a_restart_keeps_what_is_on_disk() {
    let (fixture, folder) = (Fixture::new().await, Folder::new());
    let first = filled(&fixture, &folder).await;
    let reads = fixture.reads();
    fixture.check(&first).await;
    assert_eq!(fixture.reads(), reads, "all of it comes from the disk");
    drop(first);
    let second = fixture.cache(NOTHING, folder.options(PLENTY));
    fixture.check(&second).await;
    settled(&second).await;
    fixture.check(&second).await;
    assert_eq!(fixture.reads(), reads, "before and after the walk");
    let stats = second.stats();
    assert_eq!((stats.disk_hits, stats.disk_damaged), (2 * fixture.all().len() as u64, 0));
    assert!(stats.disk_bytes >= fixture.object.len() as u64);
}

#[tokio::test]
async fn whole_objects_are_kept_on_disk_too() {
    let (fixture, folder) = (Fixture::new().await, Folder::new());
    let cache = fixture.cache(NOTHING, folder.options(PLENTY));
    settled(&cache).await;
    for _ in 0..3 {
        fixture.check_parts(&cache.load_object(fixture.whole()).await.expect("sound"));
        settled(&cache).await;
    }
    assert_eq!((fixture.reads(), folder.files().len()), (1, 1));
    let file = folder.files().remove(0);
    let mut bytes = fs::read(&file).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("writable");
    fixture.check_parts(&cache.load_object(fixture.whole()).await.expect("sound"));
    assert_eq!((fixture.reads(), cache.stats().disk_damaged), (2, 1));
}

/// Does something to every file; then every part must still come out right.
async fn check_damage(damage: impl Fn(&Path, usize)) {
    let (fixture, folder) = (Fixture::new().await, Folder::new());
    let cache = filled(&fixture, &folder).await;
    let files = folder.files();
    files.iter().enumerate().for_each(|(number, file)| damage(file, number));
    fixture.check(&cache).await;
    settled(&cache).await;
    assert_eq!(cache.stats().disk_damaged, files.len() as u64);
    let reads = fixture.reads();
    fixture.check(&cache).await;
    assert_eq!(fixture.reads(), reads, "sound files took the place of the damaged ones");
}

#[tokio::test]
async fn damaged_files_are_fetched_again() {
    let flip = |file: &Path, place: usize| {
        let mut bytes = fs::read(file).expect("readable");
        let place = place % bytes.len();
        bytes[place] ^= 1;
        fs::write(file, bytes).expect("writable");
    };
    check_damage(|file, _| flip(file, 64)).await;
    check_damage(|file, number| flip(file, number % 40)).await;
    check_damage(|file, number| flip(file, 70 + 31 * number)).await;
    let cut = |file: &Path, length| {
        let bytes = fs::read(file).expect("readable");
        fs::write(file, &bytes[..length]).expect("writable");
    };
    check_damage(|file, number| cut(file, number % 65)).await;
    check_damage(|file, _| {
        let longer = [fs::read(file).expect("readable"), vec![0]].concat();
        fs::write(file, longer).expect("writable");
    })
    .await;
}

#[tokio::test]
async fn files_under_wrong_names_are_found_out() {
    let (fixture, folder) = (Fixture::new().await, Folder::new());
    let cache = filled(&fixture, &folder).await;
    let files = folder.files();
    let contents: Vec<Vec<u8>> =
        files.iter().map(|file| fs::read(file).expect("readable")).collect();
    for (file, other) in files.iter().zip(contents.iter().cycle().skip(1)) {
        fs::write(file, other).expect("writable");
    }
    fixture.check(&cache).await;
    assert_eq!(cache.stats().disk_damaged, files.len() as u64);
}

#[tokio::test]
async fn the_folder_may_be_deleted_at_any_time() {
    let (fixture, folder) = (Fixture::new().await, Folder::new());
    let cache = filled(&fixture, &folder).await;
    fs::remove_dir_all(folder.0.path()).expect("deletable");
    fixture.check(&cache).await;
    settled(&cache).await;
    assert_eq!(folder.files().len(), fixture.all().len(), "it fills again");
    assert_eq!(cache.stats().disk_damaged, 0);
    let some = folder.files().into_iter().step_by(2);
    some.for_each(|file| fs::remove_file(file).expect("deletable"));
    fixture.check(&cache).await;
}

#[tokio::test]
async fn the_folder_never_outgrows_its_bound() {
    let (fixture, folder) = (Fixture::new().await, Folder::new());
    let bytes_max = 500 << 10;
    let used = || folder.files().iter().map(|file| fs::metadata(file).expect("there").len()).sum();
    let cache = fixture.cache(NOTHING, folder.options(bytes_max));
    settled(&cache).await;
    for _ in 0..3 {
        fixture.check(&cache).await;
        settled(&cache).await;
        let used: u64 = used();
        assert!(used <= cache.stats().disk_bytes && cache.stats().disk_bytes <= bytes_max);
        assert!(used > bytes_max / 2, "room is made use of");
    }
    assert!(cache.stats().disk_evictions > 0);
    drop(cache);
    let smaller = fixture.cache(NOTHING, folder.options(bytes_max / 4));
    settled(&smaller).await;
    assert!(used() <= bytes_max / 4, "a smaller bound holds from the start");
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_harms_nothing() {
    let (fixture, folder) = (Fixture::new().await, Folder::new());
    let file = folder.0.path().join("file");
    fs::write(&file, "not a folder").expect("writable");
    let options = DiskOptions { dir: file.clone(), bytes_max: PLENTY, store_id: 1 };
    let cache = fixture.cache(NOTHING, Some(options));
    settled(&cache).await;
    for _ in 0..2 {
        fixture.check(&cache).await;
        settled(&cache).await;
    }
    assert_eq!(cache.stats().disk_bytes, 0);
    assert_eq!(fs::read(file).expect("still there"), b"not a folder");
}

#[tokio::test]
async fn a_local_folder_needs_no_disk_tier() {
    let sole = Store::from_object_store(Arc::new(object_store::memory::InMemory::new()), true);
    let (fixture, folder) = (Fixture::on(sole).await, Folder::new());
    let cache = fixture.cache(NOTHING, folder.options(PLENTY));
    fixture.check(&cache).await;
    assert!(cache.disk.is_none());
    assert_eq!(folder.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn forgotten_objects_leave_the_disk() {
    let (fixture, folder) = (Fixture::new().await, Folder::new());
    let cache = filled(&fixture, &folder).await;
    cache.forget(&[OBJECT]);
    assert_eq!(cache.stats().disk_bytes, 0);
    drop(cache);
    // Deleting goes on in the background; a read that finds a file is right all the same.
    let next = fixture.cache(NOTHING, folder.options(PLENTY));
    fixture.check(&next).await;
}

#[tokio::test]
async fn what_a_killed_process_left_is_swept_and_other_files_stay() {
    let (fixture, folder) = (Fixture::new().await, Folder::new());
    drop(filled(&fixture, &folder).await);
    let kept = folder.files();
    let inside = kept[0].parent().expect("in a folder");
    let left = inside.join(format!("{OBJECT:032x}-block.9.17.tmp"));
    let foreign = [inside.join("notes.tmp"), folder.root().join("readme"), inside.join("x-whole")];
    for file in foreign.iter().chain([&left]) {
        fs::write(file, "bytes").expect("writable");
    }
    let cache = fixture.cache(NOTHING, folder.options(PLENTY));
    settled(&cache).await;
    assert!(!left.exists());
    assert!(foreign.iter().all(|file| file.exists()));
    assert!(kept.iter().all(|file| file.exists()));
}
