//! Where the operator's secrets come from: a setting itself, a file, or what a program prints.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::LoadError;
use crate::load::{read_secret_file, setting};

const COMMAND_OUTPUT_BYTES_MAX: u64 = 64 << 10;
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);

/// The text of a secret: of the setting `name`, of the file that `{name}_FILE` names, which only
/// its owner may access, or what the program of `{name}_COMMAND` prints within 30 seconds. `None`
/// if none of them is set.
///
/// # Errors
///
/// More than one of them is set; the file cannot be read or is exposed; the program cannot be
/// started, fails or takes longer.
pub fn secret_text(
    variable: impl Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Option<Zeroizing<String>>, LoadError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let inline = variable(name).map(Zeroizing::new);
    let file = variable(&format!("{name}_FILE"));
    let command = variable(&format!("{name}_COMMAND"));
    match (inline, file, command) {
        (None, None, None) => Ok(None),
        (Some(text), None, None) => Ok(Some(text)),
        (None, Some(path), None) => {
            read_secret_file(Path::new(&path)).map(Zeroizing::new).map(Some)
        }
        (None, None, Some(command)) => printed_by(name, &command).map(Some),
        _ => {
            Err(setting(format!("set one of {name}, {name}_FILE and {name}_COMMAND, not several")))
        }
    }
}

/// What the program of the setting `{name}_COMMAND` prints within 30 seconds.
pub(crate) fn printed_by(name: &str, command: &str) -> Result<Zeroizing<String>, LoadError> {
    let failed = |why: String| setting(format!("{name}_COMMAND {why}"));
    let mut words = command.split_whitespace();
    let program = words.next().ok_or_else(|| failed("is empty".to_owned()))?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let stdout = child.stdout.take().expect("the output is piped");
    let (sender, output) = mpsc::channel();
    // A thread of its own, because reading a pipe cannot be given a time limit.
    std::thread::spawn(move || {
        let mut text = Zeroizing::new(String::new());
        let read = stdout.take(COMMAND_OUTPUT_BYTES_MAX).read_to_string(&mut text);
        // Nobody waits any more after the time limit.
        let _ = sender.send(read.map(|_| text));
    });
    let Ok(text) = output.recv_timeout(COMMAND_TIME_MAX) else {
        // A child that has ended by itself is as well.
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed("took longer than 30 seconds".to_owned()));
    };
    let status = child.wait().map_err(|error| failed(format!("was lost: {error}")))?;
    match text {
        Ok(text) if status.success() => Ok(text),
        Ok(_) => Err(failed(format!("failed: {status}"))),
        Err(error) => Err(failed(format!("printed what is no text: {}", error.kind()))),
    }
}
