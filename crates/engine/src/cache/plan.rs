//! Which bytes of an object to read in one request.

use std::ops::Range;

/// No request asks for more, except in pieces of this size.
pub(super) const READ_BYTES_MAX: u64 = 8 << 20;

/// Bytes of one object to read at a time, and which of the wanted ranges lie in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) range: Range<u64>,
    /// Numbers of the ranges wanted, ascending by their start.
    pub(super) wanted: Vec<usize>,
}

/// Cuts what is wanted of one object into few reads.
///
/// Neighbours are read together if at most `gap_max` bytes between them are read in vain and the
/// whole stays within [`READ_BYTES_MAX`]; a range that is longer by itself is a span of its own.
/// Empty ranges are in no span. Every other range lies in exactly one, and spans overlap only where ranges
/// do.
pub(super) fn plan(ranges: &[Range<u64>], gap_max: u64) -> Vec<Span> {
    let mut order: Vec<usize> = (0..ranges.len()).filter(|&n| !ranges[n].is_empty()).collect();
    order.sort_by_key(|&number| (ranges[number].start, ranges[number].end));
    let mut spans: Vec<Span> = Vec::new();
    for number in order {
        let range = &ranges[number];
        match spans.last_mut() {
            Some(span) if fits(&span.range, range, gap_max) => {
                span.range.end = span.range.end.max(range.end);
                span.wanted.push(number);
            }
            _ => spans.push(Span { range: range.clone(), wanted: vec![number] }),
        }
    }
    spans
}

fn fits(span: &Range<u64>, next: &Range<u64>, gap_max: u64) -> bool {
    let end = span.end.max(next.end);
    next.end <= span.end
        || (next.start.saturating_sub(span.end) <= gap_max && end - span.start <= READ_BYTES_MAX)
}

/// Cuts a span into the requests that read it.
pub(super) fn requests(span: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let starts = std::iter::successors(Some(span.start), |start| start.checked_add(READ_BYTES_MAX));
    let end = span.end;
    starts
        .take_while(move |&start| start < end)
        .map(move |start| start..end.min(start.saturating_add(READ_BYTES_MAX)))
}

#[cfg(test)]
mod tests {
    use super::{READ_BYTES_MAX, Span, plan, requests};
    use proptest::prelude::*;
    use std::ops::Range;

    #[test]
    fn neighbours_are_read_together() {
        let spans = plan(&[100..200, 0..50, 200..210, 1000..1100], 60);
        let span = |range, wanted: &[usize]| Span { range, wanted: wanted.to_vec() };
        assert_eq!(spans, [span(0..210, &[1, 0, 2]), span(1000..1100, &[3])]);
        assert_eq!(plan(&[0..10, 80..90], 60).len(), 2);
        assert_eq!(plan(&std::array::from_fn::<_, 1, _>(|_| 5..5), 60), []);
    }

    #[test]
    fn reads_are_cut_at_their_largest_size() {
        let half = READ_BYTES_MAX / 2;
        let extents: Vec<Range<u64>> = (0..6).map(|n| n * half..(n + 1) * half).collect();
        let spans = plan(&extents, 0);
        assert_eq!(spans.len(), 3, "two extents fill a read");
        let long = plan(&std::array::from_fn::<_, 1, _>(|_| 7..7 + 3 * READ_BYTES_MAX), 0);
        assert_eq!(long.len(), 1);
        let reads: Vec<_> = requests(long[0].range.clone()).collect();
        assert_eq!(reads.len(), 3);
        assert_eq!((reads[0].start, reads[2].end), (7, 7 + 3 * READ_BYTES_MAX));
        assert_eq!(requests(u64::MAX - 5..u64::MAX).count(), 1);
    }

    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        let range = (0..40u64 << 20, prop_oneof![0..1000u64, 0..9u64 << 20]);
        let range = range.prop_map(|(start, length)| start..start + length);
        prop::collection::vec(range, 0..40)
    }

    proptest! {
        #[test]
        fn every_range_is_read_once_and_little_in_vain(ranges in ranges(), gap in 0..1u64 << 20) {
            let spans = plan(&ranges, gap);
            let mut seen: Vec<usize> = spans.iter().flat_map(|span| span.wanted.clone()).collect();
            seen.sort_unstable();
            let wanted: Vec<usize> =
                (0..ranges.len()).filter(|&number| !ranges[number].is_empty()).collect();
            prop_assert_eq!(seen, wanted);
            for span in &spans {
                let mut covered = span.range.start;
                for &number in &span.wanted {
                    let range = &ranges[number];
                    prop_assert!(span.range.start <= range.start && range.end <= span.range.end);
                    prop_assert!(range.start <= covered + gap, "a gap is small");
                    covered = covered.max(range.end);
                }
                prop_assert_eq!(covered, span.range.end);
                let alone = span.wanted.iter().any(|&number| ranges[number] == span.range);
                prop_assert!(span.range.end - span.range.start <= READ_BYTES_MAX || alone);
                let mut next = span.range.start;
                for request in requests(span.range.clone()) {
                    prop_assert_eq!(request.start, next);
                    prop_assert!(!request.is_empty() && request.end - request.start <= READ_BYTES_MAX);
                    next = request.end;
                }
                prop_assert_eq!(next, span.range.end);
            }
        }
    }
}
