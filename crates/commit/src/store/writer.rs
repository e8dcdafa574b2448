//! Writing a large object piece by piece.
//!
//! ```text
//! write, write, ... -> pieces of 8 MiB -> parts of an upload, a few at a time -> finish: one object
//!                      less than one in all ----------------------------------> finish: one put
//! ```
//!
//! On a remote store the parts are a multipart upload; on a local folder they are written to a
//! staged file, which is synced, renamed and its folder synced. Either way nothing is visible
//! before [`ObjectWriter::finish`] returns, and all of it is durable then.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::count::Verb;
use super::{Store, from_prefix, parse};
use crate::error::{StoreError, StoreErrorKind};

/// Length in bytes of every part but the last. Stores ask for 5 MiB at least and some for equal
/// lengths; 10,000 parts, the most they take, are 78 GiB.
const PART_BYTES: usize = 8 << 20;

/// How many parts are under way at once; with the one being gathered, the writer's memory.
const PARTS_AT_ONCE: usize = 2;

/// An object being written; made by [`Store::writer`].
///
/// Dropped or [aborted](Self::abort) it leaves no object. What was uploaded is then thrown away as
/// far as the store can be reached; the rest is left to the store's own rule for unfinished uploads
/// (remote) or to the next owner's sweep (local). Holds up to 24 MiB.
pub struct ObjectWriter {
    store: Store,
    path: String,
    /// Pieces of the next part.
    pieces: Vec<Bytes>,
    /// Their length; below [`PART_BYTES`] between calls.
    gathered: usize,
    written: u64,
    upload: Upload,
    /// A part failed: the object would have a hole.
    broken: bool,
}

/// The parts' way to the store.
#[derive(Default)]
struct Upload {
    /// `None` as long as one put could do. Only ever used through `&mut`: the lock makes the writer
    /// `Sync` although uploads are not.
    upload: Option<Mutex<Box<dyn MultipartUpload>>>,
    parts: JoinSet<(u64, object_store::Result<()>)>,
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectWriter({}, {} bytes)", self.path, self.written)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.parts.abort_all();
        let (Some(mut upload), Ok(runtime)) = (self.take(), Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::debug!(%error, "the parts of an unfinished upload are left behind");
            }
        });
    }
}

impl Upload {
    fn take(&mut self) -> Option<Box<dyn MultipartUpload>> {
        let upload = self.upload.take()?;
        Some(upload.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ObjectWriter {
    pub(super) fn new(store: &Store, path: &str) -> Self {
        let (store, path) = (store.clone(), path.to_owned());
        let upload = Upload::default();
        Self { store, path, pieces: Vec::new(), gathered: 0, written: 0, upload, broken: false }
    }

    /// Bytes handed in so far, which is the place in the object of the next ones.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends bytes. Waits while enough parts are under way, so memory stays bounded.
    ///
    /// # Errors
    ///
    /// What the store answered to this or an earlier part: the object cannot be completed any more.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.check_whole()?;
        self.written += bytes.len() as u64;
        while self.gathered + bytes.len() >= PART_BYTES {
            let piece = bytes.split_to(PART_BYTES - self.gathered);
            self.gather(piece);
            // Also if this future is dropped midway.
            self.broken = true;
            self.send_part().await?;
            self.broken = false;
        }
        self.gather(bytes);
        Ok(())
    }

    /// Completes the object, replacing any of that name. On return it is durable and visible.
    ///
    /// # Errors
    ///
    /// What the store answered. The object may or may not be there then, or come to be: whole, and
    /// under a name that nobody was told.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        self.check_whole()?;
        if self.upload.upload.is_none() {
            let pieces = std::mem::take(&mut self.pieces);
            return self.store.put_parts(&self.path, pieces).await;
        }
        if self.gathered > 0 {
            self.send_part().await?;
        }
        self.wait_for_parts(0).await?;
        // The folder was prepared when the upload began.
        let mut upload = self.upload.take().expect("parts were sent");
        let completed = upload.complete().await.map(drop);
        // Not dropped but aborted, if it failed: parts that are left cost money.
        self.upload.upload = completed.is_err().then(|| Mutex::new(upload));
        self.note(0, completed)
    }

    /// Throws away what was written.
    pub async fn abort(mut self) {
        self.upload.parts.shutdown().await;
        let Some(mut upload) = self.upload.take() else { return };
        let aborted = upload.abort().await;
        if let Err(error) = self.note(0, aborted) {
            tracing::debug!(%error, "the parts of an unfinished upload are left behind");
        }
    }

    fn check_whole(&self) -> Result<(), StoreError> {
        match self.broken {
            false => Ok(()),
            true => Err(StoreError::new(StoreErrorKind::Unavailable, self.path.as_str())
                .with_source("a part of the object was not written")),
        }
    }

    fn gather(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.gathered += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Sends what was gathered as the next part.
    async fn send_part(&mut self) -> Result<(), StoreError> {
        self.wait_for_parts(PARTS_AT_ONCE - 1).await?;
        let (pieces, bytes) = (std::mem::take(&mut self.pieces), self.gathered as u64);
        self.gathered = 0;
        if self.upload.upload.is_none() {
            self.upload.upload = Some(Mutex::new(self.begin().await?));
        }
        let upload = self.upload.upload.as_mut().expect("it was begun");
        let upload = upload.get_mut().unwrap_or_else(PoisonError::into_inner);
        let part = upload.put_part(PutPayload::from_iter(pieces));
        self.upload.parts.spawn(async move { (bytes, part.await) });
        Ok(())
    }

    async fn begin(&self) -> Result<Box<dyn MultipartUpload>, StoreError> {
        let location = parse(&self.path)?;
        if let Some(folder) = &self.store.0.local {
            folder.prepare(&location).await?;
        }
        let begun = self.store.0.objects.put_multipart(&location).await;
        self.note(0, begun)
    }

    /// Waits until at most `left` parts are under way.
    async fn wait_for_parts(&mut self, left: usize) -> Result<(), StoreError> {
        while self.upload.parts.len() > left {
            let Some(joined) = self.upload.parts.join_next().await else { break };
            let (bytes, sent) = joined.map_err(|error| {
                StoreError::new(StoreErrorKind::Unavailable, self.path.as_str()).with_source(error)
            })?;
            self.note(bytes, sent)?;
        }
        Ok(())
    }

    /// Counts a request as a put.
    fn note<T>(&self, bytes: u64, result: object_store::Result<T>) -> Result<T, StoreError> {
        let result = result.map_err(|error| from_prefix(&self.path, error));
        self.store.0.counters.note(Verb::Put, bytes, result.as_ref().err());
        result
    }
}

#[cfg(test)]
mod tests;
