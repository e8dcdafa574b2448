//! Answers of the admin API: JSON, errors with a code, a message and what to do next.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use vb_api::oss::RequestId;

use crate::administration::Refusal;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-oss-request-id");

/// Why an order got no other answer.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    pub(crate) message: String,
    pub(crate) next_step: &'static str,
    /// The finer code of refused signatures, as the data interface has it.
    pub(crate) ec: Option<&'static str>,
}

impl From<Refusal> for Failed {
    fn from(Refusal { code, message }: Refusal) -> Self {
        let (status, next_step) = (code.status(), code.next_step());
        Self { code: code.name(), status, message, next_step, ec: None }
    }
}

/// What is wrong with a signature. The fields that show what was signed are left out.
impl From<vb_api::oss::Error> for Failed {
    fn from(error: vb_api::oss::Error) -> Self {
        Self {
            code: error.code().as_str(),
            status: error.status(),
            message: error.message().to_owned(),
            next_step: "check access key, secret, region, clock and what is signed; \
                        docs/admin-api.md shows it",
            ec: Some(error.ec()),
        }
    }
}

/// The response to an order. No cache may keep it.
pub(crate) fn response(told: &Result<Value, Failed>, id: &RequestId) -> Response<Full<Bytes>> {
    let (status, body) = match told {
        Ok(value) => (200, value.to_string()),
        Err(failed) => (failed.status, error_body(failed, id).to_string()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body + "\n")));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn error_body(failed: &Failed, id: &RequestId) -> Value {
    json!({ "Error": {
        "Code": failed.code,
        "Message": failed.message,
        "NextStep": failed.next_step,
        "RequestId": id.as_str(),
        "EC": failed.ec.unwrap_or_default(),
    }})
}
