//! The store of identities: the door of this crate.
//!
//! Requests read a published [`Snapshot`], which is at most `age_max` (and a proof's time) old, and
//! so a change anywhere takes effect everywhere within that time. Commands go to the one task that
//! owns the log. A store that nobody uses sends no requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use vb_commit::{Clock, Store, SystemClock};

use crate::command::{Action, Command, Entry, Limits};
use crate::outside::number;
use crate::owner::{Owner, Request};
use crate::shared::Shared;
use crate::snapshot::Lookup;
use crate::state::State;
use crate::token::Tokens;
use crate::validate::validate;
use crate::{
    AssumeRole, AssumeRoleError, AuthenticateError, Candidate, Error, KeyRing, Random, Rejection,
    Roots, Session, Snapshot, SystemRandom,
};

/// Where the log lies in the store.
pub(crate) const PREFIX: &str = "identity";
/// Requests that wait for the task at most; further senders wait for room.
const CAPACITY: usize = 1024;
/// Callers with unknown keys that wait for a proof at most; further ones are refused at once.
const MISSES_MAX: usize = 64;
/// How much older than `age_max` a snapshot may be before requests wait for a new one.
const AGE_SLACK: Duration = Duration::from_millis(500);
/// How long requests wait for a proof before they go on with what is known.
const PROOF_WAIT_MAX: Duration = Duration::from_secs(1);

/// How the store of identities behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Ids, secrets and nonces.
    pub random: Arc<dyn Random>,
    /// How much one account may hold.
    pub limits: Limits,
    /// How old a snapshot in use may get before it is proven again.
    pub age_max: Duration,
    /// Pause between proofs that unknown keys may cause.
    pub miss_pause: Duration,
    /// How long a snapshot is good for while the store cannot be reached; roots always are.
    pub stale_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            limits: Limits::default(),
            age_max: Duration::from_secs(2),
            miss_pause: Duration::from_millis(200),
            stale_max: Duration::from_secs(15 * 60),
        }
    }
}

impl Options {
    /// A command with what its outcome depends on.
    pub(crate) fn entry(&self, command: Command) -> Entry {
        let fresh = number(&*self.random) as u64;
        Entry { at_ms: self.clock.unix_ms(), fresh, limits: self.limits, command }
    }
}

/// The store of identities. Clones share it; its task ends with [`Self::close`] or the last clone.
#[derive(Clone, Debug)]
pub struct IdentityStore {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Request>,
    pub(crate) options: Arc<Options>,
    pub(crate) ring: Option<KeyRing>,
    misses: Arc<Semaphore>,
    sole_writer: bool,
}

impl IdentityStore {
    /// Opens the identities of a store. Writes nothing, however often.
    ///
    /// Without a key ring, root credentials work, identities can be read and policies changed, but
    /// no access key or session. Keys whose secrets the ring does not open are told by
    /// [`Snapshot::unavailable`].
    ///
    /// # Errors
    ///
    /// The store cannot be reached, or what it holds is damaged.
    pub async fn open(
        store: &Store,
        roots: Roots,
        ring: Option<KeyRing>,
        options: Options,
    ) -> Result<Self, Error> {
        let tokens = Arc::new(Tokens::new(ring.clone()));
        let state = Arc::<State>::default();
        let empty = Snapshot::first(Arc::clone(&state), Arc::new(roots), tokens);
        let shared = Arc::new(Shared::new(empty));
        let mut owner = Owner::new(store, options.clone(), Arc::clone(&shared), state);
        owner.catch_up().await?;
        let (sender, inbox) = mpsc::channel(CAPACITY);
        tokio::spawn(owner.run(inbox));
        Ok(Self {
            shared,
            sender,
            options: Arc::new(options),
            ring,
            misses: Arc::new(Semaphore::new(MISSES_MAX)),
            sole_writer: store.sole_writer(),
        })
    }

