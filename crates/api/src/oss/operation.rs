//! The operation table: method and query key.
//!
//! The table is exhaustive. A known key with another method is 405; a key that names nothing we
//! know is 400 `NotImplemented`, so that `PUT /?acl` can never create a bucket.

use crate::oss::{Error, Fault, Query};

macro_rules! operations {
    ($($name:ident $method:literal $key:literal $success:literal $level:ident $action:literal,)*) => {
        /// One operation of the interface. The name is also the name in access logs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation { $(#[doc = concat!("`", $method, " /?", $key, "`")] $name,)* }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)*];

            /// The name, as in access logs.
            pub const fn name(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name),)* }
            }

            /// The HTTP method.
            pub const fn method(self) -> &'static str {
                match self { $(Operation::$name => $method,)* }
            }

            /// The query key that selects it; empty when the method alone does.
            pub const fn key(self) -> &'static str {
                match self { $(Operation::$name => $key,)* }
            }

            /// The status of success.
            pub const fn success(self) -> u16 {
                match self { $(Operation::$name => $success,)* }
            }

            /// What the operation acts on.
            pub const fn level(self) -> Level {
                match self { $(Operation::$name => Level::$level,)* }
            }

            /// The action name of policies; the prefix `ossvector:` means the same.
            pub const fn action(self) -> &'static str {
                match self { $(Operation::$name => $action,)* }
            }
        }
    };
}

/// What an operation acts on; decides the resource of the permission check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// The caller's account, on the account host.
    Account,
    /// A bucket.
    Bucket,
    /// An index named in the body.
    Index,
    /// The vectors of an index named in the body.
    Data,
}

operations! {
    ListVectorBuckets "GET" "" 200 Account "oss:ListVectorBuckets",
    PutVectorBucket "PUT" "" 200 Bucket "oss:PutVectorBucket",
    GetVectorBucket "GET" "bucketInfo" 200 Bucket "oss:GetVectorBucket",
    DeleteVectorBucket "DELETE" "" 204 Bucket "oss:DeleteVectorBucket",
    PutBucketPolicy "PUT" "policy" 200 Bucket "oss:PutBucketPolicy",
    GetBucketPolicy "GET" "policy" 200 Bucket "oss:GetBucketPolicy",
    DeleteBucketPolicy "DELETE" "policy" 204 Bucket "oss:DeleteBucketPolicy",
    PutBucketLogging "PUT" "logging" 200 Bucket "oss:PutBucketLogging",
    GetBucketLogging "GET" "logging" 200 Bucket "oss:GetBucketLogging",
    DeleteBucketLogging "DELETE" "logging" 204 Bucket "oss:DeleteBucketLogging",
    PutBucketTags "PUT" "tagging" 200 Bucket "oss:PutBucketTagging",
    GetBucketTags "GET" "tagging" 200 Bucket "oss:GetBucketTagging",
    DeleteBucketTags "DELETE" "tagging" 204 Bucket "oss:DeleteBucketTagging",
    PutBucketResourceGroup "PUT" "resourceGroup" 200 Bucket "oss:PutBucketResourceGroup",
    GetBucketResourceGroup "GET" "resourceGroup" 200 Bucket "oss:GetBucketResourceGroup",
    PutVectorIndex "POST" "putVectorIndex" 200 Index "oss:PutVectorIndex",
    GetVectorIndex "POST" "getVectorIndex" 200 Index "oss:GetVectorIndex",
    ListVectorIndexes "POST" "listVectorIndexes" 200 Bucket "oss:ListVectorIndexes",
    DeleteVectorIndex "POST" "deleteVectorIndex" 204 Index "oss:DeleteVectorIndex",
    PutVectors "POST" "putVectors" 200 Data "oss:PutVectors",
    GetVectors "POST" "getVectors" 200 Data "oss:GetVectors",
    ListVectors "POST" "listVectors" 200 Data "oss:ListVectors",
    DeleteVectors "POST" "deleteVectors" 204 Data "oss:DeleteVectors",
    QueryVectors "POST" "queryVectors" 200 Data "oss:QueryVectors",
    PutVectorIndexFusion "POST" "putVectorIndexFusion" 200 Index "oss:PutVectorIndexFusion",
    QueryVectorsFusion "POST" "queryVectorsFusion" 200 Data "oss:QueryVectorsFusion",
}

impl Operation {
    /// The operation of a request.
    ///
    /// `has_bucket` says whether host or path name a bucket. Errors:
    /// [`Fault::OperationConflict`] (several operation keys, or one twice),
    /// [`Fault::MethodNotAllowed`], [`Fault::NotImplemented`] (a query key that names nothing
    /// known), [`Fault::BucketMissing`] (a bucket operation on the account host).
    pub fn resolve(method: &str, query: &Query<'_>, has_bucket: bool) -> Result<Self, Error> {
        let key = operation_key(query)?;
        match (key, has_bucket) {
            (Some(_), false) => Err(Error::new(Fault::BucketMissing)),
            (Some(key), true) => by_key(method, key),
            (None, false) => account_operation(method, query),
            (None, true) => bucket_operation(method, query),
        }
    }

    /// Whether the operation is recognised but not offered yet; it is answered with
    /// [`Fault::NotImplemented`].
    pub const fn is_fusion(self) -> bool {
        matches!(self, Operation::PutVectorIndexFusion | Operation::QueryVectorsFusion)
    }

