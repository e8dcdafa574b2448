//! Bucket requests: create, list, tags, resource group.

use http::HeaderMap;

use crate::oss::json::Reader;
use crate::oss::query::decode;
use crate::oss::request::fields::{optional, text, whole};
use crate::oss::{Error, Fault, Limits, Query};

const TAG_KEY_CHARS_MAX: usize = 64;
const TAG_VALUE_CHARS_MAX: usize = 128;

/// PutVectorBucket: optional headers `x-oss-resource-group-id` and `x-oss-bucket-tagging`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutVectorBucket {
    /// The resource group, `None` for the default one.
    pub resource_group: Option<String>,
    /// Tags of the new bucket, keys unique.
    pub tags: Vec<(String, String)>,
}

impl PutVectorBucket {
    /// Reads the headers. Errors: [`Fault::TagInvalid`], [`Fault::ResourceGroupInvalid`].
    pub fn decode(headers: &HeaderMap, limits: &Limits) -> Result<Self, Error> {
        let tags = match header(headers, "x-oss-bucket-tagging", Fault::TagInvalid)? {
            Some(value) => tag_list(value)?,
            None => Vec::new(),
        };
        check_tags(&tags, limits)?;
        Ok(Self { resource_group: resource_group(headers)?, tags })
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str, fault: Fault) -> Result<Option<&'h str>, Error> {
    let value = headers.get(name).map(|value| std::str::from_utf8(value.as_bytes()));
    let value = value.transpose().map_err(|_| Error::new(fault))?;
    Ok(value.map(str::trim).filter(|value| !value.is_empty()))
}

fn resource_group(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let id = header(headers, "x-oss-resource-group-id", Fault::ResourceGroupInvalid)?;
    id.map(group_id).transpose()
}

fn group_id(id: &str) -> Result<String, Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let fine = id.len() <= 64 && id.bytes().all(allowed);
    if fine { Ok(id.to_owned()) } else { Err(Error::new(Fault::ResourceGroupInvalid)) }
}

/// `k1=v1&k2=v2`, percent-encoded.
fn tag_list(value: &str) -> Result<Vec<(String, String)>, Error> {
    let invalid = |_| Error::new(Fault::TagInvalid);
    let piece = |text: &str| decode(text).map(String::from).map_err(invalid);
    let pairs = value.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(key, value)| Ok((piece(key)?, piece(value)?))).collect()
}

fn check_tags(tags: &[(String, String)], limits: &Limits) -> Result<(), Error> {
    let invalid = |text: &'static str| Err(Error::with_message(Fault::TagInvalid, text));
    if tags.len() > limits.tags_max {
        return invalid("A bucket can have at most 20 tags.");
    }
    for (place, (key, value)) in tags.iter().enumerate() {
        if !is_tag_key(key) {
            return invalid(
                "A tag key must have 1 to 64 characters and not start with http://, https:// or Aliyun.",
            );
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return invalid("A tag value must have at most 128 characters.");
        }
        if tags[..place].iter().any(|(other, _)| other == key) {
            return invalid("A tag key occurs more than once.");
        }
    }
    Ok(())
}

fn is_tag_key(key: &str) -> bool {
    let lower = key.to_lowercase();
    let reserved = ["http://", "https://", "aliyun"].iter().any(|start| lower.starts_with(start));
    (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count()) && !reserved
}

/// ListVectorBuckets: one page of the account's buckets, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListVectorBuckets {
    /// Only names that start with this.
    pub prefix: Option<String>,
    /// Only names after this.
    pub marker: Option<String>,
    /// Page size, 1 to the limit.
    pub max_keys: usize,
    /// Only buckets of this resource group.
    pub resource_group: Option<String>,
}

impl ListVectorBuckets {
    /// Reads query and headers. Errors: [`Fault::ArgumentInvalid`], [`Fault::QueryInvalid`],
    /// [`Fault::ResourceGroupInvalid`].
    pub fn decode(query: &Query<'_>, headers: &HeaderMap, limits: &Limits) -> Result<Self, Error> {
        let parameter = |name: &str| -> Result<Option<String>, Error> {
            let value = query.value(name)?;
            Ok(value.filter(|value| !value.is_empty()).map(String::from))
        };
        Ok(Self {
            prefix: parameter("prefix")?,
            marker: parameter("marker")?,
            max_keys: max_keys(parameter("max-keys")?.as_deref(), limits)?,
            resource_group: resource_group(headers)?,
        })
    }
}

fn max_keys(asked: Option<&str>, limits: &Limits) -> Result<usize, Error> {
    let Some(asked) = asked else { return Ok(limits.list_buckets_default) };
    let digits = asked.bytes().all(|b| b.is_ascii_digit());
    let count = asked.parse().ok().filter(|_| digits);
    count.filter(|count| (1..=limits.list_buckets_max).contains(count)).ok_or_else(|| {
        let message = format!("max-keys must be between 1 and {}.", limits.list_buckets_max);
        Error::with_message(Fault::ArgumentInvalid, message)
            .field("ArgumentName", "max-keys")
            .field("ArgumentValue", asked.chars().take(64).collect::<String>())
    })
}

