//! `vectorbucket import`: a file into an index.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::batch::{BadRow, Batch, Cutter, ROWS_MAX, Sender, Settled};
use super::checkpoint::{Checkpoint, FileStamp, Found, Identity};
use super::index::{self, Index, Place, Plan};
use super::progress::Progress;
use super::ranges::Ranges;
use super::source::{Input, Source};
use crate::client::Client;
use crate::connection;
use crate::failure::Failure;
use crate::output;
use crate::values;

const BATCH_BYTES: usize = 8 << 20;
const PARALLEL: usize = 4;
/// How much work at most is done again after a stop.
const SAVE_EVERY: Duration = Duration::from_millis(500);
const BAD_ROWS_SHOWN: u64 = 20;
/// How far to look for a row that tells the dimension.
const ROWS_PROBED: u64 = 1000;

pub(crate) fn command() -> Command {
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let count = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(value_parser!(NonZeroUsize))
            .help(help)
    };
    Command::new("import")
        .about("Load vectors from a .jsonl or .npy file into an index")
        .long_about(
            "Loads vectors from a .jsonl file (one {\"key\",\"data\":{\"float32\":[]} or \"vector\":[],\"metadata\"} a \
             line) or a .npy file (float32 or float64, two dimensions) into an index, in parallel batches. It may be \
             stopped at any moment: the same command goes on where it was.",
        )
        .arg(Arg::new("input").value_name("FILE").required(true).value_parser(value_parser!(PathBuf)).help("A .jsonl, .ndjson or .npy file"))
        .args(place_flags())
        .arg(path("keys", "Keys of a .npy file, one a line; JSON strings if it ends in .jsonl [default: row numbers from 0]"))
        .arg(path("metadata", "Metadata of a .npy file, one JSON object a line"))
        .arg(flag("create", "Make the index if it is missing, with the dimension of the data"))
        .arg(flag("create-bucket", "Make the bucket too if it is missing"))
        .arg(
            Arg::new("distance-metric")
                .long("distance-metric")
                .value_name("METRIC")
                .default_value("cosine")
                .help("Metric of an index made by --create: cosine or euclidean"),
        )
        .arg(Arg::new("non-filterable").long("non-filterable").value_name("A,B").help("Metadata keys that need no filter, for --create"))
        .arg(flag("skip-bad", "Report bad rows and go on, instead of stopping at the first"))
        .arg(flag("restart", "Begin anew, whatever an earlier run has done"))
        .arg(path("checkpoint", "Where progress is kept [default: beside the input]"))
        .arg(count("parallel", "Requests at a time [default: 4]"))
        .arg(count("batch-rows", "Vectors per request, 500 at most [default: 500]"))
        .arg(count("batch-bytes", "Bytes per request, about [default: 8388608]"))
        .args(connection::flags())
}

/// The flags that name bucket and index.
pub(super) fn place_flags() -> [Arg; 2] {
    let text = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("NAME").required(true).help(help)
    };
    [text("bucket", "Vector bucket"), text("index-name", "Vector index")]
}

/// Bucket and index as given.
pub(super) fn place(matches: &ArgMatches) -> Place {
    let text = |name: &str| matches.get_one::<String>(name).expect("clap requires it").clone();
    Place { bucket: text("bucket"), index: text("index-name") }
}

/// What was asked for.
struct Options {
    input: Input,
    place: Place,
    create: bool,
    create_bucket: bool,
    metric: String,
    non_filterable: Vec<String>,
    skip_bad: bool,
    restart: bool,
    checkpoint: PathBuf,
    parallel: usize,
    batch_rows: usize,
    batch_bytes: usize,
}

impl Options {
    fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        let count = |name: &str, default: usize| {
            matches.get_one::<NonZeroUsize>(name).map_or(default, |n| n.get())
        };
        let names = matches.get_one::<String>("non-filterable");
        let place = place(matches);
        let vectors = path("input").expect("clap requires an input");
        let beside = Checkpoint::path_for(&vectors, &place.bucket, &place.index);
        Ok(Self {
            input: Input { vectors, keys: path("keys"), metadata: path("metadata") },
            place,
            create: matches.get_flag("create"),
            create_bucket: matches.get_flag("create-bucket"),
            metric: matches.get_one::<String>("distance-metric").expect("it has a default").clone(),
            non_filterable: names
                .map(|names| values::keys("non-filterable", names))
                .transpose()?
                .unwrap_or_default(),
            skip_bad: matches.get_flag("skip-bad"),
            restart: matches.get_flag("restart"),
            checkpoint: path("checkpoint").unwrap_or(beside),
            parallel: count("parallel", PARALLEL).min(256),
            batch_rows: count("batch-rows", ROWS_MAX).min(ROWS_MAX),
            batch_bytes: count("batch-bytes", BATCH_BYTES),
        })
    }
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let options = Options::read(matches)?;
    let client = Client::new(connection::read(matches)?)?;
    import(&client, &options).map(|_| ())
}

