//! Lines that wait on this machine until they are delivered: one piece per bucket and hour.
//!
//! Invariants: a file is only appended to, and only by the process that made it; every file that an
//! earlier process left is sealed. So the lines of a sealed file never change, and its object may be
//! created again under the same name. A killed process loses nothing of what was added; a power
//! failure what was added after the last sync (the writer syncs every second).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::counters::{Counters, Dropped};
use super::frame;
use super::piece::{Body, Content, EXTENSION, Key, Piece, Sealed};
use super::plan::{self, Rules, State};

/// Name of the file whose lock says that a process uses the folder.
const LOCK_NAME: &str = "lock";

/// The folder of the files.
struct Folder {
    path: PathBuf,
    /// The folder itself, for syncing its entries.
    entries: Arc<File>,
    /// Held for its lock.
    _lock: File,
}

/// Pieces that are added to.
pub(super) struct Spool {
    folder: Option<Folder>,
    pieces: HashMap<Key, Piece>,
    rules: Rules,
    bytes_max: u64,
    counters: Arc<Counters>,
    names: Names,
    /// What must be synced although no open piece has it.
    unsynced: Vec<Arc<File>>,
    /// Pieces that ended while something was added.
    full: Vec<Sealed>,
}

/// Makes unique strings: 16 hex digits that are this process's, then 8 that count.
struct Names {
    process: u64,
    next: u32,
}

impl Names {
    fn new() -> Self {
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the operating system has a random source");
        Self { process: u64::from_le_bytes(random), next: 0 }
    }

    fn next(&mut self) -> String {
        self.next = self.next.wrapping_add(1);
        format!("{:016X}{:08X}", self.process, self.next)
    }
}

impl Spool {
    /// A spool in `dir`, or in memory; with it, what an earlier process left in the folder.
    ///
    /// # Errors
    /// A folder that cannot be made, read or written, or that another process uses.
    pub(super) fn open(
        dir: Option<&Path>,
        rules: Rules,
        bytes_max: u64,
        counters: Arc<Counters>,
    ) -> io::Result<(Self, Vec<Sealed>)> {
        let folder = dir.map(Folder::open).transpose()?;
        let left = folder.as_ref().map(|folder| left_behind(&folder.path)).transpose()?;
        let left = left.unwrap_or_default();
        left.iter().for_each(|sealed| counters.taken(sealed.bytes));
        let spool = Self {
            folder,
            pieces: HashMap::new(),
            rules,
            bytes_max,
            counters,
            names: Names::new(),
            unsynced: Vec::new(),
            full: Vec::new(),
        };
        Ok((spool, left))
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Why it was not added.
    pub(super) fn add(&mut self, key: &Key, line: &str, now_s: i64) -> Result<(), Dropped> {
        if self.counters.spool_bytes() >= self.bytes_max {
            return Err(Dropped::SpoolFull);
        }
        let folder = self.folder.as_ref().map(|folder| folder.path.as_path());
        let piece = match self.pieces.entry(key.clone()) {
            Entry::Occupied(piece) => piece.into_mut(),
            Entry::Vacant(place) => {
                let piece = Piece::begin(folder, key, self.names.next(), now_s)?;
                self.counters.taken(piece.bytes);
                self.unsynced.extend(self.folder.as_ref().map(|f| Arc::clone(&f.entries)));
                place.insert(piece)
            }
        };
        let before = piece.bytes;
        let added = piece.add(line, now_s);
        self.counters.taken(piece.bytes - before);
        // What comes behind a torn frame would be lost, so a file that has one ends.
        if piece.bytes >= self.rules.bytes_max || added.as_ref().is_err_and(|e| !e.repaired) {
            let sealed = self.seal(key);
            self.full.extend(sealed);
        }
        added.map_err(|broken| broken.error.into())
    }

    /// Ends the pieces whose time has come.
    pub(super) fn seal_ended(&mut self, now_s: i64) -> Vec<Sealed> {
        let keys: Vec<Key> = self.pieces.keys().cloned().collect();
        let states = keys.iter().map(|key| {
            let Piece { begun_s, used_s, bytes, .. } = self.pieces[key];
            State { hour: key.hour, begun_s, used_s, bytes }
        });
        let ended = plan::ended(&states.collect::<Vec<_>>(), now_s, self.rules);
        let mut sealed = std::mem::take(&mut self.full);
        sealed.extend(ended.into_iter().filter_map(|n| self.seal(&keys[n])));
        sealed
    }

    /// Ends all pieces.
    pub(super) fn seal_all(&mut self) -> Vec<Sealed> {
        let keys: Vec<Key> = self.pieces.keys().cloned().collect();
        let mut sealed = std::mem::take(&mut self.full);
        sealed.extend(keys.iter().filter_map(|key| self.seal(key)));
        sealed
    }

    fn seal(&mut self, key: &Key) -> Option<Sealed> {
        let piece = self.pieces.remove(key)?;
        if let (Body::File { file, .. }, true) = (&piece.body, piece.dirty) {
            self.unsynced.push(Arc::clone(file));
        }
        Some(piece.seal(key.clone()))
    }

    /// The files to which something was added since the last call, for somebody to sync.
    pub(super) fn unsynced(&mut self) -> Vec<Arc<File>> {
        let mut files = std::mem::take(&mut self.unsynced);
        for piece in self.pieces.values_mut().filter(|piece| piece.dirty) {
            piece.dirty = false;
            if let Body::File { file, .. } = &piece.body {
                files.push(Arc::clone(file));
            }
        }
        files
    }
}

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = File::options().create(true).append(true).open(path.join(LOCK_NAME))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path: path.to_path_buf(), entries: Arc::new(File::open(path)?), _lock: lock })
    }
}

