//! Buckets themselves, their tags and their resource group.

use http::HeaderValue;
use vb_api::oss::Fault;
use vb_api::oss::request::{
    DeleteBucketTags, ListVectorBuckets, PutBucketResourceGroup, PutBucketTags, PutVectorBucket,
};
use vb_api::oss::response::{self, BucketInfo, BucketPage};
use vb_engine::{BucketChange, BucketRecord, BucketSettings, Created};

use super::Context;
use crate::authorize::Authorized;
use crate::reply::{Refusal, Reply};

/// The group of buckets that were put into none.
const DEFAULT_RESOURCE_GROUP: &str = "rg-default-id";

/// GetVectorBucket.
pub(crate) struct Get;
/// DeleteVectorBucket.
pub(crate) struct Delete;
/// GetBucketTags.
pub(crate) struct GetTags;
/// GetBucketResourceGroup.
pub(crate) struct GetResourceGroup;

/// One page of the account's buckets, by name.
pub(crate) async fn list(
    context: &Context,
    call: Authorized<ListVectorBuckets>,
) -> Result<Reply, Refusal> {
    let request = call.request();
    let records = context.engine.list_buckets(call.owner().as_bytes()).await?;
    let (page, truncated) = page(&records, request);
    let next_marker = page.last().filter(|_| truncated).map(|record| name(record)).transpose()?;
    let infos: Result<Vec<BucketInfo<'_>>, Refusal> =
        page.iter().map(|record| info(context, call.owner().as_str(), record)).collect();
    let bounds = BucketPage {
        prefix: request.prefix.as_deref(),
        marker: request.marker.as_deref(),
        max_keys: request.max_keys,
        next_marker,
    };
    Ok(Reply::json(response::bucket_list(&bounds, infos?)))
}

/// The records of a page, and whether more follow.
fn page<'a>(
    records: &'a [BucketRecord],
    request: &ListVectorBuckets,
) -> (Vec<&'a BucketRecord>, bool) {
    let prefix = request.prefix.as_deref().unwrap_or("").as_bytes();
    // The marker is a name, or the ARN that listings show; names hold no colon.
    let marker = request.marker.as_deref().unwrap_or("");
    let marker = marker.rsplit(':').next().unwrap_or(marker).as_bytes();
    let group = request.resource_group.as_deref();
    let mut wanted: Vec<&BucketRecord> = records
        .iter()
        .filter(|record| record.name.starts_with(prefix) && *record.name > *marker)
        .filter(|record| group.is_none_or(|group| resource_group(record) == group))
        .take(request.max_keys + 1)
        .collect();
    let truncated = wanted.len() > request.max_keys;
    wanted.truncate(request.max_keys);
    (wanted, truncated)
}

/// Creates a bucket; one's own that already is as asked for is found, not refused.
pub(crate) async fn put(
    context: &Context,
    call: Authorized<PutVectorBucket>,
) -> Result<Reply, Refusal> {
    let request = call.request();
    let settings = BucketSettings {
        resource_group: stored_group(request.resource_group.as_deref()),
        tags: request.tags.clone(),
    };
    let (bucket, buckets_max) = (call.bucket_id(), context.quotas.buckets_max(call.owner()));
    let created = context.engine.create_bucket_within(&bucket, settings, buckets_max).await?;
    if created == Created::Same {
        let record = context.engine.bucket(&call.bucket_id()).await?;
        if !is_as_asked(&record, request) {
            return Err(Fault::BucketExists.into());
        }
    }
    let location = HeaderValue::try_from(format!("/{}", call.bucket()));
    Ok(Reply::created(location.expect("bucket names are ASCII letters, digits and hyphens")))
}

/// Whether an existing bucket has what a creation asks for; what it leaves open may be anything.
fn is_as_asked(record: &BucketRecord, request: &PutVectorBucket) -> bool {
    let group = request.resource_group.as_deref();
    let sorted = |tags: &[(String, String)]| {
        let mut tags = tags.to_vec();
        tags.sort();
        tags
    };
    group.is_none_or(|group| group == resource_group(record))
        && (request.tags.is_empty() || sorted(&request.tags) == sorted(&record.tags))
}

/// What a bucket is.
pub(crate) async fn get(context: &Context, call: Authorized<Get>) -> Result<Reply, Refusal> {
    let record = context.engine.bucket(&call.bucket_id()).await?;
    let info = info(context, call.owner().as_str(), &record)?;
    Ok(Reply::json(response::bucket_info(&info)))
}

/// Deletes a bucket without indexes.
pub(crate) async fn delete(context: &Context, call: Authorized<Delete>) -> Result<Reply, Refusal> {
    context.engine.delete_bucket(&call.bucket_id()).await?;
    Ok(Reply::empty(204))
}

/// Replaces a bucket's tags.
pub(crate) async fn put_tags(
    context: &Context,
    call: Authorized<PutBucketTags>,
) -> Result<Reply, Refusal> {
    let change = BucketChange::Tags(call.request().tags.clone());
    context.engine.configure_bucket(&call.bucket_id(), change).await?;
    Ok(Reply::empty(200))
}

