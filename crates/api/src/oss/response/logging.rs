//! Logging answers.

use crate::oss::request::LoggingTarget;

/// `{"BucketLoggingStatus":{"LoggingEnabled":{...}}}`; the inner object is empty when logging is off.
pub fn bucket_logging(_target: Option<&LoggingTarget>) -> Vec<u8> {
    unimplemented!()
}
