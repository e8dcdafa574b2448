//! Logging answers.

use crate::oss::request::LoggingTarget;
use crate::oss::response::bucket::document;

/// `{"BucketLoggingStatus":{"LoggingEnabled":{...}}}`; the inner object is empty when logging is
/// off, because clients expect it to exist.
pub fn bucket_logging(target: Option<&LoggingTarget>) -> Vec<u8> {
    document("BucketLoggingStatus", |out| {
        out.object("LoggingEnabled", |out| {
            if let Some(target) = target {
                out.string("TargetBucket", &target.bucket)
                    .optional("TargetPrefix", target.prefix.as_deref())
                    .optional("LoggingRole", target.role.as_deref());
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oss::request::PutBucketLogging;

    #[test]
    fn answers_can_be_put_back() {
        let off = bucket_logging(None);
        assert_eq!(off, br#"{"BucketLoggingStatus":{"LoggingEnabled":{}}}"#);
        assert_eq!(PutBucketLogging::decode(&off).unwrap().target, None);
        let target = LoggingTarget {
            bucket: "log-bucket".to_owned(),
            prefix: Some("MyLog-".to_owned()),
            role: None,
        };
        let on = bucket_logging(Some(&target));
        let expected = br#"{"BucketLoggingStatus":{"LoggingEnabled":{"TargetBucket":"log-bucket","TargetPrefix":"MyLog-"}}}"#;
        assert_eq!(on, expected);
        assert_eq!(PutBucketLogging::decode(&on).unwrap().target, Some(target));
    }
}
