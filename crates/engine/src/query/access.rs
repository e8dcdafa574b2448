//! How a segment is searched: a pure function of a few numbers.
//!
//! ```text
//! nothing matches              skip
//! no cluster index, or exact   scan: all rows stream by, those that do not match are left out
//! few match                    matches: each row that matches is looked at, exactly
//! otherwise                    clusters: lists are probed with the matching rows as a mask
//! ```
//!
//! Few is what costs less than probing does. Both are counted in bytes of memory: that is what a search
//! waits for, and a lone row costs as much as [`LONE_ROW_BYTES`] more in a stream.

/// What a probe of clusters goes over, about.
const PROBE_BYTES: u64 = 1 << 20;
/// What reading a row alone costs beside its bytes.
const LONE_ROW_BYTES: u64 = 1600;

/// What is known of a segment's rows before it is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// All of the field, deleted ones too.
    pub(crate) rows: u64,
    /// Live ones that the filter admits, exactly; `None`: no filter.
    pub(crate) matching: Option<u64>,
    /// Bytes of a row.
    pub(crate) row_bytes: u64,
    /// There is an index of clusters.
    pub(crate) has_clusters: bool,
    /// The query wants every row to be looked at.
    pub(crate) exact: bool,
}

/// How to search a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Skip,
    Matches,
    Clusters,
    Scan,
}

/// Decides.
pub(crate) fn choose(rows: Rows) -> Access {
    if rows.rows == 0 || rows.matching == Some(0) {
        return Access::Skip;
    }
    let lone = rows.row_bytes.saturating_add(LONE_ROW_BYTES);
    let is_few = |matching: u64| matching.saturating_mul(lone) <= PROBE_BYTES;
    match rows.matching {
        _ if !rows.has_clusters || rows.exact => Access::Scan,
        Some(matching) if is_few(matching) => Access::Matches,
        _ => Access::Clusters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(matching: Option<u64>, has_clusters: bool, exact: bool, expected: Access) {
        let rows = Rows { rows: 100_000, matching, row_bytes: 1536, has_clusters, exact };
        assert_eq!(choose(rows), expected, "{rows:?}");
    }

    #[test]
    fn few_matches_are_looked_at_one_by_one_and_many_by_clusters() {
        check(None, true, false, Access::Clusters);
        check(Some(0), true, false, Access::Skip);
        check(Some(0), false, true, Access::Skip);
        check(Some(300), true, false, Access::Matches);
        check(Some(1000), true, false, Access::Clusters);
        check(Some(100_000), true, false, Access::Clusters);
        check(Some(300), true, true, Access::Scan);
        check(Some(300), false, false, Access::Scan);
        check(None, false, false, Access::Scan);
        let none = Rows { rows: 0, matching: None, row_bytes: 4, has_clusters: true, exact: false };
        assert_eq!(choose(none), Access::Skip);
    }
}
