//! Vector requests of a Standard index, except PutVectors.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::oss::json::Reader;
use crate::oss::request::fields::{
    flag, integer, key, max_results, object, optional, required_index, text, token,
};
use crate::oss::{Error, Fault, Filter, IndexName, Limits, Metric};

/// What a vector request is checked against: the settings of its index.
#[derive(Clone, Copy, Debug)]
pub struct IndexShape<'a> {
    /// Components of a vector.
    pub dimension: u32,
    /// The metric; cosine refuses zero vectors.
    pub metric: Metric,
    /// Metadata keys kept out of filters.
    pub non_filterable: &'a [Box<str>],
}

impl IndexShape<'_> {
    /// Checks one vector. Errors: [`Fault::VectorDimension`], [`Fault::VectorZero`].
    pub(super) fn check_vector(&self, vector: &[f32]) -> Result<(), Error> {
        if vector.len() != self.dimension as usize {
            let message = format!("A vector of this index has {} numbers.", self.dimension);
            return Err(Error::with_message(Fault::VectorDimension, message));
        }
        let is_zero = || vector.iter().all(|number| *number == 0.0);
        match self.metric {
            Metric::Cosine if is_zero() => Err(Error::new(Fault::VectorZero)),
            Metric::Cosine | Metric::Euclidean => Ok(()),
        }
    }
}

/// GetVectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetVectors {
    /// The index.
    pub index: IndexName,
    /// Keys in request order, possibly repeated.
    pub keys: Vec<Box<str>>,
    /// Whether to answer with the vectors.
    pub return_data: bool,
    /// Whether to answer with the metadata.
    pub return_metadata: bool,
}

