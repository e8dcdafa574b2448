//! The audit stream: one JSON object per line, saying who did what, and by whose decision.
//!
//! Lines go through a bounded queue to a thread of their own, so no request waits for them; what
//! does not fit is dropped, counted and reported. A file is appended to; it is opened anew on
//! SIGHUP, for rotation from outside, and when it has reached its size. No field holds a secret.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use vb_api::oss::{Level, Operation, bucket_arn, iso_millis};
use vb_identity::Principal;

use crate::config::{AuditConfig, AuditOutput, AuditRequests};
use crate::failure::Failure;

/// Lines that wait to be written, at most.
const QUEUE_LINES_MAX: usize = 8 << 10;

/// How soon a request to open the file anew is noticed when nothing is written.
const TICK: Duration = Duration::from_secs(1);

/// What was decided about a request, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether the caller may.
    pub(crate) allowed: bool,
    /// Why, in a word: `owner`, or the cause of a denial.
    pub(crate) reason: Box<str>,
    /// The statement that decided, if one did.
    pub(crate) statement: Option<Box<str>>,
}

/// What is told of a finished request.
pub(crate) struct Event<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) source: SocketAddr,
    /// The client spoke TLS.
    pub(crate) secure: bool,
    /// The caller; `None` if it did not authenticate.
    pub(crate) principal: Option<&'a Principal>,
    /// Name of the operation, `-` if none was recognised.
    pub(crate) operation: &'a str,
    /// The account that is addressed.
    pub(crate) account: Option<&'a str>,
    pub(crate) bucket: Option<&'a str>,
    pub(crate) index: Option<&'a str>,
    /// `None` if the request was refused before anything was decided.
    pub(crate) verdict: Option<&'a Verdict>,
    pub(crate) status: u16,
    /// Code and EC of the answer, `-` on success.
    pub(crate) code: &'a str,
    pub(crate) ec: &'a str,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) elapsed: Duration,
}

impl Event<'_> {
    fn is_denied(&self) -> bool {
        self.status == 403 || self.verdict.is_some_and(|verdict| !verdict.allowed)
    }

    /// The line. `now_ms` is the end of the request, milliseconds since 1970.
    fn line(&self, region: &str, now_ms: i64) -> String {
        let started = now_ms - i64::try_from(self.elapsed.as_millis()).unwrap_or(0);
        let operation = Operation::ALL.iter().find(|known| known.name() == self.operation);
        let given = |text: &str| Some(text.to_owned()).filter(|text| text != "-");
        let event = json!({
            "time": iso_millis(started),
            "request_id": self.request_id,
            "source": self.source.ip().to_canonical().to_string(),
            "source_port": self.source.port(),
            "secure_transport": self.secure,
            "principal": self.principal.map_or(Value::Null, principal),
            "action": operation.map(|operation| operation.action()),
            "operation": given(self.operation),
            "resource": self.resource(region, operation.copied()),
            "account": self.account,
            "bucket": self.bucket,
            "index": self.index,
            "decision": self.verdict.map_or("none", |v| if v.allowed { "allow" } else { "deny" }),
            "reason": self.verdict.map(|verdict| &*verdict.reason),
            "statement": self.verdict.and_then(|verdict| verdict.statement.as_deref()),
            "status": self.status,
            "code": given(self.code),
            "ec": given(self.ec),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "ms": u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX),
        });
        format!("{event}\n")
    }

    /// The resource's name, as far as the request told it.
    fn resource(&self, region: &str, operation: Option<Operation>) -> Option<String> {
        let mut arn = bucket_arn(region, self.account?, self.bucket.unwrap_or("*"));
        if let (Some(index), Some(operation)) = (self.index, operation) {
            arn = format!("{arn}/{index}");
            if operation.level() == Level::Data {
                arn.push_str("/*");
            }
        }
        Some(arn)
    }
}

/// Who somebody is, as the stream tells it.
pub(crate) fn principal(principal: &Principal) -> Value {
    let common = |kind: &str| {
        json!({
            "type": kind,
            "account": principal.account().map(|account| account.as_str()),
            "id": principal.uid(),
            "access_key_id": principal.access_key_id(),
        })
    };
    match principal {
        Principal::Anonymous => json!({ "type": "anonymous" }),
        Principal::Root { .. } => common("root"),
        Principal::User { name, .. } => {
            let mut value = common("user");
            value["name"] = name.as_str().into();
            value
        }
        Principal::RoleSession { role, session, .. } => {
            let mut value = common("role_session");
            value["role"] = role.as_str().into();
            value["session"] = Value::from(&**session);
            value
        }
    }
}

/// Lines that were not written, since the start.
#[derive(Clone, Default)]
pub(crate) struct Counters {
    /// For the metrics.
    pub(crate) dropped: Counter<u64, AtomicU64>,
    /// Lines are being dropped, and the log says so.
    dropping: Arc<AtomicBool>,
}