/// PutBucketTags: the tags that replace a bucket's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBucketTags {
    /// Tags, keys unique, in written order; a missing value is empty.
    pub tags: Vec<(String, String)>,
}

impl PutBucketTags {
    /// Reads the body. Errors: `MalformedJson`, [`Fault::TagInvalid`].
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let tags = whole(body, |reader| {
            within(reader, "Tagging", |reader| {
                within(reader, "TagSet", |reader| {
                    within(reader, "Tag", |reader| tag_array(reader, limits))
                })
            })
        })?;
        let missing = "The body must have the form {\"Tagging\":{\"TagSet\":{\"Tag\":[...]}}}.";
        let missing = || Error::with_message(Fault::JsonShape, missing);
        let tags = tags.flatten().flatten().ok_or_else(missing)?;
        check_tags(&tags, limits)?;
        Ok(Self { tags })
    }
}

/// The value of one member of an object; the others are ignored.
pub(super) fn within<'a, T>(
    reader: &mut Reader<'a>,
    wanted: &str,
    mut take: impl FnMut(&mut Reader<'a>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let mut found = None;
    let mut members = reader.members()?;
    while let Some(name) = members.next(reader)? {
        match name == wanted {
            true => {
                found = optional(reader, &mut take).map_err(|error| error.within(wanted))?;
            }
            false => reader.skip()?,
        }
    }
    Ok(found)
}

fn tag_array(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<(String, String)>, Error> {
    let mut tags = Vec::new();
    let mut items = reader.items()?;
    while items.next(reader)? {
        if tags.len() > limits.tags_max {
            return check_tags(&tags, limits).map(|()| tags);
        }
        tags.push(tag(reader)?);
    }
    Ok(tags)
}

fn tag(reader: &mut Reader<'_>) -> Result<(String, String), Error> {
    let (mut key, mut value) = (None, None);
    let mut members = reader.members()?;
    while let Some(name) = members.next(reader)? {
        match &*name {
            "Key" => key = text(reader)?,
            "Value" => value = text(reader)?,
            _ => reader.skip()?,
        }
    }
    let key = key.ok_or(Error::with_message(Fault::TagInvalid, "A tag has no Key."))?;
    Ok((key.into_owned(), value.unwrap_or_default().into_owned()))
}

/// DeleteBucketTags: all tags, or the named ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteBucketTags {
    /// The keys of `?tagging=k1,k2`; `None` removes all.
    pub keys: Option<Vec<String>>,
}

impl DeleteBucketTags {
    /// Reads the query. Error: [`Fault::QueryInvalid`].
    pub fn decode(query: &Query<'_>) -> Result<Self, Error> {
        let value = query.value("tagging")?.filter(|value| !value.is_empty());
        let split = |value: &str| value.split(',').map(|key| key.trim().to_owned()).collect();
        Ok(Self { keys: value.as_deref().map(split) })
    }
}

/// PutBucketResourceGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBucketResourceGroup {
    /// The group; `None` moves the bucket to the default group.
    pub id: Option<String>,
}

