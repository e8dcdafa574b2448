//! The store of identities: the door of this crate.
//!
//! Requests read a published [`Snapshot`], which is at most `age_max` (and a proof's time) old, and
//! so a change anywhere takes effect everywhere within that time. Commands go to the one task that
//! owns the log. A store that nobody uses sends no requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use vb_commit::{Store, WriterId};
use vb_policy::{Document, Kind};

use crate::command::{Action, Command, Entry, Limits, Resealed};
use crate::credential::generate_key_id;
use crate::outside::number;
use crate::owner::{Owner, Request};
use crate::record::SealedSecret;
use crate::seal::{self, Purpose};
use crate::snapshot::{Lookup, secret_owner};
use crate::state::State;
use crate::sts::{SESSION_S_DEFAULT, SESSION_S_MAX};
use crate::token::Tokens;
use crate::{
    AccessKey, AccountId, AssumeRole, AssumeRoleError, AuthenticateError, Candidate, Clock, Error,
    KeyId, KeyRing, Name, Random, Rejection, Roots, Secret, Session, Snapshot, SystemClock,
    SystemRandom,
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
/// After a failed proof, how long requests do not wait for another one.
const FAILURE_REST: Duration = Duration::from_secs(5);
/// Longest comment, bytes.
const COMMENT_BYTES_MAX: usize = 256;
/// Secrets per command that seals them anew.
const RESEALS_MAX: usize = 500;

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
        let fresh = (number(&*self.random) & u128::from(u64::MAX)) as u64;
        Entry { at_ms: self.clock.unix_ms(), fresh, limits: self.limits, command }
    }
}

/// What the task and its callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    snapshot: ArcSwap<Snapshot>,
    started: Instant,
    /// Uptime at which the newest successful proof was begun.
    proven_ms: AtomicU64,
    /// Uptime of the last failed proof, plus one; 0: the last one succeeded.
    failed_ms: AtomicU64,
    /// Whether the snapshot was used since the last tick.
    used: AtomicBool,
}

