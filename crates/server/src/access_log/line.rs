//! The line of one request: the 29 fields of an OSS access log, separated by single spaces.
//!
//! ```text
//!  1 RemoteIP          2 -                  3 -                   4 [Time]
//!  5 "RequestURL"      6 HTTPStatus         7 SentBytes           8 RequestTime (ms)
//!  9 "Referer"        10 "UserAgent"       11 "HostName"         12 "RequestID"
//! 13 "LoggingFlag"    14 "RequesterAliyunID" 15 "Operation"      16 "BucketName"
//! 17 "ObjectName"     18 ObjectSize        19 ServerCostTime     20 "ErrorCode"
//! 21 RequestLength    22 "UserID"          23 DeltaDataSize      24 "SyncRequest"
//! 25 "StorageClass"   26 "TargetStorageClass" 27 "TransmissionAccelerationAccessPoint"
//! 28 "AccessKeyID"    29 "BucketARN"
//! ```
//!
//! Every text of a client stands in quotes and passes `escape`; everything else is a number or a
//! word of ours.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::HeaderValue;
use vb_api::oss::{bucket_arn, to_basic};

use super::asked::Asked;
use super::escape::{masked, push_escaped};

/// What is known of a finished request on a bucket.
pub(crate) struct Line<'a> {
    /// The client.
    pub(crate) client: IpAddr,
    /// When the head had arrived, seconds since 1970.
    pub(crate) at_s: i64,
    /// The head.
    pub(crate) asked: &'a Asked,
    /// Status of the answer.
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) bytes_out: u64,
    /// From the head to the answer, milliseconds.
    pub(crate) ms: u128,
    /// The Host the client used.
    pub(crate) host: &'a str,
    /// The request's id.
    pub(crate) request_id: &'a str,
    /// The caller's number; `None` for anonymous callers and those that failed to authenticate.
    pub(crate) requester: Option<&'a str>,
    /// The operation, `-` if none was recognised.
    pub(crate) operation: &'a str,
    /// The bucket.
    pub(crate) bucket: &'a str,
    /// The index the request is about.
    pub(crate) index: Option<&'a str>,
    /// Code of the answer, `-` on success.
    pub(crate) code: &'a str,
    /// Bytes of the request's body.
    pub(crate) bytes_in: u64,
    /// The account that owns the bucket.
    pub(crate) owner: &'a str,
    /// The key that signed.
    pub(crate) access_key_id: Option<&'a str>,
    /// The service's region.
    pub(crate) region: &'a str,
}

impl Line<'_> {
    /// The line, without a line feed.
    pub(crate) fn text(&self) -> String {
        let mut out = String::with_capacity(512);
        self.request(&mut out);
        self.caller(&mut out);
        self.effect(&mut out);
        out
    }

    /// Fields 1 to 11.
    fn request(&self, out: &mut String) {
        let Self { status, bytes_out, ms, asked, .. } = self;
        let client = self.client.to_canonical();
        write(out, format_args!("{client} - - [{}] \"", time(self.at_s)));
        push_escaped(out, asked.method.as_str().as_bytes());
        out.push(' ');
        let target = asked.target.path_and_query().map_or("*", |target| target.as_str());
        push_escaped(out, &masked(target.as_bytes()));
        write(out, format_args!(" {}\" {status} {bytes_out} {ms}", asked.version()));
        for header in [&asked.referer, &asked.user_agent] {
            let bytes = header.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
            quoted(out, &masked(bytes));
        }
        quoted(out, self.host.as_bytes());
    }

    /// Fields 12 to 17.
    fn caller(&self, out: &mut String) {
        let requester = self.requester.unwrap_or("");
        let fields = [self.request_id, "true", requester, self.operation, self.bucket];
        for field in fields.into_iter().chain([self.index.unwrap_or("")]) {
            quoted(out, field.as_bytes());
        }
    }

    /// Fields 18 to 29.
    fn effect(&self, out: &mut String) {
        write(out, format_args!(" - {}", self.ms));
        quoted(out, self.code.as_bytes());
        write(out, format_args!(" {}", self.asked.head_bytes + self.bytes_in));
        quoted(out, self.owner.as_bytes());
        out.push_str(" - \"-\" \"-\" \"-\" \"-\"");
        quoted(out, self.access_key_id.unwrap_or("").as_bytes());
        quoted(out, bucket_arn(self.region, self.owner, self.bucket).as_bytes());
    }
}

/// A space and the text in quotes; `-` for an empty one.
fn quoted(out: &mut String, text: &[u8]) {
    out.push_str(" \"");
    push_escaped(out, if text.is_empty() { b"-" } else { text });
    out.push('"');
}

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string does not fail");
}

