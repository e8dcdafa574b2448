//! A certificate chain with its private key, from two PEM files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{expiry, provider};

/// Largest file that is read; a chain has some ten kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Permission of everybody to read, write or enter.
const EVERYBODY: u32 = 0o007;

/// Where chain and key are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The certificate, then those that lead to a root.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The bytes of both files.
pub(super) struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
    /// Everybody on this machine may read the key.
    pub(super) exposed: bool,
}

/// What handshakes show.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// Seconds since 1970 after which clients refuse it.
    pub(super) not_after: i64,
}

impl Files {
    /// Reads both. Blocks.
    ///
    /// # Errors
    /// A text that names the file and what is wrong with it.
    pub(super) fn read(&self) -> Result<Contents, String> {
        let chain = read(&self.certificate)?;
        let key = read(&self.key)?;
        let mode = std::fs::metadata(&self.key).map_or(0, |data| data.permissions().mode());
        Ok(Contents { chain, key, exposed: mode & EVERYBODY != 0 })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("cannot read {shown}: {error}");
    match std::fs::metadata(path).map_err(failed)?.len() {
        0..=FILE_BYTES_MAX => std::fs::read(path).map_err(failed),
        _ => Err(format!("{shown} is longer than any certificate or key")),
    }
}

impl Contents {
    /// Equal for equal contents.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&(self.chain.len() as u64).to_le_bytes());
        context.update(&self.chain);
        context.update(&self.key);
        context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Parses and checks that the key is the certificate's.
    ///
    /// # Errors
    /// A text that says which file is wrong; it holds nothing of the key.
    pub(super) fn certificate(&self, files: &Files) -> Result<Certificate, String> {
        let (chain_file, key_file) = (files.certificate.display(), files.key.display());
        let chain = chain(&self.chain).map_err(|why| format!("{chain_file}: {why}"))?;
        let not_after = chain.first().and_then(|certificate| expiry::not_after(certificate));
        let not_after = not_after.ok_or_else(|| format!("{chain_file} is no certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| format!("{key_file} holds no private key in PEM form without password"))?;
        let key = provider().key_provider.load_private_key(key);
        let key = key.map_err(|error| format!("{key_file}: {error}"))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(format!("{key_file} is not the key of {chain_file}"));
            }
            Err(error) => return Err(format!("{chain_file}: {error}")),
        }
        Ok(Certificate { key: Arc::new(certified), not_after })
    }
}

/// The certificates of a PEM text, in its order; at least one.
///
/// # Errors
/// A text that says why there is none.
pub(super) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("no certificate in PEM form is in it".into()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("not in PEM form: {error}")),
    }
}

/// As [`chain`], from a file. Blocks.
pub(super) fn chain_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    chain(&read(path)?).map_err(|why| format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_everybody_may_read_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            Files { certificate: folder.path().join("c.pem"), key: folder.path().join("k.pem") };
        std::fs::write(&files.certificate, "c").unwrap();
        std::fs::write(&files.key, "k").unwrap();
        for (mode, expected) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&files.key, permissions).unwrap();
            assert_eq!(files.read().ok().unwrap().exposed, expected, "{mode:o}");
        }
    }

    #[test]
    fn a_byte_moved_from_one_file_to_the_other_is_a_change() {
        let contents = |chain: &[u8], key: &[u8]| {
            Contents { chain: chain.to_vec(), key: key.to_vec(), exposed: false }.digest()
        };
        assert_eq!(contents(b"ab", b"c"), contents(b"ab", b"c"));
        assert_ne!(contents(b"ab", b"c"), contents(b"a", b"bc"));
    }
}