/// What an import did.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    vectors: u64,
    bad: u64,
}

fn import(client: &Client, options: &Options) -> Result<Summary, Failure> {
    let source = Source::open(&options.input)?;
    let index = prepare(client, options)?;
    let mut checkpoint = open_checkpoint(client, options, &index)?;
    let done = checkpoint.done().clone();
    let sender =
        Sender { client, place: &options.place, index: &index, skip_bad: options.skip_bad };
    let mut ledger = Ledger::new(&mut checkpoint, source.units());
    let outcome = transfer(source, &done, &sender, options, &mut ledger);
    ledger.close(outcome)
}

/// Makes what may be made, and reads what the index expects.
fn prepare(client: &Client, options: &Options) -> Result<Index, Failure> {
    if options.create_bucket {
        index::create_bucket(client, &options.place.bucket)?;
    }
    let dimension = first_dimension(&options.input)?;
    let described = match index::describe(client, &options.place) {
        Err(failure) if options.create && failure.code() == Some("NoSuchVectorIndex") => {
            let dimension = dimension.ok_or_else(|| {
                Failure::Data("no row tells the dimension of the index to make".to_owned())
            })?;
            let plan = Plan {
                dimension,
                metric: &options.metric,
                non_filterable: options.non_filterable.clone(),
            };
            index::create(client, &options.place, &plan)?;
            output::complain(&format!(
                "made index {} with {dimension} dimensions, metric {}",
                options.place.index, options.metric
            ));
            index::describe(client, &options.place)?
        }
        described => described?,
    };
    match dimension {
        Some(found) if found != described.dimension => Err(Failure::Data(format!(
            "the vectors have {found} numbers, index {} takes {}",
            options.place.index, described.dimension
        ))),
        _ => Ok(described),
    }
}

/// The dimension of the first row that can be read.
fn first_dimension(input: &Input) -> Result<Option<usize>, Failure> {
    let mut source = Source::open(input)?;
    while let Some((ordinal, row)) = source.next(|_| false)? {
        let dimension = row.and_then(|row| row.dimension());
        if dimension.is_some() || ordinal >= ROWS_PROBED {
            return Ok(dimension);
        }
    }
    Ok(None)
}

fn open_checkpoint(
    client: &Client,
    options: &Options,
    index: &Index,
) -> Result<Checkpoint, Failure> {
    let endpoint =
        client.settings().endpoint.target(connection::Addressing::Path, None, "").url("");
    let identity = Identity {
        files: options.input.files().map(FileStamp::of).collect::<Result<_, _>>()?,
        endpoint,
        bucket: options.place.bucket.clone(),
        index: options.place.index.clone(),
        created: index.created.clone(),
    };
    let path = options.checkpoint.clone();
    if options.restart {
        let _ = std::fs::remove_file(&path);
    }
    let (checkpoint, found) = Checkpoint::load(path, identity);
    match found {
        Found::Nothing => {}
        Found::Progress => output::complain(&format!(
            "{} rows are in already; going on with the rest",
            checkpoint.done().count()
        )),
        Found::Stale(why) => output::complain(&format!(
            "starting over, the checkpoint {} does not count: {why}",
            checkpoint.path().display()
        )),
    }
    Ok(checkpoint)
}

/// A batch on its way, with how far into the input it reaches.
type Numbered = (Batch, u64);

/// What the threads report.
enum Event {
    Settled { range: Range<u64>, consumed: u64, settled: Settled },
    Failed(Failure),
}

