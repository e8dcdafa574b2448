//! Headers of every answer.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::oss::{Error, RequestId};

/// The content type of every JSON answer, exactly; clients compare it.
pub const CONTENT_TYPE_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `x-oss-request-id`, `x-oss-server-time` (milliseconds spent), `Date`, `Server`.
pub fn common_headers(id: &RequestId, now: SystemTime, server_ms: u64) -> HeaderMap {
    let text = |text: &str| HeaderValue::from_str(text).expect("hex, digits and dates are ASCII");
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(HeaderName::from_static("x-oss-request-id"), text(id.as_str()));
    headers.insert(HeaderName::from_static("x-oss-server-time"), HeaderValue::from(server_ms));
    headers.insert(header::DATE, text(&httpdate::fmt_http_date(now)));
    headers.insert(header::SERVER, HeaderValue::from_static("AliyunOSS"));
    headers
}

/// Adds `Content-Type` and `x-oss-ec` of an error answer.
pub fn error_headers(headers: &mut HeaderMap, error: &Error) {
    headers.insert(header::CONTENT_TYPE, CONTENT_TYPE_JSON);
    headers.insert(HeaderName::from_static("x-oss-ec"), HeaderValue::from_static(error.ec()));
}
