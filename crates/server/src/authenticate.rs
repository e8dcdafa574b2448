//! Who is calling: the signature of a request against the root credentials.

use http::request::Parts;
use vb_api::oss::signature::{Claim, KeyCache, Request, Rules, Signed};
use vb_api::oss::{AccountId, Error, Target};
use vb_identity::{AccessKey, Principal, Roots};

/// Derived signing keys kept: one per access key and day in use.
const KEYS_MAX: usize = 1024;

/// Verifies signatures.
pub(crate) struct Authenticator {
    roots: Roots,
    keys: KeyCache,
    region: Box<str>,
}

impl Authenticator {
    /// An authenticator that knows `roots` and accepts signatures of `region` only.
    pub(crate) fn new(roots: Roots, region: &str) -> Self {
        Self { roots, keys: KeyCache::new(KEYS_MAX), region: region.into() }
    }

    /// The caller of a request. `now` is seconds since 1970.
    ///
    /// # Errors
    /// Every row of the signature table; a request without credentials is no error here.
    pub(crate) fn principal(
        &self,
        head: &Parts,
        target: &Target,
        now: i64,
    ) -> Result<Principal, Error> {
        let request = Request {
            method: head.method.as_str(),
            query: head.uri.query().unwrap_or(""),
            headers: &head.headers,
        };
        match Claim::parse(request, &Rules { region: &self.region, now })? {
            Claim::Anonymous => Ok(Principal::Anonymous),
            Claim::Signed(signed) => self.verified(&signed, target),
        }
    }

    fn verified(&self, signed: &Signed<'_>, target: &Target) -> Result<Principal, Error> {
        let Some(key) = self.roots.lookup(signed.access_key_id()) else {
            return Err(signed.unknown_key());
        };
        signed.refuse_token()?;
        signed.verify(&self.signing_key(key, signed), resource(key, target))?;
        Ok(Principal::Root { account: key.account.clone(), access_key_id: key.id.clone() })
    }

    fn signing_key(
        &self,
        key: &AccessKey,
        signed: &Signed<'_>,
    ) -> vb_api::oss::signature::SigningKey {
        self.keys.key(&key.id, key.secret.expose(), signed.day(), signed.region())
    }
}

/// What the signature names: account and bucket of the host. In path style the account is not on
/// the wire and is the key's own; without a bucket nothing is named.
fn resource<'a>(key: &'a AccessKey, target: &'a Target) -> Option<(&'a str, &'a str)> {
    let account = target.account.as_ref().map_or(key.account.as_str(), AccountId::as_str);
    target.bucket.as_deref().map(|bucket| (account, bucket))
}
