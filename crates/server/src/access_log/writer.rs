//! The thread that writes lines into the spool, and the one that syncs them.
//!
//! Requests hand lines over through a bounded queue and never touch a file. Syncing has a thread of
//! its own, because a slow sync must not hold up lines.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use vb_commit::Clock;

use super::counters::Counters;
use super::deliver::Backlog;
use super::piece::Key;
use super::spool::Spool;
use crate::clock::seconds;

/// Lines that wait to be written, and their bytes, at most.
const QUEUE_LINES_MAX: usize = 16 << 10;
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// How often files are synced and pieces whose time has come are ended.
const TICK: Duration = Duration::from_secs(1);

/// A line on its way.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) line: String,
    /// Told once the line is written, or dropped when it was not.
    pub(super) written: oneshot::Sender<()>,
}

enum Job {
    Line(Entry),
    /// Ends the thread; all pieces are sealed then.
    Close,
}

/// The way to the writing thread.
pub(super) struct Queue {
    jobs: SyncSender<Job>,
    bytes: Arc<AtomicUsize>,
    /// The disk stands still: nobody should wait for it.
    pub(super) stalled: Arc<AtomicBool>,
}

impl Queue {
    /// Hands a line over; `false` if there is no room.
    pub(super) fn push(&self, entry: Entry) -> bool {
        let length = entry.line.len();
        let before = self.bytes.fetch_add(length, Ordering::Relaxed);
        let sent = before < QUEUE_BYTES_MAX && self.jobs.try_send(Job::Line(entry)).is_ok();
        if !sent {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
        }
        sent
    }

    /// Asks the thread to end; waits for room in the queue, so not for async threads.
    pub(super) fn close(&self) {
        // A thread that is gone already needs no word.
        let _ = self.jobs.send(Job::Close);
    }
}

/// What the thread works with.
pub(super) struct Writer {
    pub(super) spool: Spool,
    pub(super) backlog: Arc<Backlog>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Writer {
    /// Starts the thread. It ends after [`Queue::close`]; its handle tells when.
    ///
    /// # Errors
    /// When the system makes no thread.
    pub(super) fn start(self) -> std::io::Result<(Queue, std::thread::JoinHandle<()>)> {
        let (jobs, received) = sync_channel(QUEUE_LINES_MAX);
        let (bytes, stalled) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let queue = Queue { jobs, bytes: Arc::clone(&bytes), stalled: Arc::clone(&stalled) };
        let syncer = start_syncer()?;
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let run = move || self.run(&received, &bytes, &stalled, &syncer);
        Ok((queue, thread.spawn(run)?))
    }

    fn run(
        mut self,
        jobs: &Receiver<Job>,
        queued: &AtomicUsize,
        stalled: &AtomicBool,
        syncer: &SyncSender<Vec<Arc<File>>>,
    ) {
        let mut unsynced = Vec::new();
        let mut ticked = Instant::now();
        loop {
            match jobs.recv_timeout(TICK.saturating_sub(ticked.elapsed())) {
                Ok(Job::Line(entry)) => {
                    queued.fetch_sub(entry.line.len(), Ordering::Relaxed);
                    self.write(entry);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Job::Close) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if queued.load(Ordering::Relaxed) == 0 {
                stalled.store(false, Ordering::Relaxed);
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.backlog.push(self.spool.seal_ended(seconds(self.clock.unix_ms())));
                unsynced.extend(self.spool.unsynced());
                unsynced = hand_over(syncer, unsynced);
            }
        }
        self.backlog.push(self.spool.seal_all());
        unsynced.extend(self.spool.unsynced());
        // Taken up once the sync before is done; the syncing thread ends with its queue.
        let _ = syncer.send(unsynced);
    }

    fn write(&mut self, entry: Entry) {
        let Entry { key, line, written } = entry;
        match self.spool.add(&key, &line, seconds(self.clock.unix_ms())) {
            Ok(()) => {
                self.counters.line_added();
                self.counters.recovered();
            }
            Err(why) => self.counters.line_dropped(&why),
        }
        // Who waited may have given up.
        let _ = written.send(());
    }
}

/// Gives files to the syncing thread, or back if it is still busy with the last ones.
fn hand_over(syncer: &SyncSender<Vec<Arc<File>>>, files: Vec<Arc<File>>) -> Vec<Arc<File>> {
    if files.is_empty() {
        return files;
    }
    match syncer.try_send(files) {
        Ok(()) => Vec::new(),
        Err(TrySendError::Full(files) | TrySendError::Disconnected(files)) => files,
    }
}

fn start_syncer() -> std::io::Result<SyncSender<Vec<Arc<File>>>> {
    let (files, received) = sync_channel::<Vec<Arc<File>>>(0);
    let thread = std::thread::Builder::new().name("access-log-sync".to_owned());
    thread.spawn(move || {
        for file in received.into_iter().flatten() {
            if let Err(error) = file.sync_data() {
                tracing::warn!(%error, "lines of access logs may not be durable");
            }
        }
    })?;
    Ok(files)
}
