//! One object in the making: the lines of one bucket and hour, on disk or in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vb_engine::{BucketId, LoggingTarget};

use super::frame;

/// Where the lines of a bucket go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    /// The account that owns the bucket.
    pub(super) account: Box<str>,
    /// The bucket that is logged.
    pub(super) bucket: Box<str>,
    /// The target: the name of a sink.
    pub(super) sink: Box<str>,
    /// What object names begin with.
    pub(super) prefix: Box<str>,
}

impl Destination {
    /// The one that a bucket's setting names.
    pub(super) fn new(bucket: &BucketId, target: &LoggingTarget) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
        Self {
            account: text(&bucket.account),
            bucket: text(&bucket.name),
            sink: target.bucket.as_str().into(),
            prefix: target.prefix.as_str().into(),
        }
    }

    /// Whether a setting names this one.
    pub(super) fn is(&self, target: &LoggingTarget) -> bool {
        *self.sink == *target.bucket && *self.prefix == *target.prefix
    }
}

/// What one piece is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) destination: Arc<Destination>,
    /// First second of the hour, since 1970.
    pub(super) hour: i64,
}

/// Where the bytes of a piece are. In memory they are lines, on disk frames.
pub(super) enum Body {
    File { file: Arc<File>, path: PathBuf },
    Memory(Vec<u8>),
}

/// Lines that are still added to.
pub(super) struct Piece {
    /// The object's unique string.
    pub(super) unique: String,
    pub(super) body: Body,
    /// Bytes of the spool that it takes.
    pub(super) bytes: u64,
    /// When it was begun and last added to, seconds since 1970.
    pub(super) begun_s: i64,
    pub(super) used_s: i64,
    /// Something was added since the last sync.
    pub(super) dirty: bool,
}

/// Extension of spool files.
pub(super) const EXTENSION: &str = "lines";

impl Piece {
    /// An empty piece: a new file in `folder`, or memory.
    ///
    /// # Errors
    /// As the file system fails; no file is left then.
    pub(super) fn begin(
        folder: Option<&Path>,
        key: &Key,
        unique: String,
        now_s: i64,
    ) -> io::Result<Self> {
        let body = match folder {
            None => Body::Memory(Vec::new()),
            Some(folder) => {
                let path = folder.join(format!("{unique}.{EXTENSION}"));
                let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
                Body::File { file: Arc::new(file), path }
            }
        };
        let mut piece =
            Self { unique, body, bytes: 0, begun_s: now_s, used_s: now_s, dirty: false };
        if let Body::File { path, .. } = &piece.body {
            let (path, mut head) = (path.clone(), Vec::new());
            frame::push_frame(&mut head, &frame::header(key));
            piece.append(&head).inspect_err(|_| {
                // An empty file would be taken away at the next start, too.
                let _ = std::fs::remove_file(path);
            })?;
        }
        Ok(piece)
    }

    /// Adds a line.
    ///
    /// # Errors
    /// As the file system fails; then nothing of the line is in the piece, or the piece must not be
    /// added to any more ([`Broken`]).
    pub(super) fn add(&mut self, line: &str, now_s: i64) -> Result<(), Broken> {
        self.used_s = now_s;
        if let Body::Memory(lines) = &mut self.body {
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
            self.bytes = lines.len() as u64;
            return Ok(());
        }
        let mut frame = Vec::with_capacity(line.len() + 8);
        frame::push_frame(&mut frame, line.as_bytes());
        let before = self.bytes;
        self.append(&frame).map_err(|error| Broken { repaired: self.cut(before), error })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Body::File { file, .. } = &self.body {
            (&**file).write_all(bytes)?;
            self.bytes += bytes.len() as u64;
            self.dirty = true;
        }
        Ok(())
    }

    /// Takes away what a failed append may have left: a torn frame would hide all later ones.
    fn cut(&self, bytes: u64) -> bool {
        match &self.body {
            Body::File { file, .. } => file.set_len(bytes).is_ok(),
            Body::Memory(_) => true,
        }
    }
}

/// An append that failed.
#[derive(Debug)]
pub(super) struct Broken {
    /// Whether the piece can be added to.
    pub(super) repaired: bool,
    pub(super) error: io::Error,
}

/// Lines to be delivered; nothing is added to them any more.
pub(super) struct Sealed {
    pub(super) key: Key,
    pub(super) unique: String,
    pub(super) content: Content,
    /// Bytes of the spool that it takes.
    pub(super) bytes: u64,
}

/// Where the lines of a sealed piece are.
pub(super) enum Content {
    File(PathBuf),
    Memory(bytes::Bytes),
}

impl Piece {
    /// Ends the piece.
    pub(super) fn seal(self, key: Key) -> Sealed {
        let content = match self.body {
            Body::File { path, .. } => Content::File(path),
            Body::Memory(lines) => Content::Memory(lines.into()),
        };
        Sealed { key, unique: self.unique, content, bytes: self.bytes }
    }
}
