//! Memory for what is looked into at random.
//!
//! A look at a row somewhere in tens of megabytes costs two waits where pages have 4 KiB: one for the page's place, which no
//! buffer of the CPU has, and one for the row. With pages of 2 MiB the first is rare: searches of 340,000 rows of 100 dimensions take two
//! thirds of the time (`docs/design/cluster-index.md`). Linux gives such pages to who asks for them, unless it was told never to;
//! elsewhere nothing changes.

use bytes::Bytes;
use memmap2::MmapMut;

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;
/// Fewer bytes are no concern of the CPU's buffers.
const LEAST: usize = 2 * HUGE;

/// A copy of many bytes that starts at a huge page; `None` if they are few, or if there is no such memory. The end is in small pages: nothing
/// is wasted.
pub(crate) fn huge(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() < LEAST {
        return None;
    }
    // Addresses cost nothing, only pages that were written to.
    let mut map = MmapMut::map_anon(bytes.len() + HUGE).ok()?;
    let start = map.as_ptr().addr().next_multiple_of(HUGE) - map.as_ptr().addr();
    #[cfg(target_os = "linux")]
    {
        // A system without them says so, and small pages it is.
        let _ = map.advise_range(memmap2::Advice::HugePage, start, bytes.len() / HUGE * HUGE);
    }
    let range = start..start + bytes.len();
    map[range.clone()].copy_from_slice(bytes);
    Some(Bytes::from_owner(map).slice(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_copies_are_whole_and_start_at_a_huge_page() {
        let bytes: Vec<u8> = (0..LEAST as u32 + 12_345).map(|n| (n >> 8 ^ n) as u8).collect();
        let copy = huge(&bytes).expect("memory");
        assert!(copy == bytes);
        assert!(copy.as_ptr().addr().is_multiple_of(HUGE));
        let end = copy.slice(LEAST..);
        drop(copy);
        assert!(end == bytes[LEAST..], "parts keep it");
        assert!(huge(&bytes[..LEAST - 1]).is_none());
    }
}
