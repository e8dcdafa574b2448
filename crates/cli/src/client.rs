//! The HTTP client: the one place that opens connections, signs, and tries again.
//!
//! Every operation of the interface may be repeated, so a request whose outcome is unknown is sent
//! again like one that was refused for load. Each attempt is signed anew.

mod resolve;
mod retry;
mod roots;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::call::Call;
use crate::connection::{Settings, Target};
use crate::failure::{Failure, ServiceError};
use crate::signing::{self, Digest, Signed};

/// Answers beyond this are not a vector service's.
const ANSWER_BYTES_MAX: u64 = 512 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one service. Shared by reference between threads; keeps its connections open.
pub(crate) struct Client {
    agent: ureq::Agent,
    settings: Settings,
}

impl Client {
    /// A client that has not connected yet.
    pub(crate) fn new(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { agent: agent(&settings)?, settings })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends the call and returns the body of a success answer.
    ///
    /// Load errors and lost connections are retried as the official SDKs do.
    pub(crate) fn send(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let target = target(&self.settings, call)?;
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(call, &target) {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            if attempt >= self.settings.attempts_max || !retry::worth_it(&failure) {
                return Err(failure);
            }
            std::thread::sleep(retry::delay(attempt, random_fraction()));
            attempt += 1;
        }
    }

    fn attempt(&self, call: &Call, target: &Target) -> Result<Vec<u8>, Failure> {
        let Signed { url, headers } =
            signing::headers(call, target, &self.settings, SystemTime::now(), Digest::Md5)?;
        let mut request = http::Request::builder().method(call.method).uri(&url);
        if let Some(empty) = request.headers_mut() {
            *empty = headers;
        }
        let lost = |cause: ureq::Error| unreachable(target, &cause);
        let response = match call.body.as_slice() {
            [] if matches!(call.method, "GET" | "DELETE") => self.agent.run(ready(request, ())?),
            body => self.agent.run(ready(request, body)?),
        };
        read_answer(response.map_err(lost)?).map_err(|error| match error {
            ReadError::Lost(cause) => lost(cause),
            ReadError::Refused(error) => Failure::Service(error),
            ReadError::Foreign => Failure::Answer("it has no x-oss-request-id".to_owned()),
        })
    }
}

/// What opens connections by the settings.
pub(crate) fn agent(settings: &Settings) -> Result<ureq::Agent, Failure> {
    let resolver = resolve::Resolver { connect_to: settings.connect_to };
    let connector = ureq::unversioned::transport::DefaultConnector::default();
    Ok(ureq::Agent::with_parts(configuration(settings)?, connector, resolver))
}

/// Where the call goes; an error says which setting it still needs.
pub(crate) fn target(settings: &Settings, call: &Call) -> Result<Target, Failure> {
    let account = match (&settings.account, &call.bucket) {
        (Some(account), _) => account.as_str(),
        (None, None) => "",
        (None, Some(_)) => return Err(signing::no_account()),
    };
    Ok(settings.endpoint.target(settings.addressing, call.bucket.as_deref(), account))
}

fn configuration(settings: &Settings) -> Result<ureq::config::Config, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(roots::configured()?)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let builder = ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("vectorbucket/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(settings.read_timeout))
        .timeout_recv_body(Some(settings.read_timeout))
        // As many idle connections as there may be worker threads: none closes between two batches.
        .max_idle_connections(256)
        .max_idle_connections_per_host(256);
    Ok(match proxy(settings)? {
        Proxy::Environment => builder.build(),
        Proxy::Fixed(proxy) => builder.proxy(proxy).build(),
    })
}

enum Proxy {
    Environment,
    Fixed(Option<ureq::Proxy>),
}

/// A given proxy always counts; one from the environment never stands before this machine.
fn proxy(settings: &Settings) -> Result<Proxy, Failure> {
    match &settings.proxy {
        Some(url) => match ureq::Proxy::new(url) {
            Ok(proxy) => Ok(Proxy::Fixed(Some(proxy))),
            Err(_) => {
                Err(Failure::usage(format!("proxy {url:?} is not of the form http://HOST:PORT")))
            }
        },
        None if settings.endpoint.is_loopback() || settings.connect_to.is_some() => {
            Ok(Proxy::Fixed(None))
        }
        None => Ok(Proxy::Environment),
    }
}

