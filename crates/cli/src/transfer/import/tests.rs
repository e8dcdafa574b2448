//! Imports into a stub that keeps what it is given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use clap::Command;

use super::{Options, Summary, command, import};
use crate::failure::Failure;
use crate::stub::{Reply, Request, Stub, example_settings};
use crate::transfer::npy;

/// A service with one index, which keeps records by key.
#[derive(Clone, Default)]
struct Service {
    records: Arc<Mutex<BTreeMap<String, serde_json::Value>>>,
    puts: Arc<Mutex<usize>>,
    created: Arc<Mutex<Option<serde_json::Value>>>,
    /// From this put on answer 403.
    refuse_from: Option<usize>,
    /// Tell when this put arrives, and never answer it or a later one.
    hang_from: Option<(usize, SyncSender<()>)>,
}

impl Service {
    fn start(&self) -> Stub {
        let service = self.clone();
        Stub::answering(move |_, request| service.answer(request))
    }

    fn with_index(dimension: u32) -> Self {
        let service = Self::default();
        *service.created.lock().unwrap() =
            Some(serde_json::json!({"dimension": dimension, "distanceMetric": "euclidean"}));
        service
    }

    fn answer(&self, request: &Request) -> Reply {
        let operation = request.target.split_once('?').map_or("", |(_, key)| key);
        match operation {
            "" => Reply::error(409, "BucketAlreadyExists"),
            "getVectorIndex" => match &*self.created.lock().unwrap() {
                None => Reply::error(404, "NoSuchVectorIndex"),
                Some(index) => {
                    let mut index = index.clone();
                    index["createTime"] = "2026-01-01T00:00:00.000Z".into();
                    Reply::ok(&serde_json::json!({ "index": index }).to_string())
                }
            },
            "putVectorIndex" => {
                *self.created.lock().unwrap() = Some(request.json());
                Reply::ok("")
            }
            "putVectors" => self.put(&request.json()),
            other => panic!("unexpected {other}"),
        }
    }

    fn put(&self, body: &serde_json::Value) -> Reply {
        let mut puts = self.puts.lock().unwrap();
        *puts += 1;
        if let Some((_, arrived)) = self.hang_from.as_ref().filter(|(from, _)| *puts >= *from) {
            arrived.send(()).unwrap();
            loop {
                std::thread::park();
            }
        }
        if self.refuse_from.is_some_and(|from| *puts >= from) {
            return Reply::error(403, "AccessDenied");
        }
        for vector in body["vectors"].as_array().unwrap() {
            self.records
                .lock()
                .unwrap()
                .insert(vector["key"].as_str().unwrap().to_owned(), vector.clone());
        }
        Reply::ok("")
    }

    fn count(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    fn puts(&self) -> usize {
        *self.puts.lock().unwrap()
    }
}

fn options(input: &Path, flags: &[&str]) -> Options {
    let fixed =
        ["vectorbucket", "import", input.to_str().unwrap(), "--bucket", "b-1", "--index-name", "i"];
    let root = Command::new("vectorbucket").subcommand(command());
    let matches = root.get_matches_from(fixed.iter().chain(flags));
    Options::read(matches.subcommand_matches("import").unwrap()).unwrap()
}

fn run(service: &Service, input: &Path, flags: &[&str]) -> Result<Summary, Failure> {
    run_against(service.start().port(), input, flags)
}

fn run_against(port: u16, input: &Path, flags: &[&str]) -> Result<Summary, Failure> {
    let mut settings = example_settings("http://127.0.0.1:9100");
    // A later run finds another port; the checkpoint is bound to the endpoint's name.
    settings.connect_to = Some(([127, 0, 0, 1], port).into());
    import(&crate::client::Client::new(settings).unwrap(), &options(input, flags))
}

fn lines(folder: &Path, count: usize) -> PathBuf {
    let path = folder.join("in.jsonl");
    let text: String =
        (0..count).map(|n| format!("{{\"key\":\"k{n}\",\"vector\":[{n},1]}}\n")).collect();
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn every_row_arrives_and_the_index_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let input = lines(folder.path(), 1234);
    let service = Service::default();
    let flags = [
        "--create",
        "--create-bucket",
        "--distance-metric",
        "euclidean",
        "--non-filterable",
        "text,url",
        "--batch-rows",
        "100",
    ];
    assert_eq!(run(&service, &input, &flags).unwrap(), Summary { vectors: 1234, bad: 0 });
    assert_eq!((service.count(), service.puts()), (1234, 13));
    let made = service.created.lock().unwrap().clone().unwrap();
    let expected = serde_json::json!({"indexName":"i","dataType":"float32","dimension":2,"distanceMetric":"euclidean",
        "metadata":{"nonFilterableMetadataKeys":["text","url"]}});
    assert_eq!(made, expected);
    assert_eq!(service.records.lock().unwrap()["k7"]["data"]["float32"], serde_json::json!([7, 1]));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the checkpoint is gone");
}

#[test]
fn a_stopped_import_goes_on_with_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let input = lines(folder.path(), 1000);
    let mut service = Service::with_index(2);
    service.refuse_from = Some(5);
    let failure = run(&service, &input, &["--batch-rows", "100", "--parallel", "2"]).unwrap_err();
    assert_eq!(failure.code(), Some("AccessDenied"));
    assert_eq!(service.count(), 400);
    let checkpoint = folder.path().join("in.jsonl.b-1.i.import");
    assert!(checkpoint.exists());

