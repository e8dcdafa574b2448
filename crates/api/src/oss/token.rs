//! The `nextToken` of ListVectors.
//!
//! ```text
//! base64url without padding of
//! | version 1 | scope (8) | key hash (8, big-endian) | key, cut after 1,480 bytes | checksum (4) |
//! ```
//!
//! Scope and checksum are leading bytes of SHA-256. A token holds a position and no document id,
//! so it survives flushes, compaction and restarts. It is not secret and grants nothing; the
//! checksum only tells a garbled token from a valid one.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::oss::{Error, Fault, Filter};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 8 + 8;
const CHECKSUM_BYTES: usize = 4;
/// Keeps a token within 2,048 bytes.
const KEY_BYTES_MAX: usize = 1480;

/// The last record of a page in (hash, key) order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Hash of the key.
    pub hash: u64,
    /// The key. In a decoded token an overlong key is cut and ends in the byte `0xFF`, which sorts
    /// after every key that starts with the same bytes.
    pub key: Vec<u8>,
}

/// What a listing's tokens are bound to: index, segment and filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListScope([u8; 8]);

impl ListScope {
    /// The scope of a listing. `index` identifies the index (also against re-creation).
    pub fn new(index: &[u8], segment_index: u32, segment_count: u32, filter: &Filter) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        // A prefix of the length keeps index and filter apart.
        hash.update(&(index.len() as u64).to_le_bytes());
        hash.update(index);
        hash.update(&segment_index.to_le_bytes());
        hash.update(&segment_count.to_le_bytes());
        hash.update(&filter.to_json());
        Self(first(hash.finish().as_ref()))
    }

    /// The token that continues after a position; at most 2048 bytes.
    pub fn encode(&self, position: &Position) -> String {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + position.key.len() + CHECKSUM_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(&position.hash.to_be_bytes());
        match position.key.get(..KEY_BYTES_MAX) {
            Some(cut) if position.key.len() > KEY_BYTES_MAX => {
                bytes.extend_from_slice(cut);
                bytes.push(0xFF);
            }
            _ => bytes.extend_from_slice(&position.key),
        }
        bytes.extend_from_slice(&checksum(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position of a token. Error: [`Fault::NextToken`] if it is garbled or belongs to another
    /// listing.
    pub fn decode(&self, token: &str) -> Result<Position, Error> {
        self.position(token).ok_or(Error::new(Fault::NextToken))
    }

    fn position(&self, token: &str) -> Option<Position> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (content, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
        let (head, key) = content.split_at_checked(HEAD_BYTES)?;
        let fine = *sum == checksum(content) && head[0] == VERSION && head[1..9] == self.0;
        let hash = u64::from_be_bytes(head[9..].try_into().ok()?);
        fine.then(|| Position { hash, key: key.to_vec() })
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    first(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    *digest.first_chunk().expect("a SHA-256 digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope() -> ListScope {
        ListScope::new(b"index-1", 0, 2, &Filter::All)
    }

    proptest! {
        #[test]
        fn tokens_round_trip_within_their_limit(hash in any::<u64>(), key in "\\PC{1,1024}") {
            let position = Position { hash, key: key.clone().into_bytes() };
            let token = scope().encode(&position);
            prop_assert!(token.len() <= 2048, "{}", token.len());
            let back = scope().decode(&token).unwrap();
            prop_assert_eq!(back.hash, hash);
            if key.len() <= KEY_BYTES_MAX {
                prop_assert_eq!(back.key, key.into_bytes());
            } else {
                prop_assert!(back.key > key.into_bytes());
            }
        }

        #[test]
        fn changed_tokens_are_refused(at in 0usize..60, to in "[A-Za-z0-9_-]") {
            let token = scope().encode(&Position { hash: 7, key: b"vector-key-1-with-a-name".to_vec() });
            let mut changed = token.clone();
            let at = at % token.len();
            changed.replace_range(at..=at, &to);
            prop_assert_eq!(scope().decode(&changed).is_ok(), changed == token);
        }

        #[test]
        fn arbitrary_tokens_are_refused(token in "\\PC{0,80}") {
            prop_assert!(scope().decode(&token).is_err());
        }
    }

    #[test]
    fn tokens_belong_to_one_listing() {
        let token = scope().encode(&Position { hash: 1, key: b"k".to_vec() });
        let test = Filter::Test { key: "a".into(), test: crate::oss::Test::Exists(true) };
        let others = [
            ListScope::new(b"index-2", 0, 2, &Filter::All),
            ListScope::new(b"index-1", 1, 2, &Filter::All),
            ListScope::new(b"index-1", 0, 3, &Filter::All),
            ListScope::new(b"index-1", 0, 2, &test),
        ];
        for other in others {
            assert_eq!(other.decode(&token).unwrap_err().fault(), Fault::NextToken);
        }
        assert!(scope().decode(&token).is_ok());
    }
}
