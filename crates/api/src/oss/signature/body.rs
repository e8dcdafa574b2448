//! Digests of the body, checked while it is read.

use http::HeaderMap;

use crate::oss::Error;

/// The digests a request promises: `Content-MD5` and a hex `x-oss-content-sha256`.
pub struct BodyCheck {}

impl BodyCheck {
    /// Reads the headers. Errors: [`Fault::DigestInvalid`](crate::oss::Fault::DigestInvalid),
    /// [`Fault::PayloadHash`](crate::oss::Fault::PayloadHash).
    pub fn new(_headers: &HeaderMap) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, _bytes: &[u8]) {
        unimplemented!()
    }

    /// Compares. Errors: [`Fault::DigestMismatch`](crate::oss::Fault::DigestMismatch),
    /// [`Fault::PayloadMismatch`](crate::oss::Fault::PayloadMismatch).
    pub fn finish(self) -> Result<(), Error> {
        unimplemented!()
    }
}
