//! Which row of a memtable holds a key.
//!
//! Keys stay in the chunks; the map knows hashes. Two keys of one hash are possible (2^32 work
//! finds a pair), so an entry can hold several places and the keys are compared.

use std::collections::HashMap;

use bytes::Bytes;

use super::chunk::{ChunkView, Place};

/// The live rows of one memtable by key hash.
#[derive(Debug, Default)]
pub(crate) struct KeyMap(HashMap<u64, Entry>);

#[derive(Debug)]
enum Entry {
    One(Place),
    Many(Vec<Place>),
}

impl Entry {
    fn places(&self) -> &[Place] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(places) => places,
        }
    }
}

fn key_at(chunks: &[ChunkView], place: Place) -> &Bytes {
    chunks[place.chunk as usize].chunk.key(place.row)
}

impl KeyMap {
    /// The place of a key; `chunks` are those of the same memtable.
    pub(crate) fn find(&self, chunks: &[ChunkView], hash: u64, key: &[u8]) -> Option<Place> {
        let places = self.0.get(&hash)?.places();
        places.iter().copied().find(|place| key_at(chunks, *place) == key)
    }

    /// Notes a key's new place; returns the old one.
    pub(crate) fn insert(
        &mut self,
        chunks: &[ChunkView],
        hash: u64,
        key: &[u8],
        place: Place,
    ) -> Option<Place> {
        let old = self.remove(chunks, hash, key);
        match self.0.get_mut(&hash) {
            None => {
                self.0.insert(hash, Entry::One(place));
            }
            Some(Entry::Many(places)) => places.push(place),
            Some(entry @ Entry::One(_)) => {
                *entry = Entry::Many([entry.places(), &[place]].concat());
            }
        }
        old
    }

    /// Forgets a key; returns its place.
    pub(crate) fn remove(&mut self, chunks: &[ChunkView], hash: u64, key: &[u8]) -> Option<Place> {
        let old = self.find(chunks, hash, key)?;
        match self.0.get_mut(&hash) {
            Some(Entry::Many(places)) if places.len() > 1 => places.retain(|place| *place != old),
            _ => {
                self.0.remove(&hash);
            }
        }
        Some(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::chunk::{Incoming, append};
    use crate::index::tests::{kernels, put_rows, schema};

    /// Keys whose hashes collide are kept apart by their bytes.
    #[test]
    fn equal_hashes_do_not_mix_keys() {
        let mut chunks = Vec::new();
        let mut incoming = Incoming::new(put_rows(&["a", "b", "c"]));
        let (places, _) = append(&mut chunks, &schema(), kernels(), &mut incoming);
        let mut map = KeyMap::default();
        for (key, place) in ["a", "b", "c"].iter().zip(&places) {
            assert_eq!(map.insert(&chunks, 7, key.as_bytes(), *place), None);
        }
        assert_eq!(map.find(&chunks, 7, b"b"), Some(places[1]));
        assert_eq!(map.remove(&chunks, 7, b"b"), Some(places[1]));
        assert_eq!(map.find(&chunks, 7, b"b"), None);
        assert_eq!(map.find(&chunks, 7, b"c"), Some(places[2]));
        assert_eq!(map.remove(&chunks, 7, b"a"), Some(places[0]));
        assert_eq!(map.remove(&chunks, 7, b"c"), Some(places[2]));
        assert_eq!(map.find(&chunks, 7, b"c"), None);
    }
}
