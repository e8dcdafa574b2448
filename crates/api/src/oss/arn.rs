//! Resource names: `acs:ossvector:{region}:{account}:{bucket}[/{index}[/*]]`.

use std::fmt::Write;

use crate::oss::operation::Level;
use crate::oss::{AccountId, BucketName, IndexName, Operation};

/// The ARN of a bucket.
pub fn bucket_arn(region: &str, account: &str, bucket: &str) -> String {
    format!("acs:ossvector:{region}:{account}:{bucket}")
}

/// What a request asks permission for.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// The region of the service.
    pub region: &'a str,
    /// The account that owns the bucket, or the caller's for the bucket list.
    pub account: &'a AccountId,
    /// The bucket, `None` for the bucket list.
    pub bucket: Option<&'a BucketName>,
    /// The index named in the body, for index and data operations.
    pub index: Option<&'a IndexName>,
}

impl Resource<'_> {
    /// The resource name an operation is checked against.
    ///
    /// Account level ends in `:*`, data operations in `/*`. An index or data operation whose index
    /// is not yet known gives the bucket.
    pub fn arn(&self, operation: Operation) -> String {
        let bucket = self.bucket.map_or("*", BucketName::as_str);
        let mut arn = bucket_arn(self.region, self.account.as_str(), bucket);
        let index = match operation.level() {
            Level::Account | Level::Bucket => None,
            Level::Index | Level::Data => self.index,
        };
        if let Some(index) = index {
            let rest = if operation.level() == Level::Data { "/*" } else { "" };
            write!(arn, "/{index}{rest}").expect("writing to a String cannot fail");
        }
        arn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_per_level() {
        let account = AccountId::parse("1234567890123456").unwrap();
        let bucket = BucketName::parse("vec").unwrap();
        let index = IndexName::parse("i1").unwrap();
        let of = |operation, bucket, index| {
            Resource { region: "r", account: &account, bucket, index }.arn(operation)
        };
        let base = "acs:ossvector:r:1234567890123456:";
        assert_eq!(of(Operation::ListVectorBuckets, None, None), format!("{base}*"));
        assert_eq!(of(Operation::ListVectorIndexes, Some(&bucket), None), format!("{base}vec"));
        assert_eq!(
            of(Operation::GetVectorIndex, Some(&bucket), Some(&index)),
            format!("{base}vec/i1")
        );
        assert_eq!(
            of(Operation::PutVectors, Some(&bucket), Some(&index)),
            format!("{base}vec/i1/*")
        );
        assert_eq!(of(Operation::PutVectors, Some(&bucket), None), format!("{base}vec"));
    }
}
