//! Digests of the body, checked while it is read.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use md5::{Digest, Md5};

use crate::oss::signature::canonical::UNSIGNED;
use crate::oss::{Error, Fault};

/// The digests a request promises: `Content-MD5` and a hex `x-oss-content-sha256`. Costs nothing
/// for what was not promised.
pub struct BodyCheck {
    md5: Option<(Md5, [u8; 16])>,
    sha256: Option<(digest::Context, [u8; 32])>,
}

impl BodyCheck {
    /// Reads the headers. Errors: [`Fault::DigestInvalid`], [`Fault::PayloadHash`].
    pub fn new(headers: &HeaderMap) -> Result<Self, Error> {
        let md5 = single(headers, "content-md5", Fault::DigestInvalid)?;
        let md5 = md5.map(parse_md5).transpose()?.map(|wanted| (Md5::new(), wanted));
        let sha256 = payload_hash(headers)?;
        let sha256 = sha256.map(|wanted| (digest::Context::new(&digest::SHA256), wanted));
        Ok(Self { md5, sha256 })
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some((md5, _)) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some((sha256, _)) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// Compares. Errors: [`Fault::DigestMismatch`], [`Fault::PayloadMismatch`].
    pub fn finish(self) -> Result<(), Error> {
        if let Some((md5, wanted)) = self.md5
            && md5.finalize()[..] != wanted
        {
            return Err(Error::new(Fault::DigestMismatch));
        }
        if let Some((sha256, wanted)) = self.sha256
            && sha256.finish().as_ref() != wanted
        {
            return Err(Error::new(Fault::PayloadMismatch));
        }
        Ok(())
    }
}

/// The digest of `x-oss-content-sha256`; `None` for `UNSIGNED-PAYLOAD` and no header.
pub(super) fn payload_hash(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Error> {
    match single(headers, "x-oss-content-sha256", Fault::PayloadHash)? {
        None => Ok(None),
        Some(value) if value.as_bytes() == UNSIGNED.as_bytes() => Ok(None),
        Some(value) => parse_hex(value.as_bytes()).map(Some).ok_or(Error::new(Fault::PayloadHash)),
    }
}

fn single<'h>(
    headers: &'h HeaderMap,
    name: &str,
    repeated: Fault,
) -> Result<Option<&'h HeaderValue>, Error> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Error::new(repeated)) } else { Ok(first) }
}

fn parse_md5(value: &HeaderValue) -> Result<[u8; 16], Error> {
    let bytes = STANDARD.decode(value.as_bytes().trim_ascii()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(Error::new(Fault::DigestInvalid))
}

fn parse_hex(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, value: &str, body: &[&[u8]]) -> Result<(), Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        let run = || {
            let mut check = BodyCheck::new(&headers)?;
            body.iter().for_each(|part| check.update(part));
            check.finish()
        };
        run().map_err(|error: Error| error.fault())
    }

    #[test]
    fn md5_of_the_whole_body() {
        assert_eq!(check("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==", &[]), Ok(()));
        let body: [&[u8]; 2] = [b"{\"indexName\"", b": \"idx1\"}"];
        assert_eq!(check("content-md5", "zOPR5TqFiJfnbiU3tm2p5Q==", &body), Ok(()));
        let wrong = check("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==", &body);
        assert_eq!(wrong, Err(Fault::DigestMismatch));
        for bad in ["", "x", "1B2M2Y8AsgTpgAmY7PhCfg", "MTIz"] {
            assert_eq!(check("content-md5", bad, &[]), Err(Fault::DigestInvalid), "{bad}");
        }
    }

    #[test]
    fn sha256_or_unsigned() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(check("x-oss-content-sha256", empty, &[]), Ok(()));
        assert_eq!(check("x-oss-content-sha256", &empty.to_uppercase(), &[]), Ok(()));
        assert_eq!(check("x-oss-content-sha256", empty, &[b"x"]), Err(Fault::PayloadMismatch));
        assert_eq!(check("x-oss-content-sha256", "UNSIGNED-PAYLOAD", &[b"x"]), Ok(()));
        for bad in ["", "STREAMING", &empty[1..], &empty.replace('e', "g")] {
            assert_eq!(check("x-oss-content-sha256", bad, &[]), Err(Fault::PayloadHash), "{bad}");
        }
    }
}
