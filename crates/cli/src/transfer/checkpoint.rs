//! Which rows of an input are in an index: a small file next to the input.
//!
//! The file names what it belongs to: each input file by size and time of change, the index by
//! its address and the time it was made. If any of that differs, the checkpoint says nothing
//! about the import at hand and the import starts over. It is replaced whole, so it is valid at
//! every moment, and it never claims a row whose put was not acknowledged.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use super::with_suffix;
use crate::failure::Failure;

const VERSION: u32 = 1;

/// What a checkpoint belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) files: Vec<FileStamp>,
    pub(super) endpoint: String,
    pub(super) bucket: String,
    pub(super) index: String,
    pub(super) created: String,
}

/// An input file as it was when the import began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified_ns: u64,
}

impl FileStamp {
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let metadata = fs::metadata(path).map_err(|cause| Failure::file(path, cause))?;
        let modified =
            metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: metadata.len(),
            modified_ns: modified
                .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        })
    }
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    version: u32,
    identity: Identity,
    /// Row numbers from 0.
    done: Ranges,
}

/// An import's progress, in memory and on disk.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    content: Content,
}

/// What was found at the start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Progress of this very import.
    Progress,
    /// A checkpoint of something else, or none that can be read.
    Stale(&'static str),
}

impl Checkpoint {
    /// The default place: next to the input, one per target.
    pub(super) fn path_for(input: &Path, bucket: &str, index: &str) -> PathBuf {
        with_suffix(input, &format!(".{bucket}.{index}.import"))
    }

    /// Loads the progress of this import; anything else is as good as nothing.
    pub(super) fn load(path: PathBuf, identity: Identity) -> (Self, Found) {
        let (done, found) = match fs::read(&path) {
            Err(_) => (Ranges::default(), Found::Nothing),
            Ok(bytes) => match recognise(&bytes, &identity) {
                Ok(done) => (done, Found::Progress),
                Err(why) => (Ranges::default(), Found::Stale(why)),
            },
        };
        (Self { path, content: Content { version: VERSION, identity, done } }, found)
    }

    pub(super) fn done(&self) -> &Ranges {
        &self.content.done
    }

    /// Notes that the rows of a range (numbers from 0) are in.
    pub(super) fn add(&mut self, rows: std::ops::Range<u64>) {
        self.content.done.insert(rows);
    }

    /// Replaces the file, whole.
    pub(super) fn save(&self) -> Result<(), Failure> {
        let half = with_suffix(&self.path, ".part");
        let write = || -> io::Result<()> {
            let mut file = File::create(&half)?;
            file.write_all(&serde_json::to_vec(&self.content)?)?;
            // Without this a power cut could leave the new name with no content.
            file.sync_all()?;
            fs::rename(&half, &self.path)
        };
        write().map_err(|cause| Failure::file(&self.path, cause))
    }

    /// The import is complete.
    pub(super) fn remove(&self) {
        // A checkpoint that stays behind is found to be complete next time, which costs nothing.
        let _ = fs::remove_file(&self.path);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn recognise(bytes: &[u8], identity: &Identity) -> Result<Ranges, &'static str> {
    let content: Content = serde_json::from_slice(bytes).map_err(|_| "it cannot be read")?;
    match content {
        Content { version, .. } if version != VERSION => Err("it is of another version"),
        Content { identity: other, .. } if other.files != identity.files => {
            Err("the input has changed since")
        }
        Content { identity: other, .. } if other != *identity => {
            Err("it is about another index, or the index was made again")
        }
        Content { done, .. } => Ok(done),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Checkpoint, FileStamp, Found, Identity, recognise};

    fn identity() -> Identity {
        Identity {
            files: vec![FileStamp { name: "a.jsonl".into(), bytes: 10, modified_ns: 20 }],
            endpoint: "http://h".into(),
            bucket: "b".into(),
            index: "i".into(),
            created: "2026".into(),
        }
    }

    #[test]
    fn progress_is_found_again_and_only_by_its_own_import() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        let (mut checkpoint, found) = Checkpoint::load(path.clone(), identity());
        assert_eq!(found, Found::Nothing);
        checkpoint.add(500..1000);
        checkpoint.add(2000..2500);
        checkpoint.save().unwrap();
        checkpoint.save().unwrap();

        let (again, found) = Checkpoint::load(path.clone(), identity());
        assert_eq!((found, again.done().count()), (Found::Progress, 1000));
        assert!(again.done().contains(999) && !again.done().contains(1000));

        let changed = [
            Identity {
                files: vec![FileStamp { bytes: 11, ..identity().files[0].clone() }],
                ..identity()
            },
            Identity {
                files: vec![FileStamp { modified_ns: 21, ..identity().files[0].clone() }],
                ..identity()
            },
            Identity { index: "j".into(), ..identity() },
            Identity { created: "2027".into(), ..identity() },
            Identity { endpoint: "http://g".into(), ..identity() },
        ];
        for other in changed {
            let (fresh, found) = Checkpoint::load(path.clone(), other);
            assert!(matches!(found, Found::Stale(_)));
            assert_eq!(fresh.done().count(), 0);
        }
        again.remove();
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    proptest! {
        #[test]
        fn damaged_files_are_stale_and_never_panic(cut in 0usize..200, flip in 0usize..200, bit in 0u8..8) {
            let folder = tempfile::tempdir().unwrap();
            let (mut checkpoint, _) = Checkpoint::load(folder.path().join("c"), identity());
            checkpoint.add(0..7);
            checkpoint.save().unwrap();
            let bytes = std::fs::read(folder.path().join("c")).unwrap();
            prop_assert_eq!(recognise(&bytes, &identity()).unwrap().count(), 7);
            let cut = cut % bytes.len();
            prop_assert!(recognise(&bytes[..cut], &identity()).is_err());
            let mut damaged = bytes.clone();
            let flip = flip % bytes.len();
            damaged[flip] ^= 1 << bit;
            let _ = recognise(&damaged, &identity());
        }
    }
}
