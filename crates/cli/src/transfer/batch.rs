//! Rows to batches, and a batch to the service.

use std::collections::HashMap;
use std::ops::Range;

use super::index::{Index, Place};
use super::rows::Row;
use crate::call::Call;
use crate::client::Client;
use crate::failure::Failure;
use crate::values;

/// The service takes so many vectors in one put.
pub(super) const ROWS_MAX: usize = 500;

/// Rows to be put in one request.
pub(super) struct Batch {
    /// Row numbers (from 0) this batch settles. Rows in between that it lacks were settled before.
    pub(super) range: Range<u64>,
    pub(super) rows: Vec<Row>,
}

/// Collects rows until a batch is full.
pub(super) struct Cutter {
    rows_max: usize,
    bytes_max: usize,
    rows: Vec<Row>,
    bytes: usize,
    start: u64,
}

impl Cutter {
    pub(super) fn new(rows_max: usize, bytes_max: usize) -> Self {
        Self { rows_max, bytes_max, rows: Vec::new(), bytes: 0, start: 0 }
    }

    /// Adds a row; the batch before it, if the row did not fit into that.
    pub(super) fn push(&mut self, row: Row) -> Option<Batch> {
        let size = row.size_hint();
        let full = self.rows.len() == self.rows_max || self.bytes + size > self.bytes_max;
        let finished = if full { self.finish() } else { None };
        if self.rows.is_empty() {
            self.start = row.number - 1;
        }
        self.bytes += size;
        self.rows.push(row);
        finished
    }

    /// What is left.
    pub(super) fn finish(&mut self) -> Option<Batch> {
        self.bytes = 0;
        let end = self.rows.last()?.number;
        Some(Batch { range: self.start..end, rows: std::mem::take(&mut self.rows) })
    }
}

/// A row that was not put, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadRow {
    /// From 1.
    pub(super) number: u64,
    pub(super) reason: String,
}

/// What became of a batch that is settled.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) vectors: u64,
    pub(super) bytes: u64,
    pub(super) bad: Vec<BadRow>,
}

/// Puts batches into one index.
pub(super) struct Sender<'a> {
    pub(super) client: &'a Client,
    pub(super) place: &'a Place,
    pub(super) index: &'a Index,
    /// Leave bad rows out; without it the first one is a failure.
    pub(super) skip_bad: bool,
}

/// A row ready to be sent: its number and where its JSON stands.
struct Encoded {
    number: u64,
    json: Range<usize>,
}

impl Sender<'_> {
    /// Sends every good row of the batch.
    pub(super) fn send(&self, batch: &Batch) -> Result<Settled, Failure> {
        let mut settled = Settled::default();
        let mut text = Vec::new();
        let encoded = self.encode(&batch.rows, &mut text, &mut settled.bad);
        if let (false, Some(bad)) = (self.skip_bad, settled.bad.first()) {
            let hint = "correct it, or leave such rows out with --skip-bad";
            return Err(Failure::Data(format!(
                "row {}: {}\n  next: {hint}",
                bad.number, bad.reason
            )));
        }
        self.put(&encoded, &text, &mut settled)?;
        Ok(settled)
    }

    /// Encodes the good rows. Of rows with one key the first stays: a put refuses the pair.
    fn encode(&self, rows: &[Row], text: &mut Vec<u8>, bad: &mut Vec<BadRow>) -> Vec<Encoded> {
        let mut numbers = HashMap::with_capacity(rows.len());
        let mut encoded = Vec::with_capacity(rows.len());
        for row in rows {
            let start = text.len();
            let outcome = row.encode(self.index, text).and_then(|key| match numbers.get(&key) {
                Some(first) => Err(format!("the key of row {first} again")),
                None => Ok(numbers.insert(key, row.number)),
            });
            match outcome {
                Ok(_) => encoded.push(Encoded { number: row.number, json: start..text.len() }),
                Err(reason) => {
                    text.truncate(start);
                    bad.push(BadRow { number: row.number, reason });
                }
            }
        }
        encoded
    }

    /// Puts the rows; when the service refuses the content and bad rows may be left out, halves
    /// find which ones it means.
    fn put(&self, rows: &[Encoded], text: &[u8], settled: &mut Settled) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let body = self.body(rows, text);
        let bytes = body.len() as u64;
        match self.client.send(&Call::json(&self.place.bucket, "putVectors", body)) {
            Ok(_) => {
                settled.vectors += rows.len() as u64;
                settled.bytes += bytes;
                Ok(())
            }
            Err(Failure::Service(error)) if refuses_content(&error.code) => match rows {
                [row] if self.skip_bad => {
                    let reason =
                        named_row(&error.message).map_or(&*error.message, |(_, text)| text);
                    settled.bad.push(BadRow { number: row.number, reason: reason.to_owned() });
                    Ok(())
                }
                [_, _, ..] if self.skip_bad => {
                    let (low, high) = rows.split_at(rows.len() / 2);
                    self.put(low, text, settled)?;
                    self.put(high, text, settled)
                }
                _ => {
                    let named = named_row(&error.message).and_then(|(place, _)| rows.get(place));
                    let which = match named {
                        Some(row) => format!("row {} was refused", row.number),
                        None => format!("rows {} to {} were refused", first.number, last.number),
                    };
                    let hint = "correct it, or leave such rows out with --skip-bad";
                    let error = error.without_step();
                    Err(Failure::Data(format!("{which}: {error}\n  next: {hint}")))
                }
            },
            Err(failure) => Err(failure),
        }
    }

    fn body(&self, rows: &[Encoded], text: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(text.len() + rows.len() + 64);
        body.extend(b"{\"indexName\":");
        body.extend(values::string(&self.place.index).get().as_bytes());
        body.extend(b",\"vectors\":[");
        for (number, row) in rows.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            body.extend(&text[row.json.clone()]);
        }
        body.extend(b"]}");
        body
    }
}

