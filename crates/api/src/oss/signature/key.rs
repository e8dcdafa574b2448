//! Derived signing keys.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use crate::oss::signature::canonical::hex;

/// The key of one secret, day and region; `Debug` shows nothing of it. Clones share it.
#[derive(Clone)]
pub struct SigningKey(Arc<hmac::Key>);

impl SigningKey {
    /// Derives the key: four chained HMACs. `day` is `YYYYMMDD`.
    pub fn derive(secret: &str, day: &str, region: &str) -> Self {
        let start = Zeroizing::new([b"aliyun_v4", secret.as_bytes()].concat());
        let parts = [day, region, "oss", "aliyun_v4_request"];
        let key = parts
            .iter()
            .fold(new_key(&start), |key, part| new_key(hmac::sign(&key, part.as_bytes()).as_ref()));
        Self(Arc::new(key))
    }

    /// The signature of a string, lowercase hex.
    pub(super) fn sign(&self, text: &str) -> String {
        hex(hmac::sign(&self.0, text.as_bytes()).as_ref())
    }

    /// Whether a signature is the right one, in constant time for signatures of the right length.
    pub(super) fn verify(&self, text: &str, signature: &str) -> bool {
        let expected = self.sign(text);
        constant_time::verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

fn new_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

/// A small bounded cache of derived keys, shared by threads; saves four HMACs per request.
pub struct KeyCache {
    keys_max: usize,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<Arc<str>, Entry>,
    /// The ids in the order in which they came; the first one goes when there are too many.
    order: VecDeque<Arc<str>>,
}

/// A key and what it was derived from.
struct Entry {
    /// Day, region and secret, with line breaks between them, which none of them holds.
    origin: Zeroizing<Box<str>>,
    key: SigningKey,
}

impl Entry {
    fn is_of(&self, [day, region, secret]: [&str; 3]) -> bool {
        self.origin.split('\n').eq([day, region, secret])
    }
}

impl KeyCache {
    /// A cache of at most `keys_max` keys, one per access key.
    pub fn new(keys_max: usize) -> Self {
        Self { keys_max, keys: Mutex::default() }
    }

    /// The key of an access key for a day and region; `secret` makes it on a miss. A changed
    /// secret never meets an old key.
    pub fn key(&self, access_key_id: &str, secret: &str, day: &str, region: &str) -> SigningKey {
        let origin = [day, region, secret];
        let known = self.keys().known(access_key_id, origin);
        if let Some(key) = known {
            return key;
        }
        // Without the lock: other requests need not wait for this one's HMACs.
        let key = SigningKey::derive(secret, day, region);
        let origin = Zeroizing::new(origin.join("\n").into_boxed_str());
        self.keys().insert(access_key_id, Entry { origin, key: key.clone() }, self.keys_max);
        key
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn known(&self, id: &str, origin: [&str; 3]) -> Option<SigningKey> {
        let entry = self.by_id.get(id).filter(|entry| entry.is_of(origin));
        entry.map(|entry| entry.key.clone())
    }

    fn insert(&mut self, id: &str, entry: Entry, keys_max: usize) {
        if let Some(place) = self.by_id.get_mut(id) {
            *place = entry;
            return;
        }
        // One at a time: no request pays for the removal of many.
        if self.order.len() >= keys_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        let id: Arc<str> = id.into();
        self.order.push_back(Arc::clone(&id));
        self.by_id.insert(id, entry);
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").field("keys_max", &self.keys_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_follows_secret_day_and_region_and_stays_small() {
        let cache = KeyCache::new(2);
        let check = |id: &str, secret: &str, day: &str, region: &str| {
            let cached = cache.key(id, secret, day, region).sign("text");
            assert_eq!(cached, SigningKey::derive(secret, day, region).sign("text"));
        };
        for id in ["a", "b", "a", "c", "a"] {
            check(id, "s1", "20260101", "r");
            check(id, "s2", "20260101", "r");
            check(id, "s2", "20260102", "r");
            check(id, "s2", "20260102", "q");
            let keys = cache.keys.lock().unwrap();
            assert!(keys.by_id.len() <= 2 && keys.order.len() == keys.by_id.len());
        }
        assert!(
            !format!("{cache:?} {:?}", SigningKey::derive("hunter", "d", "r")).contains("hunter")
        );
    }

    /// Day and region are of no fixed length as far as the cache knows.
    #[test]
    fn origins_are_not_mixed_up() {
        let cache = KeyCache::new(2);
        for origin in [["1", "23", "s"], ["12", "3", "s"], ["1", "2", "3s"]] {
            let [day, region, secret] = origin;
            let cached = cache.key("id", secret, day, region).sign("text");
            assert_eq!(cached, SigningKey::derive(secret, day, region).sign("text"), "{origin:?}");
        }
    }

    #[test]
    fn verify_needs_the_exact_text() {
        let key = SigningKey::derive("s", "20260101", "r");
        let signature = key.sign("text");
        assert!(key.verify("text", &signature));
        assert!(!key.verify("text", &signature.to_uppercase()));
        assert!(!key.verify("text", &signature[..63]) && !key.verify("text", ""));
    }
}
