//! Which rows were scored already: each stands in two lists, and searches meet many of them twice.

/// Some of the rows that were scored: of those that share a slot, the latest. So what it has is certain, and what it has not
/// may be scored once more.
#[derive(Debug)]
pub(super) struct Scored(Box<[u64; SLOTS]>);

/// As many as fit into a quarter of a first-level cache.
const SLOTS: usize = 1024;
/// No part has this number.
const NONE: u64 = u64::MAX;

impl Scored {
    pub(super) fn new() -> Self {
        Self(Box::new([NONE; SLOTS]))
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(NONE);
    }

    pub(super) fn has(&self, part: u32, row: u32) -> bool {
        self.0[slot(part, row)] == name(part, row)
    }

    /// False if it is there already.
    pub(super) fn insert(&mut self, part: u32, row: u32) -> bool {
        let name = name(part, row);
        std::mem::replace(&mut self.0[slot(part, row)], name) != name
    }
}

fn name(part: u32, row: u32) -> u64 {
    u64::from(part) << 32 | u64::from(row)
}

/// By the golden ratio, as Knuth has it (The Art of Computer Programming, 6.4).
fn slot(part: u32, row: u32) -> usize {
    let mixed = (row ^ part.rotate_right(8)).wrapping_mul(0x9E37_79B9);
    (mixed >> (32 - SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_has_was_put_there() {
        let mut scored = Scored::new();
        assert!(!scored.has(0, 0));
        for row in 0..3000 {
            assert!(scored.insert(row % 3, row), "never before");
            assert!(!scored.insert(row % 3, row));
            assert!(scored.has(row % 3, row) && !scored.has(row % 3 + 1, row));
        }
        let kept = (0..3000).filter(|row| scored.has(row % 3, *row)).count();
        assert!(kept > SLOTS / 2, "most slots are in use: {kept}");
        scored.clear();
        assert!((0..3000).all(|row| !scored.has(row % 3, row)));
    }
}
