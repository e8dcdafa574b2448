//! The policies of buckets in the form that decides, and which buckets are known not to be there.
//!
//! A policy is compiled when its text is first met and kept while the text stays the same. Both
//! memories are bounded and begin anew when they are full.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vb_engine::BucketId;
use vb_policy::{Kind, Policy};

/// Policies kept; with texts of at most 16 KB.
const COMPILED_MAX: usize = 1024;

/// Absent buckets remembered.
const ABSENT_MAX: usize = 4096;

/// How long an absent bucket is: as long as the engine goes by a bucket's record.
const ABSENT_AGE_MAX: Duration = Duration::from_secs(2);

/// What is remembered of buckets' policies.
#[derive(Default)]
pub(crate) struct BucketPolicies {
    compiled: Mutex<HashMap<BucketId, Compiled>>,
    absent: Mutex<HashMap<BucketId, Instant>>,
}

struct Compiled {
    text: Bytes,
    policy: Arc<Policy>,
}

impl BucketPolicies {
    /// The policy of a text that is stored for a bucket; what is not understood fails closed.
    pub(crate) fn compiled(&self, bucket: &BucketId, text: &Bytes) -> Arc<Policy> {
        let known = locked(&self.compiled);
        if let Some(compiled) = known.get(bucket).filter(|compiled| compiled.text == *text) {
            return Arc::clone(&compiled.policy);
        }
        drop(known);
        let name = String::from_utf8_lossy(&bucket.name);
        let policy = Arc::new(Policy::stored(Kind::Bucket, &name, text));
        let compiled = Compiled { text: text.clone(), policy: Arc::clone(&policy) };
        insert(&mut locked(&self.compiled), bucket, compiled, COMPILED_MAX);
        policy
    }

    /// Whether the bucket was not there a moment ago.
    pub(crate) fn is_absent(&self, bucket: &BucketId) -> bool {
        let absent = locked(&self.absent);
        absent.get(bucket).is_some_and(|since| since.elapsed() < ABSENT_AGE_MAX)
    }

    /// Remembers that the bucket is not there.
    pub(crate) fn note_absent(&self, bucket: &BucketId) {
        insert(&mut locked(&self.absent), bucket, Instant::now(), ABSENT_MAX);
    }

    /// Forgets that a bucket was not there: it has a policy now.
    pub(crate) fn appeared(&self, bucket: &BucketId) {
        locked(&self.absent).remove(bucket);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn insert<T>(map: &mut HashMap<BucketId, T>, bucket: &BucketId, value: T, entries_max: usize) {
    if map.len() >= entries_max && !map.contains_key(bucket) {
        map.clear();
    }
    map.insert(bucket.clone(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_follows_its_text() {
        let policies = BucketPolicies::default();
        let bucket = BucketId::new("1", "vec");
        let none = Bytes::from_static(br#"{"Version":"1","Statement":[]}"#);
        let first = policies.compiled(&bucket, &none);
        assert!(Arc::ptr_eq(&first, &policies.compiled(&bucket, &none)));
        let broken = Bytes::from_static(b"{");
        let second = policies.compiled(&bucket, &broken);
        assert!(!Arc::ptr_eq(&first, &second));
        // Text that is no policy denies everything.
        assert_eq!(second.statement_count(), 1);
    }

    #[test]
    fn memories_stay_small() {
        let policies = BucketPolicies::default();
        let bucket = |number: usize| BucketId::new("1", number.to_string());
        for number in 0..=ABSENT_MAX {
            policies.note_absent(&bucket(number));
        }
        assert!(locked(&policies.absent).len() <= ABSENT_MAX);
        assert!(policies.is_absent(&bucket(ABSENT_MAX)) && !policies.is_absent(&bucket(0)));
        policies.appeared(&bucket(ABSENT_MAX));
        assert!(!policies.is_absent(&bucket(ABSENT_MAX)));
    }
}