/// What an earlier process left, oldest name first.
fn left_behind(folder: &Path) -> io::Result<Vec<Sealed>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            left.extend(recovered(path)?);
        }
    }
    left.sort_by(|a, b| a.unique.cmp(&b.unique));
    Ok(left)
}

/// The sealed piece of a file. One that ends before its first line is taken away; one whose header
/// is damaged is kept beside the others under another name, for somebody to look at.
fn recovered(path: PathBuf) -> io::Result<Option<Sealed>> {
    let mut head = Vec::new();
    let file = File::open(&path)?;
    let bytes = file.metadata()?.len();
    file.take(frame::HEADER_BYTES_MAX as u64).read_to_end(&mut head)?;
    let unique = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    if let Some(key) = frame::key(&head) {
        return Ok(Some(Sealed { key, unique, content: Content::File(path), bytes }));
    }
    if frame::is_torn(&head) {
        fs::remove_file(&path)?;
    } else {
        let aside = path.with_extension("damaged");
        tracing::error!(file = %aside.display(), "log lines of a damaged file are kept aside");
        fs::rename(&path, aside)?;
    }
    Ok(None)
}

impl From<io::Error> for Dropped {
    fn from(error: io::Error) -> Self {
        Self::SpoolFailed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::piece::Destination;
    use super::*;

    const NOW: i64 = 1_767_323_045;
    const RULES: Rules = Rules { bytes_max: 1000, age_max_s: 3600, open_max: 3 };

    fn open(dir: Option<&Path>) -> (Spool, Vec<Sealed>) {
        Spool::open(dir, RULES, 1 << 20, Arc::default()).unwrap()
    }

    fn key(bucket: &str) -> Key {
        let destination = Destination {
            account: "1".into(),
            bucket: bucket.into(),
            sink: "logs".into(),
            prefix: "p-".into(),
        };
        Key { destination: destination.into(), hour: plan::hour_of(NOW) }
    }

    fn text(sealed: &Sealed) -> String {
        let bytes = match &sealed.content {
            Content::File(path) => frame::lines(fs::read(path).unwrap()).0,
            Content::Memory(bytes) => bytes.to_vec(),
        };
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_survive_a_process_that_is_gone_cut_at_any_byte() {
        let dir = tempfile::tempdir().unwrap();
        let lines = ["one", "two", "three"];
        let (mut spool, left) = open(Some(dir.path()));
        assert!(left.is_empty());
        for line in lines {
            spool.add(&key("vb"), line, NOW).unwrap();
        }
        drop(spool);
        let (spool, left) = open(Some(dir.path()));
        drop(spool);
        let Content::File(path) = &left[0].content else { panic!("a file") };
        let whole = fs::read(path).unwrap();
        for cut in (0..=whole.len()).rev() {
            fs::write(path, &whole[..cut]).unwrap();
            let (_spool, left) = open(Some(dir.path()));
            let found = left.iter().map(text).collect::<String>();
            let expected = lines.iter().map(|line| format!("{line}\n"));
            assert!(expected.collect::<String>().starts_with(&found), "cut at {cut}: {found}");
            assert!(left.iter().all(|sealed| sealed.key == key("vb")), "cut at {cut}");
            assert_eq!(found.is_empty(), cut < whole.len() - 8 - 5 - 8 - 3, "cut at {cut}");
        }
        let (_spool, left) = open(Some(dir.path()));
        assert!(left.is_empty() && !path.exists(), "what holds no header is taken away");
    }

    #[test]
    fn a_damaged_header_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(Some(dir.path()));
        spool.add(&key("vb"), "line", NOW).unwrap();
        let sealed = spool.seal_all().remove(0);
        drop(spool);
        let Content::File(path) = &sealed.content else { panic!("a file") };
        let mut bytes = fs::read(path).unwrap();
        bytes[20] ^= 1;
        fs::write(path, bytes).unwrap();
        assert!(open(Some(dir.path())).1.is_empty());
        assert!(path.with_extension("damaged").exists() && !path.exists());
    }

    #[test]
    fn a_folder_serves_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let (_spool, _) = open(Some(dir.path()));
        assert!(Spool::open(Some(dir.path()), RULES, 1 << 20, Arc::default()).is_err());
    }

