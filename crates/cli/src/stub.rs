//! A scripted HTTP server on the loopback interface, for tests: it answers request n with reply n
//! (the last one again and again) and remembers every request.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vb_api::oss::signature::Credentials;

use crate::client::Client;
use crate::connection::{Addressing, Settings};

/// What to answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Body {
        status: u16,
        body: String,
    },
    /// Close the connection without an answer.
    Hangup,
}

impl Reply {
    pub(crate) fn ok(body: &str) -> Self {
        Self::Body { status: 200, body: body.to_owned() }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::error(status, "Code")
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::error_saying(status, code, "m")
    }

    pub(crate) fn error_saying(status: u16, code: &str, text: &str) -> Self {
        let body = format!(
            r#"{{"Error":{{"Code":"{code}","Message":"{text}","RequestId":"r","EC":"e"}}}}"#
        );
        Self::Body { status, body }
    }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Answer = dyn Fn(usize, &Request) -> Reply + Send + Sync;

/// The server; its threads end with the test process.
pub(crate) struct Stub {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        Self::answering(move |number, _| replies[number.min(replies.len() - 1)].clone())
    }

    /// A server that answers by a function of the request's number and content.
    pub(crate) fn answering(
        answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer): (_, Arc<Answer>) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { port, requests }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &Answer) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let Reply::Body { status, body } = answer(number, &request) else { return };
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nx-oss-request-id: id\r\n\r\n",
            body.len()
        );
        if writer
            .write_all(head.as_bytes())
            .and_then(|()| writer.write_all(body.as_bytes()))
            .is_err()
        {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let first = read_line(reader)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        match line.split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, headers, body })
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}

/// The identity of the published signature examples.
pub(crate) fn example_settings(endpoint: &str) -> Settings {
    Settings {
        endpoint: endpoint.parse().unwrap(),
        addressing: Addressing::Auto,
        region: "cn-hangzhou".to_owned(),
        account: Some("1234567890123456".to_owned()),
        credentials: Some(Credentials {
            access_key_id: "LTAI5tExampleAccessKey00".to_owned(),
            secret: "ExampleSecretKey0000000000000000".to_owned(),
            token: None,
        }),
        proxy: None,
        connect_to: None,
        attempts_max: 3,
        read_timeout: Duration::from_secs(10),
    }
}

/// A client of the stub.
pub(crate) fn client(stub: &Stub) -> Client {
    Client::new(example_settings(&format!("http://127.0.0.1:{}", stub.port()))).unwrap()
}
