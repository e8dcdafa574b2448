//! Stores that break one promise each, for the probe to find out.

use std::collections::HashSet;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing: the wrapper itself.
    None,
    /// A create overwrites, as on a service that does not know the header.
    IgnoresConditions,
    /// A create looks whether the name is free and writes a little later, as a service without a
    /// lock would.
    LosesRace,
    /// A list shows an object only when it is asked for the second time.
    ListsLate,
}

/// A store in memory with a flaw.
#[derive(Debug)]
pub(crate) struct Broken {
    objects: InMemory,
    flaw: Flaw,
    listed: Mutex<HashSet<Path>>,
}

impl Broken {
    pub(crate) fn new(flaw: Flaw) -> Self {
        Self { objects: InMemory::new(), flaw, listed: Mutex::default() }
    }

    /// Whether a list may show it.
    fn shows(&self, path: &Path) -> bool {
        self.flaw != Flaw::ListsLate || !self.listed.lock().unwrap().insert(path.clone())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broken({:?})", self.flaw)
    }
}

#[async_trait]
impl ObjectStore for Broken {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        let create = options.mode == PutMode::Create;
        if create && self.flaw == Flaw::IgnoresConditions {
            options.mode = PutMode::Overwrite;
        }
        if create && self.flaw == Flaw::LosesRace && self.objects.head(location).await.is_err() {
            tokio::task::yield_now().await;
            options.mode = PutMode::Overwrite;
        }
        self.objects.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.flaw == Flaw::None {
            return self.objects.list(prefix);
        }
        // InMemory's stream is ready at once.
        let listed =
            futures_util::FutureExt::now_or_never(self.objects.list(prefix).collect::<Vec<_>>());
        let listed = listed.expect("memory does not wait");
        let shown: Vec<_> = listed
            .into_iter()
            .filter(|meta| meta.as_ref().is_ok_and(|meta| self.shows(&meta.location)))
            .collect();
        futures_util::stream::iter(shown).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
