//! Where objects lie in the store.
//!
//! ```text
//! format.json                                format and id of the store
//! catalog/{account}/{bucket}                 log of a bucket, names encoded by `encode_name`
//! index/{id}                                 log of an index, 32 hex digits
//! index/{id}/segment/{name}, bitmap/{name}   immutable objects, 32 hex digits
//! ```

use crate::records::{BucketId, IndexId};

pub(crate) const FORMAT: &str = "format.json";
pub(crate) const CATALOG: &str = "catalog";
pub(crate) const INDEX: &str = "index";
/// Journals of restores under way.
pub(crate) const RESTORE: &str = "restore";

pub(crate) fn account(account: &[u8]) -> String {
    format!("{CATALOG}/{}", encode_name(account))
}

pub(crate) fn bucket(bucket: &BucketId) -> String {
    format!("{}/{}", account(&bucket.account), encode_name(&bucket.name))
}

pub(crate) fn index(id: IndexId) -> String {
    format!("index/{id}")
}

pub(crate) fn segments(id: IndexId) -> String {
    format!("index/{id}/segment")
}

pub(crate) fn segment(id: IndexId, name: u128) -> String {
    format!("{}/{name:032x}", segments(id))
}

pub(crate) fn manifests(id: IndexId) -> String {
    format!("index/{id}/manifest")
}

pub(crate) fn manifest(id: IndexId, number: u64) -> String {
    format!("{}/{number:020}", manifests(id))
}

pub(crate) fn slots(id: IndexId) -> String {
    format!("index/{id}/log")
}

pub(crate) fn slot(id: IndexId, seq: u64) -> String {
    format!("{}/{seq:020}", slots(id))
}

pub(crate) fn bitmaps(id: IndexId) -> String {
    format!("index/{id}/bitmap")
}

pub(crate) fn bitmap(id: IndexId, name: u128) -> String {
    format!("{}/{name:032x}", bitmaps(id))
}

/// Delivered access logs, and those that wait for it in a local folder: the service's, not ours.
const LOGS: [&str; 2] = ["logs", "log-spool"];

/// Users, roles and their keys: the identity store's.
const IDENTITY: &str = "identity";

/// What `serve --dev` keeps in the folder of its store.
const DEV_FILES: [&str; 2] = ["dev-credentials.toml", "dev.env"];

/// Whether something at the top of a store has a name of this format.
pub(crate) fn is_known_top(path: &str) -> bool {
    [FORMAT, CATALOG, INDEX, RESTORE].contains(&path)
        || path == IDENTITY
        || LOGS.contains(&path)
        || DEV_FILES.contains(&path)
}

/// The index whose prefix this is.
pub(crate) fn index_id(prefix: &str) -> Option<IndexId> {
    object_name(prefix.strip_prefix(INDEX)?.strip_prefix('/')?).map(IndexId)
}

/// Reads the random name of an index, segment or bitmap: 32 lower-case hex digits.
pub(crate) fn object_name(part: &str) -> Option<u128> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if part.len() == 32 && part.bytes().all(hex) {
        u128::from_str_radix(part, 16).ok()
    } else {
        None
    }
}

/// A name as one path part: ASCII letters, digits, `-` and `_` stand for themselves, every other
/// byte is `%` and two upper-case hex digits. The empty name is `%`.
pub(crate) fn encode_name(name: &[u8]) -> String {
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut part = String::with_capacity(name.len());
    for byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => part.push(char::from(*byte)),
            _ => part.push_str(&format!("%{byte:02X}")),
        }
    }
    part
}

/// Reads [`encode_name`]; `None`: no name is written like this.
pub(crate) fn decode_name(part: &str) -> Option<Box<[u8]>> {
    let mut name = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' && part.len() > 1 {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            name.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else if *first == b'%' {
            rest = after;
        } else {
            name.push(*first);
            rest = after;
        }
    }
    (encode_name(&name) == part).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_never_leave_their_folder() {
        assert_eq!(encode_name(b"../a.b"), "%2E%2E%2Fa%2Eb");
        assert_eq!(decode_name("%2e"), None);
        assert_eq!(decode_name("a.b"), None);
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let part = encode_name(&name);
            prop_assert_eq!(decode_name(&part), Some(name.into_boxed_slice()));
        }
    }
}