    /// What is known, at whatever age. No lock, no wait.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot()
    }

    /// What is known, at most `age_max` and the time of a proof old.
    ///
    /// It waits only after nobody asked for so long, and then a second at most. If the store cannot
    /// be reached what was known goes on to be used for `stale_max`; after that the snapshot
    /// refuses everybody but roots.
    pub async fn current(&self) -> Arc<Snapshot> {
        self.shared.note_used();
        let age_max = self.options.age_max + AGE_SLACK;
        if !self.sole_writer && self.shared.age() > age_max {
            if !self.shared.failed_lately() {
                self.refresh().await;
            }
            if self.shared.age() > self.options.stale_max {
                self.shared.give_up();
            }
        }
        self.shared.snapshot()
    }

    async fn refresh(&self) {
        let asked = self.ask(|reply| Request::Refresh { reply });
        if tokio::time::timeout(PROOF_WAIT_MAX, asked).await.is_err() {
            self.shared.note_failure(&Error::Store {
                kind: vb_commit::StoreErrorKind::Unavailable,
                message: "no answer within a second".into(),
            });
        }
    }

    /// What is true now: every command that was answered anywhere before the call is in it.
    ///
    /// # Errors
    ///
    /// The store cannot be reached, or what it holds is damaged.
    pub async fn now(&self) -> Result<Arc<Snapshot>, Error> {
        self.ask(|reply| Request::Refresh { reply }).await?;
        Ok(self.shared.snapshot())
    }

    /// Who an access key id and a security token claim to be.
    ///
    /// An unknown key, or a session of an unknown role, makes the store be read anew, at most five
    /// times a second for all callers together: what was created on another node works here at once.
    ///
    /// # Errors
    ///
    /// See [`AuthenticateError`].
    pub async fn authenticate(
        &self,
        access_key_id: &str,
        token: Option<&str>,
    ) -> Result<Arc<Candidate>, AuthenticateError> {
        let now_ms = self.options.clock.unix_ms();
        match self.current().await.look_up(access_key_id, token, now_ms) {
            Lookup::Found(candidate) => Ok(candidate),
            Lookup::Refused(error) => Err(error),
            Lookup::Missing(error) if self.sole_writer => Err(error),
            Lookup::Missing(error) => match self.refresh_on_miss().await {
                Some(snapshot) => snapshot.authenticate(access_key_id, token, now_ms),
                None => Err(error),
            },
        }
    }

    /// A snapshot that was proven after the call. `None`: too many wait, or the store is not
    /// reached.
    async fn refresh_on_miss(&self) -> Option<Arc<Snapshot>> {
        let _turn = self.misses.try_acquire().ok()?;
        let asked = self.ask(|reply| Request::Miss { reply });
        let proven = tokio::time::timeout(PROOF_WAIT_MAX, asked).await;
        proven.ok()?.ok()?;
        Some(self.shared.snapshot())
    }

    /// Executes a command; it is durable on return, and in the returned snapshot.
    ///
    /// The record of an account that has root keys is made when it is first needed.
    ///
    /// # Errors
    ///
    /// See [`Error`]; unless it is `OutcomeUnknown` the command had, and will have, no effect.
    pub async fn execute(&self, command: Command) -> Result<Arc<Snapshot>, Error> {
        validate(&command.action)?;
        let account = command.account.clone();
        let mut done = self.send(command.clone()).await;
        let no_record = done == Err(Error::Rejected(Rejection::NoSuchAccount));
        if no_record && self.shared.snapshot().roots.has_account(&account) {
            let action = Action::CreateAccount { comment: "".into() };
            match self.send(Command { account, action }).await {
                Ok(()) | Err(Error::Rejected(Rejection::Exists)) => done = self.send(command).await,
                Err(error) => done = Err(error),
            }
        }
        done.map(|()| self.shared.snapshot())
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), Error> {
        self.ask(|reply| Request::Command { command, reply }).await
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Request,
    ) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(request(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Issues temporary credentials; see [`Snapshot::assume_role`].
    ///
    /// # Errors
    ///
    /// See [`AssumeRoleError`].
    pub async fn assume_role(
        &self,
        caller: &Candidate,
        request: &AssumeRole<'_>,
    ) -> Result<Session, AssumeRoleError> {
        let now_ms = self.options.clock.unix_ms();
        self.current().await.assume_role(caller, request, now_ms, &*self.options.random)
    }

    /// Notes that a key was used: once a signature was verified with it.
    pub fn note_use(&self, candidate: &Candidate) {
        candidate.note_use(self.options.clock.unix_ms());
    }

    /// Stores when keys were last used, and ends the task. Other clones are closed as well.
    pub async fn close(&self) {
        let (reply, ended) = oneshot::channel();
        if self.sender.send(Request::Close { reply }).await.is_ok() {
            // A task that died is closed, too.
            let _ = ended.await;
        }
    }
}
