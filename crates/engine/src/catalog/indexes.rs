//! The indexes of one bucket, kept small: a server may hold the records of a million idle indexes.
//!
//! A sorted list of shared records. Clones of a bucket's state (one per group of commands, one for
//! readers) share all records, and indexes that were created alike share their settings, so that an
//! index costs little more than its name.

use std::sync::Arc;

use crate::records::{IndexId, IndexRecord};

/// How many neighbours a record is compared with to share their settings.
const NEIGHBOURS: usize = 4;

/// Indexes by name. Invariant: names rise strictly.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Indexes(Vec<Arc<IndexRecord>>);

impl Indexes {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.place(name).is_ok()
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&IndexRecord> {
        Some(&*self.0[self.place(name).ok()?])
    }

    /// The index of this id. Ids are not sorted: a bucket has few indexes.
    pub(crate) fn of(&self, id: IndexId) -> Option<&IndexRecord> {
        self.iter().find(|index| index.id == id)
    }

    pub(crate) fn of_mut(&mut self, id: IndexId) -> Option<&mut IndexRecord> {
        self.0.iter_mut().find(|index| index.id == id).map(Arc::make_mut)
    }

    /// All, by name.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &IndexRecord> {
        self.0.iter().map(|index| &**index)
    }

    /// Adds an index; `false` if its name is taken.
    pub(crate) fn insert(&mut self, mut index: IndexRecord) -> bool {
        let Err(place) = self.place(&index.name) else { return false };
        let around = place.saturating_sub(NEIGHBOURS)..(place + NEIGHBOURS).min(self.len());
        let alike = self.0[around].iter().find(|other| other.settings == index.settings);
        if let Some(alike) = alike {
            index.settings = Arc::clone(&alike.settings);
        }
        self.0.insert(place, Arc::new(index));
        true
    }

    pub(crate) fn remove(&mut self, id: IndexId) {
        self.0.retain(|index| index.id != id);
    }

    /// Gives back room that growing left over.
    pub(crate) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|index| index.name.as_ref().cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vb_search::{Metric, Schema, VectorField};

    use super::*;
    use crate::records::{IndexSettings, IndexState};

    fn index(name: &str, id: u128, dimension: u32) -> IndexRecord {
        let field = VectorField { name: "float32".into(), dimension, metric: Metric::Cosine };
        let schema = Schema { vector_fields: vec![field], non_filterable: Vec::new() };
        IndexRecord {
            name: name.as_bytes().into(),
            id: IndexId(id),
            created_ms: 1,
            state: IndexState::Live,
            settings: Arc::new(IndexSettings { schema, wire: Bytes::from_static(b"wire") }),
        }
    }

    #[test]
    fn indexes_stay_sorted_and_names_unique() {
        let mut indexes = Indexes::default();
        for (id, name) in ["m", "a", "z", "b"].into_iter().enumerate() {
            assert!(indexes.insert(index(name, id as u128, 3)));
        }
        assert!(!indexes.insert(index("b", 9, 3)));
        let names: Vec<&[u8]> = indexes.iter().map(|index| index.name.as_ref()).collect();
        assert_eq!(names, [&b"a"[..], b"b", b"m", b"z"]);
        assert_eq!(indexes.of(IndexId(2)).unwrap().name.as_ref(), b"z");
        indexes.remove(IndexId(2));
        assert!(!indexes.contains(b"z") && indexes.get(b"m").is_some());
    }

    #[test]
    fn indexes_created_alike_share_their_settings() {
        let mut indexes = Indexes::default();
        for number in 0..50 {
            indexes.insert(index(&format!("i{number:02}"), number, 3));
        }
        indexes.insert(index("other", 99, 4));
        let first = &indexes.get(b"i00").unwrap().settings;
        assert!((0..50).all(|number| {
            let name = format!("i{number:02}");
            Arc::ptr_eq(first, &indexes.get(name.as_bytes()).unwrap().settings)
        }));
        assert!(!Arc::ptr_eq(first, &indexes.get(b"other").unwrap().settings));
    }

    #[test]
    fn changing_a_clone_leaves_the_original() {
        let mut indexes = Indexes::default();
        indexes.insert(index("a", 1, 3));
        let mut changed = indexes.clone();
        changed.of_mut(IndexId(1)).unwrap().state = IndexState::Deleting;
        assert_eq!(indexes.get(b"a").unwrap().state, IndexState::Live);
        assert_eq!(changed.get(b"a").unwrap().state, IndexState::Deleting);
    }
}
