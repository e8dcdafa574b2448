//! A server in a process of its own, asked over keep-alive connections with signed requests.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;

use super::engine::bytes_in;
use super::service::{Ask, Background, Door};
use super::set::Batch;
use super::{K, Options};
use crate::client::{self, Client};
use crate::server::Server;
use crate::{Outcome, bodies};

pub(super) struct Http {
    server: Server,
    folder: PathBuf,
    opened: f64,
}

const BUCKET: &str = "bench";
const INDEX: &str = "real";

impl Http {
    /// Starts a server over the folder.
    ///
    /// # Errors
    /// When it does not listen.
    pub(super) fn start(binary: &Path, options: &Options) -> Outcome<Self> {
        let start = Instant::now();
        let own = |name: &str, value: String| (format!("VECTORBUCKET_{name}"), value);
        let age = options.flush_age.map(|age| own("FLUSH_AGE_MAX", format!("{age}s")));
        let memory = options.memory_limit.as_ref().map(|size| own("MEMORY_LIMIT", size.clone()));
        let settings = age.into_iter().chain(memory).collect();
        let server = Server::start_with(binary, &options.folder, settings)?;
        let opened = start.elapsed().as_secs_f64();
        Ok(Self { server, folder: options.folder.clone(), opened })
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    vectors: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    key: &'a str,
}

impl Door for Http {
    /// The bytes of a signed request.
    type Query = Vec<u8>;
    type Line = Client;

    fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn cpu(&self) -> f64 {
        self.server.cpu_seconds()
    }

    fn opened(&self) -> f64 {
        self.opened
    }

    fn create(&self, dimension: usize) -> Outcome {
        client::create_index(self.server.address, BUCKET, INDEX, dimension, "cosine")
    }

    fn line(&self) -> Outcome<Client> {
        Client::connect(self.server.address)
    }

    fn prepare(&self, ask: &Ask<'_>) -> Vec<u8> {
        let filter = ask.filter.map(|filter| filter.json().to_string());
        let mut body = bodies::query(INDEX, ask.vector, K, filter.as_deref());
        if let Some(target) = ask.target {
            body.pop();
            body.extend_from_slice(format!(", \"recall\": {target}}}").as_bytes());
        }
        client::request("queryVectors", BUCKET, &body)
    }

    fn ask(&self, line: &mut Client, query: &Vec<u8>) -> Outcome<Vec<u64>> {
        let body = line.expect_ok(query)?;
        let answer: Answer<'_> =
            serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let number = |hit: &Hit<'_>| hit.key.parse().map_err(|_| format!("key {}", hit.key));
        answer.vectors.iter().map(number).collect()
    }

    fn put(&self, line: &mut Client, batch: Batch) -> Outcome {
        let rows = batch.values.chunks(batch.values.len() / batch.keys.len());
        let records = batch.keys.zip(rows).zip(&batch.metadata);
        let records = records.map(|((key, row), metadata)| (key, row, metadata));
        let body = bodies::put_records(INDEX, records);
        line.expect_ok(&client::request("putVectors", BUCKET, &body)).map(drop)
    }

    fn delete(&self, line: &mut Client, keys: &[usize]) -> Outcome {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let body = serde_json::json!({"indexName": INDEX, "keys": keys}).to_string();
        line.expect_ok(&client::request("deleteVectors", BUCKET, body.as_bytes())).map(drop)
    }

    fn background(&self) -> Outcome<Background> {
        let figure = |name: &str| self.server.metric(&format!("engine_{name}"));
        Ok(Background {
            memtable_bytes: figure("memtable_bytes")?,
            segments: figure("segments")?,
            flushes: figure("flushes_total")?,
            merges: figure("merges_total")?,
        })
    }

    fn disk(&self) -> u64 {
        bytes_in(&self.folder)
    }
}
