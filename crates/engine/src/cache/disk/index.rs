//! Which files there are, in the order of their use. Decides what gives way; touches no disk.

use std::collections::BTreeMap;

use super::DiskKey;

/// The files of a folder and what room they take.
#[derive(Debug)]
pub(super) struct Index {
    bytes_max: u64,
    bytes: u64,
    /// The number of the next use.
    next_use: u64,
    files: BTreeMap<DiskKey, File>,
    /// Invariant: the file of each last use, and nothing else.
    uses: BTreeMap<u64, DiskKey>,
}

#[derive(Clone, Copy, Debug)]
struct File {
    bytes: u64,
    last_use: u64,
}

impl Index {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, next_use: 0, files: BTreeMap::new(), uses: BTreeMap::new() }
    }

    /// What room all files take. Never more than `bytes_max`.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn has(&self, key: &DiskKey) -> bool {
        self.files.contains_key(key)
    }

    /// A file was written: it counts as used last. Returns the files that must give way, least recently
    /// used first; the new one itself if it is larger than all room.
    pub(super) fn insert(&mut self, key: DiskKey, bytes: u64) -> Vec<DiskKey> {
        self.remove(&key);
        if bytes > self.bytes_max {
            return vec![key];
        }
        self.bytes += bytes;
        self.files.insert(key, File { bytes, last_use: self.next_use });
        self.uses.insert(self.next_use, key);
        self.next_use += 1;
        let mut evicted = Vec::new();
        while self.bytes > self.bytes_max {
            let (_, &oldest) = self.uses.first_key_value().expect("bytes are of files");
            self.remove(&oldest);
            evicted.push(oldest);
        }
        evicted
    }

    /// A file was used.
    pub(super) fn touch(&mut self, key: &DiskKey) {
        if let Some(file) = self.files.get_mut(key) {
            self.uses.remove(&file.last_use);
            file.last_use = self.next_use;
            self.uses.insert(self.next_use, *key);
            self.next_use += 1;
        }
    }

    /// A file is gone.
    pub(super) fn remove(&mut self, key: &DiskKey) {
        if let Some(file) = self.files.remove(key) {
            self.uses.remove(&file.last_use);
            self.bytes -= file.bytes;
        }
    }

    /// Forgets all files of a segment, and names them.
    pub(super) fn remove_object(&mut self, object: u128) -> Vec<DiskKey> {
        let keys = self.files.range(DiskKey::first_of(object)..).map(|(key, _)| *key);
        let keys: Vec<DiskKey> = keys.take_while(|key| key.object == object).collect();
        keys.iter().for_each(|key| self.remove(key));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::Index;
    use crate::cache::disk::DiskKey;
    use proptest::prelude::*;
    use vb_search::{PartId, SectionKind};

    fn key(number: u8) -> DiskKey {
        let object = u128::from(number % 4);
        match number / 4 {
            0 => DiskKey::whole(object),
            1 => DiskKey::part(object, PartId::Section(SectionKind(u16::from(number)), 0)),
            2 => DiskKey::part(object, PartId::VectorExtent(0, u32::from(number))),
            _ => DiskKey::part(object, PartId::MetadataBlock(u32::from(number))),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u64),
        Touch(u8),
        Remove(u8),
        RemoveObject(u128),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            5 => (0..20u8, 0..120u64).prop_map(|(number, bytes)| Step::Insert(number, bytes)),
            3 => (0..20u8).prop_map(Step::Touch),
            1 => (0..20u8).prop_map(Step::Remove),
            1 => (0..5u128).prop_map(Step::RemoveObject),
        ];
        prop::collection::vec(step, 0..100)
    }

    /// The same as a list, last used last.
    #[derive(Default)]
    struct Model(Vec<(DiskKey, u64)>);

    impl Model {
        fn take(&mut self, key: DiskKey) -> Option<(DiskKey, u64)> {
            let place = self.0.iter().position(|(other, _)| *other == key)?;
            Some(self.0.remove(place))
        }

        fn bytes(&self) -> u64 {
            self.0.iter().map(|(_, bytes)| bytes).sum()
        }

        fn insert(&mut self, key: DiskKey, bytes: u64) -> Vec<DiskKey> {
            self.take(key);
            if bytes > 100 {
                return vec![key];
            }
            self.0.push((key, bytes));
            let mut evicted = Vec::new();
            while self.bytes() > 100 {
                evicted.push(self.0.remove(0).0);
            }
            evicted
        }
    }

    proptest! {
        #[test]
        fn least_recently_used_files_give_way(steps in steps()) {
            let (mut index, mut model) = (Index::new(100), Model::default());
            for step in steps {
                match step {
                    Step::Insert(number, bytes) => {
                        let evicted = index.insert(key(number), bytes);
                        prop_assert_eq!(evicted, model.insert(key(number), bytes));
                    }
                    Step::Touch(number) => {
                        index.touch(&key(number));
                        let used = model.take(key(number));
                        model.0.extend(used);
                    }
                    Step::Remove(number) => {
                        index.remove(&key(number));
                        model.take(key(number));
                    }
                    Step::RemoveObject(object) => {
                        let removed = index.remove_object(object);
                        prop_assert!(removed.iter().all(|key| key.object == object));
                        prop_assert!(removed.iter().all(|key| model.take(*key).is_some()));
                        prop_assert!(model.0.iter().all(|(key, _)| key.object != object));
                    }
                }
                prop_assert_eq!(index.bytes(), model.bytes());
                prop_assert!(index.bytes() <= 100);
                for number in 0..20 {
                    let expected = model.0.iter().any(|(other, _)| *other == key(number));
                    prop_assert_eq!(index.has(&key(number)), expected);
                }
            }
        }
    }
}
