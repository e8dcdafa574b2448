//! `vectorbucket export`: an index into files.
//!
//! The index is listed in equal parts at a time, each into files of its own; when all are
//! complete they are joined and renamed, so that a file under the asked name is always whole.
//! Parts are joined in their order, which makes two exports of an unchanged index equal.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::import::{place, place_flags};
use super::index::{self, Place};
use super::progress::Progress;
use super::{Format, holds_json, npy, with_suffix};
use crate::call::Call;
use crate::client::Client;
use crate::commands::object;
use crate::connection;
use crate::failure::Failure;
use crate::values;

const PARALLEL: u32 = 4;
/// The service's limits.
const SEGMENTS_MAX: i64 = 16;
const PAGE: u32 = 1000;

pub(crate) fn command() -> Command {
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    Command::new("export")
        .about("Save an index's vectors to a .jsonl or .npy file")
        .long_about(
            "Saves an index's vectors to a .jsonl file (records as `import` reads them) or to a \
             .npy file with keys and metadata beside it. The files appear when they are complete. \
             Vectors written meanwhile may or may not be in.",
        )
        .arg(
            Arg::new("output")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("A .jsonl, .ndjson or .npy file"),
        )
        .args(place_flags())
        .arg(path(
            "keys",
            "Keys beside a .npy file: plain lines, or JSON strings if it ends \
                    in .jsonl [default: NAME_keys.jsonl]",
        ))
        .arg(path(
            "metadata",
            "Metadata beside a .npy file, one JSON object a line [default: \
                    NAME_metadata.jsonl]",
        ))
        .arg(
            Arg::new("filter")
                .long("filter")
                .value_name("JSON|file://PATH")
                .help("Only records whose metadata match"),
        )
        .arg(
            Arg::new("overwrite")
                .long("overwrite")
                .action(ArgAction::SetTrue)
                .help("Replace files that exist"),
        )
        .arg(
            Arg::new("parallel")
                .long("parallel")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..=SEGMENTS_MAX))
                .help("Parts listed at a time, 1-16 [default: 4]"),
        )
        .args(connection::flags())
}

/// Where everything goes.
#[derive(Debug, Clone)]
struct Output {
    format: Format,
    vectors: PathBuf,
    /// Of a .npy export only.
    keys: PathBuf,
    metadata: PathBuf,
}

impl Output {
    fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let vectors =
            matches.get_one::<PathBuf>("output").expect("clap requires an output").clone();
        let format = Format::of(&vectors)?;
        let given = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        if format == Format::Jsonl && (given("keys").is_some() || given("metadata").is_some()) {
            return Err(Failure::usage(
                "--keys and --metadata go with .npy output; a JSONL record holds its own",
            ));
        }
        let stem = vectors.with_extension("");
        let keys = given("keys").unwrap_or_else(|| with_suffix(&stem, "_keys.jsonl"));
        let metadata = given("metadata").unwrap_or_else(|| with_suffix(&stem, "_metadata.jsonl"));
        let output = Self { format, vectors, keys, metadata };
        let existing = output.files().find(|path| path.exists()).map(Path::to_owned);
        match existing {
            Some(path) if !matches.get_flag("overwrite") => {
                let message = format!("{} exists: give --overwrite to replace it", path.display());
                Err(Failure::usage(message))
            }
            _ => Ok(output),
        }
    }

    /// The files, the vectors last: when they are there, so is everything.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let beside = (self.format == Format::Npy).then_some([&*self.metadata, &*self.keys]);
        beside.into_iter().flatten().chain([&*self.vectors])
    }

    /// The file of one part of a file.
    fn part(path: &Path, number: u32) -> PathBuf {
        with_suffix(path, &format!(".part{number}"))
    }

    fn remove_parts(&self, parts: u32) {
        for path in self.files() {
            (0..parts).for_each(|number| {
                let _ = fs::remove_file(Self::part(path, number));
            });
            let _ = fs::remove_file(with_suffix(path, ".part"));
        }
    }
}