impl Shared {
    pub(crate) fn uptime_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Written only when it changes: every request comes by here.
    fn note_used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_proof(&self, begun_ms: u64) {
        self.proven_ms.store(begun_ms, Ordering::Relaxed);
        if self.failed_ms.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("the store of identities is reached again");
        }
        self.snapshot.load().stale.store(false, Ordering::Relaxed);
    }

    pub(crate) fn note_failure(&self, error: &Error) {
        if self.failed_ms.swap(self.uptime_ms() + 1, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "the store of identities is not reached");
        }
    }

    /// Whether the published snapshot is of this state.
    pub(crate) fn shows(&self, state: &Arc<State>) -> bool {
        Arc::ptr_eq(&self.snapshot.load().state, state)
    }

    pub(crate) fn publish(&self, state: &Arc<State>) {
        let before = self.snapshot.load_full();
        let snapshot = Snapshot::derive(Arc::clone(state), &before);
        let (was, is) = (before.unavailable().count(), snapshot.unavailable().count());
        if let Some((key, error)) = snapshot.unavailable().next().filter(|_| is > was) {
            tracing::error!(keys = is, example = %key, %error, "secrets cannot be opened");
        }
        self.snapshot.store(Arc::new(snapshot));
    }

    fn age(&self) -> Duration {
        let proven = self.proven_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.uptime_ms().saturating_sub(proven))
    }

    fn failed_lately(&self) -> bool {
        match self.failed_ms.load(Ordering::Relaxed) {
            0 => false,
            failed => self.uptime_ms() + 1 < failed + millis(FAILURE_REST),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The store of identities. Clones share it; its task ends with [`Self::close`] or the last clone.
#[derive(Clone, Debug)]
pub struct IdentityStore {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Request>,
    options: Arc<Options>,
    ring: Option<KeyRing>,
    misses: Arc<Semaphore>,
    sole_writer: bool,
}

/// What came of sealing secrets anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Secrets that were sealed anew.
    pub resealed: usize,
    /// Secrets that were sealed with the newest key already.
    pub current: usize,
    /// Access keys whose secrets cannot be opened, and so were left alone.
    pub unavailable: Vec<KeyId>,
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
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(empty),
            started: Instant::now(),
            proven_ms: AtomicU64::new(0),
            failed_ms: AtomicU64::new(0),
            used: AtomicBool::new(false),
        });
        let mut owner = Owner {
            store: store.clone(),
            writer: WriterId(number(&*options.random)),
            options: options.clone(),
            shared: Arc::clone(&shared),
            log: None,
            state,
            misses: Vec::new(),
            proof_begun: Instant::now(),
        };
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
                self.shared.snapshot.load().stale.store(true, Ordering::Relaxed);
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

    async fn send(&self, command: Command) -> Result<(), Error> {
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

    /// Creates an access key of a user. This is the only time its secret is seen.
    ///
    /// # Errors
    ///
    /// As [`Self::execute`]; `NoKeyRing` without one.
    pub async fn create_access_key(
        &self,
        account: &AccountId,
        user: &Name,
    ) -> Result<AccessKey, Error> {
        let ring = self.ring.as_ref().ok_or(Error::NoKeyRing)?;
        let snapshot = self.now().await?;
        let record = snapshot.account(account).ok_or(Rejection::NoSuchAccount)?;
        let uid = record.users.get(user).ok_or(Rejection::NoSuchUser)?.id;
        let random = &*self.options.random;
        let (key, secret) = (generate_key_id(random), Secret::generate(random));
        let owner = secret_owner(account, uid, &key);
        let sealed =
            ring.newest().seal(Purpose::Secret, &owner, secret.expose().as_bytes(), random);
        let sealed = SealedSecret(sealed.into());
        let id = key.as_str().into();
        let action = Action::AddKey { user: user.clone(), uid, key, secret: sealed };
        self.send(Command { account: account.clone(), action }).await?;
        Ok(AccessKey { id, secret, account: account.clone() })
    }

    /// Seals all secrets that are not sealed with the newest key of the ring anew.
    ///
    /// May be broken off and repeated. Afterwards older keys of the ring are needed for sessions
    /// only, for as long as these last.
    ///
    /// # Errors
    ///
    /// As [`Self::execute`]; what was sealed anew until then stays so.
    pub async fn rekey(&self) -> Result<Rekeyed, Error> {
        let ring = self.ring.as_ref().ok_or(Error::NoKeyRing)?;
        let snapshot = self.now().await?;
        let mut rekeyed = Rekeyed::default();
        for (account, record) in snapshot.accounts() {
            let users = record
                .users
                .iter()
                .flat_map(|(name, user)| user.keys.iter().map(move |key| (name, user.id, key)));
            let mut resealed = Vec::new();
            for (user, uid, key) in users {
                let owner = secret_owner(account, uid, &key.id);
                match self.resealed(ring, &owner, &key.secret) {
                    Some(Some(new)) => resealed.push(Resealed {
                        user: user.clone(),
                        key: key.id.clone(),
                        old: key.secret.clone(),
                        new,
                    }),
                    Some(None) => rekeyed.current += 1,
                    None => rekeyed.unavailable.push(key.id.clone()),
                }
            }
            for secrets in resealed.chunks(RESEALS_MAX) {
                let action = Action::Reseal { secrets: secrets.to_vec() };
                self.send(Command { account: account.clone(), action }).await?;
                rekeyed.resealed += secrets.len();
            }
        }
        Ok(rekeyed)
    }

    /// A secret sealed with the newest key; `Some(None)` if it is already, `None` if it does not
    /// open.
    fn resealed(
        &self,
        ring: &KeyRing,
        owner: &[u8],
        sealed: &SealedSecret,
    ) -> Option<Option<SealedSecret>> {
        let secret = seal::open(ring.keys(), Purpose::Secret, owner, &sealed.0).ok()?;
        if sealed.ring_key() == Some(ring.current()) {
            return Some(None);
        }
        let new = ring.newest().seal(Purpose::Secret, owner, &secret, &*self.options.random);
        Some(Some(SealedSecret(new.into())))
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

/// What can be said of a command without looking at what is there.
fn validate(action: &Action) -> Result<(), Error> {
    let policy =
        |kind, text: &str| Document::parse(kind, text.as_bytes()).map(drop).map_err(Error::Policy);
    match action {
        Action::CreateAccount { comment }
        | Action::SetAccountComment { comment }
        | Action::CreateUser { comment, .. }
        | Action::SetUserComment { comment, .. }
        | Action::CreateGroup { comment, .. }
        | Action::SetGroupComment { comment, .. }
        | Action::SetRoleComment { comment, .. }
        | Action::SetPolicyComment { comment, .. } => check_comment(comment),
        Action::CreateRole { comment, trust, session_s_max, .. } => {
            check_comment(comment)?;
            check_session_max(*session_s_max)?;
            policy(Kind::Trust, trust)
        }
        Action::SetTrust { trust, .. } => policy(Kind::Trust, trust),
        Action::SetSessionMax { session_s_max, .. } => check_session_max(*session_s_max),
        Action::CreatePolicy { comment, text, .. } => {
            check_comment(comment)?;
            policy(Kind::Identity, text)
        }
        Action::SetPolicy { text, .. } | Action::PutInline { text, .. } => {
            policy(Kind::Identity, text)
        }
        _ => Ok(()),
    }
}

fn check_comment(comment: &str) -> Result<(), Error> {
    match comment.len() <= COMMENT_BYTES_MAX && !comment.contains(char::is_control) {
        true => Ok(()),
        false => Err(Error::Invalid("a comment has up to 256 bytes of printable text".into())),
    }
}

fn check_session_max(session_s_max: u32) -> Result<(), Error> {
    match (SESSION_S_DEFAULT..=SESSION_S_MAX).contains(&session_s_max) {
        true => Ok(()),
        false => Err(Error::Invalid("the longest session must be 3600 to 43200 seconds".into())),
    }
}
