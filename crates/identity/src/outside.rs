//! Time and randomness: the narrow places through which both come in.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock time. Intervals use the runtime's clock, which a simulation can pause.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

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
