//! A prepared set: a folder with arrays, the metadata of the rows, and named filters over it.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vb_search::{Attributes, Filter, Number, Scalar, Test};

use super::{BATCH, Put};
use crate::Outcome;
use crate::npy::Array;

/// The arrays are read when they are first asked for: a process that only opens an index holds none of them.
pub(crate) struct Set {
    folder: PathBuf,
    pub(super) dimension: usize,
    filters: BTreeMap<String, NamedFilter>,
    arrays: RefCell<BTreeMap<String, Arc<Array>>>,
    metadata: OnceCell<Arc<Metadata>>,
}

#[derive(Deserialize)]
struct Card {
    dimension: usize,
    filters: BTreeMap<String, NamedFilter>,
}

/// A test of one key.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct NamedFilter {
    key: String,
    /// `lt` or `eq`.
    op: String,
    value: Value,
}

/// Columns of equal length by key.
type Metadata = BTreeMap<String, Vec<Value>>;

impl Set {
    /// # Errors
    /// When `folder` was not prepared.
    pub(super) fn open(folder: &Path) -> Outcome<Self> {
        let card: Card = read_json(&folder.join("set.json"))?;
        Ok(Self {
            folder: folder.into(),
            dimension: card.dimension,
            filters: card.filters,
            arrays: RefCell::default(),
            metadata: OnceCell::new(),
        })
    }

    /// An array of the set by its name: `base`, `query`, and others.
    pub(super) fn array(&self, name: &str) -> Outcome<Arc<Array>> {
        if let Some(array) = self.arrays.borrow().get(name) {
            return Ok(Arc::clone(array));
        }
        let array = Array::read(&self.folder.join(format!("{name}.npy")))?;
        if array.columns != self.dimension || array.values.is_empty() {
            return Err(format!("{name} is not of {} dimensions", self.dimension));
        }
        let array = Arc::new(array);
        self.arrays.borrow_mut().insert(name.into(), Arc::clone(&array));
        Ok(array)
    }

    fn metadata(&self) -> Outcome<&Arc<Metadata>> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata);
        }
        let read = read_json(&self.folder.join("metadata.json"))?;
        Ok(self.metadata.get_or_init(|| Arc::new(read)))
    }

    /// The records that `put` names.
    pub(super) fn records(&self, put: &Put) -> Outcome<Records> {
        let (array, metadata) = (self.array(&put.vectors)?, Arc::clone(self.metadata()?));
        Ok(Records { array, metadata, put: put.clone() })
    }

    pub(super) fn filter(&self, name: &str) -> Outcome<&NamedFilter> {
        self.filters.get(name).ok_or_else(|| format!("no filter {name}"))
    }

    /// Which of the first `rows` a filter keeps, a bit each.
    pub(super) fn mask(&self, name: &str, rows: usize) -> Outcome<Vec<u64>> {
        let filter = self.filter(name)?;
        let column = self.metadata()?.get(&filter.key);
        let column = column.ok_or_else(|| format!("no metadata {}", filter.key))?;
        let mut words = vec![0; rows.div_ceil(64)];
        for (row, value) in column.iter().take(rows).enumerate() {
            words[row / 64] |= u64::from(filter.keeps(value)) << (row % 64);
        }
        Ok(words)
    }
}

/// Records to put, made batch by batch.
pub(super) struct Records {
    array: Arc<Array>,
    metadata: Arc<Metadata>,
    put: Put,
}

/// Some of them.
pub(super) struct Batch {
    pub(super) keys: Range<usize>,
    /// Keys x dimension.
    pub(super) values: Vec<f32>,
    /// Objects of numbers and strings.
    pub(super) metadata: Vec<Map<String, Value>>,
}

impl Records {
    /// In the order of their keys, as many together as a put takes.
    pub(super) fn batches(&self) -> impl Iterator<Item = Batch> {
        let starts = (self.put.from..self.put.to).step_by(BATCH);
        starts.map(|start| self.batch(start..self.put.to.min(start + BATCH)))
    }

    fn batch(&self, keys: Range<usize>) -> Batch {
        let row = |key| self.array.row((key + self.put.offset) % self.array.rows().len());
        Batch {
            values: keys.clone().flat_map(row).copied().collect(),
            metadata: keys.clone().map(|key| self.metadata_of(key)).collect(),
            keys,
        }
    }

    /// Keys beyond the set's rows start over.
    fn metadata_of(&self, key: usize) -> Map<String, Value> {
        let value = |column: &Vec<Value>| column[key % column.len()].clone();
        self.metadata.iter().map(|(name, column)| (name.clone(), value(column))).collect()
    }
}

impl NamedFilter {
    fn keeps(&self, value: &Value) -> bool {
        match self.op.as_str() {
            "lt" => value.as_i64() < self.value.as_i64(),
            _ => *value == self.value,
        }
    }

    /// As the wire takes it.
    pub(super) fn json(&self) -> Value {
        json!({ &self.key: { format!("${}", self.op): self.value } })
    }

    /// As the engine takes it.
    pub(super) fn typed(&self) -> Filter {
        let test = match (self.op.as_str(), self.value.as_i64()) {
            ("lt", Some(bound)) => Test::Lt(Number::Integer(bound)),
            _ => Test::Eq(scalar(&self.value)),
        };
        Filter::Test { key: self.key.as_str().into(), test }
    }
}

/// The attributes of a metadata object of numbers and strings.
pub(super) fn attributes(metadata: &Map<String, Value>) -> Attributes {
    let pair = |(key, value): (&String, &Value)| {
        (key.as_str().into(), vb_search::Value::One(scalar(value)))
    };
    Attributes::from_pairs(metadata.iter().map(pair).collect())
}

fn scalar(value: &Value) -> Scalar {
    match (value.as_i64(), value.as_str()) {
        (Some(number), _) => Scalar::Integer(number),
        (None, Some(text)) => Scalar::String(text.into()),
        (None, None) => Scalar::String(value.to_string().into()),
    }
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Outcome<T> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}
