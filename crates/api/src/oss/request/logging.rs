//! Logging requests.

use crate::oss::Error;

/// Where access logs go. Target names are checked against the bucket rule of ordinary buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingTarget {
    /// The target bucket or sink.
    pub bucket: String,
    /// Prefix of object names.
    pub prefix: Option<String>,
    /// The role, stored and echoed only.
    pub role: Option<String>,
}

/// PutBucketLogging; an empty status switches logging off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBucketLogging {
    /// The target; `None` switches logging off.
    pub target: Option<LoggingTarget>,
}

impl PutBucketLogging {
    /// Reads the body. Errors: `MalformedJson`,
    /// [`Fault::LoggingInvalid`](crate::oss::Fault::LoggingInvalid),
    /// [`Fault::LoggingTarget`](crate::oss::Fault::LoggingTarget).
    pub fn decode(_body: &[u8]) -> Result<Self, Error> {
        unimplemented!()
    }
}
