//! Index requests: create, get, delete, list.

use crate::oss::json::Reader;
use crate::oss::names::is_non_filterable_key;
use crate::oss::request::fields::{
    integer, max_results, object, optional, required_index, text, token,
};
use crate::oss::{Error, Fault, IndexName, Limits, Metric};

const DIMENSION_DEFAULT: u32 = 512;

/// PutVectorIndex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutVectorIndex {
    /// The name.
    pub index: IndexName,
    /// 1 to 4096; default 512.
    pub dimension: u32,
    /// Default euclidean.
    pub metric: Metric,
    /// Keys kept out of filters, unique, in written order; empty when not given.
    pub non_filterable: Vec<Box<str>>,
}

impl PutVectorIndex {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let (mut index, mut data_type, mut dimension, mut metric) = (None, None, None, None);
        let mut non_filterable = None;
        object(body, |name, reader| {
            match name {
                "indexName" => index = text(reader)?,
                "dataType" => data_type = text(reader)?,
                "dimension" => dimension = integer(reader, Fault::IndexParameter)?,
                "distanceMetric" => metric = text(reader)?,
                "metadata" => {
                    non_filterable = optional(reader, |reader| metadata(reader, limits))?;
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let index = required_index(index)?;
        if data_type.is_some_and(|data_type| data_type != "float32") {
            return Err(invalid("dataType must be float32."));
        }
        let metric = metric.map_or(Some(Metric::Euclidean), |metric| Metric::parse(&metric));
        Ok(Self {
            index,
            dimension: check_dimension(dimension, limits)?,
            metric: metric.ok_or(invalid("distanceMetric must be euclidean or cosine."))?,
            non_filterable: non_filterable.flatten().unwrap_or_default(),
        })
    }
}

fn invalid(text: &'static str) -> Error {
    Error::with_message(Fault::IndexParameter, text)
}

fn check_dimension(asked: Option<i64>, limits: &Limits) -> Result<u32, Error> {
    let asked = asked.map_or(Ok(DIMENSION_DEFAULT), u32::try_from).ok();
    asked.filter(|dimension| (1..=limits.dimension_max).contains(dimension)).ok_or_else(|| {
        let message = format!("dimension must be between 1 and {}.", limits.dimension_max);
        Error::with_message(Fault::IndexParameter, message)
    })
}

/// The `metadata` object of an index.
fn metadata(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Vec<Box<str>>>, Error> {
    let mut keys = None;
    let mut members = reader.members()?;
    while let Some(name) = members.next(reader)? {
        match &*name {
            "nonFilterableMetadataKeys" => {
                keys = optional(reader, |reader| non_filterable_keys(reader, limits))?;
            }
            _ => reader.skip()?,
        }
    }
    Ok(keys)
}

fn non_filterable_keys(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<Box<str>>, Error> {
    let mut keys: Vec<Box<str>> = Vec::new();
    let mut items = reader.items()?;
    while items.next(reader)? {
        let key = reader.string()?;
        if keys.len() == limits.non_filterable_max {
            return Err(invalid("nonFilterableMetadataKeys must have 1 to 10 names."));
        }
        if !is_non_filterable_key(&key) {
            return Err(invalid(
                "A name in nonFilterableMetadataKeys must have 1 to 63 letters, digits and \
                 underscores and not start with a digit.",
            ));
        }
        if keys.iter().any(|known| **known == *key) {
            return Err(invalid("nonFilterableMetadataKeys has a name twice."));
        }
        keys.push(key.into());
    }
    if keys.is_empty() {
        return Err(invalid("nonFilterableMetadataKeys must have 1 to 10 names."));
    }
    Ok(keys)
}

/// GetVectorIndex and DeleteVectorIndex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexOnly {
    /// The name.
    pub index: IndexName,
}

impl IndexOnly {
    /// Reads the body. Errors: `MalformedJson`, [`Fault::IndexName`].
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut index = None;
        object(body, |name, reader| {
            match name {
                "indexName" => index = text(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { index: required_index(index)? })
    }
}

/// ListVectorIndexes: one page, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListVectorIndexes {
    /// Page size.
    pub max: usize,
    /// Only names after this; the token is the last name of the previous page.
    pub after: Option<String>,
    /// Only names that start with this.
    pub prefix: Option<String>,
}

impl ListVectorIndexes {
    /// Reads the body; no bytes stand for `{}`. Errors: `MalformedJson`, [`Fault::MaxResults`],
    /// [`Fault::NextToken`].
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let body = if body.is_empty() { b"{}" } else { body };
        let (mut max, mut after, mut prefix) = (None, None, None);
        object(body, |name, reader| {
            match name {
                "maxResults" => max = integer(reader, Fault::MaxResults)?,
                "nextToken" => after = token(reader, limits)?,
                "prefix" => prefix = text(reader)?.filter(|prefix| !prefix.is_empty()),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let max = max_results(max, limits.list_indexes_default, limits.list_indexes_max)?;
        Ok(Self { max, after, prefix: prefix.map(String::from) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(body: &str) -> Result<PutVectorIndex, Fault> {
        PutVectorIndex::decode(body.as_bytes(), &Limits::default()).map_err(|e| e.fault())
    }

    #[test]
    fn a_full_index_and_the_defaults() {
        let full = put(r#"{"indexName":"vectorindex1","dataType":"float32","dimension":4,"distanceMetric":"cosine","metadata":{"nonFilterableMetadataKeys":["note"]},"new":[{}]}"#).unwrap();
        assert_eq!(
            (full.index.as_str(), full.dimension, full.metric),
            ("vectorindex1", 4, Metric::Cosine)
        );
        assert_eq!(full.non_filterable, ["note".into()]);
        let small = put(r#"{"indexName":"a","metadata":{},"dimension":null}"#).unwrap();
        assert_eq!((small.dimension, small.metric), (512, Metric::Euclidean));
        assert!(small.non_filterable.is_empty());
        assert_eq!(put(r#"{"indexName":"a","dimension":1.28e2}"#).unwrap().dimension, 128);
    }

    #[test]
    fn refused_parameters() {
        let with = |member: &str| put(&format!(r#"{{"indexName":"a",{member}}}"#)).err();
        let eleven: Vec<String> = (0..11).map(|i| format!("\"k{i}\"")).collect();
        let bad = [
            r#""dimension":0"#,
            r#""dimension":4097"#,
            r#""dimension":-1"#,
            r#""dimension":1.5"#,
            r#""dimension":1e30"#,
            r#""dataType":"float64""#,
            r#""dataType":"""#,
            r#""distanceMetric":"ip""#,
            r#""distanceMetric":"Cosine""#,
            r#""metadata":{"nonFilterableMetadataKeys":[]}"#,
            r#""metadata":{"nonFilterableMetadataKeys":["a-b"]}"#,
            r#""metadata":{"nonFilterableMetadataKeys":["a","a"]}"#,
            &format!(r#""metadata":{{"nonFilterableMetadataKeys":[{}]}}"#, eleven.join(",")),
        ];
        for member in bad {
            assert_eq!(with(member), Some(Fault::IndexParameter), "{member}");
        }
        for member in [
            r#""dimension":"4""#,
            r#""dataType":1"#,
            r#""metadata":[]"#,
            r#""metadata":{"nonFilterableMetadataKeys":"a"}"#,
        ] {
            assert_eq!(with(member), Some(Fault::JsonShape), "{member}");
        }
        assert_eq!(with(r#""dimension":1,"dimension":1"#), Some(Fault::JsonDuplicate));
        assert_eq!(put("{}"), Err(Fault::IndexName));
        assert_eq!(put(r#"{"indexName":"my_index"}"#), Err(Fault::IndexName));
        assert_eq!(put(""), Err(Fault::JsonMalformed));
        assert_eq!(put("[]"), Err(Fault::JsonShape));
        assert_eq!(put(r#"{"indexName":"a"}x"#), Err(Fault::JsonMalformed));
    }

    #[test]
    fn dimension_bounds_are_inclusive() {
        for dimension in [1, 4096] {
            let body = format!(r#"{{"indexName":"a","dimension":{dimension}}}"#);
            assert_eq!(put(&body).unwrap().dimension, dimension);
        }
    }

    #[test]
    fn one_name() {
        let name = |body: &str| {
            IndexOnly::decode(body.as_bytes()).map(|r| r.index.to_string()).map_err(|e| e.fault())
        };
        assert_eq!(name(r#"{"indexName": "idx1"}"#), Ok("idx1".to_owned()));
        assert_eq!(name(r#"{"indexName":null}"#), Err(Fault::IndexName));
        assert_eq!(name(r#"{"indexName":5}"#), Err(Fault::JsonShape));
        assert_eq!(name(""), Err(Fault::JsonMalformed));
    }

    #[test]
    fn listing() {
        let list = |body: &str| {
            ListVectorIndexes::decode(body.as_bytes(), &Limits::default()).map_err(|e| e.fault())
        };
        let first = list("").unwrap();
        assert_eq!(first, ListVectorIndexes { max: 100, after: None, prefix: None });
        assert_eq!(list("{}").unwrap(), first);
        assert_eq!(list(r#"{"maxResults":0,"nextToken":"","prefix":""}"#).unwrap(), first);
        let full = list(r#"{"maxResults":500,"nextToken":"idx","prefix":"i"}"#).unwrap();
        assert_eq!(
            (full.max, full.after.as_deref(), full.prefix.as_deref()),
            (500, Some("idx"), Some("i"))
        );
        for bad in ["501", "-1", "1.5"] {
            assert_eq!(
                list(&format!(r#"{{"maxResults":{bad}}}"#)),
                Err(Fault::MaxResults),
                "{bad}"
            );
        }
        let long = format!(r#"{{"nextToken":"{}"}}"#, "x".repeat(2049));
        assert_eq!(list(&long), Err(Fault::NextToken));
    }
}
