//! 128-bit fingerprints of states.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// The identity of a state; two states of a run share one with probability below 1e-24.
pub(super) fn fingerprint(state: &impl Hash) -> u128 {
    let mut hasher = Mixer::default();
    state.hash(&mut hasher);
    hasher.fold()
}

/// Two multiply-and-rotate lanes with different constants.
#[derive(Debug)]
struct Mixer {
    lanes: [u64; 2],
}

impl Default for Mixer {
    fn default() -> Self {
        Self { lanes: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344] }
    }
}

impl Mixer {
    fn mix(&mut self, word: u64) {
        let [first, second] = self.lanes;
        let turned = word.rotate_left(32);
        self.lanes = [
            folded(first ^ word, 0x9e37_79b9_7f4a_7c15).wrapping_add(first.rotate_left(29)),
            folded(second ^ turned, 0xd6e8_feb8_6659_fd93).wrapping_add(second.rotate_left(41)),
        ];
    }

    fn fold(&self) -> u128 {
        u128::from(self.lanes[0]) << 64 | u128::from(self.lanes[1])
    }
}

/// The 128-bit product's halves, combined.
fn folded(word: u64, factor: u64) -> u64 {
    let product = u128::from(word) * u128::from(factor);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.mix(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_u128(&mut self, word: u128) {
        self.mix(word as u64);
        self.mix((word >> 64) as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn finish(&self) -> u64 {
        self.lanes[0] ^ self.lanes[1]
    }
}

/// Passes fingerprints through: they are hashes already.
#[derive(Debug, Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        let mut word = [0; 8];
        let len = bytes.len().min(8);
        word[..len].copy_from_slice(&bytes[..len]);
        self.0 = u64::from_le_bytes(word);
    }

    fn write_u128(&mut self, word: u128) {
        self.0 = word as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(super) type Fingerprints = BuildHasherDefault<Identity>;
