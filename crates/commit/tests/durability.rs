//! kill -9 cannot show a missing fsync, a trace of system calls can.
//!
//! Runs a small program (this test itself, as a child) under strace. It commits to a log in a local
//! folder and writes a line where a client would get its reply. Checked for every such object: the
//! file's bytes were synced after the last write and before the name was linked, the folder was
//! synced after the link, and every new folder above it was synced into its parent, all before the
//! acknowledgement was written. The same check fails for the same program with fsync taken out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use vb_commit::{Fold, LocalOptions, Log, Store, WriterId};

const PREFIX: &str = "index/00/0000000000000001";

/// Names the folder of the traced child; set, this program is that child.
const CHILD_FOLDER: &str = "VB_COMMIT_DURABILITY_FOLDER";

/// Set in the child that is to leave out fsync.
const CHILD_UNSYNCED: &str = "VB_COMMIT_DURABILITY_UNSYNCED";

/// The traced program; as a test of its own it has nothing to do.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let fsync = std::env::var_os(CHILD_UNSYNCED).is_none();
    let store = Store::local(PathBuf::from(folder), LocalOptions { fsync }).unwrap();
    let mut log = Log::create(&store, PREFIX, WriterId::random(), Bytes::new()).await.unwrap();
    reply("manifest", 0);
    for _ in 0..2 {
        let committed = log.commit(vec![Bytes::from_static(b"batch")]).await.unwrap();
        reply("log", committed.seq);
    }
    let fold = Fold { base: 0, from: 1, floor: 3, body: Bytes::from_static(b"body") };
    let folded = log.fold(fold).await.unwrap();
    reply("manifest", folded.manifest.number);
    let mut segment = store.writer(&format!("{PREFIX}/segment/{:020}", 1));
    for _ in 0..3 {
        segment.write(Bytes::from(vec![7; 5 << 20])).await.unwrap();
    }
    segment.finish().await.unwrap();
    reply("segment", 1);
}

