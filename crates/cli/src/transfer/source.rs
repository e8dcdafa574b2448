//! The input of an import as one sequence of rows, whatever its files are.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::npy::{self, Header};
use super::rows::{Content, Key, Row};
use super::{Format, holds_json};
use crate::failure::Failure;

const BUFFER_BYTES: usize = 1 << 20;
/// No record of the interface comes near: 4,096 numbers, 1,024 key characters, 40 KB of metadata.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Which files to read.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) vectors: PathBuf,
    pub(super) keys: Option<PathBuf>,
    pub(super) metadata: Option<PathBuf>,
}

impl Input {
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.vectors), self.keys.as_ref(), self.metadata.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }
}

/// An open input. Rows come in file order; each carries its number, blank lines are passed over.
pub(super) struct Source {
    kind: Kind,
    /// Rows or lines read so far.
    position: u64,
    /// Input units read so far; see [`Source::units`].
    consumed: u64,
    units: u64,
}

enum Kind {
    Lines(Lines),
    Array(Box<Array>),
}

/// An array and the files beside it, walked in step.
struct Array {
    header: Header,
    numbers: Lines,
    buffer: Vec<u8>,
    keys: Option<Lines>,
    keys_are_json: bool,
    metadata: Option<Lines>,
}

impl Source {
    pub(super) fn open(input: &Input) -> Result<Self, Failure> {
        let (kind, units) = match Format::of(&input.vectors)? {
            Format::Jsonl if input.keys.is_some() || input.metadata.is_some() => {
                return Err(Failure::usage(
                    "--keys and --metadata go with .npy input; a JSONL record holds its own",
                ));
            }
            Format::Jsonl => {
                let lines = Lines::open(&input.vectors)?;
                let bytes = lines.bytes()?;
                (Kind::Lines(lines), bytes)
            }
            Format::Npy => open_array(input)?,
        };
        Ok(Self { kind, position: 0, consumed: 0, units })
    }

    /// The length of the input in units of progress: bytes of lines, rows of an array.
    pub(super) fn units(&self) -> u64 {
        self.units
    }

    /// Units read so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The next row; with `skip` its content is passed over as cheaply as possible.
    ///
    /// The outer option is the input's end; `None` inside is a row that was skipped or blank.
    pub(super) fn next(
        &mut self,
        skip: impl Fn(u64) -> bool,
    ) -> Result<Option<(u64, Option<Row>)>, Failure> {
        let ordinal = self.position;
        let content = match &mut self.kind {
            Kind::Lines(lines) => {
                let Some(line) = lines.next()? else { return Ok(None) };
                let wanted = !line.trim_ascii().is_empty() && !skip(ordinal);
                let content = wanted.then(|| Content::Line(line.to_vec()));
                self.consumed = lines.offset;
                content
            }
            Kind::Array(array) if ordinal == array.header.rows => return Ok(None),
            Kind::Array(array) => {
                self.consumed += 1;
                array.next(ordinal, !skip(ordinal))?
            }
        };
        self.position += 1;
        Ok(Some((ordinal, content.map(|content| Row { number: ordinal + 1, content }))))
    }
}

fn open_array(input: &Input) -> Result<(Kind, u64), Failure> {
    let mut numbers = Lines::open(&input.vectors)?;
    let header = Header::read(&mut numbers.reader).map_err(|why| numbers.wrong(&why))?;
    let (bytes, expected) = (numbers.bytes()?, header.file_bytes());
    if bytes != expected {
        let why = format!(
            "has {bytes} bytes, but its header describes {expected}: is it still being written?"
        );
        return Err(numbers.wrong(&why));
    }
    let beside =
        |path: Option<&Path>| path.map(|path| Lines::with_count(path, header.rows)).transpose();
    let array = Array {
        header,
        numbers,
        buffer: vec![0; header.row_bytes()],
        keys: beside(input.keys.as_deref())?,
        keys_are_json: input.keys.as_deref().is_some_and(holds_json),
        metadata: beside(input.metadata.as_deref())?,
    };
    Ok((Kind::Array(Box::new(array)), header.rows))
}

impl Array {
    /// Reads row `ordinal`, which is the next one; its content only if it is wanted.
    fn next(&mut self, ordinal: u64, wanted: bool) -> Result<Option<Content>, Failure> {
        self.numbers.read_exact(&mut self.buffer)?;
        let key = self.keys.as_mut().map(|keys| keys.required(ordinal)).transpose()?;
        let metadata = self.metadata.as_mut().map(|lines| lines.required(ordinal)).transpose()?;
        Ok(wanted.then(|| Content::Array {
            vector: npy::decode_row(self.header.element, &self.buffer),
            key: match key {
                None => Key::Number(ordinal),
                Some(line) if self.keys_are_json => Key::Json(line.to_vec()),
                Some(line) => Key::Plain(line.to_vec()),
            },
            metadata: metadata.map(<[u8]>::to_vec),
        }))
    }
}

