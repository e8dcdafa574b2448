//! The roots that certificates of services must lead to.

use std::path::Path;

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::failure::Failure;

/// The variable that OpenSSL, Go and curl read, too.
const VARIABLE: &str = "SSL_CERT_FILE";

/// Those of the file that the environment names, else the well-known ones.
///
/// # Errors
/// [`Failure`] of usage: the file cannot be read or holds no certificate.
pub(super) fn configured() -> Result<RootCerts, Failure> {
    match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => from_file(Path::new(&path)),
        None => Ok(RootCerts::WebPki),
    }
}

fn from_file(path: &Path) -> Result<RootCerts, Failure> {
    let failed = |why: &str| Failure::usage(format!("{VARIABLE}: {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| failed(&error.to_string()))?;
    let roots = certificates(&pem).map_err(|error| failed(&error.to_string()))?;
    match roots.is_empty() {
        true => Err(failed("no certificate in PEM form is in it")),
        false => Ok(RootCerts::from(roots)),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, ureq::Error> {
    let mut roots = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item? {
            roots.push(certificate);
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_found_among_other_things() {
        let pem = b"text\n-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n\
                    -----BEGIN CERTIFICATE-----\nAwQ=\n-----END CERTIFICATE-----\n";
        let found = certificates(pem).expect("well-formed PEM");
        let bytes: Vec<&[u8]> = found.iter().map(Certificate::der).collect();
        assert_eq!(bytes, [&[0, 1, 2][..], &[3, 4]]);
        assert!(certificates(b"").is_ok_and(|roots| roots.is_empty()));
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        for path in ["/nonexistent.pem", "/dev/null"] {
            let refused = from_file(Path::new(path)).map(drop).expect_err("no roots");
            assert!(refused.to_string().contains(path), "{refused}");
        }
    }
}
