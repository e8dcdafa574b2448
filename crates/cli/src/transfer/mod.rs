//! Whole indexes from and to files: `import` and `export`.
//!
//! An import is: **open** the input ([`source`]) -> **read** rows and cut them into batches (one
//! thread) -> **encode and send** each batch ([`rows`], several threads) -> **record** which rows
//! are in ([`checkpoint`]). Puts replace, so a batch that is sent twice changes nothing; that is
//! why a checkpoint may lag behind and an import can be stopped at any moment.

mod batch;
mod checkpoint;
pub(crate) mod export;
pub(crate) mod import;
mod index;
mod npy;
mod progress;
mod ranges;
mod rows;
mod source;

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The file formats of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// One record a line, with key and metadata.
    Jsonl,
    /// A two-dimensional array; keys and metadata are files beside it.
    Npy,
}

impl Format {
    /// By the file's extension.
    fn of(path: &Path) -> Result<Self, Failure> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            Some("npy") => Ok(Self::Npy),
            _ => Err(Failure::usage(format!(
                "{}: the name must end in .jsonl, .ndjson or .npy",
                path.display()
            ))),
        }
    }
}

/// Whether a keys file holds JSON strings, one a line, and not plain keys.
fn holds_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jsonl" || extension == "ndjson")
}

/// The path with something appended to its whole name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