    service.refuse_from = None;
    *service.puts.lock().unwrap() = 0;
    // Another batch size than before: progress is kept in rows.
    assert_eq!(run(&service, &input, &["--batch-rows", "50"]).unwrap().vectors, 600);
    assert_eq!((service.count(), service.puts()), (1000, 12));
    assert!(!checkpoint.exists());
}

#[test]
fn a_changed_input_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    let input = lines(folder.path(), 1000);
    let mut service = Service::with_index(2);
    service.refuse_from = Some(3);
    run(&service, &input, &["--batch-rows", "100", "--parallel", "1"]).unwrap_err();
    let input = lines(folder.path(), 1001);
    service.refuse_from = None;
    assert_eq!(run(&service, &input, &[]).unwrap().vectors, 1001);
}

#[test]
fn bad_rows_stop_or_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.jsonl");
    let good = |key: &str| format!("{{\"key\":\"{key}\",\"vector\":[1,2]}}\n");
    std::fs::write(
        &input,
        format!("{}\n{{oops\n{}{{\"key\":\"c\",\"vector\":[1]}}\n", good("a"), good("b")),
    )
    .unwrap();
    let service = Service::with_index(2);
    let failure = run(&service, &input, &[]).unwrap_err();
    assert!(failure.to_string().contains("row 3: not a record"), "{failure}");
    assert_eq!(service.count(), 0);
    assert_eq!(run(&service, &input, &["--skip-bad"]).unwrap(), Summary { vectors: 2, bad: 2 });
}

#[test]
fn a_wrong_dimension_is_found_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::with_index(3);
    let failure = run(&service, &lines(folder.path(), 3), &[]).unwrap_err();
    assert!(failure.to_string().contains("have 2 numbers, index i takes 3"), "{failure}");
    assert_eq!(service.puts(), 0);
}

#[test]
fn without_create_a_missing_index_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let failure = run(&Service::default(), &lines(folder.path(), 3), &[]).unwrap_err();
    assert_eq!(failure.code(), Some("NoSuchVectorIndex"));
}

#[test]
fn arrays_arrive_with_keys_and_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let (input, keys, metadata) =
        (folder.path().join("a.npy"), folder.path().join("k.txt"), folder.path().join("m.jsonl"));
    let mut bytes = Vec::new();
    npy::write_header(&mut bytes, 700, 2).unwrap();
    (0u16..700).for_each(|n| {
        npy::write_row(&mut bytes, &[f32::from(n) / 3.0, 1.0]).unwrap();
    });
    std::fs::write(&input, bytes).unwrap();
    std::fs::write(&keys, (0..700).map(|n| format!("word \"{n}\"\n")).collect::<String>()).unwrap();
    std::fs::write(&metadata, (0..700).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>())
        .unwrap();
    let service = Service::with_index(2);
    let flags = ["--keys", keys.to_str().unwrap(), "--metadata", metadata.to_str().unwrap()];
    assert_eq!(run(&service, &input, &flags).unwrap().vectors, 700);
    let record = &service.records.lock().unwrap()["word \"5\""];
    assert_eq!(record["metadata"], serde_json::json!({"n": 5}));
    let back: Vec<f32> = serde_json::from_value(record["data"]["float32"].clone()).unwrap();
    assert_eq!(back, [5.0f32 / 3.0, 1.0]);
}

/// Names the input and the port in a process that is there to be killed.
const VICTIM: &str = "VB_CLI_TEST_VICTIM";
const VICTIM_FLAGS: [&str; 4] = ["--batch-rows", "100", "--parallel", "1"];

#[test]
fn a_killed_import_goes_on_with_what_is_missing() {
    if let Ok(victim) = std::env::var(VICTIM) {
        let (port, input) = victim.split_once(' ').unwrap();
        let outcome = run_against(port.parse().unwrap(), Path::new(input), &VICTIM_FLAGS);
        panic!("not killed: {outcome:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let input = lines(folder.path(), 1000);
    let (arrived_in, arrived) = sync_channel(1);
    // When put 4 arrives, the outcome of put 1 has been noted: the reports of 2 and 3 could not
    // both have fitted into the channel before.
    let service = Service { hang_from: Some((4, arrived_in)), ..Service::with_index(2) };
    let stub = service.start();
    let mut victim = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "transfer::import::tests::a_killed_import_goes_on_with_what_is_missing"])
        .env(VICTIM, format!("{} {}", stub.port(), input.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    arrived.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_eq!(service.count(), 300);

    let second = Service { hang_from: None, puts: Arc::default(), ..service.clone() };
    let sent = run(&second, &input, &[]).unwrap().vectors;
    assert!(
        (700..=900).contains(&sent),
        "{sent} of 1000 rows were sent again or for the first time"
    );
    assert_eq!(second.count(), 1000);
}