fn ready<B>(request: http::request::Builder, body: B) -> Result<http::Request<B>, Failure> {
    request
        .body(body)
        .map_err(|error| Failure::usage(format!("the request cannot be made: {error}")))
}

enum ReadError {
    Lost(ureq::Error),
    Refused(ServiceError),
    /// A success of something that is not a vector service.
    Foreign,
}

fn read_answer(mut response: http::Response<ureq::Body>) -> Result<Vec<u8>, ReadError> {
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    let body = body.map_err(ReadError::Lost)?;
    let status = response.status();
    if status.is_success() {
        let known = response.headers().contains_key("x-oss-request-id");
        return if known { Ok(body) } else { Err(ReadError::Foreign) };
    }
    let header = |name: &str| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    let (request_id, ec) = (header("x-oss-request-id"), header("x-oss-ec"));
    Err(ReadError::Refused(ServiceError::read(status.as_u16(), request_id, ec, &body)))
}

fn unreachable(target: &Target, cause: &ureq::Error) -> Failure {
    Failure::Unreachable {
        url: format!("{}://{}", target.scheme, target.authority),
        cause: cause.to_string(),
    }
}

/// A number in 0..1 for jitter. Without a random source every client waits the longest time.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::Client;
    use crate::call::Call;
    use crate::failure::Failure;
    use crate::stub::{Reply, Stub, client, example_settings};

    #[test]
    fn a_success_of_something_else_is_no_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        });
        let client = Client::new(example_settings(&endpoint)).unwrap();
        let failure = client.send(&Call::json("b-1", "listVectorIndexes", Vec::new())).unwrap_err();
        assert!(matches!(failure, Failure::Answer(_)), "{failure}");
    }

    #[test]
    fn load_errors_and_lost_connections_are_retried_up_to_three_times() {
        for (replies, requests, good) in [
            (vec![Reply::status(503), Reply::status(500), Reply::ok("{}")], 3, true),
            (vec![Reply::status(429), Reply::ok("{}")], 2, true),
            (vec![Reply::Hangup, Reply::ok("{}")], 2, true),
            (vec![Reply::status(503); 3], 3, false),
            (vec![Reply::status(404)], 1, false),
            (vec![Reply::status(403)], 1, false),
        ] {
            let stub = Stub::start(replies);
            let outcome = client(&stub).send(&Call::json("b-1", "listVectors", b"{}".to_vec()));
            assert_eq!(outcome.is_ok(), good);
            assert_eq!(stub.requests().len(), requests);
        }
    }

    #[test]
    fn names_under_localhost_need_no_resolver() {
        let stub = Stub::start(vec![Reply::ok("{}")]);
        let mut settings = client(&stub).settings().clone();
        settings.endpoint = format!("http://localhost:{}", stub.port()).parse().unwrap();
        settings.addressing = crate::connection::Addressing::Virtual;
        Client::new(settings).unwrap().send(&Call::json("b-1", "listVectors", Vec::new())).unwrap();
        let request = &stub.requests()[0];
        assert_eq!(
            request.header("host"),
            Some(format!("b-1-1234567890123456.localhost:{}", stub.port()).as_str())
        );
        assert_eq!(request.target, "/?listVectors");
    }

    #[test]
    fn connect_to_overrides_where_but_not_what() {
        let stub = Stub::start(vec![Reply::ok("{}")]);
        let mut settings = client(&stub).settings().clone();
        settings.endpoint = "http://cn-hangzhou.oss-vectors.example".parse().unwrap();
        settings.connect_to = Some(([127, 0, 0, 1], stub.port()).into());
        Client::new(settings).unwrap().send(&Call::json("b", "listVectors", Vec::new())).unwrap();
        assert_eq!(
            stub.requests()[0].header("host"),
            Some("b-1234567890123456.cn-hangzhou.oss-vectors.example")
        );
    }
}