impl Counters {
    fn drop_one(&self, cause: &str) {
        self.dropped.inc();
        if !self.dropping.swap(true, Ordering::Relaxed) {
            tracing::error!(cause, "lines of the audit are dropped");
        }
    }

    fn recovered(&self) {
        if self.dropping.load(Ordering::Relaxed) && self.dropping.swap(false, Ordering::Relaxed) {
            tracing::info!("lines of the audit are written again");
        }
    }
}

enum Job {
    Line(String),
    Close,
}

/// The way of events to the stream.
pub(crate) struct Audit {
    jobs: SyncSender<Job>,
    requests: AuditRequests,
    region: Box<str>,
    counters: Counters,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Opens the stream; `None` if there is to be none. Called in a tokio runtime.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub(crate) fn start(
        config: &AuditConfig,
        region: &str,
        counters: Counters,
    ) -> Result<Option<Arc<Self>>, Failure> {
        let out = match &config.output {
            AuditOutput::Off => return Ok(None),
            AuditOutput::Stdout => Out::Stdout,
            AuditOutput::File(path) => {
                let bytes_max = config.file_bytes_max.map(|bytes| bytes.0);
                let opened = AuditFile::open(path, bytes_max);
                Out::File(opened.map_err(|error| open_failure(path, &error))?)
            }
        };
        let reopen = Arc::new(AtomicBool::new(false));
        if matches!(out, Out::File(_)) {
            reopen_on_hangup(Arc::clone(&reopen)).map_err(Failure::System)?;
        }
        let (jobs, received) = sync_channel(QUEUE_LINES_MAX);
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let counted = counters.clone();
        let run = move || write_all(out, &received, &reopen, &counted);
        let thread = Mutex::new(Some(thread.spawn(run).map_err(Failure::System)?));
        let (requests, region) = (config.requests, region.into());
        Ok(Some(Arc::new(Self { jobs, requests, region, counters, thread })))
    }

    /// Tells of a finished request. `now_ms` is milliseconds since 1970.
    pub(crate) fn note(&self, event: &Event<'_>, now_ms: i64) {
        if self.requests == AuditRequests::Denied && !event.is_denied() {
            return;
        }
        self.write(event.line(&self.region, now_ms));
    }

    /// Tells of an order to the admin API, whatever the setting about requests.
    pub(crate) fn note_order(&self, event: &Value) {
        self.write(format!("{event}\n"));
    }

    fn write(&self, line: String) {
        if self.jobs.try_send(Job::Line(line)).is_err() {
            self.counters.drop_one("they come faster than they are written");
        }
    }

    /// Writes what is on its way and ends. Blocks.
    pub(crate) fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        // A thread that is gone already needs no word.
        let _ = self.jobs.send(Job::Close);
        if thread.join().is_err() {
            tracing::error!("the thread that writes the audit has panicked");
        }
    }
}

fn open_failure(path: &Path, error: &io::Error) -> Failure {
    Failure::Configuration(format!("audit.output: cannot open {}: {error}", path.display()))
}

/// Sets `reopen` at every SIGHUP for as long as somebody looks at it.
fn reopen_on_hangup(reopen: Arc<AtomicBool>) -> io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while Arc::strong_count(&reopen) > 1 && hangups.recv().await.is_some() {
            reopen.store(true, Ordering::Release);
        }
    });
    Ok(())
}

fn write_all(mut out: Out, jobs: &Receiver<Job>, reopen: &AtomicBool, counters: &Counters) {
    loop {
        let job = jobs.recv_timeout(TICK);
        if reopen.swap(false, Ordering::Acquire) {
            out.reopen();
        }
        match job {
            Ok(Job::Line(line)) => match out.write(line.as_bytes()) {
                Ok(()) => counters.recovered(),
                Err(error) => counters.drop_one(&error.to_string()),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Job::Close) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

enum Out {
    Stdout,
    File(AuditFile),
}

impl Out {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(line)?;
                out.flush()
            }
            Self::File(file) => file.write(line),
        }
    }

    fn reopen(&mut self) {
        if let Self::File(file) = self {
            file.reopen();
        }
    }
}

/// A file that is appended to and now and then begun anew.
struct AuditFile {
    path: PathBuf,
    bytes_max: Option<u64>,
    file: File,
    bytes: u64,
    /// The last line is not whole; the next begins with a line feed.
    torn: bool,
}

