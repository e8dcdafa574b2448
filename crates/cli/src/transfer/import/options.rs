//! The flags of `import`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::connection;
use crate::failure::Failure;
use crate::transfer::batch::ROWS_MAX;
use crate::transfer::checkpoint::Checkpoint;
use crate::transfer::index::Place;
use crate::transfer::source::Input;
use crate::values;

const BATCH_BYTES: usize = 8 << 20;
const PARALLEL: usize = 4;
const PARALLEL_MAX: usize = 256;

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
            "Loads vectors from a .jsonl file (a record with key, data or vector, and metadata a \
             line) or a .npy file (float32 or float64, two dimensions) into an index, in \
             parallel batches. It may be stopped at any moment: the same command goes on \
             where it was.",
        )
        .arg(
            Arg::new("input")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("A .jsonl, .ndjson or .npy file"),
        )
        .args(place_flags())
        .arg(path(
            "keys",
            "Keys of a .npy file, one a line; JSON strings if it ends in .jsonl \
                    [default: row numbers from 0]",
        ))
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
        .arg(
            Arg::new("non-filterable")
                .long("non-filterable")
                .value_name("A,B")
                .help("Metadata keys that need no filter, for --create"),
        )
        .arg(flag("skip-bad", "Report bad rows and go on, instead of stopping at the first"))
        .arg(flag("restart", "Begin anew, whatever an earlier run has done"))
        .arg(path("checkpoint", "Where progress is kept [default: beside the input]"))
        .arg(count("parallel", "Requests at a time [default: 4]"))
        .arg(count("batch-rows", "Vectors per request, 500 at most [default: 500]"))
        .arg(count("batch-bytes", "Bytes per request, about [default: 8388608]"))
        .args(connection::flags())
}

/// The flags that name bucket and index.
pub(in crate::transfer) fn place_flags() -> [Arg; 2] {
    let text = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("NAME").required(true).help(help)
    };
    [text("bucket", "Vector bucket"), text("index-name", "Vector index")]
}

/// Bucket and index as given.
pub(in crate::transfer) fn place(matches: &ArgMatches) -> Place {
    let text = |name: &str| matches.get_one::<String>(name).expect("clap requires it").clone();
    Place { bucket: text("bucket"), index: text("index-name") }
}

/// What was asked for.
pub(super) struct Options {
    pub(super) input: Input,
    pub(super) place: Place,
    pub(super) create: bool,
    pub(super) create_bucket: bool,
    pub(super) metric: String,
    pub(super) non_filterable: Vec<String>,
    pub(super) skip_bad: bool,
    pub(super) restart: bool,
    pub(super) checkpoint: PathBuf,
    pub(super) parallel: usize,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
}

impl Options {
    pub(super) fn read(matches: &ArgMatches) -> Result<Self, Failure> {
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
            parallel: count("parallel", PARALLEL).min(PARALLEL_MAX),
            batch_rows: count("batch-rows", ROWS_MAX).min(ROWS_MAX),
            batch_bytes: count("batch-bytes", BATCH_BYTES),
        })
    }
}
