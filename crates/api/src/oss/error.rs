//! Errors in the wire's shape: a symbolic code, its status, a fine-grained EC, a message, and for
//! some codes further string fields.
//!
//! [`Fault`] names every situation the service answers with an error, one row each; the row fixes
//! code, EC and the standard message. `docs/compatibility.md` holds the same table.
//!
//! Invariants: every field of the body is a JSON string (clients skip others); no fault has
//! status 401 or the code `BadRequest`, and none that is permanent has 408, 429 or 5xx, because
//! clients repeat those.

use std::borrow::Cow;
use std::fmt;

use crate::oss::json::write_string;

/// The longest name of a place in the body that goes into a text.
const PLACE_BYTES_MAX: usize = 64;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $status:literal,)*) => {
        /// The symbolic error code of an answer; decides the HTTP status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* #[doc = concat!("Status ", stringify!($status), ".")] $name,)* }

        impl Code {
            /// Every code the service can answer with.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as it stands in the body.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => stringify!($name),)* }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }
        }
    };
}

codes! {
    AccessDenied 403,
    AccessKeyIdAndSecurityTokenNotMatch 403,
    BucketAlreadyExists 409,
    BucketNameNotAvailable 409,
    EntityTooLarge 400,
    IncompleteBody 400,
    InternalError 500,
    InvalidAccessKeyId 403,
    InvalidArgument 400,
    InvalidDigest 400,
    InvalidPolicyDocument 400,
    InvalidSecurityToken 403,
    InvalidTargetBucketForLogging 400,
    InvalidVectorBucketName 400,
    MalformedJson 400,
    MethodNotAllowed 405,
    MissingArgument 400,
    MissingContentLength 411,
    NoSuchBucket 404,
    NoSuchBucketPolicy 404,
    NoSuchVectorIndex 404,
    NotImplemented 400,
    QpsLimitExceeded 429,
    RequestTimeTooSkewed 403,
    RequestTimeout 400,
    SecurityTokenExpired 403,
    ServiceUnavailable 503,
    SignatureDoesNotMatch 403,
    TooManyBuckets 400,
    UserDisable 403,
    VectorBucketIndexAlreadyExist 409,
    VectorBucketIndexExceedLimit 400,
    VectorBucketNotEmpty 409,
    VectorIndexOperationConflict 409,
    VectorIndexParameterInvalid 400,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident: $code:ident $ec:literal $message:literal,)*) => {
        /// One situation that is answered with an error: fixes code, EC and standard message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault { $($(#[$doc])* #[doc = concat!("`", stringify!($code), "`, EC ", $ec, ".")] $name,)* }

        impl Fault {
            /// Every fault, in the order of the table in `docs/compatibility.md`.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            /// The code of the answer.
            pub const fn code(self) -> Code {
                match self { $(Fault::$name => Code::$code,)* }
            }

            /// The fine-grained code, also sent as header `x-oss-ec`.
            pub const fn ec(self) -> &'static str {
                match self { $(Fault::$name => $ec,)* }
            }

            /// The standard text.
            pub const fn message(self) -> &'static str {
                match self { $(Fault::$name => $message,)* }
            }
        }
    };
}

