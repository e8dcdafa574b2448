//! What can go wrong in a command, by what the caller should do about it.

use std::fmt;
use std::io;
use std::path::Path;

use serde::Deserialize;

/// A command's failure. Its `Display` is the whole message for standard error.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Flags or settings that cannot work: change them.
    Usage(String),
    /// The service answered with an error: `next_step` of the code says what helps.
    Service(ServiceError),
    /// No answer: the service is down, elsewhere, or the network is.
    Unreachable { url: String, cause: String },
    /// A file could not be read or written.
    File { path: String, cause: io::Error },
    /// Input data that cannot be sent: correct it.
    Data(String),
    /// The service's answer is not what the interface describes.
    Answer(String),
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn file(path: impl AsRef<Path>, cause: io::Error) -> Self {
        Self::File { path: path.as_ref().display().to_string(), cause }
    }

    /// The process exit code; documented in `docs/cli.md`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Service(_) | Self::Answer(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::File { .. } | Self::Data(_) => 4,
        }
    }

    /// The service's error code, if it answered with one.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Service(error) => Some(&error.code),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Data(message) => write!(f, "error: {message}"),
            Self::Service(error) => error.fmt(f),
            Self::Unreachable { url, cause } => {
                let plain = match url.starts_with("https:") {
                    true => "; a service without TLS has an http:// address",
                    false => "",
                };
                write!(
                    f,
                    "error: no answer from {url}: {cause}\n  next: check that the service runs \
                     there, or give the right address with --endpoint or VECTORBUCKET_URL (of the \
                     admin listener: VECTORBUCKET_ADMIN_URL){plain}"
                )
            }
            Self::File { path, cause } => write!(f, "error: {path}: {cause}"),
            Self::Answer(message) => write!(
                f,
                "error: the answer is not a vector service's: {message}\n  next: check that \
                 --endpoint is the data address of a vector service"
            ),
        }
    }
}

/// An error answer of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) ec: String,
    pub(crate) request_id: String,
    /// What the service itself advises, of the admin API.
    pub(crate) advice: Option<Box<str>>,
}

/// The members of an error body that are shown.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorBody {
    code: String,
    message: String,
    request_id: String,
    #[serde(rename = "EC")]
    ec: String,
    next_step: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorRoot {
    error: ErrorBody,
}

impl ServiceError {
    /// Reads an error answer; a body that is not the interface's own is quoted in the message.
    pub(crate) fn read(status: u16, request_id: &str, ec: &str, body: &[u8]) -> Self {
        let parsed = serde_json::from_slice::<ErrorRoot>(body).map(|root| root.error);
        let error = parsed.unwrap_or_else(|_| ErrorBody {
            code: format!("HTTP {status}"),
            message: quote(body),
            ..ErrorBody::default()
        });
        Self {
            status,
            code: error.code,
            message: error.message,
            ec: first_given(error.ec, ec),
            request_id: first_given(error.request_id, request_id),
            advice: error.next_step,
        }
    }

    /// What the service said, for a message that has a next step of its own.
    pub(crate) fn without_step(&self) -> String {
        let (ec, id) = (or_dash(&self.ec), or_dash(&self.request_id));
        let Self { code, status, message, .. } = self;
        format!("{code} (status {status}): {message}\n  EC {ec}, request id {id}")
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.without_step())?;
        let advice = self.advice.as_deref();
        match advice.or_else(|| next_step(&self.code, &self.ec, self.status)) {
            Some(step) => write!(f, "\n  next: {step}"),
            None => Ok(()),
        }
    }
}