impl AuditFile {
    fn open(path: &Path, bytes_max: Option<u64>) -> io::Result<Self> {
        let file = append_to(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), bytes_max, file, bytes, torn: !ends_a_line(path, bytes) })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        self.file.write_all(line).inspect_err(|_| self.torn = true)?;
        self.bytes += line.len() as u64;
        if self.bytes_max.is_some_and(|most| self.bytes >= most) {
            self.rotate();
        }
        Ok(())
    }

    /// Renames the file to `{path}.1`, which replaces the one before, and begins a new one.
    fn rotate(&mut self) {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        match std::fs::rename(&self.path, aside) {
            Ok(()) => self.reopen(),
            Err(error) => tracing::warn!(%error, "the audit file is not rotated"),
        }
        // Tried again after as many bytes.
        self.bytes = 0;
    }

    /// Goes on with whatever file has the name now; with the old one if there is none to be had.
    fn reopen(&mut self) {
        match Self::open(&self.path, self.bytes_max) {
            Ok(opened) => *self = opened,
            Err(error) => tracing::error!(%error, "the audit file cannot be opened anew"),
        }
    }
}

/// The file, readable by its owner only when it is made.
fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Whether the last byte is a line feed: a process that was killed may have left half a line.
fn ends_a_line(path: &Path, bytes: u64) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut last = [0];
    let read = |file: File| file.read_exact_at(&mut last, bytes - 1);
    // A pipe or device cannot be read, and holds no half line of ours.
    bytes == 0 || File::open(path).and_then(read).is_err() || last == *b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    fn event(operation: &'static str) -> Event<'static> {
        Event {
            request_id: "6957E1A5C0FFEE0123456789",
            source: "[::ffff:192.0.2.7]:4711".parse().unwrap(),
            secure: true,
            principal: None,
            operation,
            account: Some("1"),
            bucket: Some("vb"),
            index: Some("i1"),
            verdict: None,
            status: 403,
            code: "AccessDenied",
            ec: "0003-00000202",
            bytes_in: 1,
            bytes_out: 2,
            elapsed: Duration::from_millis(5),
        }
    }

    fn read(line: &str) -> Value {
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_line_says_who_did_what_by_whose_decision() {
        let account = vb_identity::AccountId::parse("1234567890123456").unwrap();
        let root = Principal::Root { account, access_key_id: "AK\"\n".into() };
        let verdict = Verdict { allowed: true, reason: "owner".into(), statement: None };
        let allowed = Event {
            principal: Some(&root),
            verdict: Some(&verdict),
            status: 200,
            code: "-",
            ec: "-",
            ..event("PutVectors")
        };
        let line = read(&allowed.line("r", 1_767_323_045_005));
        assert_eq!(line["time"], "2026-01-02T03:04:05.000Z");
        assert_eq!((&line["source"], &line["source_port"]), (&"192.0.2.7".into(), &4711.into()));
        assert_eq!(line["principal"]["type"], "root");
        assert_eq!(line["principal"]["id"], "1234567890123456");
        assert_eq!(line["principal"]["access_key_id"], "AK\"\n");
        assert_eq!(line["action"], "oss:PutVectors");
        assert_eq!(line["resource"], "acs:ossvector:r:1:vb/i1/*");
        assert_eq!((&line["decision"], &line["reason"]), (&"allow".into(), &"owner".into()));
        assert_eq!((&line["code"], &line["statement"]), (&Value::Null, &Value::Null));
        let unknown = read(&event("-").line("r", 0));
        assert_eq!((&unknown["action"], &unknown["decision"]), (&Value::Null, &"none".into()));
        assert_eq!(
            (&unknown["principal"], &unknown["ec"]),
            (&Value::Null, &"0003-00000202".into())
        );
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| read(&format!("{line}\n")))
            .count()
    }

    fn start(path: &Path, requests: AuditRequests) -> Arc<Audit> {
        let output = AuditOutput::File(path.to_owned());
        let config = AuditConfig { output, requests, file_bytes_max: Some(ByteSize(2000)) };
        Audit::start(&config, "r", Counters::default()).unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_file_keeps_whole_lines_and_is_rotated_by_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, "{}\n{\"half").unwrap();
        let audit = start(&path, AuditRequests::All);
        (0..6).for_each(|_| audit.note(&event("GetVectors"), 0));
        audit.close();
        let old = std::fs::read_to_string(dir.path().join("audit.jsonl.1")).unwrap();
        assert!(old.starts_with("{}\n{\"half\n{"), "{old}");
        let whole = old.lines().filter(|line| *line != "{\"half").count() - 1;
        assert_eq!(whole + lines(&path), 6);
    }

    #[tokio::test]
    async fn only_denied_requests_when_so_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audit = start(&path, AuditRequests::Denied);
        audit.note(&Event { status: 200, ..event("GetVectors") }, 0);
        audit.note(&event("GetVectors"), 0);
        audit.close();
        assert_eq!(lines(&path), 1);
    }

    #[test]
    fn a_moved_file_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("a"), dir.path().join("b"));
        let mut file = AuditFile::open(&path, None).unwrap();
        file.write(b"{}\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        file.write(b"{}\n").unwrap();
        file.reopen();
        file.write(b"{}\n").unwrap();
        assert_eq!((lines(&moved), lines(&path)), (2, 1));
        std::fs::remove_dir_all(dir.path()).unwrap();
        file.reopen();
        file.write(b"{}\n").unwrap();
    }
}