    #[test]
    fn each_bucket_and_hour_is_a_piece_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for place in [None, Some(dir.path())] {
            let (mut spool, _) = open(place);
            let next = Key { hour: key("a").hour + 3600, ..key("a") };
            for (key, line) in
                [(key("a"), "1"), (key("b"), "2"), (next.clone(), "3"), (key("a"), "4")]
            {
                spool.add(&key, line, NOW).unwrap();
            }
            assert!(spool.seal_ended(NOW).is_empty());
            let mut over = spool.seal_ended(next.hour + plan::GRACE_S);
            over.sort_by_key(text);
            assert_eq!(over.iter().map(text).collect::<Vec<_>>(), ["1\n4\n", "2\n"]);
            assert!(over.iter().all(|sealed| sealed.key != next));
            let uniques = [&over[0].unique, &over[1].unique, &spool.seal_all()[0].unique];
            assert!(uniques[0] != uniques[1] && uniques[1] != uniques[2]);
        }
    }

    #[test]
    fn a_full_spool_drops_until_something_is_delivered() {
        let counters: Arc<Counters> = Arc::default();
        let (mut spool, _) = Spool::open(None, RULES, 10, Arc::clone(&counters)).unwrap();
        spool.add(&key("vb"), "0123456789", NOW).unwrap();
        assert!(matches!(spool.add(&key("vb"), "x", NOW), Err(Dropped::SpoolFull)));
        counters.freed(11);
        spool.add(&key("vb"), "x", NOW).unwrap();
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(Some(&dir.path().join("spool")));
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(matches!(spool.add(&key("vb"), "x", NOW), Err(Dropped::SpoolFailed(_))));
    }
}
