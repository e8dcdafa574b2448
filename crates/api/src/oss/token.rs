//! The `nextToken` of ListVectors.

use crate::oss::{Error, Filter};

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
    pub fn new(_index: &[u8], _segment_index: u32, _segment_count: u32, _filter: &Filter) -> Self {
        unimplemented!()
    }

    /// The token that continues after a position; at most 2048 bytes.
    pub fn encode(&self, _position: &Position) -> String {
        unimplemented!()
    }

    /// The position of a token. Error: [`Fault::NextToken`](crate::oss::Fault::NextToken) if it is
    /// garbled or belongs to another listing.
    pub fn decode(&self, _token: &str) -> Result<Position, Error> {
        unimplemented!()
    }
}
