//! Where a key stands in the order of an index.

use aws_lc_rs::digest::{SHA256, digest};

/// The first 8 bytes of the SHA-256 of `key`, big-endian.
///
/// Records are listed in `(key_hash, key)` order, and the n-th part of a parallel listing is the
/// n-th equal range of hashes. Stored data depends on this value: it never changes.
pub fn key_hash(key: &[u8]) -> u64 {
    let digest = digest(&SHA256, key);
    let first = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::key_hash;

    #[test]
    fn is_the_head_of_sha_256() {
        // FIPS 180-2: SHA-256("") = e3b0c442 98fc1c14 .., SHA-256("abc") = ba7816bf 8f01cfea ..
        assert_eq!(key_hash(b""), 0xe3b0_c442_98fc_1c14);
        assert_eq!(key_hash(b"abc"), 0xba78_16bf_8f01_cfea);
    }
}
