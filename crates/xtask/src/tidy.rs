//! `cargo xtask tidy`: the rules of the repository that a compiler does not check.
//!
//! Rooms depend on each other only along the arrows of `ARCHITECTURE.md`; every external
//! dependency stands, with its reason, in `dependencies.toml`; unsafe code stays in `kernel`;
//! relative links in documents lead somewhere; pinned requirement files pin.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::process::{self, Outcome};

/// Room, the rooms it may depend on, the rooms only its tests may depend on.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("kernel", &[], &[]),
    ("search", &["kernel"], &[]),
    ("commit", &[], &[]),
    ("engine", &["kernel", "search", "commit"], &[]),
    ("policy", &[], &[]),
    ("identity", &["commit", "policy"], &[]),
    ("api", &[], &[]),
    ("cli", &["api"], &[]),
    ("server", &["api", "cli", "commit", "engine", "identity", "kernel", "policy", "search"], &[]),
    ("sim", &["commit", "engine", "search", "kernel"], &[]),
    ("xtask", &[], &[]),
    ("bench", &["api", "commit", "engine", "kernel", "search"], &[]),
    ("fuzz", &["api", "commit", "engine", "identity", "policy", "search"], &[]),
];

/// Crates that may never stand in the lock file, and why.
const BANNED: &[(&str, &str)] = &[
    ("datafusion", "a query engine of its own"),
    ("librocksdb-sys", "a second durability system"),
    ("prost", "protocol buffers"),
    ("protobuf", "protocol buffers"),
    ("aws-config", "the AWS SDK"),
    ("aws-sdk-s3", "the AWS SDK"),
    ("openssl-sys", "a second TLS library that needs system packages"),
];

/// Where `unsafe` may stand.
const UNSAFE_HOME: &str = "crates/kernel/";

#[derive(Deserialize)]
struct AllowList {
    /// Crate name to the reason why it is here.
    dependencies: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
    #[serde(default, rename = "dev-dependencies")]
    dev_dependencies: BTreeMap<String, toml::Value>,
    #[serde(default)]
    lints: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
}

/// Checks the whole tree and lists every offence.
///
/// # Errors
/// When there is at least one.
pub(crate) fn run() -> Outcome {
    process::say("\n==> tidy");
    let root = process::root();
    let files = tracked_files(&root)?;
    let mut offences = Vec::new();
    check_manifests(&root, &mut offences)?;
    check_lock(&root, &mut offences)?;
    for file in &files {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        check_unsafe(file, &text, &mut offences);
        check_links(&root, file, &text, &mut offences);
        check_pins(file, &text, &mut offences);
    }
    for offence in &offences {
        process::say(&format!("tidy: {offence}"));
    }
    if offences.is_empty() {
        process::say(&format!("tidy: {} files in order", files.len()));
        return Ok(());
    }
    Err(format!("tidy found {} offences", offences.len()))
}

fn tracked_files(root: &Path) -> Outcome<Vec<String>> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("git ls-files: {e}"))?;
    let text = String::from_utf8_lossy(&listed.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

fn check_manifests(root: &Path, offences: &mut Vec<String>) -> Outcome {
    let allowed: AllowList = read_toml(&root.join("dependencies.toml"))?;
    let mut used = BTreeSet::new();
    for (path, manifest) in member_manifests(root)? {
        let room =
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // fuzz is a workspace of its own: cargo-fuzz builds it with the nightly compiler.
        if room != "fuzz" && !manifest.lints.contains_key("workspace") {
            offences.push(format!("{room} does not take the workspace lints"));
        }
        check_arrows(&room, &manifest, offences);
        let external = manifest.dependencies.keys().chain(manifest.dev_dependencies.keys());
        for name in external.filter(|name| !name.starts_with("vb-")) {
            used.insert(name.clone());
            if !allowed.dependencies.contains_key(name) {
                offences
                    .push(format!("{room} uses {name}, which dependencies.toml does not allow"));
            }
        }
    }
    for name in allowed.dependencies.keys().filter(|name| !used.contains(*name)) {
        offences.push(format!("dependencies.toml allows {name}, which nothing uses"));
    }
    Ok(())
}

fn member_manifests(root: &Path) -> Outcome<Vec<(PathBuf, Manifest)>> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root.join("crates"))
        .map_err(|e| format!("crates/: {e}"))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    folders.extend([root.join("bench"), root.join("fuzz")]);
    folders.sort();
    let with_manifest = folders.into_iter().filter(|folder| folder.join("Cargo.toml").is_file());
    with_manifest
        .map(|folder| Ok((folder.clone(), read_toml(&folder.join("Cargo.toml"))?)))
        .collect()
}

