//! Log lines: where they go and what one request adds.
//!
//! Invariant: no field of a line holds a secret. The access line is built from named fields only,
//! never from raw headers or queries, which is where signatures and tokens are.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{Invalid, LogConfig, LogFormat};

/// Installs the process-wide subscriber, which writes to standard error.
///
/// # Errors
/// A filter that does not read. A second installation in one process is ignored.
pub(crate) fn install(config: &LogConfig) -> Result<(), Invalid> {
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|e| Invalid(format!("log: {e}; expected for example info")))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BoxMakeWriter::new(std::io::stderr))
        .with_target(true);
    let installed = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.with_ansi(terminal).try_init()
    };
    if installed.is_ok() {
        log_panics();
    }
    Ok(())
}

/// Panics become one log line each, so that they are seen where everything else is seen.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(location, thread, message, "panic");
    }));
}
