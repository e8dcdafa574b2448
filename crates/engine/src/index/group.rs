//! Group commit: the batches of many callers as one slot of the log, one group after another.
//!
//! ```text
//! store     |-- create n --|-- check n --|
//!                          |-- create n+1 --|-- check n+1 --|
//! callers   gather n+1 ... | gather n+2 ... |
//! ```
//!
//! A group is started when the create before it returned and those who are expected have come
//! ([`super::pace`]). It is answered when its slot was checked, applied and published; groups are told
//! in the order of their start.

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
    /// What they take in a slot.
    bytes: usize,
    writes: Waiting,
    /// Readers who came before the group was sent: its commit proves the tip as well.
    catch_ups: Waiting,
    /// When the first batch came; since the start, when that was.
    since: Instant,
}

/// Somebody who waits until the slots up to one are visible.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) seq: u64,
    pub(super) reply: oneshot::Sender<Result<(), Error>>,
}

impl Group {
    fn new() -> Self {
        Self {
            payloads: Vec::new(),
            bytes: 0,
            writes: Vec::new(),
            catch_ups: Vec::new(),
            since: Instant::now(),
        }
    }

    fn fits(&self, payload: &Bytes) -> bool {
        let bytes = self.bytes + payload.len() + BATCH_HEADER_MAX;
        self.payloads.is_empty() || bytes <= SLOT_BYTES_MAX - SLOT_HEADER_MAX
    }

    /// Takes a request in, or returns it: it does not fit, or is of another kind.
    fn take(&mut self, request: Request) -> Option<Request> {
        match request {
            Request::Write { payload, reply } if self.fits(&payload) => {
                self.bytes += payload.len() + BATCH_HEADER_MAX;
                self.payloads.push(payload);
                self.writes.push(reply);
                None
            }
            Request::CatchUp { up_to: None, reply } => {
                self.catch_ups.push(reply);
                None
            }
            other => Some(other),
        }
    }
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
    /// Takes a write, or a read where a group gathers already, into that group, and with it everything
    /// that waits, up to the size of a slot or a request of another kind: that is left in `pending`.
    pub(super) fn gather(
        &mut self,
        first: Request,
        inbox: &mut Inbox<Request>,
        pending: &mut Option<Request>,
    ) {
        let group = self.gathering.get_or_insert_with(Group::new);
        *pending = group.take(first);
        while pending.is_none() {
            let Ok(request) = inbox.receiver.try_recv() else { break };
            *pending = group.take(request);
        }
    }

    /// When the group that gathers is to be sent; `None` if there is none, or none may be sent yet.
    pub(super) fn due(&self, pending: Option<&Request>) -> Option<Instant> {
        let group = self.gathering.as_ref().filter(|_| self.log.may_start())?;
        // What does not fit waits for the next one.
        let is_full = pending.is_some_and(Request::is_write);
        if is_full {
            Some(group.since)
        } else {
            Some(self.pace.due(group.writes.len(), group.since))
        }
    }

    /// Sends the group that gathers; the log may start one.
    pub(super) fn start(&mut self) {
        let Some(mut group) = self.gathering.take() else { return };
        group.since = Instant::now();
        self.pace.sent(group.since);
        self.log.start(std::mem::take(&mut group.payloads));
        self.started.push_back(group);
    }

    /// Takes note of what the log tells of groups.
    pub(super) async fn note(&mut self, progress: Progress) -> Step {
        match progress {
            Progress::MayStart => {
                self.pace.returned(Instant::now());
                Ok(())
            }
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
        if self.started.is_empty() {
            // Without a check the answer is the first that is heard of the create.
            self.pace.returned(Instant::now());
        }
        self.pace.answered(group.writes.len());
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

    /// The batches of a group that was never sent certainly had no effect.
    pub(super) fn refuse_gathering(&mut self, error: &Error) {
        let Some(group) = self.gathering.take() else { return };
        answer_all(group.writes, &Err(error.clone()));
        answer_all(group.catch_ups, &Err(error.clone()));
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