// ECs of the families 0002, 0003, 0015, 0016 and 0030 are the documented ones. Where none is
// documented ours start with 0900; the six digits after `0900-00` are group and number.
faults! {
    // Who asks.
    AnonymousForbidden: AccessDenied "0003-00000001" "Anonymous access is forbidden for this operation.",
    AuthorizationScheme: InvalidArgument "0002-00000061" "Unsupported authorization type; only OSS4-HMAC-SHA256 (signature version 4) is supported.",
    AuthorizationMalformed: InvalidArgument "0002-00000202" "Invalid Authorization header: malformed.",
    AuthorizationPart: InvalidArgument "0002-00000203" "Invalid Authorization header: a part has no '='.",
    AuthorizationCredentialMissing: InvalidArgument "0002-00000205" "Invalid Authorization header: Credential is missing.",
    AuthorizationSignatureEmpty: InvalidArgument "0002-00000208" "Invalid Authorization header: Signature is empty.",
    AuthorizationAdditionalHeadersEmpty: InvalidArgument "0002-00000209" "Invalid Authorization header: AdditionalHeaders is empty.",
    AdditionalHeaderMissing: InvalidArgument "0002-00000211" "An additional header of the Authorization header is missing from the request.",
    AdditionalHeaderMissingInQuery: InvalidArgument "0002-00000077" "An additional header of x-oss-additional-headers is missing from the request.",
    SigningDate: InvalidArgument "0002-00000212" "Invalid signing date in Authorization header.",
    SigningDateInQuery: InvalidArgument "0002-00000223" "Invalid signing date in x-oss-credential.",
    CredentialShape: InvalidArgument "0002-00000213" "Invalid credential in Authorization header.",
    CredentialShapeInQuery: InvalidArgument "0002-00000224" "Invalid credential in x-oss-credential.",
    SigningRegion: InvalidArgument "0002-00000226" "Invalid signing region in Authorization header.",
    SigningRegionInQuery: InvalidArgument "0002-00000228" "Invalid signing region in x-oss-credential.",
    PayloadHash: InvalidArgument "0002-00000214" "x-oss-content-sha256 must be UNSIGNED-PAYLOAD or the SHA-256 of the body in hex.",
    DateFormat: AccessDenied "0002-00000502" "The date of the request is not in the required format.",
    DateMissing: AccessDenied "0002-00000503" "OSS authentication requires a valid Date.",
    TimeSkewed: RequestTimeTooSkewed "0002-00000504" "The difference between the request time and the current time is too large.",
    QueryParameterMissing: AccessDenied "0002-00000215" "A parameter of the signed URL is missing.",
    QueryExpiresMissing: AccessDenied "0002-00000216" "The signed URL has no x-oss-expires.",
    QuerySignatureMissing: AccessDenied "0002-00000219" "The signed URL has no x-oss-signature.",
    QueryVersionMissing: AccessDenied "0002-00000066" "The signed URL has no valid x-oss-signature-version; only OSS4-HMAC-SHA256 is supported.",
    ExpiresRange: InvalidArgument "0002-00000232" "x-oss-expires must be between 1 and 604800 seconds.",
    UrlExpired: AccessDenied "0002-00000236" "Request has expired.",
    AuthenticationTwice: InvalidArgument "0900-00000101" "Only one authentication method is allowed: a signed URL or an Authorization header.",
    AuthenticationRepeated: InvalidArgument "0900-00000102" "An authentication header or parameter occurs more than once.",
    AccessKeyCharacters: InvalidAccessKeyId "0002-00000901" "The OSS Access Key Id you provided contains illegal characters.",
    AccessKeyUnknown: InvalidAccessKeyId "0002-00000902" "The OSS Access Key Id you provided does not exist in our records.",
    AccessKeyDisabled: InvalidAccessKeyId "0002-00000903" "The OSS Access Key Id you provided is disabled.",
    AccessKeyNetwork: InvalidAccessKeyId "0002-00000904" "The OSS Access Key Id you provided must not be used from this address.",
    TokenMissing: AccessDenied "0002-00000005" "The request is signed with temporary credentials but carries no security token.",
    TokenInvalid: InvalidSecurityToken "0002-00000006" "The security token you provided is invalid.",
    TokenExpired: SecurityTokenExpired "0002-00000007" "The security token you provided has expired.",
    TokenOfAnotherKey: AccessKeyIdAndSecurityTokenNotMatch "0900-00000103" "The security token does not belong to the access key id you provided.",
    SignatureMismatch: SignatureDoesNotMatch "0002-00000040" "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    NodeMark: AccessDenied "0900-00000104" "The request carries the mark of a node, and the mark is not valid here.",
    // What is allowed.
    DeniedExplicitly: AccessDenied "0003-00000101" "Access denied by bucket policy.",
    DeniedByIdentity: AccessDenied "0003-00000201" "Access denied by authorizer's policy.",
    NotOwner: AccessDenied "0003-00000202" "You have no right to access this bucket.",
    DeniedByBoth: AccessDenied "0003-00000203" "Access denied by bucket policy and by authorizer's policy.",
    DeniedBySession: AccessDenied "0003-00000301" "Access denied by the policy of the session.",
    PublicPolicyBlocked: AccessDenied "0900-00000105" "The policy lets everybody in, which is blocked for this account.",
    WrongEndpoint: AccessDenied "0003-00001403" "The bucket you are attempting to access must be addressed using the specified endpoint.",
    AccountDisabled: UserDisable "0003-00000801" "The account is disabled.",
    // The head of the request.
    HostMissing: InvalidArgument "0900-00000201" "The request has no Host header.",
    HostRepeated: InvalidArgument "0900-00000202" "The request has more than one Host header.",
    HostInvalid: InvalidArgument "0900-00000203" "The Host header is not a valid host.",
    HostDiffers: InvalidArgument "0900-00000204" "The authority of the request line differs from the Host header.",
    BucketTwice: InvalidArgument "0900-00000205" "The bucket is named both in the host and in the path.",
    PathInvalid: InvalidArgument "0900-00000206" "The path of a vector bucket request is / or /{bucket}/.",
    QueryInvalid: InvalidArgument "0900-00000207" "The query string is not validly encoded.",
    OperationConflict: InvalidArgument "0900-00000208" "The query names more than one operation.",
    BucketMissing: InvalidArgument "0900-00000209" "The operation needs a bucket in the host name.",
    HeadTooLarge: InvalidArgument "0900-00000210" "The head of the request is too large.",
    HeadMalformed: InvalidArgument "0900-00000211" "The head of the request is malformed.",
    ArgumentInvalid: InvalidArgument "0900-00000212" "An argument of the request is invalid.",
    ArgumentMissing: MissingArgument "0016-00000502" "A required argument of the request is missing.",
    MethodNotAllowed: MethodNotAllowed "0900-00000213" "The specified method is not allowed against this resource.",
    NotImplemented: NotImplemented "0900-00000214" "A header or parameter you provided implies functionality that is not implemented.",
    // The body.
    LengthMissing: MissingContentLength "0900-00000301" "You must provide the Content-Length HTTP header.",
    BodyTooLarge: EntityTooLarge "0900-00000302" "The body of the request exceeds the maximum allowed size.",
    BodyIncomplete: IncompleteBody "0900-00000303" "The body of the request is shorter than its Content-Length.",
    BodyTimeout: RequestTimeout "0900-00000304" "The body of the request did not arrive in time.",
    DigestInvalid: InvalidDigest "0900-00000305" "The Content-MD5 you specified is not valid.",
    DigestMismatch: InvalidDigest "0900-00000306" "The Content-MD5 you specified did not match what we received.",
    PayloadMismatch: InvalidDigest "0900-00000307" "The x-oss-content-sha256 you specified did not match what we received.",
    JsonMalformed: MalformedJson "0900-00000310" "The body is not valid JSON.",
    JsonShape: MalformedJson "0900-00000311" "The body is not JSON of the expected shape.",
    JsonDuplicate: MalformedJson "0900-00000312" "A member occurs more than once in a JSON object.",
    JsonTooDeep: MalformedJson "0900-00000313" "The JSON is nested too deeply or an object has too many members.",
    // Buckets.
    BucketNameInvalid: InvalidVectorBucketName "0900-00000401" "The specified vector bucket name is not valid.",
    NoSuchBucket: NoSuchBucket "0015-00000101" "The specified bucket does not exist.",
    BucketNameBlocked: BucketNameNotAvailable "0015-00000103" "The requested bucket name was deleted recently and is not yet available.",
    BucketExists: BucketAlreadyExists "0015-00000104" "The requested bucket name already exists with other settings.",
    BucketNotEmpty: VectorBucketNotEmpty "0015-00000301" "The vector bucket you tried to delete still has indexes.",
    TooManyBuckets: TooManyBuckets "0900-00000402" "You have reached the maximum number of vector buckets.",
    TagInvalid: InvalidArgument "0900-00000403" "The tags of the request are invalid.",
    ResourceGroupInvalid: InvalidArgument "0900-00000404" "The resource group id is invalid.",
    LoggingTarget: InvalidTargetBucketForLogging "0900-00000405" "The target bucket for logging is invalid.",
    LoggingInvalid: InvalidArgument "0900-00000406" "The logging configuration is invalid.",
    NoSuchPolicy: NoSuchBucketPolicy "0900-00000407" "The specified bucket policy does not exist.",
    PolicyTooLarge: InvalidPolicyDocument "0030-00000001" "The policy is larger than 16 KB.",
    PolicyVersion: InvalidPolicyDocument "0030-00000002" "The Version of the policy must be \"1\".",
    PolicyItemTooLong: InvalidPolicyDocument "0030-00000003" "An item of the policy is longer than 4095 bytes.",
    PolicySyntax: InvalidPolicyDocument "0030-00000005" "The policy document is invalid.",
    // Indexes.
    IndexParameter: VectorIndexParameterInvalid "0900-00000501" "A parameter is missing or out of range.",
    IndexName: VectorIndexParameterInvalid "0900-00000502" "The index name is missing or invalid.",
    NoSuchIndex: NoSuchVectorIndex "0900-00000503" "The specified vector index does not exist.",
    IndexExists: VectorBucketIndexAlreadyExist "0900-00000504" "The vector index already exists.",
    TooManyIndexes: VectorBucketIndexExceedLimit "0900-00000505" "The vector bucket has reached its maximum number of indexes.",
    IndexBusy: VectorIndexOperationConflict "0900-00000506" "The vector index is being created or deleted.",
    // Vectors.
    VectorBatch: VectorIndexParameterInvalid "0900-00000601" "The number of vectors or keys is out of range.",
    VectorKey: VectorIndexParameterInvalid "0900-00000602" "A vector key must have 1 to 1024 characters.",
    VectorKeyRepeated: VectorIndexParameterInvalid "0900-00000603" "A vector key occurs more than once in the batch.",
    VectorData: VectorIndexParameterInvalid "0900-00000604" "The vector data is missing or invalid.",
    VectorDimension: VectorIndexParameterInvalid "0900-00000605" "The vector's length differs from the dimension of the index.",
    VectorZero: VectorIndexParameterInvalid "0900-00000606" "A zero vector is not allowed with the cosine metric.",
    Metadata: VectorIndexParameterInvalid "0900-00000607" "The metadata is invalid.",
    MetadataTooLarge: VectorIndexParameterInvalid "0900-00000608" "The metadata exceeds its size limit.",
    MetadataKeys: VectorIndexParameterInvalid "0900-00000609" "The metadata has too many filterable keys.",
    Filter: VectorIndexParameterInvalid "0900-00000610" "The filter is invalid.",
    FilterKey: VectorIndexParameterInvalid "0900-00000611" "The filter names a non-filterable metadata key.",
    FilterTooLarge: VectorIndexParameterInvalid "0900-00000612" "The filter exceeds its size, item or nesting limit.",
    TopK: VectorIndexParameterInvalid "0900-00000613" "topK is missing or out of range.",
    MaxResults: VectorIndexParameterInvalid "0900-00000614" "maxResults is out of range.",
    NextToken: VectorIndexParameterInvalid "0900-00000615" "nextToken is invalid.",
    Segment: VectorIndexParameterInvalid "0900-00000616" "segmentCount or segmentIndex is out of range.",
    VectorsQuota: VectorIndexParameterInvalid "0900-00000617" "The account has reached its maximum number of vectors.",
    BytesQuota: VectorIndexParameterInvalid "0900-00000618" "The account has reached its maximum of stored bytes.",
    IndexVectorsQuota: VectorIndexParameterInvalid "0900-00000619" "The vector index has reached its maximum number of vectors.",
    // The service.
    Throttled: QpsLimitExceeded "0900-00000701" "Please reduce your request rate.",
    Unavailable: ServiceUnavailable "0900-00000702" "The service is temporarily unavailable, please try again.",
    OutcomeUnknown: ServiceUnavailable "0900-00000703" "The outcome of the request is unknown, please repeat it.",
    StorageFull: ServiceUnavailable "0900-00000704" "The storage of the service is full.",
    Internal: InternalError "0900-00000705" "We encountered an internal error, please try again.",
    KeyRate: QpsLimitExceeded "0900-00000706" "Please reduce your request rate.",
    AccountRate: QpsLimitExceeded "0900-00000707" "Please reduce your request rate.",
    SourceFailures: QpsLimitExceeded "0900-00000708" "Please reduce your request rate.",
}