impl GetVectors {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let (mut index, mut keys) = (None, None);
        let (mut return_data, mut return_metadata) = (false, false);
        object(body, |name, reader| {
            match name {
                "indexName" => index = text(reader)?,
                "keys" => keys = optional(reader, |reader| get_keys(reader, limits))?,
                "returnData" => return_data = flag(reader)?,
                "returnMetadata" => return_metadata = flag(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let index = required_index(index)?;
        let keys = keys.filter(|keys| !keys.is_empty()).ok_or_else(|| batch(limits.get_max))?;
        Ok(Self { index, keys, return_data, return_metadata })
    }
}

fn get_keys(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<Box<str>>, Error> {
    let mut keys = Vec::new();
    let mut items = reader.items()?;
    while items.next(reader)? {
        if keys.len() == limits.get_max {
            return Err(batch(limits.get_max));
        }
        keys.push(key(reader, limits)?.into());
    }
    Ok(keys)
}

fn batch(max: usize) -> Error {
    Error::with_message(Fault::VectorBatch, format!("keys must have 1 to {max} entries."))
}

/// ListVectors.
#[derive(Clone, Debug, PartialEq)]
pub struct ListVectors {
    /// The index.
    pub index: IndexName,
    /// Page size.
    pub max: usize,
    /// The token of the previous page, still encoded; see [`ListScope`](crate::oss::ListScope).
    pub token: Option<String>,
    /// Whether to answer with the vectors.
    pub return_data: bool,
    /// Whether to answer with the metadata.
    pub return_metadata: bool,
    /// Number of disjoint parts, 1 when absent.
    pub segment_count: u32,
    /// The part, below `segment_count`.
    pub segment_index: u32,
    /// Only vectors that match.
    pub filter: Filter,
}

impl ListVectors {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let (mut index, mut max, mut page_token) = (None, None, None);
        let (mut return_data, mut return_metadata) = (false, false);
        let (mut segment_count, mut segment_index, mut filter) = (None, None, None);
        object(body, |name, reader| {
            match name {
                "indexName" => index = text(reader)?,
                "maxResults" => max = integer(reader, Fault::MaxResults)?,
                "nextToken" => page_token = token(reader, limits)?,
                "returnData" => return_data = flag(reader)?,
                "returnMetadata" => return_metadata = flag(reader)?,
                "segmentCount" => segment_count = integer(reader, Fault::Segment)?,
                "segmentIndex" => segment_index = integer(reader, Fault::Segment)?,
                "filter" => filter = optional(reader, |reader| Filter::read(reader, limits))?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let index = required_index(index)?;
        let max = max_results(max, limits.list_default, limits.list_max)?;
        let (segment_count, segment_index) = segment(segment_count, segment_index, limits)?;
        let filter = filter.unwrap_or(Filter::All);
        let token = page_token;
        Ok(Self {
            index,
            max,
            token,
            return_data,
            return_metadata,
            segment_count,
            segment_index,
            filter,
        })
    }

    /// Checks against the index. Error: [`Fault::FilterKey`].
    pub fn check(&self, shape: &IndexShape<'_>) -> Result<(), Error> {
        self.filter.check_keys(shape.non_filterable)
    }
}

/// Count and index of the segment: 1 and 0 when absent.
fn segment(count: Option<i64>, index: Option<i64>, limits: &Limits) -> Result<(u32, u32), Error> {
    let number = |number: i64| u32::try_from(number).ok();
    let count =
        number(count.unwrap_or(1)).filter(|count| (1..=limits.segments_max).contains(count));
    let index = number(index.unwrap_or(0));
    match (count, index) {
        (Some(count), Some(index)) if index < count => Ok((count, index)),
        _ => Err(Error::new(Fault::Segment)),
    }
}

/// DeleteVectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteVectors {
    /// The index.
    pub index: IndexName,
    /// Distinct keys, in order of first occurrence.
    pub keys: Vec<Box<str>>,
}

impl DeleteVectors {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let (mut index, mut keys) = (None, None);
        object(body, |name, reader| {
            match name {
                "indexName" => index = text(reader)?,
                "keys" => keys = optional(reader, |reader| distinct_keys(reader, limits))?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let index = required_index(index)?;
        let keys = keys.filter(|keys| !keys.is_empty()).ok_or_else(|| batch(limits.delete_max))?;
        Ok(Self { index, keys })
    }
}

/// The limit counts distinct keys, so repetitions are legal.
fn distinct_keys(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<Box<str>>, Error> {
    let mut keys: Vec<Box<str>> = Vec::new();
    let mut seen: HashSet<Cow<'_, str>> = HashSet::new();
    let mut items = reader.items()?;
    while items.next(reader)? {
        let key = key(reader, limits)?;
        if seen.contains(&key) {
            continue;
        }
        if keys.len() == limits.delete_max {
            return Err(batch(limits.delete_max));
        }
        keys.push((&*key).into());
        seen.insert(key);
    }
    Ok(keys)
}

/// QueryVectors.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryVectors {
    /// The index.
    pub index: IndexName,
    /// The query; finite numbers.
    pub vector: Vec<f32>,
    /// Number of results wanted.
    pub top_k: usize,
    /// Only vectors that match.
    pub filter: Filter,
    /// Whether to answer with distances.
    pub return_distance: bool,
    /// Whether to answer with the metadata.
    pub return_metadata: bool,
    /// How sure to be that nothing nearer is missed; an extension.
    pub precision: Precision,
    /// Whether to say how the answer was found; an extension.
    pub explain: bool,
}

/// How sure a query is to be that nothing nearer is missed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Precision {
    /// As the server is set.
    #[default]
    Usual,
    /// This share of the nearest on average: above 0, at most 1.
    Recall(f32),
    /// Everything that matches is looked at.
    Exact,
}

impl Precision {
    /// Of the members `recall` and `exact`; the second decides. Errors: [`Fault::IndexParameter`].
    fn new(recall: Option<f64>, exact: bool) -> Result<Self, Error> {
        match recall {
            Some(share) if !(share > 0.0 && share <= 1.0) => {
                let message = "recall must be above 0 and at most 1.".to_owned();
                Err(Error::with_message(Fault::IndexParameter, message))
            }
            _ if exact => Ok(Self::Exact),
            Some(share) => Ok(Self::Recall((share as f32).max(f32::MIN_POSITIVE))),
            None => Ok(Self::Usual),
        }
    }
}

impl QueryVectors {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let (mut index, mut vector, mut top_k, mut filter) = (None, None, None, None);
        let (mut return_distance, mut return_metadata) = (false, false);
        let (mut recall, mut exact, mut explain) = (None, false, false);
        object(body, |name, reader| {
            match name {
                "indexName" => index = text(reader)?,
                "recall" => recall = optional(reader, Reader::number)?.map(|n| n.to_f64()),
                "exact" => exact = flag(reader)?,
                "explain" => explain = flag(reader)?,
                "queryVector" => {
                    vector = optional(reader, |reader| query_vector(reader, limits))?;
                }
                "topK" => top_k = integer(reader, Fault::TopK)?,
                "filter" => filter = optional(reader, |reader| Filter::read(reader, limits))?,
                "returnDistance" => return_distance = flag(reader)?,
                "returnMetadata" => return_metadata = flag(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let index = required_index(index)?;
        let vector = vector.flatten().filter(|vector| !vector.is_empty());
        let vector = vector.ok_or(Error::new(Fault::VectorData))?;
        let top_k = check_top_k(top_k, limits)?;
        let filter = filter.unwrap_or(Filter::All);
        let precision = Precision::new(recall, exact)?;
        Ok(Self {
            index,
            vector,
            top_k,
            filter,
            return_distance,
            return_metadata,
            precision,
            explain,
        })
    }

    /// Checks against the index. Errors: [`Fault::VectorDimension`], [`Fault::VectorZero`],
    /// [`Fault::FilterKey`].
    pub fn check(&self, shape: &IndexShape<'_>) -> Result<(), Error> {
        shape.check_vector(&self.vector)?;
        self.filter.check_keys(shape.non_filterable)
    }
}

fn query_vector(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Vec<f32>>, Error> {
    let mut vector = None;
    let mut members = reader.members()?;
    while let Some(name) = members.next(reader)? {
        match &*name {
            "float32" => {
                vector = optional(reader, |reader| {
                    let mut numbers = Vec::new();
                    reader.floats(&mut numbers, limits.dimension_max as usize).map(|_| numbers)
                })?;
            }
            _ => reader.skip()?,
        }
    }
    Ok(vector)
}

fn check_top_k(asked: Option<i64>, limits: &Limits) -> Result<usize, Error> {
    let asked = asked.and_then(|asked| usize::try_from(asked).ok());
    asked.filter(|top_k| (1..=limits.top_k_max).contains(top_k)).ok_or_else(|| {
        let message = format!("topK must be between 1 and {}.", limits.top_k_max);
        Error::with_message(Fault::TopK, message)
    })
}