/// What is listed.
struct Listing {
    place: Place,
    filter: Option<Box<RawValue>>,
    segments: u32,
    dimension: usize,
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let output = Output::read(matches)?;
    let client = Client::new(connection::read(matches)?)?;
    let place = place(matches);
    let filter =
        matches.get_one::<String>("filter").map(|text| values::json("filter", text)).transpose()?;
    let dimension = index::describe(&client, &place)?.dimension;
    let segments = matches.get_one("parallel").copied().unwrap_or(PARALLEL);
    export(&client, &Listing { place, filter, segments, dimension }, &output).map(|_| ())
}

/// Returns how many vectors were saved.
fn export(client: &Client, listing: &Listing, output: &Output) -> Result<u64, Failure> {
    let progress = Mutex::new(Progress::start(0));
    let saved = list_all(client, listing, output, &progress)
        .and_then(|counts| join(output, &counts, listing.dimension));
    output.remove_parts(listing.segments);
    let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    match &saved {
        Ok(_) => progress.finish("exported"),
        Err(_) => progress.abandon(),
    }
    saved
}

/// Lists every segment on a thread of its own; the vectors in each.
fn list_all(
    client: &Client,
    listing: &Listing,
    output: &Output,
    progress: &Mutex<Progress>,
) -> Result<Vec<u64>, Failure> {
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let list = |number| {
            move || {
                let listed = list_segment(client, listing, output, number, progress, stop);
                if listed.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                listed
            }
        };
        let threads: Vec<_> =
            (0..listing.segments).map(|number| scope.spawn(list(number))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().expect("listing does not panic")
        };
        threads.into_iter().map(join).collect::<Vec<_>>().into_iter().collect()
    })
}

fn list_segment(
    client: &Client,
    listing: &Listing,
    output: &Output,
    number: u32,
    progress: &Mutex<Progress>,
    stop: &AtomicBool,
) -> Result<u64, Failure> {
    let mut part = Part::create(output, number, listing.dimension)?;
    let mut token = None;
    while !stop.load(Ordering::Relaxed) {
        let call = Call::json(
            &listing.place.bucket,
            "listVectors",
            page_body(listing, number, token.as_deref()),
        );
        let answer = client.send(&call)?;
        let page: Page<'_> =
            serde_json::from_slice(&answer).map_err(|error| Failure::Answer(error.to_string()))?;
        page.vectors.iter().try_for_each(|vector| part.add(vector.get()))?;
        let count = page.vectors.len() as u64;
        progress.lock().unwrap_or_else(PoisonError::into_inner).update(
            count,
            answer.len() as u64,
            0,
        );
        token = page.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    part.finish()
}

fn page_body(listing: &Listing, segment: u32, token: Option<&str>) -> Vec<u8> {
    let mut members = vec![
        ("indexName", values::string(&listing.place.index)),
        ("maxResults", values::raw(&PAGE)),
        ("returnData", values::raw(&true)),
        ("returnMetadata", values::raw(&true)),
        ("segmentCount", values::raw(&listing.segments)),
        ("segmentIndex", values::raw(&segment)),
    ];
    members.extend(token.map(|token| ("nextToken", values::string(token))));
    members.extend(listing.filter.clone().map(|filter| ("filter", filter)));
    object(&members)
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    vectors: Vec<&'a RawValue>,
    #[serde(rename = "nextToken")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    data: Data,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Data {
    float32: Vec<f32>,
}

/// The files of one segment.
struct Part {
    count: u64,
    dimension: usize,
    files: Files,
}

enum Files {
    Lines(PartFile),
    Array { numbers: PartFile, keys: PartFile, metadata: PartFile },
}

struct PartFile {
    path: PathBuf,
    json: bool,
    out: BufWriter<File>,
}

impl PartFile {
    fn create(path: &Path, number: u32) -> Result<Self, Failure> {
        let json = holds_json(path);
        let path = Output::part(path, number);
        let file = File::create(&path).map_err(|cause| Failure::file(&path, cause))?;
        Ok(Self { path, json, out: BufWriter::new(file) })
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        // JSON strings hold no raw newline, so one in an answer is mere layout.
        let flat: Cow<'_, str> = if text.contains(['\n', '\r']) {
            text.replace(['\n', '\r'], " ").into()
        } else {
            text.into()
        };
        self.check(|out| out.write_all(flat.as_bytes()).and_then(|()| out.write_all(b"\n")))
    }

    fn check(
        &mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        write(&mut self.out).map_err(|cause| Failure::file(&self.path, cause))
    }
}

