//! Bucket answers: the JSON rendering of classic OSS documents, one root member each.

use crate::oss::json::Object;
use crate::oss::{bucket_arn, iso_millis};

/// What the answers say of a bucket.
#[derive(Clone, Copy, Debug)]
pub struct BucketInfo<'a> {
    /// The region of the service.
    pub region: &'a str,
    /// The owner.
    pub account: &'a str,
    /// The plain name; answers carry the ARN.
    pub name: &'a str,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// The resource group.
    pub resource_group: &'a str,
    /// Host of the public endpoint.
    pub extranet_endpoint: &'a str,
    /// Host of the internal endpoint.
    pub intranet_endpoint: &'a str,
}

impl BucketInfo<'_> {
    fn write(&self, out: &mut Object<'_>) {
        out.string("Name", &bucket_arn(self.region, self.account, self.name))
            .string("CreationDate", &iso_millis(self.created_ms))
            .string("Location", &format!("oss-{}", self.region))
            .string("Region", self.region)
            .string("ExtranetEndpoint", self.extranet_endpoint)
            .string("IntranetEndpoint", self.intranet_endpoint)
            .string("ResourceGroupId", self.resource_group);
    }
}

/// The request's side of one page of a bucket list.
#[derive(Clone, Copy, Debug)]
pub struct BucketPage<'a> {
    /// The prefix asked for.
    pub prefix: Option<&'a str>,
    /// The marker asked for.
    pub marker: Option<&'a str>,
    /// The page size asked for.
    pub max_keys: usize,
    /// The last name of a page that is followed by another.
    pub next_marker: Option<&'a str>,
}

/// `{"BucketInfo":{...}}`.
pub fn bucket_info(bucket: &BucketInfo<'_>) -> Vec<u8> {
    document("BucketInfo", |out| bucket.write(out))
}

/// `{"ListAllMyBucketsResult":{...}}`; the page's members appear only when truncated.
pub fn bucket_list<'a>(
    page: &BucketPage<'_>,
    buckets: impl IntoIterator<Item = BucketInfo<'a>>,
) -> Vec<u8> {
    document("ListAllMyBucketsResult", |out| {
        if let Some(next) = page.next_marker {
            out.string("Prefix", page.prefix.unwrap_or_default())
                .string("Marker", page.marker.unwrap_or_default())
                .integer("MaxKeys", page.max_keys)
                .boolean("IsTruncated", true)
                .string("NextMarker", next);
        }
        out.array("Buckets", buckets, |out, bucket| {
            let mut object = Object::begin(out);
            bucket.write(&mut object);
            object.end();
        });
    })
}

/// `{"Tagging":{"TagSet":{"Tag":[...]}}}`; an empty list when there are none.
pub fn tagging(tags: &[(String, String)]) -> Vec<u8> {
    document("Tagging", |out| {
        out.object("TagSet", |out| {
            out.array("Tag", tags, |out, (key, value)| {
                let mut object = Object::begin(out);
                object.string("Key", key).string("Value", value);
                object.end();
            });
        });
    })
}

/// `{"BucketResourceGroupConfiguration":{"ResourceGroupId":"..."}}`.
pub fn resource_group(id: &str) -> Vec<u8> {
    document("BucketResourceGroupConfiguration", |out| {
        out.string("ResourceGroupId", id);
    })
}

/// An object with exactly one member, itself an object.
pub(super) fn document(root: &str, fill: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut object = Object::begin(&mut out);
    object.object(root, fill);
    object.end();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: BucketInfo<'static> = BucketInfo {
        region: "cn-hangzhou",
        account: "1234567890123456",
        name: "my-bucket",
        created_ms: 1_767_323_045_000,
        resource_group: "rg-default-id",
        extranet_endpoint: "cn-hangzhou.oss-vectors.aliyuncs.com",
        intranet_endpoint: "cn-hangzhou-internal.oss-vectors.aliyuncs.com",
    };
    const JSON: &str = "{\"Name\":\"acs:ossvector:cn-hangzhou:1234567890123456:my-bucket\",\
        \"CreationDate\":\"2026-01-02T03:04:05.000Z\",\"Location\":\"oss-cn-hangzhou\",\
        \"Region\":\"cn-hangzhou\",\"ExtranetEndpoint\":\"cn-hangzhou.oss-vectors.aliyuncs.com\",\
        \"IntranetEndpoint\":\"cn-hangzhou-internal.oss-vectors.aliyuncs.com\",\
        \"ResourceGroupId\":\"rg-default-id\"}";

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn info() {
        assert_eq!(text(bucket_info(&BUCKET)), format!("{{\"BucketInfo\":{JSON}}}"));
    }

    #[test]
    fn list_names_its_page_only_when_truncated() {
        let page = BucketPage { prefix: Some("my"), marker: None, max_keys: 1, next_marker: None };
        assert_eq!(text(bucket_list(&page, [])), "{\"ListAllMyBucketsResult\":{\"Buckets\":[]}}");
        let page = BucketPage { next_marker: Some("my-bucket"), ..page };
        assert_eq!(
            text(bucket_list(&page, [BUCKET, BUCKET])),
            format!(
                "{{\"ListAllMyBucketsResult\":{{\"Prefix\":\"my\",\"Marker\":\"\",\"MaxKeys\":1,\
                 \"IsTruncated\":true,\"NextMarker\":\"my-bucket\",\"Buckets\":[{JSON},{JSON}]}}}}"
            )
        );
    }

    #[test]
    fn tags_and_group() {
        assert_eq!(text(tagging(&[])), r#"{"Tagging":{"TagSet":{"Tag":[]}}}"#);
        let tags = [("k\"".to_owned(), "v".to_owned()), ("k2".to_owned(), String::new())];
        let expected =
            r#"{"Tagging":{"TagSet":{"Tag":[{"Key":"k\"","Value":"v"},{"Key":"k2","Value":""}]}}}"#;
        assert_eq!(text(tagging(&tags)), expected);
        let expected = r#"{"BucketResourceGroupConfiguration":{"ResourceGroupId":"rg-1"}}"#;
        assert_eq!(text(resource_group("rg-1")), expected);
    }
}