/// `02/Jan/2026:03:04:05 +0000`.
fn time(at_s: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let basic = to_basic(at_s);
    let part = |from: usize, to: usize| &basic[from..to];
    let month = part(4, 6).parse::<usize>().map_or(0, |month| month.saturating_sub(1));
    format!(
        "{}/{}/{}:{}:{}:{} +0000",
        part(6, 8),
        MONTHS[month % MONTHS.len()],
        part(0, 4),
        part(9, 11),
        part(11, 13),
        part(13, 15)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn asked(target: &str, headers: &[(&str, &[u8])]) -> Asked {
        let mut request = Request::post(target).body(()).unwrap();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_bytes(value).unwrap());
        }
        Asked::of(&request)
    }

    fn line(asked: &Asked) -> Line<'_> {
        Line {
            client: "192.0.2.7".parse().unwrap(),
            at_s: 1_767_323_045,
            asked,
            status: 200,
            bytes_out: 2,
            ms: 14,
            host: "vb-1234567890123456.oss-vectors.example.com",
            request_id: "6957E1A5C0FFEE0123456789",
            requester: Some("1234567890123456"),
            operation: "PutVectors",
            bucket: "vb",
            index: Some("index1"),
            code: "-",
            bytes_in: 40_000,
            owner: "1234567890123456",
            access_key_id: Some("LTAI5t"),
            region: "cn-hangzhou",
        }
    }

    /// Splits at single spaces outside of quotes and brackets, knowing nothing of the writer.
    fn fields(text: &str) -> Vec<String> {
        let (mut fields, mut field, mut until) = (Vec::new(), String::new(), None);
        for c in text.chars() {
            match until {
                None if c == ' ' => fields.push(std::mem::take(&mut field)),
                None => {
                    let pair = [('"', '"'), ('[', ']')].into_iter().find(|pair| pair.0 == c);
                    until = pair.filter(|_| field.is_empty()).map(|pair| pair.1);
                    field.push(c);
                }
                Some(end) => {
                    until = (c != end).then_some(end);
                    field.push(c);
                }
            }
        }
        fields.push(field);
        fields
    }

    #[test]
    fn the_documented_example() {
        let asked = asked("/?putVectors", &[("user-agent", b"alibabacloud-python-sdk-v2/1.4.1")]);
        let length = asked.head_bytes + 40_000;
        let expected = format!(
            r#"192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "POST /?putVectors HTTP/1.1" 200 2 14 "-" "alibabacloud-python-sdk-v2/1.4.1" "vb-1234567890123456.oss-vectors.example.com" "6957E1A5C0FFEE0123456789" "true" "1234567890123456" "PutVectors" "vb" "index1" - 14 "-" {length} "1234567890123456" - "-" "-" "-" "-" "LTAI5t" "acs:ossvector:cn-hangzhou:1234567890123456:vb""#
        );
        assert_eq!(line(&asked).text(), expected);
        assert_eq!(fields(&expected).len(), 29);
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let asked = asked("/", &[]);
        let refused = Line {
            client: "::ffff:192.0.2.7".parse().unwrap(),
            status: 403,
            requester: None,
            operation: "-",
            index: None,
            code: "AccessDenied",
            access_key_id: None,
            host: "",
            ..line(&asked)
        };
        let fields = fields(&refused.text());
        for number in [9, 10, 11, 14, 15, 17, 28] {
            assert_eq!(fields[number - 1], r#""-""#, "field {number}");
        }
        let plain = [1, 6, 18, 20, 23].map(|number: usize| fields[number - 1].as_str());
        assert_eq!(plain, ["192.0.2.7", "403", "-", r#""AccessDenied""#, "-"]);
    }

    proptest! {
        #[test]
        fn no_byte_of_a_client_adds_a_line_or_a_field(
            referer in proptest::collection::vec(any::<u8>(), 0..200),
            agent in proptest::collection::vec(any::<u8>(), 0..200),
            query in "[!$-~]{0,60}", host in "\\PC{0,40}",
            key in "\\PC{0,20}", method in "[A-Z!#$%&'*+.^_`|~-]{1,10}",
        ) {
            let plain = HeaderValue::from_static("x");
            let valid = |bytes: Vec<u8>| HeaderValue::from_bytes(&bytes).unwrap_or(plain.clone());
            let root = http::Uri::from_static("/");
            let target = format!("/?{query}").parse().unwrap_or(root);
            let asked = Asked {
                method: http::Method::from_bytes(method.as_bytes()).unwrap(),
                target,
                referer: Some(valid(referer)),
                user_agent: Some(valid(agent)),
                ..asked("/", &[])
            };
            let line = Line { host: &host, access_key_id: Some(&key), ..line(&asked) };
            let text = line.text();
            prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", text);
            let fields = fields(&text);
            prop_assert_eq!(fields.len(), 29, "{}", text);
            prop_assert_eq!(&fields[11], r#""6957E1A5C0FFEE0123456789""#);
            prop_assert_eq!(fields[4].split(' ').count(), 3);
        }
    }
}
