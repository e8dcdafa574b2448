//! `vectorbucket import`: a file into an index.

mod ledger;
mod options;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use clap::ArgMatches;

use super::batch::{Batch, Cutter, Sender, Settled};
use super::checkpoint::{Checkpoint, FileStamp, Found, Identity};
use super::index::{self, Index, Plan};
use super::ranges::Ranges;
use super::source::{Input, Source};
use crate::client::Client;
use crate::connection;
use crate::failure::Failure;
use crate::output;

use ledger::{Ledger, Summary};
use options::Options;
pub(crate) use options::command;
pub(super) use options::{place, place_flags};

/// How far to look for a row that tells the dimension.
const ROWS_PROBED: u64 = 1000;

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let options = Options::read(matches)?;
    let client = Client::new(connection::read(matches)?)?;
    import(&client, &options).map(|_| ())
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

#[cfg(test)]
mod tests;