/// Reads, encodes and sends everything that is not done. After the first failure the batches under
/// way are finished and noted, and nothing new is begun.
fn transfer(
    source: Source,
    done: &Ranges,
    sender: &Sender<'_>,
    options: &Options,
    ledger: &mut Ledger<'_>,
) -> Result<(), Failure> {
    let stop = AtomicBool::new(false);
    let (batch_in, batch_out) = sync_channel::<Numbered>(options.parallel);
    let (event_in, event_out) = sync_channel::<Event>(options.parallel);
    let batch_out = Mutex::new(batch_out);
    std::thread::scope(|scope| {
        let reader_events = event_in.clone();
        let stop = &stop;
        scope.spawn(move || {
            let cutter = Cutter::new(options.batch_rows, options.batch_bytes);
            if let Err(failure) = read(source, done, cutter, &batch_in, stop) {
                // The receiver outlives this thread.
                let _ = reader_events.send(Event::Failed(failure));
            }
        });
        for _ in 0..options.parallel {
            let (events, batches) = (event_in.clone(), &batch_out);
            scope.spawn(move || send(batches, sender, &events, stop));
        }
        drop(event_in);
        let mut first = Ok(());
        for event in event_out {
            match event {
                Event::Settled { range, consumed, settled } => {
                    ledger.note(range, consumed, &settled);
                }
                Event::Failed(failure) => {
                    stop.store(true, Ordering::Relaxed);
                    first = first.and(Err(failure));
                }
            }
        }
        first
    })
}

fn read(
    mut source: Source,
    done: &Ranges,
    mut cutter: Cutter,
    batches: &SyncSender<Numbered>,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    while let Some((_, row)) = source.next(|ordinal| done.contains(ordinal))? {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(batch) = row.and_then(|row| cutter.push(row)) {
            let _ = batches.send((batch, source.consumed()));
        }
    }
    if let Some(batch) = cutter.finish() {
        let _ = batches.send((batch, source.consumed()));
    }
    Ok(())
}

/// Sends batches until there are none; once stopped it only empties the queue, so that the reader
/// never waits for room.
fn send(
    batches: &Mutex<Receiver<Numbered>>,
    sender: &Sender<'_>,
    events: &SyncSender<Event>,
    stop: &AtomicBool,
) {
    loop {
        let next = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((batch, consumed)) = next else { return };
        if stop.load(Ordering::Relaxed) {
            continue;
        }
        let event = match sender.send(&batch) {
            Ok(settled) => Event::Settled { range: batch.range, consumed, settled },
            Err(failure) => Event::Failed(failure),
        };
        let _ = events.send(event);
    }
}

/// What has been done so far: on the screen and in the checkpoint.
struct Ledger<'a> {
    checkpoint: &'a mut Checkpoint,
    progress: Progress,
    summary: Summary,
    consumed: u64,
    saved: Instant,
    unsaved: bool,
    save_failed: bool,
}

impl<'a> Ledger<'a> {
    fn new(checkpoint: &'a mut Checkpoint, units: u64) -> Self {
        Self {
            checkpoint,
            progress: Progress::start(units),
            summary: Summary { vectors: 0, bad: 0 },
            consumed: 0,
            saved: Instant::now(),
            unsaved: false,
            save_failed: false,
        }
    }

    fn note(&mut self, range: Range<u64>, consumed: u64, settled: &Settled) {
        self.summary.vectors += settled.vectors;
        self.consumed = self.consumed.max(consumed);
        settled.bad.iter().for_each(|bad| self.report(bad));
        self.checkpoint.add(range);
        self.unsaved = true;
        self.progress.update(settled.vectors, settled.bytes, self.consumed);
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save();
        }
    }

    fn report(&mut self, bad: &BadRow) {
        self.summary.bad += 1;
        match self.summary.bad {
            ..=BAD_ROWS_SHOWN => {
                self.progress.say(&format!("row {} left out: {}", bad.number, bad.reason));
            }
            n if n == BAD_ROWS_SHOWN + 1 => {
                self.progress.say("further bad rows are counted and not shown");
            }
            _ => {}
        }
    }

    /// An import goes on without a checkpoint: it only costs more if it has to be repeated.
    fn save(&mut self) {
        self.saved = Instant::now();
        self.unsaved = false;
        if let (Err(failure), false) = (self.checkpoint.save(), self.save_failed) {
            self.save_failed = true;
            self.progress.say(&format!(
                "progress cannot be kept, so a stopped import will start over; {failure}"
            ));
        }
    }

    fn close(mut self, outcome: Result<(), Failure>) -> Result<Summary, Failure> {
        if let Err(failure) = outcome {
            if self.unsaved {
                self.save();
            }
            self.progress.abandon();
            let count = self.checkpoint.done().count();
            if count > 0 && !self.save_failed {
                output::complain(&format!(
                    "{count} rows are in; the same command goes on from there"
                ));
            }
            return Err(failure);
        }
        self.checkpoint.remove();
        self.progress.finish("imported");
        if self.summary.bad > 0 {
            output::complain(&format!("{} rows were left out", self.summary.bad));
        }
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests;