impl PutBucketResourceGroup {
    /// Reads the body. Errors: `MalformedJson`, [`Fault::ResourceGroupInvalid`].
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let id = whole(body, |reader| {
            within(reader, "BucketResourceGroupConfiguration", |reader| {
                within(reader, "ResourceGroupId", |reader| Ok(reader.string()?))
            })
        })?;
        let missing = "The body must have the root member BucketResourceGroupConfiguration.";
        let id = id.ok_or_else(|| Error::with_message(Fault::JsonShape, missing))?;
        let id = id.filter(|id| !id.is_empty());
        Ok(Self { id: id.map(|id| group_id(&id)).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn create(headers: &[(&'static str, &str)]) -> Result<PutVectorBucket, Fault> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        PutVectorBucket::decode(&map, &Limits::default()).map_err(|e| e.fault())
    }

    #[test]
    fn create_reads_group_and_tags() {
        let plain = create(&[]).unwrap();
        assert_eq!(plain, PutVectorBucket { resource_group: None, tags: vec![] });
        let full = create(&[
            ("x-oss-resource-group-id", "rg-aekz1234"),
            ("x-oss-bucket-tagging", "k1=v%201&k2"),
        ])
        .unwrap();
        assert_eq!(full.resource_group.as_deref(), Some("rg-aekz1234"));
        assert_eq!(full.tags, [("k1".into(), "v 1".into()), ("k2".into(), String::new())]);
        assert_eq!(create(&[("x-oss-resource-group-id", "a b")]), Err(Fault::ResourceGroupInvalid));
        for bad in ["=v", "a=1&a=2", "Aliyun1=x", "http%3A%2F%2Fx=1", "k=%FF"] {
            assert_eq!(create(&[("x-oss-bucket-tagging", bad)]), Err(Fault::TagInvalid), "{bad}");
        }
    }

    #[test]
    fn list_has_defaults_and_bounds() {
        let list = |raw: &str| {
            ListVectorBuckets::decode(&Query::parse(raw), &HeaderMap::new(), &Limits::default())
                .map_err(|e| e.fault())
        };
        let first = list("vector").unwrap();
        assert_eq!((first.max_keys, first.prefix, first.marker), (100, None, None));
        let full = list("prefix=my-%2Fp&marker=a&max-keys=1000").unwrap();
        assert_eq!(full.prefix.as_deref(), Some("my-/p"));
        assert_eq!((full.max_keys, full.marker.as_deref()), (1000, Some("a")));
        for bad in ["max-keys=0", "max-keys=1001", "max-keys=x", "max-keys=+1", "prefix=a&prefix=b"]
        {
            assert_eq!(list(bad), Err(Fault::ArgumentInvalid), "{bad}");
        }
    }

    fn tags(body: &str) -> Result<Vec<(String, String)>, Fault> {
        PutBucketTags::decode(body.as_bytes(), &Limits::default())
            .map(|t| t.tags)
            .map_err(|e| e.fault())
    }

    #[test]
    fn tags_are_checked() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let body = r#"{"Tagging":{"TagSet":{"Tag":[{"Key":"k1","Value":"v1"},{"Key":"k2"}]}}}"#;
        assert_eq!(tags(body), Ok(vec![pair("k1", "v1"), pair("k2", "")]));
        assert_eq!(tags(r#"{"Tagging":{"TagSet":{"Tag":[]}}}"#), Ok(vec![]));
        for shape in [
            "{}",
            "[]",
            r#"{"Tagging":{}}"#,
            r#"{"Tagging":{"TagSet":{"Tag":{}}}}"#,
            r#"{"Tagging":{"TagSet":{"Tag":[{"Key":1}]}}}"#,
        ] {
            assert_eq!(tags(shape), Err(Fault::JsonShape), "{shape}");
        }
        assert_eq!(tags(""), Err(Fault::JsonMalformed));
        let list = |n: usize| {
            let tags: Vec<_> = (0..n).map(|i| format!("{{\"Key\":\"k{i}\"}}")).collect();
            format!(r#"{{"Tagging":{{"TagSet":{{"Tag":[{}]}}}}}}"#, tags.join(","))
        };
        assert_eq!(tags(&list(20)).map(|t| t.len()), Ok(20));
        assert_eq!(tags(&list(21)), Err(Fault::TagInvalid));
        assert_eq!(tags(&list(500)), Err(Fault::TagInvalid));
        for key in ["", "aliyunX", "HTTPS://a", &"k".repeat(65)] {
            let body = format!(r#"{{"Tagging":{{"TagSet":{{"Tag":[{{"Key":"{key}"}}]}}}}}}"#);
            assert_eq!(tags(&body), Err(Fault::TagInvalid), "{key}");
        }
        let value = |n: usize| {
            tags(&format!(
                r#"{{"Tagging":{{"TagSet":{{"Tag":[{{"Key":"é","Value":"{}"}}]}}}}}}"#,
                "é".repeat(n)
            ))
        };
        assert!(value(128).is_ok());
        assert_eq!(value(129), Err(Fault::TagInvalid));
    }

    #[test]
    fn deleting_tags_names_all_or_some() {
        let keys = |raw: &str| DeleteBucketTags::decode(&Query::parse(raw)).unwrap().keys;
        assert_eq!(keys("tagging"), None);
        assert_eq!(keys("tagging="), None);
        assert_eq!(keys("tagging=k1%2Ck2"), Some(vec!["k1".to_owned(), "k2".to_owned()]));
    }

    #[test]
    fn resource_group_may_be_absent() {
        let id = |body: &str| {
            PutBucketResourceGroup::decode(body.as_bytes()).map(|r| r.id).map_err(|e| e.fault())
        };
        let root = |inner: &str| format!(r#"{{"BucketResourceGroupConfiguration":{inner}}}"#);
        assert_eq!(id(&root(r#"{"ResourceGroupId":"rg-1"}"#)), Ok(Some("rg-1".to_owned())));
        assert_eq!(id(&root("{}")), Ok(None));
        assert_eq!(id(&root(r#"{"ResourceGroupId":""}"#)), Ok(None));
        assert_eq!(id("{}"), Err(Fault::JsonShape));
        assert_eq!(id(&root(r#"{"ResourceGroupId":"a/b"}"#)), Err(Fault::ResourceGroupInvalid));
    }
}