/// An error answer: a [`Fault`], its text and its further fields. Safe to show to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    fault: Fault,
    message: Cow<'static, str>,
    fields: Vec<(&'static str, String)>,
}

impl Error {
    /// An error with the fault's standard text.
    pub const fn new(fault: Fault) -> Self {
        Self { fault, message: Cow::Borrowed(fault.message()), fields: Vec::new() }
    }

    /// An error with its own text.
    pub fn with_message(fault: Fault, message: impl Into<Cow<'static, str>>) -> Self {
        Self { fault, message: message.into(), fields: Vec::new() }
    }

    /// Adds a further string field to the body's `Error` object.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Says which part of the body is meant, unless the text starts with it or the name is long.
    #[must_use]
    pub(super) fn within(mut self, place: &str) -> Self {
        if place.len() <= PLACE_BYTES_MAX && !self.message.starts_with(place) {
            self.message = format!("{place}: {}", self.message).into();
        }
        self
    }

    /// Says at which byte of the body the JSON ends to be what is expected; of no other fault.
    #[must_use]
    pub(super) fn near(mut self, byte: usize) -> Self {
        if self.code() == Code::MalformedJson {
            let text = self.message.trim_end_matches('.');
            self.message = format!("{text} (near byte {byte}).").into();
        }
        self
    }