/// A bucket's tags, possibly none.
pub(crate) async fn get_tags(
    context: &Context,
    call: Authorized<GetTags>,
) -> Result<Reply, Refusal> {
    let record = context.engine.bucket(&call.bucket_id()).await?;
    Ok(Reply::json(response::tagging(&record.tags)))
}

/// Removes all tags, or the named ones.
pub(crate) async fn delete_tags(
    context: &Context,
    call: Authorized<DeleteBucketTags>,
) -> Result<Reply, Refusal> {
    let change = BucketChange::RemoveTags(call.request().keys.clone());
    context.engine.configure_bucket(&call.bucket_id(), change).await?;
    Ok(Reply::empty(204))
}

/// Moves a bucket into a resource group.
pub(crate) async fn put_resource_group(
    context: &Context,
    call: Authorized<PutBucketResourceGroup>,
) -> Result<Reply, Refusal> {
    let change = BucketChange::ResourceGroup(stored_group(call.request().id.as_deref()));
    context.engine.configure_bucket(&call.bucket_id(), change).await?;
    Ok(Reply::empty(200))
}

/// The resource group of a bucket.
pub(crate) async fn get_resource_group(
    context: &Context,
    call: Authorized<GetResourceGroup>,
) -> Result<Reply, Refusal> {
    let record = context.engine.bucket(&call.bucket_id()).await?;
    Ok(Reply::json(response::resource_group(resource_group(&record))))
}

fn info<'a>(
    context: &'a Context,
    account: &'a str,
    record: &'a BucketRecord,
) -> Result<BucketInfo<'a>, Refusal> {
    Ok(BucketInfo {
        region: &context.region,
        account,
        name: name(record)?,
        created_ms: i64::try_from(record.created_ms).unwrap_or(i64::MAX),
        resource_group: resource_group(record),
        extranet_endpoint: &context.extranet_endpoint,
        intranet_endpoint: &context.intranet_endpoint,
    })
}

/// The engine's names are bytes; the wire let only text in.
fn name(record: &BucketRecord) -> Result<&str, Refusal> {
    std::str::from_utf8(&record.name)
        .map_err(|e| Refusal::internal(format!("a bucket's name is no text: {e}")))
}

/// The engine keeps the default group as no group.
fn stored_group(id: Option<&str>) -> String {
    id.filter(|id| *id != DEFAULT_RESOURCE_GROUP).unwrap_or("").to_owned()
}

fn resource_group(record: &BucketRecord) -> &str {
    match record.resource_group.as_str() {
        "" => DEFAULT_RESOURCE_GROUP,
        group => group,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(names: &[&str]) -> Vec<BucketRecord> {
        let record = |name: &&str| BucketRecord {
            name: name.as_bytes().into(),
            created_ms: 0,
            resource_group: if name.ends_with('g') { "rg-1".into() } else { String::new() },
            tags: Vec::new(),
            policy: None,
            logging: None,
        };
        names.iter().map(record).collect()
    }

    fn names(request: &ListVectorBuckets) -> (Vec<String>, bool) {
        let records = records(&["aaa", "abc", "abd", "abg", "xyz"]);
        let (page, truncated) = page(&records, request);
        let text = |r: &&BucketRecord| String::from_utf8(r.name.to_vec()).unwrap();
        (page.iter().map(text).collect(), truncated)
    }

    fn request(prefix: &str, marker: &str, max_keys: usize) -> ListVectorBuckets {
        ListVectorBuckets {
            prefix: Some(prefix.into()),
            marker: Some(marker.into()),
            max_keys,
            resource_group: None,
        }
    }

    #[test]
    fn a_page_starts_after_its_marker_and_is_never_empty_at_the_end() {
        assert_eq!(names(&request("ab", "", 2)), (vec!["abc".into(), "abd".into()], true));
        assert_eq!(names(&request("ab", "abd", 2)), (vec!["abg".into()], false));
        assert!(!names(&request("ab", "", 3)).1);
        let arn = "acs:ossvector:r:1:abd";
        assert_eq!(names(&request("", arn, 9)), (vec!["abg".into(), "xyz".into()], false));
    }

    #[test]
    fn an_existing_bucket_is_compared_with_what_is_asked() {
        let mut record = records(&["x-g"]).remove(0);
        record.tags = vec![("a".into(), "1".into()), ("b".into(), "2".into())];
        let asked = |group: Option<&str>, tags: &[(&str, &str)]| {
            let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            let tags = tags.iter().map(own).collect();
            is_as_asked(&record, &PutVectorBucket { resource_group: group.map(Into::into), tags })
        };
        assert!(asked(None, &[]) && asked(Some("rg-1"), &[("b", "2"), ("a", "1")]));
        assert!(!asked(Some(DEFAULT_RESOURCE_GROUP), &[]) && !asked(None, &[("a", "1")]));
    }

    #[test]
    fn the_default_group_is_a_group() {
        let mut all = request("", "", 9);
        all.resource_group = Some("rg-1".into());
        assert_eq!(names(&all).0, ["abg"]);
        all.resource_group = Some(DEFAULT_RESOURCE_GROUP.into());
        assert_eq!(names(&all).0.len(), 4);
        assert_eq!(stored_group(Some(DEFAULT_RESOURCE_GROUP)), "");
    }
}
