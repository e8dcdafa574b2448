//! Index answers.

use crate::oss::json::{Object, write_string};
use crate::oss::response::bucket::document;
use crate::oss::{Metric, bucket_arn, iso_millis};

/// The life of an index on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexStatus {
    /// Being created.
    Creating,
    /// In service.
    Enable,
    /// Being deleted.
    Deleting,
}

impl IndexStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            IndexStatus::Creating => "creating",
            IndexStatus::Enable => "enable",
            IndexStatus::Deleting => "deleting",
        }
    }
}

/// What the answers say of an index.
#[derive(Clone, Copy, Debug)]
pub struct IndexInfo<'a> {
    /// The name.
    pub name: &'a str,
    /// The region of the service.
    pub region: &'a str,
    /// The owner of the bucket.
    pub account: &'a str,
    /// The plain bucket name.
    pub bucket: &'a str,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Its state.
    pub status: IndexStatus,
    /// Components of a vector.
    pub dimension: u32,
    /// Its metric.
    pub metric: Metric,
    /// As given at creation; `metadata` is left out when empty.
    pub non_filterable: &'a [Box<str>],
}

impl IndexInfo<'_> {
    fn write(&self, out: &mut Object<'_>) {
        out.string("indexName", self.name)
            .string("bucketArn", &bucket_arn(self.region, self.account, self.bucket))
            .string("vectorBucketName", self.bucket)
            .string("createTime", &iso_millis(self.created_ms))
            .string("status", self.status.as_str())
            .string("dataType", "float32")
            .integer("dimension", self.dimension as usize)
            .string("distanceMetric", self.metric.as_str());
        if !self.non_filterable.is_empty() {
            out.object("metadata", |out| {
                out.array("nonFilterableMetadataKeys", self.non_filterable, |out, key| {
                    write_string(out, key);
                });
            });
        }
        out.string("mode", "standard");
    }
}

/// `{"index":{...}}`.
pub fn index_info(index: &IndexInfo<'_>) -> Vec<u8> {
    document("index", |out| index.write(out))
}

/// `{"indexes":[...]}`, with `nextToken` when there is a further page.
pub fn index_list<'a>(
    indexes: impl IntoIterator<Item = IndexInfo<'a>>,
    next_token: Option<&str>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut object = Object::begin(&mut out);
    object
        .array("indexes", indexes, |out, index| {
            let mut object = Object::begin(out);
            index.write(&mut object);
            object.end();
        })
        .optional("nextToken", next_token);
    object.end();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_many() {
        let keys = ["note".into()];
        let index = IndexInfo {
            name: "vectorindex1",
            region: "cn-hangzhou",
            account: "1234567890123456",
            bucket: "my-bucket",
            created_ms: 1_767_323_045_000,
            status: IndexStatus::Enable,
            dimension: 4,
            metric: Metric::Cosine,
            non_filterable: &keys,
        };
        let json = "{\"indexName\":\"vectorindex1\",\
            \"bucketArn\":\"acs:ossvector:cn-hangzhou:1234567890123456:my-bucket\",\
            \"vectorBucketName\":\"my-bucket\",\"createTime\":\"2026-01-02T03:04:05.000Z\",\
            \"status\":\"enable\",\"dataType\":\"float32\",\"dimension\":4,\
            \"distanceMetric\":\"cosine\",\"metadata\":{\"nonFilterableMetadataKeys\":[\"note\"]},\
            \"mode\":\"standard\"}";
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert_eq!(text(index_info(&index)), format!("{{\"index\":{json}}}"));
        assert_eq!(text(index_list([], None)), r#"{"indexes":[]}"#);
        let page = index_list([index, index], Some("vectorindex1"));
        let expected = format!("{{\"indexes\":[{json},{json}],\"nextToken\":\"vectorindex1\"}}");
        assert_eq!(text(page), expected);
        let bare = text(index_info(&IndexInfo { non_filterable: &[], ..index }));
        assert!(!bare.contains("metadata"), "{bare}");
    }
}