fn check_arrows(room: &str, manifest: &Manifest, offences: &mut Vec<String>) {
    let Some((_, to, to_in_tests)) = ARROWS.iter().find(|(name, ..)| *name == room) else {
        offences.push(format!("{room} is no room of ARCHITECTURE.md"));
        return;
    };
    let rooms = |names: &BTreeMap<String, toml::Value>| -> Vec<String> {
        names.keys().filter_map(|name| name.strip_prefix("vb-")).map(str::to_owned).collect()
    };
    for other in rooms(&manifest.dependencies) {
        if !to.contains(&other.as_str()) {
            offences.push(format!("no arrow leads from {room} to {other}"));
        }
    }
    for other in rooms(&manifest.dev_dependencies) {
        if !to.contains(&other.as_str()) && !to_in_tests.contains(&other.as_str()) {
            offences.push(format!("no arrow leads from the tests of {room} to {other}"));
        }
    }
}

fn check_lock(root: &Path, offences: &mut Vec<String>) -> Outcome {
    let lock: Lock = read_toml(&root.join("Cargo.lock"))?;
    for (banned, reason) in BANNED {
        if lock.package.iter().any(|package| package.name == *banned) {
            offences.push(format!("Cargo.lock holds {banned} ({reason})"));
        }
    }
    Ok(())
}

fn check_unsafe(file: &str, text: &str, offences: &mut Vec<String>) {
    if !file.ends_with(".rs") || file.starts_with(UNSAFE_HOME) || file.ends_with("tidy.rs") {
        return;
    }
    for (at, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl") {
            offences.push(format!("{file}:{}: unsafe outside {UNSAFE_HOME}", at + 1));
        }
    }
}

/// Relative links of Markdown documents must lead to files of this tree.
fn check_links(root: &Path, file: &str, text: &str, offences: &mut Vec<String>) {
    if !file.ends_with(".md") {
        return;
    }
    let folder = root.join(file).parent().map(Path::to_path_buf).unwrap_or_default();
    for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = target.split('#').next().unwrap_or_default();
        let relative =
            !path.is_empty() && !path.contains("://") && !path.contains(char::is_whitespace);
        if relative && !folder.join(path).exists() {
            offences.push(format!("{file} links to {target}, which is not there"));
        }
    }
}

/// Every line of a Python requirements file names one exact version.
fn check_pins(file: &str, text: &str, offences: &mut Vec<String>) {
    let name = Path::new(file).file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if !(name.starts_with("requirements") && name.ends_with(".txt")) {
        return;
    }
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if !line.contains("==") {
            offences.push(format!("{file}: {line:?} is not pinned"));
        }
    }
}

fn read_toml<T: for<'a> Deserialize<'a>>(path: &Path) -> Outcome<T> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_arrow_against_the_grain_is_an_offence() {
        let mut offences = Vec::new();
        check_arrows("search", &manifest("[dependencies]\nvb-kernel = 1"), &mut offences);
        assert!(offences.is_empty());
        check_arrows("search", &manifest("[dependencies]\nvb-engine = 1"), &mut offences);
        check_arrows("kernel", &manifest("[dev-dependencies]\nvb-search = 1"), &mut offences);
        assert_eq!(offences.len(), 2);
    }

    #[test]
    fn unsafe_is_found_only_outside_its_home() {
        let mut offences = Vec::new();
        check_unsafe("crates/kernel/src/x.rs", "unsafe { f() }", &mut offences);
        check_unsafe("crates/search/src/x.rs", "// unsafe { f() }", &mut offences);
        assert!(offences.is_empty());
        check_unsafe("crates/search/src/x.rs", "let y = unsafe { f() };", &mut offences);
        assert_eq!(offences.len(), 1);
    }

    #[test]
    fn an_open_requirement_is_an_offence() {
        let mut offences = Vec::new();
        check_pins("a/requirements.txt", "# note\nnumpy==2.0.0\n", &mut offences);
        assert!(offences.is_empty());
        check_pins("a/requirements.txt", "numpy>=2\n", &mut offences);
        assert_eq!(offences.len(), 1);
    }
}
