//! The client of the admin API: one POST per order, with a token or a signature.
//!
//! An order is sent once: whether one whose answer was lost took effect is for people to look at.
//! Neither token nor signature is sent where it could be read on the way.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgMatches};
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use serde_json::Value;
use vb_api::admin::{PREFIX, body_digest, signed_resource};
use vb_api::oss::signature::{Credentials, SignInput, authorization};
use vb_api::oss::to_basic;

use crate::client;
use crate::connection::{self, AdminSettings};
use crate::failure::{Failure, ServiceError};

/// Answers beyond this are not the admin API's.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// The flags of commands that can ask the admin API.
#[must_use]
pub fn flags() -> Vec<Arg> {
    connection::admin_flags()
}

/// A client of one service's admin API.
pub struct AdminClient {
    agent: ureq::Agent,
    settings: AdminSettings,
}

/// Why there is no answer; the text is for people.
#[derive(Debug)]
pub enum Failed {
    /// Flags or settings that cannot work.
    Settings(String),
    /// The service refused, or is none.
    Refused(String),
    /// No answer.
    Unreachable(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Settings(text) | Self::Refused(text) | Self::Unreachable(text)) = self;
        f.write_str(text)
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).to_owned();
        match failure {
            Failure::Usage(_) | Failure::File { .. } | Failure::Data(_) => Self::Settings(text),
            Failure::Service(_) | Failure::Answer(_) => Self::Refused(text),
            Failure::Unreachable { .. } => Self::Unreachable(text),
        }
    }
}

impl AdminClient {
    /// A client of the service whose admin address flags, environment or file name; `None` if none
    /// of them does.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub fn named(matches: &ArgMatches) -> Result<Option<Self>, Failed> {
        let settings = connection::read_admin(matches)?;
        settings.is_named.then(|| Self::new(settings)).transpose().map_err(Failed::from)
    }

    /// Sends one order, `{noun}/{verb}`, and returns its answer.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub fn call(&self, operation: &str, body: &[u8]) -> Result<Value, Failed> {
        Ok(self.send(operation, body)?)
    }

    /// A client of the named service, else of this machine's; it always signs.
    pub(crate) fn signing(matches: &ArgMatches) -> Result<Self, Failure> {
        let settings = connection::read_admin(matches)?;
        Self::new(AdminSettings { token: None, ..settings })
    }

    fn new(settings: AdminSettings) -> Result<Self, Failure> {
        let endpoint = &settings.settings.endpoint;
        if endpoint.is_in_the_clear() {
            return Err(Failure::usage(format!(
                "{} is neither https nor this machine: what goes there could be read and repeated",
                endpoint.origin()
            )));
        }
        if settings.token.is_none() && settings.settings.credentials.is_none() {
            return Err(Failure::usage(
                "the admin API needs credentials: set OSS_ACCESS_KEY_ID and \
                 OSS_ACCESS_KEY_SECRET, or VECTORBUCKET_ADMIN_TOKEN",
            ));
        }
        Ok(Self { agent: client::agent(&settings.settings)?, settings })
    }

    pub(crate) fn send(&self, operation: &str, body: &[u8]) -> Result<Value, Failure> {
        let origin = self.settings.settings.endpoint.origin();
        let mut request =
            http::Request::builder().method("POST").uri(format!("{origin}{PREFIX}{operation}"));
        if let Some(headers) = request.headers_mut() {
            *headers = self.headers(operation, body, SystemTime::now())?;
        }
        let wrong = |error| Failure::usage(format!("the request cannot be made: {error}"));
        let answered = self.agent.run(request.body(body).map_err(wrong)?);
        let lost = |cause: ureq::Error| Failure::Unreachable {
            url: origin.clone(),
            cause: cause.to_string(),
        };
        read(answered.map_err(lost)?)
    }

    fn headers(&self, operation: &str, body: &[u8], now: SystemTime) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(DATE, value(&httpdate::fmt_http_date(now))?);
        match (&self.settings.token, &self.settings.settings.credentials) {
            (Some(token), _) => {
                let mut bearer = value(&format!("Bearer {token}"))?;
                bearer.set_sensitive(true);
                headers.insert(AUTHORIZATION, bearer);
            }
            (None, Some(credentials)) => {
                self.sign(credentials, operation, body, &mut headers, now)?;
            }
            (None, None) => {}
        }
        Ok(headers)
    }

    fn sign(
        &self,
        credentials: &Credentials,
        operation: &str,
        body: &[u8],
        headers: &mut HeaderMap,
        now: SystemTime,
    ) -> Result<(), Failure> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        headers.insert("x-oss-date", value(&to_basic(at))?);
        headers.insert("x-oss-content-sha256", value(&body_digest(body))?);
        if let Some(token) = &credentials.token {
            headers.insert("x-oss-security-token", value(token)?);
        }
        let input = SignInput {
            method: "POST",
            region: &self.settings.settings.region,
            resource: Some(signed_resource(operation)),
            query: "",
            headers,
            additional: &[],
            at,
        };
        let signature = authorization(credentials, &input);
        headers.insert(AUTHORIZATION, value(&signature)?);
        Ok(())
    }
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text)
        .map_err(|_| Failure::usage("a token or key holds characters that no header may have"))
}