/// Stands for a client's reply: from here on the object must survive a power failure.
fn reply(series: &str, number: u64) {
    let line = format!("acknowledged {PREFIX}/{series}/{number:020}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// One successful system call, in the order of completion.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    MakeFolder(PathBuf),
    Open { path: PathBuf, fd: i32 },
    Write { fd: i32 },
    Sync { fd: i32 },
    Link { from: PathBuf, to: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    Close { fd: i32 },
    Acknowledge(String),
}

/// What would survive a power failure.
#[derive(Debug, Default)]
struct Disk {
    open: HashMap<i32, PathBuf>,
    /// Files whose bytes were written and not synced since.
    dirty: HashSet<PathBuf>,
    /// Entries (files and folders) made and not yet synced into their folder.
    entries: HashSet<PathBuf>,
    /// What was linked from a file with unsynced bytes.
    torn: HashSet<PathBuf>,
    made: usize,
}

impl Disk {
    /// Applies a call; an acknowledgement of what would not survive is an error.
    fn apply(&mut self, root: &Path, call: &Call) -> Result<(), String> {
        match call {
            Call::MakeFolder(path) => {
                self.made += 1;
                self.entries.insert(path.clone());
            }
            Call::Open { path, fd } => drop(self.open.insert(*fd, path.clone())),
            Call::Close { fd } => drop(self.open.remove(fd)),
            Call::Write { fd } => {
                if let Some(path) = self.open.get(fd) {
                    self.dirty.insert(path.clone());
                }
            }
            Call::Sync { fd } => self.sync(*fd),
            Call::Link { from, to } | Call::Rename { from, to } => {
                if self.dirty.contains(from) {
                    self.torn.insert(to.clone());
                }
                self.entries.insert(to.clone());
            }
            Call::Acknowledge(object) => return self.survives(root, object),
        }
        Ok(())
    }

    fn sync(&mut self, fd: i32) {
        let Some(path) = self.open.get(&fd) else { return };
        self.dirty.remove(path);
        self.entries.retain(|entry| entry.parent() != Some(path));
    }

    fn survives(&self, root: &Path, object: &str) -> Result<(), String> {
        let file = root.join(object);
        if self.torn.contains(&file) {
            return Err(format!("{object}: linked before its bytes were synced"));
        }
        let chain = file.ancestors().take_while(|path| path.starts_with(root));
        match chain.into_iter().find(|path| self.entries.contains(*path)) {
            Some(entry) => Err(format!("{object}: {} was not synced", entry.display())),
            None => Ok(()),
        }
    }
}

/// Joins calls that strace cut in two because another thread's came between.
fn joined(trace: &str) -> Vec<String> {
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    let mut lines = Vec::new();
    for line in trace.lines() {
        let (thread, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, start.to_owned());
        } else if let Some((_, end)) = rest.split_once(" resumed>") {
            lines.push(unfinished.remove(thread).unwrap_or_default() + end);
        } else {
            lines.push(rest.to_owned());
        }
    }
    lines
}

/// Reads one line of `strace -f`; `None`: a failed call or one that is of no interest.
fn parse(line: &str) -> Option<Call> {
    let (call, result) = line.rsplit_once(" = ")?;
    let result: i32 = result.split_whitespace().next()?.parse().ok().filter(|code| *code >= 0)?;
    let (name, arguments) = call.split_once('(')?;
    let mut paths = arguments.split('"').skip(1).step_by(2).map(PathBuf::from);
    let fd = || arguments.split([',', ')']).next()?.trim().parse().ok();
    match name {
        "mkdir" | "mkdirat" => Some(Call::MakeFolder(paths.next()?)),
        "open" | "openat" => Some(Call::Open { path: paths.next()?, fd: result }),
        "write" | "pwrite64" | "writev" => match paths.next() {
            Some(text) if fd()? == 1 => {
                let text = text.to_str()?.trim_end_matches("\\n");
                text.strip_prefix("acknowledged ").map(|object| Call::Acknowledge(object.into()))
            }
            _ => Some(Call::Write { fd: fd()? }),
        },
        "fsync" | "fdatasync" => Some(Call::Sync { fd: fd()? }),
        "link" | "linkat" => Some(Call::Link { from: paths.next()?, to: paths.next()? }),
        "rename" | "renameat" | "renameat2" => {
            Some(Call::Rename { from: paths.next()?, to: paths.next()? })
        }
        "close" => Some(Call::Close { fd: fd()? }),
        _ => None,
    }
}

/// Replays a trace; returns how many objects were acknowledged, and folders made.
fn check(root: &Path, trace: &str) -> Result<(usize, usize), String> {
    let mut disk = Disk::default();
    let mut acknowledged = 0;
    for call in joined(trace).iter().filter_map(|line| parse(line)) {
        acknowledged += usize::from(matches!(call, Call::Acknowledge(_)));
        disk.apply(root, &call)?;
    }
    Ok((acknowledged, disk.made))
}

const CALLS: &str = "trace=mkdir,mkdirat,open,openat,write,pwrite64,writev,fsync,fdatasync,link,\
                     linkat,rename,renameat,renameat2,close";

/// Runs the child under strace in a new folder; `None` if strace is not installed.
fn trace(dir: &Path, fsync: bool) -> Option<String> {
    let output = dir.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-s", "256", "-e", CALLS, "-o"]).arg(&output);
    strace.arg(std::env::current_exe().unwrap()).args(["--exact", "child", "--nocapture"]);
    strace.env(CHILD_FOLDER, dir.join("data"));
    if !fsync {
        strace.env(CHILD_UNSYNCED, "1");
    }
    match strace.output() {
        Ok(ran) => {
            let error = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "the child failed under strace: {error}");
            Some(std::fs::read_to_string(output).unwrap())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("strace cannot be run: {error}"),
    }
}

#[expect(clippy::print_stderr, reason = "tells what to install")]
fn strace_is_missing() {
    eprintln!("skipped: this test traces system calls; install strace (apt-get install strace)");
    assert!(std::env::var_os("CI").is_none(), "strace must be installed where CI is set");
}

#[test]
fn acknowledged_slots_and_manifests_and_their_folders_are_synced() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    let Some(trace) = trace(&root, true) else { return strace_is_missing() };
    let (acknowledged, folders) = check(&root.join("data"), &trace).unwrap();
    assert_eq!(acknowledged, 5, "two manifests, two slots and a segment");
    assert_eq!(folders, 7, "data, index, 00, 0000000000000001, log, manifest, segment");
}

#[test]
fn without_fsync_the_check_fails() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    let Some(trace) = trace(&root, false) else { return strace_is_missing() };
    let error = check(&root.join("data"), &trace).unwrap_err();
    assert!(error.contains("synced"), "{error}");
}

/// Takes each sync out of a good trace: the check must miss every one that it needs.
#[test]
fn every_sync_but_the_locks_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    let Some(trace) = trace(&root, true) else { return strace_is_missing() };
    let lines = joined(&trace);
    let is_sync = |line: &&String| matches!(parse(line), Some(Call::Sync { .. }));
    let syncs = lines.iter().filter(is_sync).count();
    let needed = (0..syncs).filter(|out| {
        let mut index = 0;
        let kept = lines.iter().filter(|line| {
            let sync = is_sync(line);
            index += usize::from(sync);
            !(sync && index - 1 == *out)
        });
        let kept: Vec<_> = kept.map(|line| format!("1 {line}")).collect();
        check(&root.join("data"), &kept.join("\n")).is_err()
    });
    let needed = needed.count();
    // Five objects with a sync of the bytes and one of the folder each. The folders above are
    // synced as they are made; a later sync of the same folder may stand in for one of those.
    assert!(needed >= 10, "only {needed} of {syncs} syncs are needed");
}
