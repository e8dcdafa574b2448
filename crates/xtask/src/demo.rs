//! `cargo xtask demo`: real data through the front door, as a user would.
//!
//! Everything it does is a user's command: make the word vectors, start a server, import over HTTP, ask.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::process::{self, Outcome};

/// What the demonstration asks for.
#[derive(Args)]
pub(crate) struct Options {
    /// Words to look up.
    #[arg(default_values = ["king", "paris", "guitar", "linux"])]
    words: Vec<String>,
}

const BINARY: &str = "target/release/vectorbucket";
const SET: &str = "bench/data/work/glove100";
const STORE: &str = "target/demo";
const LISTEN: &str = "127.0.0.1:9110";
const ADMIN_LISTEN: &str = "127.0.0.1:9111";
const TARGET: [&str; 4] = ["--bucket", "words", "--index-name", "glove100"];

/// Imports the word set into a server of its own and prints the nearest words of each word.
///
/// # Errors
/// When a step fails; the server is ended all the same.
pub(crate) fn run(options: &Options) -> Outcome {
    process::run(process::command(
        "cargo",
        &["build", "--release", "--package", "vb-server", "--locked"],
    ))?;
    if !process::root().join(format!("{SET}_base.npy")).is_file() {
        process::run(process::command("python3", &["bench/data/make.py", "glove100"]))?;
    }
    let server = Server::start()?;
    let base = format!("{SET}_base.npy");
    let (keys, metadata) = (format!("{SET}_keys.txt"), format!("{SET}_metadata.jsonl"));
    let mut import = client("import");
    import.arg(base).args(["--keys", &keys, "--metadata", &metadata]);
    import.args(TARGET).args(["--create-bucket", "--create", "--distance-metric", "cosine"]);
    process::run(import)?;
    let mut nearest = client("nearest");
    nearest.args(&options.words).args(TARGET).args(["--top-k", "8"]);
    process::run(nearest)?;
    drop(server);
    process::say(&format!(
        "\nThe index stays in {STORE}; `{BINARY} serve --dev --store {STORE}` serves it again."
    ));
    Ok(())
}

fn client(name: &str) -> Command {
    let credentials = process::root().join(STORE).join("dev-credentials.toml");
    let mut command = process::command(BINARY, &[name]);
    command.arg("--client-config").arg(credentials);
    command
}

/// The demonstration's server; ended when dropped.
struct Server(Child);

impl Server {
    fn start() -> Outcome<Self> {
        let arguments = [
            "serve",
            "--dev",
            "--store",
            STORE,
            "--listen",
            LISTEN,
            "--admin-listen",
            ADMIN_LISTEN,
        ];
        process::say(&format!("\n==> {BINARY} {}", arguments.join(" ")));
        let child = process::command(BINARY, &arguments)
            .env("VECTORBUCKET_LOG", "warn")
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| format!("{BINARY}: {e}"))?;
        let server = Self(child);
        let credentials = process::root().join(STORE).join("dev-credentials.toml");
        wait_until(|| credentials.is_file() && std::net::TcpStream::connect(LISTEN).is_ok())?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(ready: impl Fn() -> bool) -> Outcome {
    let start = Instant::now();
    while !ready() {
        if start.elapsed() > Duration::from_secs(30) {
            let log = Path::new(STORE).display().to_string();
            return Err(format!(
                "the server over {log} does not listen on {LISTEN}; is the port taken?"
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