fn read(mut response: http::Response<ureq::Body>) -> Result<Value, Failure> {
    let foreign = || Failure::Answer("it is no JSON of the admin API".to_owned());
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    let body = body.map_err(|_| foreign())?;
    if response.status().is_success() {
        return serde_json::from_slice(&body).map_err(|_| foreign());
    }
    let status = response.status().as_u16();
    let id = response.headers().get("x-oss-request-id").and_then(|value| value.to_str().ok());
    Err(Failure::Service(ServiceError::read(status, id.unwrap_or(""), "", &body)))
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::stub::{Reply, Stub};

    fn client(arguments: &[&str]) -> Result<Option<AdminClient>, Failed> {
        let command = Command::new("x").no_binary_name(true).args(flags());
        AdminClient::named(&command.get_matches_from(arguments))
    }

    #[test]
    fn an_order_is_signed_with_its_body_and_sent_once() {
        let stub = Stub::start(vec![Reply::ok(r#"{"done":true}"#), Reply::status(503)]);
        let endpoint = format!("http://127.0.0.1:{}", stub.port());
        let arguments = ["-e", &endpoint, "-i", "AK", "-k", "hunter2hunter2", "-t", "tok"];
        let client = client(&arguments).unwrap().unwrap();
        let told = client.call("user/create", br#"{"user":"alice"}"#).unwrap();
        assert_eq!(told["done"], true);
        assert!(matches!(client.call("user/list", b"{}"), Err(Failed::Refused(_))));
        let requests = stub.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].target, "/admin/v1/user/create");
        let digest = body_digest(br#"{"user":"alice"}"#);
        assert_eq!(requests[0].header("x-oss-content-sha256"), Some(digest.as_str()));
        assert_eq!(requests[0].header("x-oss-security-token"), Some("tok"));
        let signature = requests[0].header("authorization").unwrap();
        assert!(signature.starts_with("OSS4-HMAC-SHA256 Credential=AK/"), "{signature}");
    }

    #[test]
    fn the_first_token_of_a_file_is_sent() {
        let stub = Stub::start(vec![Reply::ok("[]")]);
        let endpoint = format!("http://127.0.0.1:{}", stub.port());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "newer\nolder\n").unwrap();
        let path = file.path().to_str().unwrap();
        let client = client(&["-e", &endpoint, "--token-file", path]).unwrap().unwrap();
        client.call("user/list", b"{}").unwrap();
        assert_eq!(stub.requests()[0].header("authorization"), Some("Bearer newer"));
    }

    #[test]
    fn credentials_stay_off_networks_without_tls() {
        let far = ["-e", "http://192.0.2.1:9101", "-i", "AK", "-k", "hunter2hunter2"];
        let failed = client(&far).err().unwrap().to_string();
        assert!(failed.contains("neither https nor this machine"), "{failed}");
        assert!(!failed.contains("hunter2"));
        assert!(client(&["-e", "http://127.0.0.1:1"]).is_err());
        assert!(client(&["-i", "AK", "-k", "hunter2hunter2"]).unwrap().is_none());
    }
}
