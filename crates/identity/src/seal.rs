//! Sealing: AES-256-GCM under a key of the ring, bound to what the bytes belong to.
//!
//! ```text
//! version u8 = 1 | id length u8 | ring key id | nonce, 12 bytes | ciphertext | tag, 16 bytes
//! ```
//!
//! Each purpose has a key of its own, derived from the ring key (HKDF-SHA256 with the purpose as
//! info), so that what was sealed for one purpose never opens for another. Everything before the
//! nonce and the *owner*, a byte string that says whom the content belongs to, are authenticated:
//! a blob that was moved to another owner, or relabelled, does not open. Nonces are random; one
//! ring key is good for 2^32 seals of each purpose, and is to be replaced long before that.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::outside::Random;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
/// Longest id of a ring key.
const RING_KEY_ID_BYTES_MAX: usize = 32;

/// What something is sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The secret of a stored access key.
    Secret,
    /// A session token.
    Token,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Secret => b"vectorbucket access key secret v1",
            Self::Token => b"vectorbucket session token v1",
        }
    }
}

/// Why something did not open. Nothing of the content is known then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Not of the form that sealing gives.
    Malformed,
    /// Sealed with a key that the ring does not hold; the id as the blob says it.
    UnknownRingKey(Box<str>),
    /// The bytes, their owner or the key are not what they were when it was sealed.
    Refused,
}

/// One key of the ring, as the keys of its purposes.
#[derive(Debug)]
pub(crate) struct RingKey {
    pub(crate) id: Box<str>,
    secrets: LessSafeKey,
    tokens: LessSafeKey,
}

impl RingKey {
    /// `material` is 32 secret, random bytes.
    pub(crate) fn new(id: &str, material: &[u8; 32]) -> Self {
        let extracted = Salt::new(HKDF_SHA256, b"vectorbucket key ring").extract(material);
        let derive = |purpose: Purpose| {
            let info = [purpose.label()];
            let key = extracted.expand(&info, &AES_256_GCM).expect("32 bytes can be derived");
            LessSafeKey::new(UnboundKey::from(key))
        };
        Self { id: id.into(), secrets: derive(Purpose::Secret), tokens: derive(Purpose::Token) }
    }

    fn of(&self, purpose: Purpose) -> &LessSafeKey {
        match purpose {
            Purpose::Secret => &self.secrets,
            Purpose::Token => &self.tokens,
        }
    }

    /// Seals `content` for its owner.
    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        owner: &[u8],
        content: &[u8],
        random: &dyn Random,
    ) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let id_length = u8::try_from(self.id.len()).expect("ids of ring keys are short");
        let mut sealed = vec![VERSION, id_length];
        sealed.extend_from_slice(self.id.as_bytes());
        let aad = [&sealed[..], owner].concat();
        sealed.extend_from_slice(&nonce);
        let start = sealed.len();
        // Room for everything: the content is encrypted in place and never copied elsewhere.
        sealed.reserve_exact(content.len() + TAG_BYTES);
        sealed.extend_from_slice(content);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .of(purpose)
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut sealed[start..])
            .expect("a short content can be encrypted");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }
}

/// The parts of a sealed blob.
struct Parts<'a> {
    header: &'a [u8],
    ring_key: &'a str,
    nonce: [u8; NONCE_LEN],
    body: &'a [u8],
}

fn parts(sealed: &[u8]) -> Option<Parts<'_>> {
    let [VERSION, id_length, rest @ ..] = sealed else { return None };
    let (id, rest) = rest.split_at_checked(usize::from(*id_length))?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
    let known = is_ring_key_id(id) && body.len() >= TAG_BYTES;
    let ring_key = std::str::from_utf8(id).ok()?;
    known.then_some(Parts { header: &sealed[..2 + id.len()], ring_key, nonce: *nonce, body })
}

/// Whether these bytes can be the id of a ring key: 1 to 32 of `0-9A-Za-z . _ -`.
pub(crate) fn is_ring_key_id(id: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=RING_KEY_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(allowed)
}

/// The id of the key that something says it was sealed with.
pub(crate) fn ring_key_of(sealed: &[u8]) -> Option<&str> {
    parts(sealed).map(|parts| parts.ring_key)
}

/// Opens what was sealed for this purpose and owner by a key of the ring.
pub(crate) fn open(
    ring: &[RingKey],
    purpose: Purpose,
    owner: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let parts = parts(sealed).ok_or(OpenError::Malformed)?;
    let key = ring.iter().find(|key| *key.id == *parts.ring_key);
    let key = key.ok_or_else(|| OpenError::UnknownRingKey(parts.ring_key.into()))?;
    let aad = Aad::from([parts.header, owner].concat());
    let mut content = Zeroizing::new(parts.body.to_vec());
    let nonce = Nonce::assume_unique_for_key(parts.nonce);
    let opened = key.of(purpose).open_in_place(nonce, aad, &mut content);
    let length = opened.map_err(|_| OpenError::Refused)?.len();
    content.truncate(length);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    fn ring() -> Vec<RingKey> {
        vec![RingKey::new("new", &[1; 32]), RingKey::new("old", &[2; 32])]
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_and_purpose_only() {
        let ring = ring();
        for key in &ring {
            let sealed = key.seal(Purpose::Secret, b"alice", b"content", &SystemRandom);
            assert_eq!(ring_key_of(&sealed), Some(&*key.id));
            assert_eq!(sealed.len(), 2 + key.id.len() + NONCE_LEN + 7 + TAG_BYTES);
            let opened = |purpose, owner: &[u8]| open(&ring, purpose, owner, &sealed);
            assert_eq!(opened(Purpose::Secret, b"alice").unwrap().as_slice(), b"content");
            assert_eq!(opened(Purpose::Token, b"alice"), Err(OpenError::Refused));
            assert_eq!(opened(Purpose::Secret, b"bob"), Err(OpenError::Refused));
            assert_eq!(opened(Purpose::Secret, b""), Err(OpenError::Refused));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let ring = ring();
        let sealed = ring[0].seal(Purpose::Token, b"o", b"content", &SystemRandom);
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&ring, Purpose::Token, b"o", &damaged).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(open(&ring, Purpose::Token, b"o", &sealed[..length]).is_err(), "{length}");
        }
        let longer = [&sealed[..], &[0]].concat();
        assert_eq!(open(&ring, Purpose::Token, b"o", &longer), Err(OpenError::Refused));
    }

    #[test]
    fn other_rings_do_not_open_it() {
        let sealed = ring()[0].seal(Purpose::Secret, b"o", b"content", &SystemRandom);
        let missing = open(&[RingKey::new("old", &[2; 32])], Purpose::Secret, b"o", &sealed);
        assert_eq!(missing, Err(OpenError::UnknownRingKey("new".into())));
        let wrong = open(&[RingKey::new("new", &[9; 32])], Purpose::Secret, b"o", &sealed);
        assert_eq!(wrong, Err(OpenError::Refused));
        // The same key under another id: the id is authenticated.
        let mut renamed = sealed.clone();
        renamed[2..5].copy_from_slice(b"odl");
        let ring = [RingKey::new("odl", &[1; 32])];
        assert_eq!(open(&ring, Purpose::Secret, b"o", &renamed), Err(OpenError::Refused));
    }

    #[test]
    fn no_two_seals_are_alike() {
        let ring = ring();
        let seal = || ring[0].seal(Purpose::Secret, b"o", b"content", &SystemRandom);
        let (one, two) = (seal(), seal());
        assert_ne!(one, two);
        assert!(!one.windows(7).any(|window| window == b"content"));
    }
}
