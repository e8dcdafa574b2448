//! The one place that writes to the terminal.
//!
//! A closed pipe (`vectorbucket ... | head`) is the reader's choice and not an error of ours.

use std::io::{self, Write};

use crate::failure::Failure;

/// Writes an answer to standard output, ending it with a newline; nothing for an empty answer.
pub(crate) fn answer(bytes: &[u8]) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    let newline: &[u8] = if bytes.ends_with(b"\n") { b"" } else { b"\n" };
    let written = out.write_all(bytes).and_then(|()| out.write_all(newline));
    forgive_closed_pipe(written.and_then(|()| out.flush()))
}

/// Writes a message to standard error.
pub(crate) fn complain(message: &str) {
    // With standard error gone there is nowhere left to say so.
    let _ = writeln!(io::stderr().lock(), "{message}");
}

fn forgive_closed_pipe(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::file("standard output", error))
        }
        _ => Ok(()),
    }
}