    /// Further action names of which each also grants the operation.
    pub const fn equivalent_actions(self) -> &'static [&'static str] {
        match self {
            Operation::PutVectorIndexFusion => &["oss:PutVectorIndex"],
            Operation::QueryVectorsFusion => &["oss:QueryVectors"],
            _ => &[],
        }
    }

    /// Whether the operation changes something.
    pub const fn is_write(self) -> bool {
        matches!(self.name().as_bytes(), [b'P', b'u', b't', ..] | [b'D', b'e', b'l', ..])
    }

    /// Whether the operation carries a body that is read as JSON or as a policy.
    pub fn has_body(self) -> bool {
        let with_put_body = self.method() == "PUT" && !self.key().is_empty();
        self.method() == "POST" || with_put_body
    }

    /// Whether a body of no bytes stands for `{}`.
    pub const fn allows_empty_body(self) -> bool {
        matches!(self, Operation::ListVectorIndexes)
    }
}

/// The one operation key of the query, if any.
fn operation_key<'a>(query: &Query<'a>) -> Result<Option<&'a str>, Error> {
    let known = |name: &str| Operation::ALL.iter().any(|op| !name.is_empty() && op.key() == name);
    let mut keys = query.pairs().iter().map(|(name, _)| *name).filter(|name| known(name));
    let first = keys.next();
    match keys.next() {
        Some(_) => Err(Error::new(Fault::OperationConflict)),
        None => Ok(first),
    }
}

fn by_key(method: &str, key: &str) -> Result<Operation, Error> {
    let matching = |op: &&Operation| op.key() == key && op.method() == method;
    Operation::ALL.iter().find(matching).copied().ok_or(Error::new(Fault::MethodNotAllowed))
}

fn account_operation(method: &str, query: &Query<'_>) -> Result<Operation, Error> {
    // Java names the list with `?vector`, the others with nothing.
    only_known(query, &["vector", "prefix", "marker", "max-keys"])?;
    match method {
        "GET" => Ok(Operation::ListVectorBuckets),
        _ => Err(Error::new(Fault::MethodNotAllowed)),
    }
}

fn bucket_operation(method: &str, query: &Query<'_>) -> Result<Operation, Error> {
    only_known(query, &[])?;
    match method {
        "PUT" => Ok(Operation::PutVectorBucket),
        "DELETE" => Ok(Operation::DeleteVectorBucket),
        _ => Err(Error::new(Fault::MethodNotAllowed)),
    }
}

/// Without an operation key, any other query key would select something we do not have.
/// Parameters starting with `x-` are the caller's own tags or the signature.
fn only_known(query: &Query<'_>, known: &[&str]) -> Result<(), Error> {
    let stranger =
        query.pairs().iter().find(|(name, _)| !known.contains(name) && !name.starts_with("x-"));
    match stranger {
        None => Ok(()),
        Some((name, _)) => {
            let text = "This query parameter names no operation of vector buckets.";
            Err(Error::with_message(Fault::NotImplemented, text).within(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(method: &str, raw: &str, has_bucket: bool) -> Result<Operation, Fault> {
        Operation::resolve(method, &Query::parse(raw), has_bucket).map_err(|e| e.fault())
    }

    #[test]
    fn every_operation_is_found_with_and_without_equals() {
        for op in Operation::ALL {
            let has_bucket = op.level() != Level::Account;
            let mut spellings = vec![op.key().to_owned(), format!("x-tag=1&{}", op.key())];
            if !op.key().is_empty() {
                spellings.push(format!("{}=", op.key()));
            }
            for raw in spellings {
                assert_eq!(resolve(op.method(), &raw, has_bucket), Ok(*op), "{raw}");
            }
        }
    }

    #[test]
    fn wrong_method_is_405() {
        for op in Operation::ALL {
            let has_bucket = op.level() != Level::Account;
            for method in ["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS", "get"] {
                let taken = Operation::ALL.iter().any(|other| {
                    other.key() == op.key()
                        && other.method() == method
                        && (other.level() == Level::Account) == (op.level() == Level::Account)
                });
                if !taken {
                    let got = resolve(method, op.key(), has_bucket);
                    assert_eq!(got, Err(Fault::MethodNotAllowed), "{method} {}", op.key());
                }
            }
        }
    }

    #[test]
    fn strangers_conflicts_and_missing_buckets() {
        assert_eq!(resolve("PUT", "acl", true), Err(Fault::NotImplemented));
        assert_eq!(resolve("GET", "publicAccessBlock", true), Err(Fault::NotImplemented));
        assert_eq!(resolve("POST", "PutVectors", true), Err(Fault::NotImplemented));
        assert_eq!(resolve("GET", "policy&logging", true), Err(Fault::OperationConflict));
        assert_eq!(resolve("GET", "policy&policy", true), Err(Fault::OperationConflict));
        assert_eq!(resolve("POST", "putVectors", false), Err(Fault::BucketMissing));
        assert_eq!(resolve("GET", "", true), Err(Fault::MethodNotAllowed));
        assert_eq!(resolve("GET", "vector&max-keys=1", false), Ok(Operation::ListVectorBuckets));
        assert_eq!(resolve("DELETE", "tagging=a,b", true), Ok(Operation::DeleteBucketTags));
        assert_eq!(resolve("GET", "vector", true), Err(Fault::NotImplemented));
    }
}
