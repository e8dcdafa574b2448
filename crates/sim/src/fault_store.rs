//! An object store that fails on demand, around one that does not.
//!
//! Faults come from a script: each request takes the next [`Fault`] that fits its verb, or the fault
//! that stands for its verb and path, or none. So a test says exactly what goes wrong when, and a
//! random test draws a script from its seed.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Notify;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// A create or an overwriting put.
    Write,
    /// A read, whole or ranged.
    Read,
    /// A list.
    List,
    /// A delete.
    Delete,
}

/// How a request goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Not at all: for scripts that let some requests pass.
    None,
    /// It is not executed, and an error is returned.
    ErrorBefore,
    /// It is executed, and an error is returned.
    ErrorAfter,
    /// It is not executed, for want of room; the error leaves open whether it was.
    Full,
    /// It is refused for want of rights.
    Denied,
    /// A create is executed and answered "already exists", as a retry inside a client is.
    Echo,
    /// It is executed only once the gate is open.
    DelayBefore(Gate),
    /// It is executed, and answered only once the gate is open.
    DelayAfter(Gate),
    /// It is not answered now, and executed in the background once the gate is open.
    Late(Gate),
}

/// Holds requests back until it is opened.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    open: Mutex<bool>,
    changed: Notify,
    arrived: Notify,
    executed: Notify,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets all requests pass, now and later.
    pub fn open(&self) {
        *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_waiters();
    }

    /// Waits until a request stands at the gate (one call for each request).
    pub async fn arrived(&self) {
        self.0.arrived.notified().await;
    }

    /// Waits until a late request was executed in the background (one call for each).
    pub async fn executed(&self) {
        self.0.executed.notified().await;
    }

    async fn pass(&self) {
        self.0.arrived.notify_one();
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) {
                return;
            }
            changed.await;
        }
    }
}

/// The script, shared by all clones of a store.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<Lines>>);

/// What is to go wrong.
#[derive(Debug, Default)]
struct Lines {
    /// Once each, in order.
    next: VecDeque<(Verb, Fault)>,
    /// Every time, where the path holds the text.
    standing: Vec<(Verb, &'static str, Fault)>,
}

impl Script {
    /// The next request of this verb behind those already scripted for it goes so.
    pub fn push(&self, verb: Verb, fault: Fault) {
        self.lock().next.push_back((verb, fault));
    }

    /// From now on every request of this verb goes so whose path holds `part`.
    pub fn stand(&self, verb: Verb, part: &'static str, fault: Fault) {
        self.lock().standing.push((verb, part, fault));
    }

    /// Nothing stands any more.
    pub fn relent(&self) {
        self.lock().standing.clear();
    }

    /// Whether everything scripted has happened.
    pub fn is_done(&self) -> bool {
        self.lock().next.is_empty()
    }

    fn take(&self, verb: Verb, path: &str) -> Fault {
        let mut lines = self.lock();
        let at = lines.next.iter().position(|(scripted, _)| *scripted == verb);
        if let Some((_, fault)) = at.and_then(|at| lines.next.remove(at)) {
            return fault;
        }
        let mut standing = lines.standing.iter();
        let stands = standing.find(|(of, part, _)| *of == verb && path.contains(part));
        stands.map_or(Fault::None, |(_, _, fault)| fault.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store that fails by a script.
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    script: Script,
}

impl FaultStore {
    /// Wraps a store; the script is empty.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, script: Script::default() }
    }

    /// What is to go wrong.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Runs a request under the next fault of its verb.
    async fn run<T, F>(&self, verb: Verb, path: String, request: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match self.script.take(verb, &path) {
            Fault::None | Fault::Echo => request.await,
            Fault::ErrorBefore => Err(failure("not executed")),
            Fault::Full => Err(Error::Generic {
                store: "FaultStore",
                source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
            }),
            Fault::Denied => Err(Error::PermissionDenied { path, source: "read-only".into() }),
            Fault::ErrorAfter => {
                request.await?;
                Err(failure("executed, then lost"))
            }
            Fault::DelayBefore(gate) => {
                gate.pass().await;
                request.await
            }
            Fault::DelayAfter(gate) => {
                let result = request.await;
                gate.pass().await;
                result
            }
            Fault::Late(gate) => {
                tokio::spawn(async move {
                    gate.pass().await;
                    drop(request.await);
                    gate.0.executed.notify_one();
                });
                Err(failure("not answered, still under way"))
            }
        }
    }

    /// The fault of the next request of a verb that cannot be run in the background.
    fn fails(&self, verb: Verb, path: &str) -> bool {
        !matches!(self.script.take(verb, path), Fault::None)
    }
}

fn failure(what: &'static str) -> Error {
    Error::Generic { store: "FaultStore", source: what.into() }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (inner, location) = (Arc::clone(&self.inner), location.clone());
        let creates = options.mode == PutMode::Create;
        let echoed = creates && self.script.take_echo();
        let path = location.to_string();
        let request = async move { inner.put_opts(&location, payload, options).await };
        if !echoed {
            return self.run(Verb::Write, path, request).await;
        }
        request.await?;
        Err(Error::AlreadyExists { path, source: "a retry met its own object".into() })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (inner, location) = (Arc::clone(&self.inner), location.clone());
        let path = location.to_string();
        self.run(Verb::Read, path, async move { inner.get_opts(&location, options).await }).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (inner, location) = (Arc::clone(&self.inner), location.clone());
        let (ranges, path) = (ranges.to_vec(), location.to_string());
        self.run(Verb::Read, path, async move { inner.get_ranges(&location, &ranges).await }).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let checked = locations.map(move |location| match location {
            Ok(location) if store.fails(Verb::Delete, location.as_ref()) => {
                Err(failure("not deleted"))
            }
            location => location,
        });
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let inner = Arc::clone(&store.inner);
            let path = shown(prefix.as_ref());
            let list = async move { inner.list(prefix.as_ref()).try_collect::<Vec<_>>().await };
            store.run(Verb::List, path, list).await
        };
        flat(listed)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix, offset) = (self.clone(), prefix.cloned(), offset.clone());
        let listed = async move {
            let inner = Arc::clone(&store.inner);
            let path = shown(prefix.as_ref());
            let list = async move {
                inner.list_with_offset(prefix.as_ref(), &offset).try_collect::<Vec<_>>().await
            };
            store.run(Verb::List, path, list).await
        };
        flat(listed)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        let path = shown(prefix.as_ref());
        let list = async move { inner.list_with_delimiter(prefix.as_ref()).await };
        self.run(Verb::List, path, list).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl Script {
    /// Takes the next fault of a write if it is an echo.
    fn take_echo(&self) -> bool {
        let next = &mut self.lock().next;
        let at = next.iter().position(|(verb, _)| *verb == Verb::Write);
        let echo = at.filter(|at| matches!(next.get(*at), Some((_, Fault::Echo))));
        echo.is_some_and(|at| next.remove(at).is_some())
    }
}

/// A list's prefix as the path that faults are matched with.
fn shown(prefix: Option<&Path>) -> String {
    format!("{}/", prefix.map_or("", Path::as_ref))
}

/// A list that was read whole, as a stream.
fn flat(
    listed: impl Future<Output = Result<Vec<ObjectMeta>>> + Send + 'static,
) -> BoxStream<'static, Result<ObjectMeta>> {
    futures_util::stream::once(listed)
        .map_ok(|found| futures_util::stream::iter(found.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}
