//! The store's own label: which format its objects have, and which store it is.
//!
//! `format.json` is created by the first engine that opens a store, and never changed. It is one
//! line, exactly as [`Label::encode`] writes it, so that nothing needs to be parsed but two values.

use vb_commit::{Store, StoreErrorKind};

use crate::error::Error;
use crate::fetch::corrupt;
use crate::paths;

/// The format that this program reads and writes.
const FORMAT: u32 = 1;

/// What the label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Label {
    format: u32,
    store: u128,
}

impl Label {
    fn encode(self) -> String {
        format!("{{\"format\":{},\"store\":\"{:032x}\"}}\n", self.format, self.store)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let rest = text.strip_prefix("{\"format\":")?;
        let (format, rest) = rest.split_once(",\"store\":\"")?;
        let store = rest.strip_suffix("\"}\n")?;
        let label =
            Self { format: format.parse().ok()?, store: u128::from_str_radix(store, 16).ok()? };
        (label.encode() == text).then_some(label)
    }
}

/// Reads the label, or makes it with `id` if there is none yet. Returns the store's id.
///
/// # Errors
/// [`Error::Corrupt`] if it is damaged or of another format; else as the store fails.
pub(crate) async fn check(store: &Store, id: u128) -> Result<u128, Error> {
    let bytes = match store.get(paths::FORMAT).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            let label = Label { format: FORMAT, store: id };
            match store.create(paths::FORMAT, label.encode().into()).await {
                Ok(()) => return Ok(id),
                // Another process was faster, or the reply to our own create was lost.
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
                    store.get(paths::FORMAT).await?
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(error) => return Err(error.into()),
    };
    read(&bytes)
}

/// The id of the store that a label names.
///
/// # Errors
/// [`Error::Corrupt`] if it is damaged or of another format.
pub(crate) fn read(label: &[u8]) -> Result<u128, Error> {
    match Label::decode(label) {
        Some(label) if label.format == FORMAT => Ok(label.store),
        Some(_) => Err(corrupt(paths::FORMAT, 0, "a format that this program does not know")),
        None => Err(corrupt(paths::FORMAT, 0, "not a label of a store")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_exactly_as_it_is_written() {
        let label = Label { format: 1, store: 0xabc };
        let text = label.encode();
        assert_eq!(text, "{\"format\":1,\"store\":\"00000000000000000000000000000abc\"}\n");
        assert_eq!(Label::decode(text.as_bytes()), Some(label));
        for other in ["", "{}", "{\"format\":1,\"store\":\"abc\"}\n", &text[..text.len() - 1]] {
            assert_eq!(Label::decode(other.as_bytes()), None, "{other}");
        }
    }

    #[tokio::test]
    async fn the_label_stays_and_another_format_is_refused() {
        let store = Store::memory();
        check(&store, 1).await.unwrap();
        let first = store.get(paths::FORMAT).await.unwrap();
        check(&store, 2).await.unwrap();
        assert_eq!(store.get(paths::FORMAT).await.unwrap(), first);
        let newer = Label { format: 2, store: 1 }.encode();
        store.put(paths::FORMAT, newer.into()).await.unwrap();
        assert!(matches!(check(&store, 3).await, Err(Error::Corrupt { .. })));
    }
}