impl Part {
    fn create(output: &Output, number: u32, dimension: usize) -> Result<Self, Failure> {
        let files = match output.format {
            Format::Jsonl => Files::Lines(PartFile::create(&output.vectors, number)?),
            Format::Npy => Files::Array {
                numbers: PartFile::create(&output.vectors, number)?,
                keys: PartFile::create(&output.keys, number)?,
                metadata: PartFile::create(&output.metadata, number)?,
            },
        };
        Ok(Self { count: 0, dimension, files })
    }

    /// Adds a record as the service sent it.
    fn add(&mut self, record: &str) -> Result<(), Failure> {
        self.count += 1;
        match &mut self.files {
            Files::Lines(file) => file.line(record),
            Files::Array { numbers, keys, metadata } => {
                let listed: Listed<'_> = serde_json::from_str(record)
                    .map_err(|error| Failure::Answer(error.to_string()))?;
                let vector = listed.data.float32;
                if vector.len() != self.dimension {
                    return Err(Failure::Answer(format!(
                        "a vector of {} numbers in an index of {}",
                        vector.len(),
                        self.dimension
                    )));
                }
                numbers.check(|out| npy::write_row(out, &vector))?;
                keys.line(&key_line(&listed.key, keys.json)?)?;
                metadata.line(listed.metadata.map_or("{}", RawValue::get))
            }
        }
    }

    fn finish(self) -> Result<u64, Failure> {
        let files = match self.files {
            Files::Lines(file) => vec![file],
            Files::Array { numbers, keys, metadata } => vec![numbers, keys, metadata],
        };
        files.into_iter().try_for_each(|mut file| file.check(Write::flush))?;
        Ok(self.count)
    }
}

fn key_line(key: &str, json: bool) -> Result<String, Failure> {
    if json {
        return Ok(values::string(key).get().to_owned());
    }
    if key.contains(['\n', '\r']) {
        let message =
            format!("key {key:?} does not fit on one line: give a --keys file that ends in .jsonl");
        return Err(Failure::Data(message));
    }
    Ok(key.to_owned())
}

/// Joins the parts of every file and gives them their names.
fn join(output: &Output, counts: &[u64], dimension: usize) -> Result<u64, Failure> {
    let total = counts.iter().sum();
    for path in output.files() {
        let array = output.format == Format::Npy && path == output.vectors;
        let header = array.then_some((total, dimension as u64));
        let half = with_suffix(path, ".part");
        join_file(path, &half, counts.len(), header)
            .map_err(|cause| Failure::file(&half, cause))?;
    }
    for path in output.files() {
        fs::rename(with_suffix(path, ".part"), path).map_err(|cause| Failure::file(path, cause))?;
    }
    Ok(total)
}

fn join_file(path: &Path, half: &Path, parts: usize, header: Option<(u64, u64)>) -> io::Result<()> {
    let mut out = File::create(half)?;
    if let Some((rows, columns)) = header {
        npy::write_header(&mut out, rows, columns)?;
    }
    for number in 0..parts {
        let number = u32::try_from(number).expect("there are at most 16 parts");
        let part = Output::part(path, number);
        io::copy(&mut File::open(&part)?, &mut out)?;
        // Each is removed as it is copied, so that the peak is one part above the whole.
        fs::remove_file(&part)?;
    }
    out.sync_all()
}

#[cfg(test)]
mod tests;
