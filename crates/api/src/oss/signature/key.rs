//! Derived signing keys.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{constant_time, hmac};

use crate::oss::signature::canonical::hex;

/// The key of one secret, day and region; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Derives the key: four chained HMACs. `day` is `YYYYMMDD`.
    pub fn derive(secret: &str, day: &str, region: &str) -> Self {
        let start = format!("aliyun_v4{secret}");
        let parts = [day, region, "oss", "aliyun_v4_request"];
        let key = parts.iter().fold(new_key(start.as_bytes()), |key, part| {
            new_key(hmac::sign(&key, part.as_bytes()).as_ref())
        });
        Self(key)
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
    keys: Mutex<HashMap<Box<str>, Entry>>,
}

struct Entry {
    day: Box<str>,
    region: Box<str>,
    secret: Box<str>,
    key: SigningKey,
}

impl KeyCache {
    /// A cache of at most `keys_max` keys, one per access key.
    pub fn new(keys_max: usize) -> Self {
        Self { keys_max, keys: Mutex::new(HashMap::new()) }
    }

    /// The key of an access key for a day and region; `secret` makes it on a miss. A changed
    /// secret never meets an old key.
    pub fn key(&self, access_key_id: &str, secret: &str, day: &str, region: &str) -> SigningKey {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = keys.get(access_key_id)
            && (&*entry.day, &*entry.region, &*entry.secret) == (day, region, secret)
        {
            return entry.key.clone();
        }
        // Only existing access keys come here, so a full cache means more keys than it was made
        // for; starting over is then as good as any order.
        if keys.len() >= self.keys_max && !keys.contains_key(access_key_id) {
            keys.clear();
        }
        let key = SigningKey::derive(secret, day, region);
        let entry = Entry {
            day: day.into(),
            region: region.into(),
            secret: secret.into(),
            key: key.clone(),
        };
        keys.insert(access_key_id.into(), entry);
        key
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
            assert!(cache.keys.lock().unwrap().len() <= 2);
        }
        assert!(
            !format!("{cache:?} {:?}", SigningKey::derive("hunter", "d", "r")).contains("hunter")
        );
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
