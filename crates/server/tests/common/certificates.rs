//! Certificates of a throwaway CA, made while tests run.
//!
//! X.509 version 3 in DER, as far as a TLS client looks at it: names, validity, key, subject
//! alternative names, whether it is a CA's. Keys are P-256.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 29, 19];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 29, 17];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// A certificate authority.
pub struct Authority {
    key: EcdsaKeyPair,
    certificate: Vec<u8>,
}

/// A certificate with its key, both as PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
    pub der: Vec<u8>,
}

/// Files of a [`Pair`].
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(contents.len()).expect("certificates are short").to_be_bytes();
    let head = match (high, low) {
        (0, ..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, contents].concat()
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    element(3, &[&[0], bytes].concat())
}

fn name(text: &str) -> Vec<u8> {
    let common = sequence(&[&element(OID, COMMON_NAME), &element(0x0c, text.as_bytes())]);
    sequence(&[&element(SET, &common)])
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[&element(OID, oid), &element(4, value)])
}

/// A DNS name, or an address where it is one.
fn alternative(text: &str) -> Vec<u8> {
    match text.parse() {
        Ok(std::net::IpAddr::V4(v4)) => element(0x87, &v4.octets()),
        Ok(std::net::IpAddr::V6(v6)) => element(0x87, &v6.octets()),
        Err(_) => element(0x82, text.as_bytes()),
    }
}

fn new_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("random numbers")
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).expect("base64")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A certificate of `key`, signed by `signer` whose name is `issuer`; `until` is `YYMMDDHHMMSSZ`.
fn certificate(
    (subject, key): (&str, &EcdsaKeyPair),
    (issuer, signer): (&str, &EcdsaKeyPair),
    until: &str,
    extensions: &[&[u8]],
) -> Vec<u8> {
    let algorithm = sequence(&[&element(OID, ECDSA_WITH_SHA256)]);
    let times = sequence(&[&element(0x17, b"200101000000Z"), &element(0x17, until.as_bytes())]);
    let of_key = sequence(&[&element(OID, EC_PUBLIC_KEY), &element(OID, P_256)]);
    let public = sequence(&[&of_key, &bits(key.public_key().as_ref())]);
    let mut serial = [0; 8];
    getrandom::fill(&mut serial).expect("random numbers");
    serial[0] = 1;
    let to_sign = sequence(&[
        &element(0xa0, &element(2, &[2])),
        &element(2, &serial),
        &algorithm,
        &name(issuer),
        &times,
        &name(subject),
        &public,
        &element(0xa3, &sequence(extensions)),
    ]);
    let signature = signer.sign(&SystemRandom::new(), &to_sign).expect("a P-256 key signs");
    sequence(&[&to_sign, &algorithm, &bits(signature.as_ref())])
}

const FAR: &str = "491231235959Z";

impl Authority {
    pub fn new() -> Self {
        let key = new_key();
        let is_ca = extension(BASIC_CONSTRAINTS, &sequence(&[&[1, 1, 0xff]]));
        let certificate = certificate(("test CA", &key), ("test CA", &key), FAR, &[&is_ca]);
        Self { key, certificate }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// A certificate for these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_until(names, FAR)
    }

    /// The same with an end, `YYMMDDHHMMSSZ`.
    pub fn issue_until(&self, names: &[&str], until: &str) -> Pair {
        let key = new_key();
        let names: Vec<u8> = names.iter().flat_map(|name| alternative(name)).collect();
        let names = extension(ALTERNATIVE_NAMES, &element(SEQUENCE, &names));
        let der = certificate(("server", &key), ("test CA", &self.key), until, &[&names]);
        let private = key.to_pkcs8v1().expect("a key made here has a private part");
        let key = pem("PRIVATE KEY", private.as_ref());
        Pair { certificate: pem("CERTIFICATE", &der), key, der }
    }

    /// What a client that trusts this CA needs, for these versions of TLS.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.certificate.clone())).expect("a CA certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions that the provider has")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A connection to the server at `addr`, whose certificate must be for `name`.
    pub async fn connect(
        &self,
        addr: std::net::SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.client(rustls::ALL_VERSIONS), addr, name).await
    }
}

/// A connection of a client to the server at `addr`, whose certificate must be for `name`.
pub async fn connect(
    client: ClientConfig,
    addr: std::net::SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = TcpStream::connect(addr).await?;
    TlsConnector::from(Arc::new(client)).connect(name, stream).await
}

impl Pair {
    /// Writes both files into a folder, the key for its owner only.
    pub fn write(&self, folder: &Path) -> Files {
        use std::os::unix::fs::PermissionsExt as _;
        let files =
            Files { certificate: folder.join("server.pem"), key: folder.join("server.key") };
        std::fs::write(&files.certificate, &self.certificate).expect("a folder to write to");
        std::fs::write(&files.key, &self.key).expect("a folder to write to");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&files.key, private).expect("our own file");
        files
    }
}