/// A file read a line at a time, without its newlines.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    offset: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|cause| Failure::file(path, cause))?;
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(BUFFER_BYTES, file),
            line: Vec::new(),
            offset: 0,
        })
    }

    /// Opens a file that must have `rows` lines; found out before anything is sent.
    fn with_count(path: &Path, rows: u64) -> Result<Self, Failure> {
        let mut counting = Self::open(path)?;
        let mut lines = 0;
        while counting.next()?.is_some() {
            lines += 1;
        }
        if lines != rows {
            return Err(counting.wrong(&format!("has {lines} lines for an array of {rows} rows")));
        }
        Self::open(path)
    }

    fn bytes(&self) -> Result<u64, Failure> {
        let metadata = self.reader.get_ref().metadata();
        metadata.map(|metadata| metadata.len()).map_err(|cause| Failure::file(&self.path, cause))
    }

    fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        let read = limited
            .read_until(b'\n', &mut self.line)
            .map_err(|cause| Failure::file(&self.path, cause))?;
        if read as u64 == LINE_BYTES_MAX && self.line.last() != Some(&b'\n') {
            return Err(self.wrong(&format!(
                "has a line of over {LINE_BYTES_MAX} bytes at byte {}",
                self.offset
            )));
        }
        self.offset += read as u64;
        if read == 0 {
            return Ok(None);
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// The line that row number `ordinal` (from 0) must have.
    fn required(&mut self, ordinal: u64) -> Result<&[u8], Failure> {
        let missing = self.wrong(&format!("has no line for row {}", ordinal + 1));
        self.next()?.ok_or(missing)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        let read: io::Result<()> = self.reader.read_exact(buffer);
        read.map_err(|cause| Failure::file(&self.path, cause))
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::Data(format!("{}: {why}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Input, Source};
    use crate::failure::Failure;
    use crate::transfer::npy::{write_header, write_row};
    use crate::transfer::rows::{Content, Key, Row};

    fn input(path: &Path) -> Input {
        Input { vectors: path.to_owned(), keys: None, metadata: None }
    }

    fn rows(input: &Input, skip: impl Fn(u64) -> bool) -> Result<Vec<(u64, Option<Row>)>, Failure> {
        let mut source = Source::open(input)?;
        let mut rows = Vec::new();
        while let Some(row) = source.next(&skip)? {
            rows.push(row);
        }
        assert_eq!(source.consumed(), source.units());
        Ok(rows)
    }

    fn array(folder: &Path, rows: &[[f32; 2]]) -> PathBuf {
        let path = folder.join("a.npy");
        let mut bytes = Vec::new();
        write_header(&mut bytes, rows.len() as u64, 2).unwrap();
        rows.iter().for_each(|row| write_row(&mut bytes, row).unwrap());
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn lines_are_numbered_blank_ones_and_skipped_ones_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "one\r\n\n  \nfour\nfive").unwrap();
        let found = rows(&input(&path), |ordinal| ordinal == 3).unwrap();
        let contents: Vec<_> = found
            .iter()
            .map(|(ordinal, row)| {
                (*ordinal, row.as_ref().map(|row| (row.number, row.content.clone())))
            })
            .collect();
        let line = |number, text: &str| Some((number, Content::Line(text.into())));
        assert_eq!(
            contents,
            [(0, line(1, "one")), (1, None), (2, None), (3, None), (4, line(5, "five"))]
        );
    }

    #[test]
    fn arrays_walk_with_the_files_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let vectors = array(folder.path(), &[[1.0, 2.0], [3.0, 4.0]]);
        let (keys, metadata) = (folder.path().join("k.txt"), folder.path().join("m.jsonl"));
        std::fs::write(&keys, "x\ny\n").unwrap();
        std::fs::write(&metadata, "{}\n\n").unwrap();
        let all =
            Input { vectors: vectors.clone(), keys: Some(keys.clone()), metadata: Some(metadata) };
        let found = rows(&all, |ordinal| ordinal == 0).unwrap();
        assert_eq!(found[0].1, None);
        let content = Content::Array {
            vector: vec![3.0, 4.0],
            key: Key::Plain(b"y".to_vec()),
            metadata: Some(Vec::new()),
        };
        assert_eq!(found[1].1, Some(Row { number: 2, content }));

        std::fs::write(&keys, "x\ny\nz\n").unwrap();
        assert!(
            rows(&all, |_| false)
                .unwrap_err()
                .to_string()
                .contains("3 lines for an array of 2 rows")
        );
        let bytes = std::fs::read(&vectors).unwrap();
        std::fs::write(&vectors, &bytes[..bytes.len() - 1]).unwrap();
        assert!(
            rows(&input(&vectors), |_| false)
                .unwrap_err()
                .to_string()
                .contains("still being written")
        );
    }

    #[test]
    fn wrong_inputs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("a.csv");
        assert!(matches!(Source::open(&input(&text)), Err(Failure::Usage(_))));
        let missing = folder.path().join("a.jsonl");
        assert!(matches!(Source::open(&input(&missing)), Err(Failure::File { .. })));
        std::fs::write(&missing, vec![b'x'; 5 << 20]).unwrap();
        assert!(
            rows(&input(&missing), |_| false).unwrap_err().to_string().contains("a line of over")
        );
    }
}
