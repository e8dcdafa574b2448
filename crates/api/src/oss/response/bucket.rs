//! Bucket answers.

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
pub fn bucket_info(_bucket: &BucketInfo<'_>) -> Vec<u8> {
    unimplemented!()
}

/// `{"ListAllMyBucketsResult":{...}}`; the page's members appear only when truncated.
pub fn bucket_list<'a>(
    _page: &BucketPage<'_>,
    _buckets: impl IntoIterator<Item = BucketInfo<'a>>,
) -> Vec<u8> {
    unimplemented!()
}

/// `{"Tagging":{"TagSet":{"Tag":[...]}}}`.
pub fn tagging(_tags: &[(String, String)]) -> Vec<u8> {
    unimplemented!()
}

/// `{"BucketResourceGroupConfiguration":{"ResourceGroupId":"..."}}`.
pub fn resource_group(_id: &str) -> Vec<u8> {
    unimplemented!()
}
