//! Child processes: run them from the workspace root, echo what they print, count their tests.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a command of this crate ends with when it fails: one line for a person.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The workspace root, whatever folder `cargo xtask` was called from.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("crates/xtask lies two folders below the root").to_path_buf()
}

/// Prints one line to standard output.
#[expect(clippy::print_stdout, reason = "the one place this crate prints")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// A command that starts in the workspace root.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Runs `command` with its output shown; an error names it.
pub(crate) fn run(mut command: Command) -> Outcome {
    say(&format!("\n==> {}", describe(&command)));
    let status =
        command.status().map_err(|e| format!("cannot start {}: {e}", describe(&command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", describe(&command))) }
}

/// What a test runner reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs a test command, echoing its standard output and adding up the closing lines of the test
/// runners in it (`test result: ok. 3 passed; 0 failed; 1 ignored` and `3 passed, 0 failed`).
///
/// # Errors
/// When it cannot be started or exits with a failure; the counts up to then are added all the same.
pub(crate) fn run_counted(mut command: Command, total: &mut Count) -> Outcome {
    say(&format!("\n==> {}", describe(&command)));
    let name = describe(&command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|e| format!("cannot start {name}: {e}"))?;
    let output = child.stdout.take().expect("standard output was piped");
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        say(&line);
        if let Some(count) = closing_line(&line) {
            total.add(count);
        }
    }
    std::io::stdout().flush().map_err(|e| e.to_string())?;
    let status = child.wait().map_err(|e| format!("waiting for {name}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed ({status})")) }
}

/// Parses the closing line of cargo's test runner, or the plain one of `tests/sdk/run.py`.
fn closing_line(line: &str) -> Option<Count> {
    let counts = match line.strip_prefix("test result: ") {
        Some(rest) => rest.split_once(". ")?.1,
        None if line.starts_with(|c: char| c.is_ascii_digit()) => line,
        None => return None,
    };
    let mut count = Count::default();
    let mut found = 0;
    for part in counts.split([';', ',']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(word), None) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else { continue };
        match word {
            "passed" => count.passed = number,
            "failed" => count.failed = number,
            "ignored" | "skipped" => count.skipped = number,
            _ => continue,
        }
        found += 1;
    }
    (found >= 2).then_some(count)
}

/// Whether `program` can be started at all.
pub(crate) fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// Whether this run is CI's, where nothing may be skipped.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_counted() {
        let cargo = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(closing_line(cargo), Some(Count { passed: 12, failed: 0, skipped: 3 }));
        let plain = "40 passed, 2 failed, 1 skipped";
        assert_eq!(closing_line(plain), Some(Count { passed: 40, failed: 2, skipped: 1 }));
        assert_eq!(closing_line("running 3 tests"), None);
        assert_eq!(closing_line("3 things passed by, 2 failed us"), None);
    }
}
