//! A node's way to the simulated store: one request at a time each, given up after a deadline.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, UploadPart,
};

use super::node::Signal;
use super::objects::{Answer, Ask, Objects, Wanted, unavailable};
use super::profile::DEADLINE_MS;

/// One process's connection to the store.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) objects: Objects,
    pub(super) node: usize,
    pub(super) signal: Arc<Signal>,
}

impl Client {
    async fn ask(self, ask: Ask) -> Result<Answer> {
        if self.signal.is_dead() {
            return Err(unavailable("the process is gone"));
        }
        let answer = self.objects.send(self.node, self.signal.now(), ask);
        self.signal.raise();
        match tokio::time::timeout(Duration::from_millis(DEADLINE_MS), answer).await {
            Ok(Ok(replied)) => replied,
            // Never answered.
            Ok(Err(_)) | Err(_) => Err(unavailable("no answer in time")),
        }
    }

    async fn put(self, path: String, bytes: Bytes, create: bool) -> Result<PutResult> {
        self.ask(Ask::Put { path, bytes, create }).await?;
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn listed(self, ask: Ask) -> Result<Vec<ObjectMeta>> {
        match self.ask(ask).await? {
            Answer::Listed(listed) => Ok(listed),
            other => unreachable!("a list is not answered {other:?}"),
        }
    }

    fn list_stream(&self, ask: Ask) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.clone().listed(ask);
        futures_util::stream::once(listed)
            .map_ok(|found| futures_util::stream::iter(found.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated store of node {}", self.node)
    }
}

#[async_trait]
impl ObjectStore for Client {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let create = options.mode == PutMode::Create;
        self.clone().put(location.to_string(), joined(&[payload]), create).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (client, path) = (self.clone(), location.to_string());
        Ok(Box::new(Upload { client, path, parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = match (options.head, options.range) {
            (true, _) => Wanted::Nothing,
            (false, None) => Wanted::All,
            (false, Some(GetRange::Bounded(range))) => Wanted::Range(range),
            (false, Some(GetRange::Offset(start))) => Wanted::From(start),
            (false, Some(GetRange::Suffix(count))) => Wanted::Last(count),
        };
        match self.clone().ask(Ask::Get { path: location.to_string(), range }).await? {
            Answer::Got { meta, range, bytes } => Ok(GetResult {
                payload: GetResultPayload::Stream(
                    futures_util::stream::once(async move { Ok(bytes) }).boxed(),
                ),
                meta,
                range,
                attributes: Default::default(),
                extensions: Default::default(),
            }),
            other => unreachable!("a read is not answered {other:?}"),
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let client = self.clone();
        let delete = move |location: Result<Path>| {
            let client = client.clone();
            async move {
                let location = location?;
                client.ask(Ask::Delete { path: location.to_string() }).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_stream(Ask::List { prefix: prefix.map(Path::to_string), after: None })
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, after) = (prefix.map(Path::to_string), Some(offset.to_string()));
        self.list_stream(Ask::List { prefix, after })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.clone().ask(Ask::Level { prefix: prefix.map(Path::to_string) }).await? {
            Answer::Level(level) => Ok(level),
            other => unreachable!("a list is not answered {other:?}"),
        }
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented {
            operation: "copy".to_owned(),
            implementer: "the simulated store".to_owned(),
        })
    }
}

/// An object written in parts, visible once it is complete.
#[derive(Debug)]
struct Upload {
    client: Client,
    path: String,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        let sent = self.client.clone().ask(Ask::Part { path: self.path.clone() });
        sent.map(|answer| answer.map(drop)).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.client.clone().put(self.path.clone(), joined(&self.parts), false).await
    }

    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}

fn joined(payloads: &[PutPayload]) -> Bytes {
    let mut bytes = BytesMut::new();
    for part in payloads.iter().flat_map(PutPayload::iter) {
        bytes.extend_from_slice(part);
    }
    bytes.freeze()
}
