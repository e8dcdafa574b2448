//! Lists of a bucket, page by page.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, Result};

use super::{Ask, OssStore, STORE, xml};

/// One answer to a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) objects: Vec<ObjectMeta>,
    pub(super) prefixes: Vec<Path>,
    /// Where the next page begins.
    next: Option<String>,
}

/// What is listed.
#[derive(Debug, Clone)]
struct Query {
    /// Ends with `/` unless it is empty.
    prefix: String,
    after: Option<String>,
    one_level: bool,
}

/// Where a list stands.
enum State {
    First,
    Behind(String),
    End,
}

/// All objects under a prefix, behind `after`.
pub(super) fn flat(
    store: &OssStore,
    prefix: Option<&Path>,
    after: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let pages = pages(store, prefix, after, false);
    pages.map_ok(|page| stream::iter(page.objects.into_iter().map(Ok))).try_flatten().boxed()
}

/// The pages of a list, of all objects or of one level.
pub(super) fn pages(
    store: &OssStore,
    prefix: Option<&Path>,
    after: Option<&Path>,
    one_level: bool,
) -> BoxStream<'static, Result<Page>> {
    let prefix = prefix.filter(|prefix| !prefix.as_ref().is_empty());
    let prefix = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
    let query = Query { prefix, after: after.map(ToString::to_string), one_level };
    let store = store.clone();
    stream::try_unfold(State::First, move |state| {
        let (store, query) = (store.clone(), query.clone());
        async move {
            let token = match state {
                State::First => None,
                State::Behind(token) => Some(token),
                State::End => return Ok(None),
            };
            let page = page(&store, &query, token.as_deref()).await?;
            let state = page.next.clone().map_or(State::End, State::Behind);
            Ok(Some((page, state)))
        }
    })
    .boxed()
}

async fn page(store: &OssStore, query: &Query, token: Option<&str>) -> Result<Page> {
    let mut parameters = vec![("list-type", "2"), ("max-keys", "1000")];
    if !query.prefix.is_empty() {
        parameters.push(("prefix", &query.prefix));
    }
    if query.one_level {
        parameters.push(("delimiter", "/"));
    }
    match (token, &query.after) {
        (Some(token), _) => parameters.push(("continuation-token", token)),
        (None, Some(after)) => parameters.push(("start-after", after)),
        (None, None) => {}
    }
    let ask = Ask { parameters: &parameters, ..Ask::default() };
    let answer = store.0.send(Method::GET, ask).await?;
    read(&String::from_utf8_lossy(answer.body()))
}

fn read(text: &str) -> Result<Page> {
    let mut page = Page::default();
    for entry in xml::each(text, "Contents") {
        page.objects.extend(object(entry)?);
    }
    for entry in xml::each(text, "CommonPrefixes") {
        let prefix = xml::first(entry, "Prefix").ok_or_else(malformed)?;
        page.prefixes.push(Path::parse(prefix)?);
    }
    if xml::first(text, "IsTruncated").as_deref() == Some("true") {
        page.next = Some(xml::first(text, "NextContinuationToken").ok_or_else(malformed)?);
    }
    Ok(page)
}

/// An object; `None` for the empty ones by which consoles mark folders.
fn object(entry: &str) -> Result<Option<ObjectMeta>> {
    let part = |tag| xml::first(entry, tag).ok_or_else(malformed);
    let key = part("Key")?;
    if key.ends_with('/') {
        return Ok(None);
    }
    Ok(Some(ObjectMeta {
        location: Path::parse(key)?,
        last_modified: part("LastModified")?.parse().map_err(|_| malformed())?,
        size: part("Size")?.parse().map_err(|_| malformed())?,
        e_tag: xml::first(entry, "ETag"),
        version: None,
    }))
}

fn malformed() -> Error {
    Error::Generic { store: STORE, source: "a list that cannot be read".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let page = read(
            "<?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><Prefix>p/</Prefix>\
             <Contents><Key>p/a&amp;b</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>\
             <ETag>\"E\"</ETag><Size>7</Size></Contents>\
             <Contents><Key>p/folder/</Key><Size>0</Size></Contents>\
             <CommonPrefixes><Prefix>p/q/</Prefix></CommonPrefixes>\
             <IsTruncated>true</IsTruncated><NextContinuationToken>n</NextContinuationToken>\
             </ListBucketResult>",
        )
        .unwrap();
        assert_eq!(page.objects.len(), 1);
        assert_eq!((page.objects[0].location.as_ref(), page.objects[0].size), ("p/a&b", 7));
        assert_eq!(page.objects[0].last_modified.timestamp(), 1_767_323_045);
        assert_eq!(page.prefixes, [Path::from("p/q")]);
        assert_eq!(page.next.as_deref(), Some("n"));
    }

    #[test]
    fn half_a_list_is_no_list() {
        let entry = |inside: &str| format!("<Contents>{inside}</Contents>");
        for bad in [
            entry("<Key>a</Key>"),
            entry("<Key>a</Key><LastModified>now</LastModified><Size>1</Size>"),
            "<IsTruncated>true</IsTruncated>".into(),
            "<CommonPrefixes></CommonPrefixes>".into(),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
