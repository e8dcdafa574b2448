//! Randomness: the narrow place through which it comes in.

use std::fmt;

/// Randomness that nobody can foresee: ids, secrets and nonces are made of it.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills the whole buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system has a random source");
    }
}

/// 128 random bits.
pub(crate) fn number(random: &dyn Random) -> u128 {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

/// Random letters and digits, each as likely as any other.
pub(crate) fn alphanumeric(random: &dyn Random, length: usize) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // Bytes from 4 * 62 on would make the first letters more likely.
    const USED: u8 = 248;
    let mut text = String::with_capacity(length);
    let mut bytes = zeroize::Zeroizing::new([0; 64]);
    while text.len() < length {
        random.fill(&mut *bytes);
        let used = bytes.iter().filter(|byte| **byte < USED).take(length - text.len());
        text.extend(used.map(|byte| char::from(LETTERS[usize::from(byte % 62)])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_the_length_and_every_letter_occurs() {
        assert_eq!(alphanumeric(&SystemRandom, 7).len(), 7);
        let text = alphanumeric(&SystemRandom, 20_000);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
        let distinct: std::collections::BTreeSet<u8> = text.bytes().collect();
        assert_eq!(distinct.len(), 62);
    }
}
