//! An object uploaded in parts.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use http::Method;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::{Ask, OssStore, STORE, header, put_result, xml};

#[derive(Debug)]
pub(super) struct Upload {
    store: OssStore,
    location: Path,
    id: String,
    parts: usize,
    /// The tag of each part that arrived, by part number.
    arrived: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Upload {
    pub(super) async fn begin(store: &OssStore, location: &Path) -> Result<Self> {
        let ask = Ask { key: location.as_ref(), parameters: &[("uploads", "")], ..Ask::default() };
        let answer = store.0.send(Method::POST, ask).await?;
        let id = xml::first(&String::from_utf8_lossy(answer.body()), "UploadId");
        let id = id.ok_or_else(|| malformed("an upload without id"))?;
        let (store, location) = (store.clone(), location.clone());
        Ok(Self { store, location, id, parts: 0, arrived: Arc::default() })
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, body: PutPayload) -> UploadPart {
        self.parts += 1;
        let number = self.parts;
        let (store, location, id) = (self.store.clone(), self.location.clone(), self.id.clone());
        let arrived = Arc::clone(&self.arrived);
        async move {
            let text = number.to_string();
            let parameters = [("partNumber", text.as_str()), ("uploadId", &id)];
            let (key, parameters) = (location.as_ref(), &parameters[..]);
            let ask = Ask { key, parameters, body, ..Ask::default() };
            let answer = store.0.send(Method::PUT, ask).await?;
            let tag = header(&answer, "etag").ok_or_else(|| malformed("a part without tag"))?;
            let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.push((number, tag.to_owned()));
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let body = self.manifest()?;
        let parameters = [("uploadId", self.id.as_str())];
        let (key, parameters) = (self.location.as_ref(), &parameters[..]);
        let ask = Ask { key, parameters, body: body.into(), ..Ask::default() };
        let answer = self.store.0.send(Method::POST, ask).await?;
        Ok(put_result(&answer))
    }

    async fn abort(&mut self) -> Result<()> {
        let parameters = [("uploadId", self.id.as_str())];
        let ask = Ask { key: self.location.as_ref(), parameters: &parameters, ..Ask::default() };
        self.store.0.send(Method::DELETE, ask).await.map(drop)
    }
}

impl Upload {
    fn manifest(&self) -> Result<String> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.sort_unstable();
        if arrived.iter().map(|(number, _)| *number).ne(1..=self.parts) {
            return Err(malformed("completing an upload of which parts are missing"));
        }
        let mut xml = String::from("<CompleteMultipartUpload>");
        for (number, tag) in arrived.iter() {
            let tag = xml::escape(tag);
            let _ = write!(xml, "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
        }
        Ok(xml + "</CompleteMultipartUpload>")
    }
}

fn malformed(what: &str) -> Error {
    Error::Generic { store: STORE, source: what.into() }
}
