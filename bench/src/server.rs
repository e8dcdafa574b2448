//! The measured server: a process of its own, with its CPU time and memory read from /proc.

use std::fs;
use std::io::{Read, Write};
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
    settings: Vec<(String, String)>,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    /// Starts `binary` over `folder` and waits until it accepts connections.
    ///
    /// # Errors
    /// When it cannot be started or does not listen within 30 seconds.
    pub(crate) fn start(binary: &Path, folder: &Path) -> Outcome<Self> {
        Self::start_with(binary, folder, Vec::new())
    }

    /// As [`Server::start`], with more settings as environment variables.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub(crate) fn start_with(
        binary: &Path,
        folder: &Path,
        settings: Vec<(String, String)>,
    ) -> Outcome<Self> {
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
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let (binary, folder) = (binary.into(), folder.into());
        let server = Self { child, binary, folder, settings, address, admin };
        server.wait()?;
        Ok(server)
    }

    fn wait(&self) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if self.admin_get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(format!(
            "the server does not get ready; see {}",
            self.folder.with_extension("log").display()
        ))
    }

    /// Ends the process without warning and starts it again over the same folder.
    pub(crate) fn kill_and_restart(mut self) -> Outcome<Self> {
        self.end();
        Self::start_with(&self.binary.clone(), &self.folder.clone(), self.settings.clone())
    }

    /// Seconds of CPU the process used so far, all threads, user and system.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds_of(self.child.id())
    }

    /// Waits until it has no more background work to do: until it was idle for half a minute, at most three minutes.
    pub(crate) fn rest(&self) {
        const LOOKS: usize = 60;
        const IDLE: f64 = 0.02;
        let (start, mut idle, mut known) = (Instant::now(), 0, self.cpu_seconds());
        while idle < LOOKS && start.elapsed() < Duration::from_secs(180) {
            thread::sleep(Duration::from_millis(500));
            let now = self.cpu_seconds();
            idle = if now - known <= IDLE { idle + 1 } else { 0 };
            known = now;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes: `VmRSS` (now) or `VmHWM` (peak).
    pub(crate) fn memory(&self, field: &str) -> f64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.unwrap_or(0.0) * 1024.0
    }

    /// A figure of the administrative listener's metrics, by its name without the common prefix.
    ///
    /// # Errors
    /// When the listener does not answer or has no such figure.
    pub(crate) fn metric(&self, name: &str) -> Outcome<f64> {
        let text = self.admin_get("/metrics").map_err(|e| format!("{}: {e}", self.admin))?;
        let is_it = |line: &&str| line.split(' ').next() == Some(&format!("vectorbucket_{name}"));
        let value = text.lines().find(is_it).and_then(|line| line.rsplit(' ').next());
        value.and_then(|value| value.parse().ok()).ok_or(format!("no metric {name}"))
    }

    /// A whole answer of the administrative listener.
    fn admin_get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Runs `vectorbucket admin` with this server, as root; its output.
    ///
    /// # Errors
    /// When it fails: what it says.
    pub(crate) fn administer(&self, arguments: &[&str]) -> Outcome<String> {
        let mut command = Command::new(&self.binary);
        command
            .arg("admin")
            .args(arguments)
            .env("VECTORBUCKET_ADMIN_URL", format!("http://{}", self.admin))
            .env("VECTORBUCKET_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("VECTORBUCKET_ACCESS_KEY_SECRET", SECRET);
        printed(command)
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

/// A new key ring for secrets.
///
/// # Errors
/// When the program cannot be run.
pub(crate) fn key_ring(binary: &Path) -> Outcome<String> {
    let mut command = Command::new(binary);
    command.args(["admin", "ring", "generate", "bench"]);
    printed(command)
}

fn printed(mut command: Command) -> Outcome<String> {
    let output = command.output().map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// Seconds of CPU a process used so far, all threads, user and system.
pub(crate) fn cpu_seconds_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, fixed in Linux's interface
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

fn free_address() -> Outcome<SocketAddr> {
    let probe = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    probe.local_addr().map_err(|e| e.to_string())
}
