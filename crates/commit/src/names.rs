//! Names of a log's objects: `{prefix}/log/{seq}` and `{prefix}/manifest/{number}`, numbers as 20
//! decimal digits so that byte order is number order.

use std::fmt;

const DIGITS: usize = 20;

/// The highest number of an object; those above are nobody's. Arithmetic on numbers never overflows.
pub(crate) const NUMBER_MAX: u64 = u64::MAX >> 1;

/// The two numbered series of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    Slots,
    Manifests,
}

impl Series {
    /// The folder of the series.
    pub(crate) fn folder(self, prefix: &str) -> String {
        format!("{prefix}/{self}")
    }

    /// The object with this number.
    pub(crate) fn name(self, prefix: &str, number: u64) -> String {
        format!("{prefix}/{self}/{number:020}")
    }

    /// The number of an object of the series; `None` for any other object.
    pub(crate) fn number(self, prefix: &str, path: &str) -> Option<u64> {
        let rest = path.strip_prefix(prefix)?.strip_prefix('/')?;
        let digits = rest.strip_prefix(self.stem())?.strip_prefix('/')?;
        match digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse().ok().filter(|number| *number <= NUMBER_MAX),
            false => None,
        }
    }

    fn stem(self) -> &'static str {
        match self {
            Self::Slots => "log",
            Self::Manifests => "manifest",
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stem())
    }
}
