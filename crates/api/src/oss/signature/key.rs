//! Derived signing keys.

/// The key of one access key, day and region; never shown by `Debug`.
#[derive(Clone)]
pub struct SigningKey {}

impl SigningKey {
    /// Derives the key: four chained HMACs. `day` is `YYYYMMDD`.
    pub fn derive(_secret: &str, _day: &str, _region: &str) -> Self {
        unimplemented!()
    }
}

/// A small bounded cache of derived keys, shared by threads.
pub struct KeyCache {}

impl KeyCache {
    /// A cache of at most `keys_max` keys.
    pub fn new(_keys_max: usize) -> Self {
        unimplemented!()
    }

    /// The key of an access key for a day and region; `secret` makes it on a miss. A changed
    /// secret never meets an old key.
    pub fn key(
        &self,
        _access_key_id: &str,
        _secret: &str,
        _day: &str,
        _region: &str,
    ) -> SigningKey {
        unimplemented!()
    }
}
