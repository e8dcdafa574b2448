//! What time it is by the machine's clock, in the units that requests and records use.

use vb_commit::{Clock, SystemClock};

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    SystemClock.unix_ms()
}

/// Seconds since 1970, as signatures and logs count them.
pub(crate) fn unix_seconds() -> i64 {
    seconds(unix_ms())
}

/// Milliseconds as whole seconds.
pub(crate) fn seconds(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms / 1000).expect("a thousandth of 64 bits fits into 63")
}