/// What a user can do about an error code; a few need the EC to be told apart.
fn next_step(code: &str, ec: &str, status: u16) -> Option<&'static str> {
    Some(match code {
        _ if matches!(ec, "0002-00000226" | "0002-00000228") => {
            "give the service's region with --region or VECTORBUCKET_REGION"
        }
        _ if ec == "0003-00000001" => {
            "give credentials: OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET in the environment \
                    (`serve --dev` writes them to DATA/dev.env), or a file with --client-config"
        }
        "InvalidVectorBucketName" => {
            "take 3 to 32 lowercase letters, digits and hyphens, no hyphen at either end"
        }
        "NoSuchBucket" => {
            "make it with `vectors-api put-vector-bucket --bucket NAME`, or see \
                    what there is with `vectors-api list-vector-buckets`"
        }
        "NoSuchVectorIndex" => {
            "make it with `vectors-api put-vector-index` (or `import \
                    --create`), or see what there is with `vectors-api \
                    list-vector-indexes`"
        }
        "NoSuchBucketPolicy" => {
            "the bucket has no policy; set one with `vectors-api \
                    put-bucket-policy --body file://FILE`"
        }
        "VectorBucketNotEmpty" => {
            "delete its indexes first: `vectors-api list-vector-indexes`, then \
                    `vectors-api delete-vector-index` for each"
        }
        "VectorBucketIndexAlreadyExist" | "BucketAlreadyExists" => {
            "use it as it is, choose another name, or delete it first"
        }
        "InvalidAccessKeyId" => {
            "check --access-key-id, or OSS_ACCESS_KEY_ID in the environment, \
                    against the service's credentials"
        }
        "SignatureDoesNotMatch" => {
            "check the access key secret, --region and --account-id: all three \
                    are part of the signature"
        }
        "RequestTimeTooSkewed" => {
            "correct this machine's clock: it may differ from the service's by 15 minutes at most"
        }
        "AccessDenied" => {
            "check --account-id and the endpoint, or ask for a policy that allows this operation"
        }
        "TooManyBuckets" | "VectorBucketIndexExceedLimit" => {
            "delete what is not needed, or raise the service's quota"
        }
        "VectorIndexParameterInvalid" | "InvalidArgument" | "MissingArgument" => {
            "correct the value that the message names"
        }
        "MalformedJson" => {
            "check the JSON given: `file://PATH` reads it from a file and keeps the shell out of it"
        }
        _ if status == 429 || status == 503 => {
            "the service asks for fewer requests: wait, or lower --parallel"
        }
        _ if status >= 500 => "the service failed; its log has the cause under this request id",
        _ => return None,
    })
}

fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.trim() {
        "" => "no error body".to_owned(),
        text => text.chars().take(200).collect(),
    }
}

fn first_given(body: String, header: &str) -> String {
    if body.is_empty() { header.to_owned() } else { body }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::{Failure, ServiceError};

    #[test]
    fn service_error_shows_code_message_ec_request_id_and_next_step() {
        let body =
            br#"{"Error":{"Code":"NoSuchBucket","Message":"The specified bucket does not exist.",
            "RequestId":"6740A1B2C3D4E5F601234567","EC":"0015-00000101"}}"#;
        let error = ServiceError::read(404, "header-id", "header-ec", body);
        assert_eq!(error.ec, "0015-00000101");
        let shown = Failure::Service(error).to_string();
        for part in [
            "NoSuchBucket",
            "404",
            "does not exist",
            "0015-00000101",
            "6740A1B2C3D4E5F601234567",
            "put-vector-bucket",
        ] {
            assert!(shown.contains(part), "{part} is missing in {shown}");
        }
    }

    #[test]
    fn the_ec_tells_a_wrong_region_and_missing_credentials_apart() {
        let shown = |status, code: &str, ec: &str| {
            let body = format!(r#"{{"Error":{{"Code":"{code}","Message":"m","EC":"{ec}"}}}}"#);
            Failure::Service(ServiceError::read(status, "", "", body.as_bytes())).to_string()
        };
        assert!(shown(400, "InvalidArgument", "0002-00000226").contains("--region"));
        assert!(shown(400, "InvalidArgument", "0900-00000212").contains("the message names"));
        assert!(shown(403, "AccessDenied", "0003-00000001").contains("dev.env"));
        assert!(shown(403, "AccessDenied", "0003-00000202").contains("--account-id"));
    }

    #[test]
    fn foreign_error_bodies_fall_back_to_headers_and_quote() {
        for (body, expected) in [
            (&b""[..], "no error body"),
            (b"<html>nope</html>", "<html>nope"),
            (b"\xff\xfe", "\u{fffd}"),
        ] {
            let error = ServiceError::read(502, "id", "ec", body);
            assert_eq!(
                (error.code.as_str(), error.ec.as_str(), error.request_id.as_str()),
                ("HTTP 502", "ec", "id")
            );
            assert!(error.message.contains(expected), "{}", error.message);
        }
    }
}
