//! Logging requests.

use crate::oss::json::Reader;
use crate::oss::request::bucket::within;
use crate::oss::request::fields::{text, whole};
use crate::oss::{Error, Fault};

const PREFIX_BYTES_MAX: usize = 255;
const ROLE_BYTES_MAX: usize = 128;

/// Where access logs go. The target's name obeys the rule of ordinary buckets.
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
    /// Reads the body. Errors: `MalformedJson`, [`Fault::LoggingInvalid`],
    /// [`Fault::LoggingTarget`].
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let status = whole(body, |reader| {
            within(reader, "BucketLoggingStatus", |reader| within(reader, "LoggingEnabled", target))
        })?;
        let missing = "The body must have the root member BucketLoggingStatus.";
        let missing = || Error::with_message(Fault::JsonShape, missing);
        let target = status.ok_or_else(missing)?.flatten();
        Ok(Self { target })
    }
}

fn target(reader: &mut Reader<'_>) -> Result<Option<LoggingTarget>, Error> {
    let (mut bucket, mut prefix, mut role) = (None, None, None);
    let mut members = reader.members()?;
    while let Some(name) = members.next(reader)? {
        match &*name {
            "TargetBucket" => bucket = text(reader)?,
            "TargetPrefix" => prefix = text(reader)?,
            "LoggingRole" => role = text(reader)?,
            _ => reader.skip()?,
        }
    }
    let Some(bucket) = bucket else {
        // What GetBucketLogging answers when logging is off can be put back.
        return match (prefix, role) {
            (None, None) => Ok(None),
            _ => Err(Error::with_message(Fault::LoggingInvalid, "TargetBucket is missing.")),
        };
    };
    if !is_target(&bucket) {
        return Err(Error::new(Fault::LoggingTarget));
    }
    let plain = |text: &str, max: usize| text.len() <= max && !text.chars().any(char::is_control);
    let prefix_fine = prefix.as_deref().is_none_or(|prefix| plain(prefix, PREFIX_BYTES_MAX));
    let role_fine = role.as_deref().is_none_or(|role| plain(role, ROLE_BYTES_MAX));
    if !prefix_fine || !role_fine {
        return Err(Error::new(Fault::LoggingInvalid));
    }
    let (prefix, role) = (prefix.map(String::from), role.map(String::from));
    Ok(Some(LoggingTarget { bucket: bucket.into_owned(), prefix, role }))
}

/// The rule of ordinary buckets: 3 to 63 lowercase letters, digits, hyphens.
fn is_target(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(inner: &str) -> Result<Option<LoggingTarget>, Fault> {
        let body = format!(r#"{{"BucketLoggingStatus":{inner}}}"#);
        PutBucketLogging::decode(body.as_bytes()).map(|put| put.target).map_err(|e| e.fault())
    }

    #[test]
    fn a_target_is_read() {
        let full = r#"{"LoggingEnabled":{"TargetBucket":"log-bucket","TargetPrefix":"MyLog-","LoggingRole":"AliyunOSSLoggingDefaultRole"}}"#;
        let target = decode(full).unwrap().unwrap();
        assert_eq!(
            (target.bucket.as_str(), target.prefix.as_deref()),
            ("log-bucket", Some("MyLog-"))
        );
        assert_eq!(target.role.as_deref(), Some("AliyunOSSLoggingDefaultRole"));
        let small = decode(r#"{"LoggingEnabled":{"TargetBucket":"log-bucket"}}"#).unwrap().unwrap();
        assert_eq!((small.prefix, small.role), (None, None));
    }

    #[test]
    fn an_empty_status_switches_off() {
        for off in ["{}", r#"{"LoggingEnabled":{}}"#, r#"{"LoggingEnabled":null}"#] {
            assert_eq!(decode(off), Ok(None), "{off}");
        }
    }

    #[test]
    fn refusals() {
        assert_eq!(decode("[]"), Err(Fault::JsonShape));
        assert_eq!(decode("null"), Err(Fault::JsonShape));
        assert_eq!(decode(r#"{"LoggingEnabled":{"TargetBucket":5}}"#), Err(Fault::JsonShape));
        assert_eq!(
            decode(r#"{"LoggingEnabled":{"TargetPrefix":"p"}}"#),
            Err(Fault::LoggingInvalid)
        );
        assert_eq!(decode(r#"{"LoggingEnabled":{"TargetBucket":"A"}}"#), Err(Fault::LoggingTarget));
        let control = r#"{"LoggingEnabled":{"TargetBucket":"log","TargetPrefix":"\n"}}"#;
        assert_eq!(decode(control), Err(Fault::LoggingInvalid));
    }
}
