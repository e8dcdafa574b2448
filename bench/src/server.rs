//! The measured server: a process of its own, with its CPU time and memory read from /proc.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::{ACCESS_KEY_ID, ACCOUNT, SECRET};

/// A running server over one data folder; killed when dropped.
pub(crate) struct Server {
    child: Child,
    binary: PathBuf,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `binary` over `folder` and waits until it accepts connections.
    ///
    /// # Errors
    /// When it cannot be started or does not listen within 30 seconds.
    pub(crate) fn start(binary: &Path, folder: &Path) -> Outcome<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let log = fs::File::create(folder.with_extension("log")).map_err(|e| e.to_string())?;
        let child = Command::new(binary)
            .arg("serve")
            .env("VECTORBUCKET_STORE", folder)
            .env("VECTORBUCKET_LISTEN", address.to_string())
            .env("VECTORBUCKET_ADMIN_LISTEN", admin.to_string())
            .env("VECTORBUCKET_ROOT_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET", SECRET)
            .env("VECTORBUCKET_ACCOUNT_ID", ACCOUNT)
            .env("VECTORBUCKET_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let server = Self { child, binary: binary.into(), folder: folder.into(), address };
        server.wait()?;
        Ok(server)
    }

    fn wait(&self) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(format!(
            "the server does not listen; see {}",
            self.folder.with_extension("log").display()
        ))
    }

    /// Ends the process without warning and starts it again over the same folder.
    pub(crate) fn kill_and_restart(mut self) -> Outcome<Self> {
        self.end();
        Self::start(&self.binary.clone(), &self.folder.clone())
    }

    /// Seconds of CPU the process used so far, all threads, user and system.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, fixed in Linux's interface
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }

    /// Resident memory in bytes: `VmRSS` (now) or `VmHWM` (peak).
    pub(crate) fn memory(&self, field: &str) -> f64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.unwrap_or(0.0) * 1024.0
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn free_address() -> Outcome<SocketAddr> {
    let probe = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    probe.local_addr().map_err(|e| e.to_string())
}
