//! Group commit: the batches of many callers as one slot of the log, one group after another.
//!
//! ```text
//! store     |-- create n --|-- check n --|
//!                          |-- create n+1 --|-- check n+1 --|
//! callers   gather n+1 ... | gather n+2 ... |
//! ```
//!
//! A group is started when the create before it returned. It is answered when its slot was checked,
//! applied and published; groups are told in the order of their start.

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use vb_commit::{CommitError, Committed, Progress, SLOT_BYTES_MAX};

use super::writer::{Request, Step, Waiting, Writer, commit_error, fatal};
use crate::error::Error;
use crate::mailbox::Inbox;

/// Room for the slot's own header beside the batches.
const SLOT_HEADER_MAX: usize = 4 << 10;
/// What the slot adds per batch, at most.
const BATCH_HEADER_MAX: usize = 64;

/// Largest payload of one batch.
pub(crate) const PAYLOAD_BYTES_MAX: usize = SLOT_BYTES_MAX - SLOT_HEADER_MAX - BATCH_HEADER_MAX;

/// Batches that go into one slot, and who waits for them.
#[derive(Debug)]
pub(super) struct Group {
    /// Empty once the group was started.
    payloads: Vec<Bytes>,
    writes: Waiting,
    /// Readers who came before the group was sent: its commit proves the tip as well.
    catch_ups: Waiting,
    since: Instant,
}

/// Somebody who waits until the slots up to one are visible.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) seq: u64,
    pub(super) reply: oneshot::Sender<Result<(), Error>>,
}

impl Group {
    /// Takes everything that waits, up to the size of a slot or a request of another kind.
    pub(super) fn gather(
        payload: Bytes,
        reply: oneshot::Sender<Result<(), Error>>,
        inbox: &mut Inbox<Request>,
        pending: &mut Option<Request>,
    ) -> Self {
        let mut bytes = payload.len() + BATCH_HEADER_MAX;
        let mut group = Self {
            payloads: vec![payload],
            writes: vec![reply],
            catch_ups: Vec::new(),
            since: Instant::now(),
        };
        while let Ok(request) = inbox.receiver.try_recv() {
            match request {
                Request::Write { payload, reply } if fits(bytes, &payload) => {
                    bytes += payload.len() + BATCH_HEADER_MAX;
                    group.payloads.push(payload);
                    group.writes.push(reply);
                }
                Request::CatchUp { up_to: None, reply } => group.catch_ups.push(reply),
                other => {
                    *pending = Some(other);
                    break;
                }
            }
        }
        group
    }
}

fn fits(bytes: usize, payload: &Bytes) -> bool {
    bytes + payload.len() + BATCH_HEADER_MAX <= SLOT_BYTES_MAX - SLOT_HEADER_MAX
}

/// Readers who wait for the same proof.
pub(super) fn gather_catch_ups(
    reply: oneshot::Sender<Result<(), Error>>,
    inbox: &mut Inbox<Request>,
    pending: &mut Option<Request>,
) -> Waiting {
    let mut waiting = vec![reply];
    while let Ok(request) = inbox.receiver.try_recv() {
        match request {
            Request::CatchUp { up_to: None, reply } => waiting.push(reply),
            other => {
                *pending = Some(other);
                break;
            }
        }
    }
    waiting
}

impl Writer {
    /// Sends a group; the log may start one.
    pub(super) fn start(&mut self, mut group: Group) {
        self.log.start(std::mem::take(&mut group.payloads));
        self.started.push_back(group);
    }

    /// Takes note of what the log tells of groups.
    pub(super) async fn note(&mut self, progress: Progress) -> Step {
        match progress {
            Progress::MayStart => Ok(()),
            Progress::Told { outcome, .. } => {
                let group = self.started.pop_front().expect("only started groups are told");
                let step = match outcome {
                    Ok(committed) => self.committed(group, committed).await,
                    Err(error) => self.not_committed(group, error).await,
                };
                match step {
                    Ok(()) => self.answer_readers().await,
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn committed(&mut self, group: Group, committed: Committed) -> Step {
        let meters = &self.origin.context.meters;
        meters.commits.add(1);
        meters.batches.add(group.writes.len());
        meters.commit_micros.add_time(group.since.elapsed());
        let (shown, step) = self.show(committed.events).await;
        // Durable, but not to be seen by this process: the caller must not be told "done".
        let answer = shown.clone().map_err(|_| Error::OutcomeUnknown);
        answer_all(group.writes, &answer);
        answer_all(group.catch_ups, &shown);
        step
    }

    async fn not_committed(&mut self, group: Group, error: CommitError) -> Step {
        let step = fatal(&error);
        answer_all(group.writes, &Err(commit_error(error)));
        // Readers do not fail because a write did, and see soon what became of it.
        match step {
            Ok(()) if self.log.is_stale() || !group.catch_ups.is_empty() => {
                self.catch_up(group.catch_ups).await
            }
            step => {
                answer_all(group.catch_ups, &step);
                step
            }
        }
    }

    /// Answers the readers whose slots are visible. Those who wait for slots that none of our groups
    /// on its way can bring have the log caught up.
    pub(super) async fn answer_readers(&mut self) -> Step {
        let tip = if self.tables().is_settled() { Some(self.at.tip) } else { None };
        let (ready, waiting): (Vec<Reader>, Vec<Reader>) = std::mem::take(&mut self.readers)
            .into_iter()
            .partition(|reader| tip.is_some_and(|tip| reader.seq <= tip));
        answer_all(replies(ready), &Ok(()));
        if self.log.is_busy() {
            self.readers = waiting;
            return Ok(());
        }
        if waiting.is_empty() { Ok(()) } else { self.catch_up(replies(waiting)).await }
    }

    /// Ends with an error: groups on their way come to their end, and are answered with it.
    pub(super) async fn refuse_started(&mut self, error: &Error) {
        while let Some(progress) = self.log.progress().await {
            let Progress::Told { outcome, .. } = progress else { continue };
            let group = self.started.pop_front().expect("only started groups are told");
            // Durable, but not to be seen by this process.
            let answer = outcome.map(drop).map_err(commit_error).and(Err(Error::OutcomeUnknown));
            answer_all(group.writes, &answer);
            answer_all(group.catch_ups, &Err(error.clone()));
        }
        answer_all(replies(std::mem::take(&mut self.readers)), &Err(error.clone()));
    }
}

fn replies(readers: Vec<Reader>) -> Waiting {
    readers.into_iter().map(|reader| reader.reply).collect()
}

/// Those who no longer wait do not mind.
pub(super) fn answer_all(waiting: Waiting, answer: &Result<(), Error>) {
    for reply in waiting {
        let _ = reply.send(answer.clone());
    }
}