/// Whether the error is about what was sent and not about who, where or when.
fn refuses_content(code: &str) -> bool {
    matches!(code, "VectorIndexParameterInvalid" | "MalformedJson" | "InvalidArgument")
}

/// The place in the batch that the service names, and what it says of it: `vectors[3]: ...`.
fn named_row(message: &str) -> Option<(usize, &str)> {
    let (place, text) = message.strip_prefix("vectors[")?.split_once("]: ")?;
    Some((place.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::{Batch, Cutter, Sender, named_row};
    use crate::failure::Failure;
    use crate::stub::{Reply, Stub, client};
    use crate::transfer::index::{Index, Place};
    use crate::transfer::rows::{Content, Row};

    fn row(number: u64, key: &str) -> Row {
        Row {
            number,
            content: Content::Line(format!(r#"{{"key":"{key}","vector":[1,2]}}"#).into_bytes()),
        }
    }

    fn send(stub: &Stub, rows: Vec<Row>, skip_bad: bool) -> Result<super::Settled, Failure> {
        let index = Index { dimension: 2, metric: "euclidean".into(), created: String::new() };
        let place = Place { bucket: "b-1".into(), index: "i".into() };
        let client = client(stub);
        Sender { client: &client, place: &place, index: &index, skip_bad }
            .send(&Batch { range: 0..9, rows })
    }

    #[test]
    fn batches_are_cut_by_rows_and_by_bytes() {
        let mut cutter = Cutter::new(2, 1000);
        let batches: Vec<_> =
            [1, 2, 5, 6, 7].into_iter().filter_map(|n| cutter.push(row(n, "k"))).collect();
        let ranges: Vec<_> =
            batches.iter().chain(&cutter.finish()).map(|batch| batch.range.clone()).collect();
        assert_eq!(ranges, [0..2, 4..6, 6..7]);
        assert!(cutter.finish().is_none());

        let mut cutter = Cutter::new(500, 1);
        assert!(cutter.push(row(1, "k")).is_none(), "a row larger than the limit goes alone");
        assert_eq!(cutter.push(row(2, "k")).unwrap().range, 0..1);
    }

    #[test]
    fn a_batch_is_one_put() {
        let stub = Stub::start(vec![Reply::ok("")]);
        let settled = send(&stub, vec![row(1, "a"), row(2, "b")], false).unwrap();
        assert_eq!((settled.vectors, settled.bad.len()), (2, 0));
        let request = &stub.requests()[0];
        assert_eq!(request.target, "/b-1/?putVectors");
        assert_eq!(
            String::from_utf8_lossy(&request.body),
            r#"{"indexName":"i","vectors":[{"key":"a","data":{"float32":[1,2]}},{"key":"b","data":{"float32":[1,2]}}]}"#
        );
    }

    #[test]
    fn repeated_keys_and_bad_rows_stop_or_are_left_out() {
        let rows = || {
            vec![
                row(1, "a"),
                row(2, "a"),
                Row { number: 3, content: Content::Line(b"{".to_vec()) },
                row(4, "b"),
            ]
        };
        let stub = Stub::start(vec![Reply::ok("")]);
        let error = send(&stub, rows(), false).unwrap_err();
        assert!(error.to_string().contains("row 2: the key of row 1 again"), "{error}");
        assert!(stub.requests().is_empty());
        let settled = send(&stub, rows(), true).unwrap();
        assert_eq!(settled.vectors, 2);
        assert_eq!(settled.bad.iter().map(|bad| bad.number).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn rows_only_the_service_refuses_are_found_by_halving() {
        let refuse_c =
            |_: usize, request: &crate::stub::Request| match String::from_utf8_lossy(&request.body)
                .contains(r#""c""#)
            {
                true => Reply::error(400, "VectorIndexParameterInvalid"),
                false => Reply::ok(""),
            };
        let rows = || {
            ["a", "b", "c", "d", "e"]
                .iter()
                .zip(1..)
                .map(|(key, number)| row(number, key))
                .collect()
        };
        let stub = Stub::answering(refuse_c);
        let settled = send(&stub, rows(), true).unwrap();
        assert_eq!((settled.vectors, settled.bad.len(), settled.bad[0].number), (4, 1, 3));
        let error = send(&stub, rows(), false).unwrap_err();
        assert!(error.to_string().contains("rows 1 to 5 were refused"), "{error}");
        assert!(error.to_string().ends_with("--skip-bad"), "{error}");
    }

    #[test]
    fn the_row_that_the_service_names_is_named_by_its_number() {
        let text = "vectors[1]: A zero vector is not allowed with the cosine metric.";
        let reply = || Reply::error_saying(400, "VectorIndexParameterInvalid", text);
        let stub = Stub::answering(move |_, _| reply());
        let error = send(&stub, vec![row(7, "a"), row(9, "b")], false).unwrap_err().to_string();
        assert!(error.contains("row 9 was refused"), "{error}");
        let settled = send(&stub, vec![row(7, "a")], true).unwrap();
        assert_eq!(settled.bad[0].reason, "A zero vector is not allowed with the cosine metric.");
        assert_eq!(named_row("vectors[x]: no"), None);
        assert_eq!(named_row("no"), None);
    }
}
