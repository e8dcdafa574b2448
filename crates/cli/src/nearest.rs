//! `vectorbucket nearest`: the nearest records to records that are in the index.

use std::borrow::Cow;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::call::Call;
use crate::client::Client;
use crate::commands::object;
use crate::connection;
use crate::failure::Failure;
use crate::output;
use crate::values;

/// The service reads so many keys at a time, and finds so many records.
const KEYS_MAX: usize = 100;
const TOP_K_MAX: i64 = 500;

pub(crate) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("nearest")
        .about("Find the nearest records to records that are in the index")
        .long_about(
            "Reads the vectors of the given keys and finds the records nearest \
                    to each, without itself.",
        )
        .arg(
            Arg::new("key")
                .value_name("KEY")
                .required(true)
                .num_args(1..)
                .help("Keys to start from"),
        )
        .arg(text("bucket", "NAME", "Vector bucket").required(true))
        .arg(text("index-name", "NAME", "Vector index").required(true))
        .arg(
            text("top-k", "N", "How many to find for each key")
                .default_value("10")
                .value_parser(value_parser!(i64).range(1..TOP_K_MAX)),
        )
        .arg(text("filter", "JSON|file://PATH", "Only records whose metadata match"))
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object a key"),
        )
        .args(connection::flags())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let client = Client::new(connection::read(matches)?)?;
    let question = Question::read(matches)?;
    let mut missing = Vec::new();
    for keys in question.keys.chunks(KEYS_MAX) {
        let (answers, absent) = nearest(&client, &question, keys)?;
        missing.extend(absent);
        answers.iter().try_for_each(|answer| {
            output::answer(shown(answer, matches.get_flag("json")).as_bytes())
        })?;
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Failure::Data(format!("no record has the key {}", missing.join(", "))))
    }
}

/// What was asked.
struct Question {
    bucket: String,
    index: String,
    keys: Vec<String>,
    top_k: i64,
    filter: Option<Box<RawValue>>,
}

impl Question {
    fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let text = |name: &str| matches.get_one::<String>(name).expect("clap requires it").clone();
        let filter = matches.get_one::<String>("filter");
        Ok(Self {
            bucket: text("bucket"),
            index: text("index-name"),
            keys: matches
                .get_many::<String>("key")
                .expect("clap requires a key")
                .cloned()
                .collect(),
            top_k: matches.get_one::<i64>("top-k").copied().expect("it has a default"),
            filter: filter.map(|filter| values::json("filter", filter)).transpose()?,
        })
    }

    fn call(&self, operation: &str, members: Vec<(&str, Box<RawValue>)>) -> Call {
        let members: Vec<_> =
            [("indexName", values::string(&self.index))].into_iter().chain(members).collect();
        Call::json(&self.bucket, operation, object(&members))
    }
}

/// The neighbours of one key, nearest first.
#[derive(Debug, Serialize, PartialEq)]
struct Neighbours {
    key: String,
    nearest: Vec<Neighbour>,
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Neighbour {
    key: String,
    distance: f64,
}

#[derive(Deserialize)]
struct Found {
    vectors: Vec<Neighbour>,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    vectors: Vec<Record<'a>>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    /// `{"float32": [...]}`, which goes into the query as it is.
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The neighbours of those keys that exist, in the order asked, and the keys that do not.
fn nearest(
    client: &Client,
    question: &Question,
    keys: &[String],
) -> Result<(Vec<Neighbours>, Vec<String>), Failure> {
    let members = vec![("keys", values::raw(keys)), ("returnData", values::raw(&true))];
    let answer = client.send(&question.call("getVectors", members))?;
    let read: Read<'_> = parse(&answer)?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for key in keys {
        match read.vectors.iter().find(|record| record.key == key.as_str()) {
            Some(record) => found.push(neighbours(client, question, record)?),
            None => missing.push(key.clone()),
        }
    }
    Ok((found, missing))
}

fn neighbours(
    client: &Client,
    question: &Question,
    record: &Record<'_>,
) -> Result<Neighbours, Failure> {
    let mut members = vec![
        ("queryVector", record.data.to_owned()),
        // One more, because the record itself is nearest unless the filter keeps it out.
        ("topK", values::raw(&(question.top_k + 1))),
        ("returnDistance", values::raw(&true)),
    ];
    members.extend(question.filter.clone().map(|filter| ("filter", filter)));
    let answer = client.send(&question.call("queryVectors", members))?;
    let found: Found = parse(&answer)?;
    let others = found.vectors.into_iter().filter(|neighbour| neighbour.key != record.key);
    let count = usize::try_from(question.top_k).unwrap_or(usize::MAX);
    Ok(Neighbours { key: record.key.clone().into_owned(), nearest: others.take(count).collect() })
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| Failure::Answer(error.to_string()))
}

fn shown(neighbours: &Neighbours, json: bool) -> String {
    if json {
        return values::raw(neighbours).get().to_owned();
    }
    let lines =
        neighbours.nearest.iter().map(|found| format!("\n  {:8.4}  {}", found.distance, found.key));
    std::iter::once(neighbours.key.clone()).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::{Question, command, nearest, shown};
    use crate::stub::{Reply, Request, Stub, client};

    fn answer(_: usize, request: &Request) -> Reply {
        let body = request.json();
        if request.target.ends_with("?getVectors") {
            assert_eq!(body["keys"], serde_json::json!(["king", "nobody", "queen"]));
            return Reply::ok(
                r#"{"vectors":[{"key":"queen","data":{"float32":[2]}},{"key":"king","data":{"float32":[1.10]}}]}"#,
            );
        }
        assert_eq!(
            (&body["topK"], &body["filter"]),
            (&3.into(), &serde_json::json!({"kind": "word"}))
        );
        let own = if String::from_utf8_lossy(&request.body)
            .contains(r#""queryVector":{"float32":[1.10]}"#)
        {
            "king"
        } else {
            "queen"
        };
        Reply::ok(&format!(
            r#"{{"vectors":[{{"key":"{own}","distance":0}},{{"key":"a","distance":0.125}},{{"key":"b","distance":0.5}}]}}"#
        ))
    }

    #[test]
    fn neighbours_come_in_the_order_asked_and_without_the_key_itself() {
        let root = Command::new("vectorbucket").subcommand(command());
        let line = [
            "vectorbucket",
            "nearest",
            "king",
            "nobody",
            "queen",
            "--bucket",
            "b-1",
            "--index-name",
            "i",
            "--top-k",
            "2",
            "--filter",
            r#"{"kind":"word"}"#,
        ];
        let matches = root.get_matches_from(line);
        let question = Question::read(matches.subcommand_matches("nearest").unwrap()).unwrap();
        let stub = Stub::answering(answer);
        let (found, missing) = nearest(&client(&stub), &question, &question.keys).unwrap();
        assert_eq!(missing, ["nobody"]);
        assert_eq!(
            found.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(),
            ["king", "queen"]
        );
        assert_eq!(shown(&found[0], false), "king\n    0.1250  a\n    0.5000  b");
        assert_eq!(
            shown(&found[0], true),
            r#"{"key":"king","nearest":[{"key":"a","distance":0.125},{"key":"b","distance":0.5}]}"#
        );
    }
}