    /// The situation.
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// The symbolic code.
    pub const fn code(&self) -> Code {
        self.fault.code()
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        self.fault.code().status()
    }

    /// The fine-grained code for the header `x-oss-ec`.
    pub const fn ec(&self) -> &'static str {
        self.fault.ec()
    }

    /// The text for the client.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The further fields, in body order.
    pub fn fields(&self) -> &[(&'static str, String)] {
        &self.fields
    }

    /// The JSON body of the answer; its content type is exactly `application/json`.
    ///
    /// `host` is the Host the client used, `bucket` the bucket it named, if any.
    pub fn body(&self, request_id: &str, host: &str, bucket: Option<&str>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(b"{\"Error\":{\"Code\":");
        write_string(&mut out, self.code().as_str());
        let mut member = |name: &str, value: &str| {
            out.push(b',');
            write_string(&mut out, name);
            out.push(b':');
            write_string(&mut out, value);
        };
        member("Message", &self.message);
        member("RequestId", request_id);
        member("HostId", host);
        if let Some(bucket) = bucket {
            member("BucketName", bucket);
        }
        for (name, value) in &self.fields {
            member(name, value);
        }
        member("EC", self.ec());
        member("RecommendDoc", &format!("https://api.aliyun.com/troubleshoot?q={}", self.ec()));
        out.extend_from_slice(b"}}");
        out
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code().as_str(), self.ec(), self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ecs_are_unique_and_shaped() {
        let mut seen = HashSet::new();
        for fault in Fault::ALL {
            let ec = fault.ec();
            assert!(seen.insert(ec), "{ec} stands twice");
            let (family, number) = ec.split_once('-').expect("EC has a hyphen");
            assert!(family.len() == 4 && number.len() == 8, "{ec}");
            assert!((family.to_owned() + number).bytes().all(|b| b.is_ascii_digit()), "{ec}");
        }
    }

    #[test]
    fn permanent_faults_are_never_repeated_by_clients() {
        for code in Code::ALL {
            let repeated = matches!(code.status(), 401 | 408 | 429 | 500..);
            let passing = matches!(
                code,
                Code::QpsLimitExceeded | Code::ServiceUnavailable | Code::InternalError
            );
            assert_eq!(repeated, passing, "{code:?}");
            assert_ne!(code.as_str(), "BadRequest");
        }
    }

    #[test]
    fn texts_say_where() {
        let text = |error: Error| error.message().to_owned();
        let shape = || Error::new(Fault::JsonShape);
        assert_eq!(
            text(shape().within("vectors[7]").within("vectors").near(12)),
            "vectors[7]: The body is not JSON of the expected shape (near byte 12)."
        );
        assert_eq!(text(shape().within(&"x".repeat(65))), Fault::JsonShape.message());
        let top_k = Error::new(Fault::TopK).within("topK").near(3);
        assert_eq!(text(top_k), Fault::TopK.message());
    }

    #[test]
    fn body_has_every_field_as_string() {
        let error = Error::new(Fault::NoSuchBucket).field("OSSAccessKeyId", "LTAI\"x");
        let body = error.body("0123456789ABCDEF01234567", "b-1.localhost:9100", Some("b"));
        let text = String::from_utf8(body).unwrap();
        assert_eq!(
            text,
            "{\"Error\":{\"Code\":\"NoSuchBucket\",\"Message\":\"The specified bucket does not exist.\",\
             \"RequestId\":\"0123456789ABCDEF01234567\",\"HostId\":\"b-1.localhost:9100\",\
             \"BucketName\":\"b\",\"OSSAccessKeyId\":\"LTAI\\\"x\",\"EC\":\"0015-00000101\",\
             \"RecommendDoc\":\"https://api.aliyun.com/troubleshoot?q=0015-00000101\"}}"
        );
    }
}
