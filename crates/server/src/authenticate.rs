//! Who is calling: the signature of a request against the keys that the store of identities knows.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use vb_api::admin::signed_resource;
use vb_api::oss::signature::{Claim, KeyCache, Request, Rules, Signed, SigningKey};
use vb_api::oss::{AccountId, Error, Fault, Target};
use vb_identity::{AuthenticateError, Candidate, IdentityStore, Principal};
use vb_policy::Policy;

/// Derived signing keys kept: one per access key and day in use.
const KEYS_MAX: usize = 4096;

/// Whoever did not sign.
static ANONYMOUS: Principal = Principal::Anonymous;

/// Who makes a request, proven by a signature; or nobody.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Option<Arc<Candidate>>);

impl Caller {
    /// The caller of a request without credentials.
    pub(crate) fn anonymous() -> Self {
        Self(None)
    }

    /// Whether nobody signed.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.0.is_none()
    }

    /// With what it was authenticated.
    pub(crate) fn candidate(&self) -> Option<&Candidate> {
        self.0.as_deref()
    }

    /// Who it is.
    pub(crate) fn principal(&self) -> &Principal {
        self.0.as_ref().map_or(&ANONYMOUS, |candidate| &candidate.principal)
    }

    /// The policies of the user and its groups, or of the role.
    pub(crate) fn policies(&self) -> &[Arc<Policy>] {
        match &self.0 {
            Some(candidate) => &candidate.policies,
            None => &[],
        }
    }

    /// What narrows a session.
    pub(crate) fn session_policy(&self) -> Option<&Policy> {
        self.0.as_ref()?.session_policy.as_deref()
    }
}

/// Verifies signatures.
pub(crate) struct Authenticator {
    identities: IdentityStore,
    keys: KeyCache,
    region: Box<str>,
}

impl Authenticator {
    /// An authenticator of `identities` that accepts signatures of `region` only.
    pub(crate) fn new(identities: IdentityStore, region: &str) -> Self {
        Self { identities, keys: KeyCache::new(KEYS_MAX), region: region.into() }
    }

    /// The caller of a request that came from `client`. `now` is seconds since 1970.
    ///
    /// # Errors
    /// Every row of the signature table; a request without credentials is no error here.
    pub(crate) async fn caller(
        &self,
        head: &Parts,
        target: &Target,
        client: IpAddr,
        now: i64,
    ) -> Result<Caller, Error> {
        self.claimed(head, Named::Target(target), client, now).await
    }

    /// The caller of an order to the admin API, `{noun}/{verb}`; as [`Self::caller`].
    ///
    /// # Errors
    /// Every row of the signature table.
    pub(crate) async fn administrator(
        &self,
        head: &Parts,
        operation: &str,
        client: IpAddr,
        now: i64,
    ) -> Result<Caller, Error> {
        self.claimed(head, Named::Operation(operation), client, now).await
    }

    async fn claimed(
        &self,
        head: &Parts,
        named: Named<'_>,
        client: IpAddr,
        now: i64,
    ) -> Result<Caller, Error> {
        let request = Request {
            method: head.method.as_str(),
            query: head.uri.query().unwrap_or(""),
            headers: &head.headers,
        };
        match Claim::parse(request, &Rules { region: &self.region, now })? {
            Claim::Anonymous => Ok(Caller::anonymous()),
            Claim::Signed(signed) => self.verified(&signed, named, client).await,
        }
    }

    async fn verified(
        &self,
        signed: &Signed<'_>,
        named: Named<'_>,
        client: IpAddr,
    ) -> Result<Caller, Error> {
        let found = self.identities.authenticate(signed.access_key_id(), signed.token()).await;
        let candidate = found.map_err(|error| refusal(&error, signed))?;
        let key = self.signing_key(&candidate, signed);
        signed.verify(&key, named.resource(&candidate.principal))?;
        // After the signature: where a key works is told to its holder alone.
        if !candidate.networks.allow(client.to_canonical()) {
            let refused = Error::new(Fault::AccessKeyNetwork);
            return Err(refused.field("OSSAccessKeyId", signed.access_key_id()));
        }
        self.identities.note_use(&candidate);
        Ok(Caller(Some(candidate)))
    }

    fn signing_key(&self, candidate: &Candidate, signed: &Signed<'_>) -> SigningKey {
        let secret = candidate.secret.expose();
        self.keys.key(signed.access_key_id(), secret, signed.day(), signed.region())
    }
}

/// The answer to a key or token that leads to nobody.
fn refusal(error: &AuthenticateError, signed: &Signed<'_>) -> Error {
    use AuthenticateError as E;
    match error {
        E::UnknownKey => signed.unknown_key(),
        E::DisabledKey => signed.disabled_key(),
        E::AccountSuspended => Fault::AccountDisabled.into(),
        E::TokenMissing => Fault::TokenMissing.into(),
        E::TokenUnexpected | E::TokenInvalid | E::SessionRevoked => Fault::TokenInvalid.into(),
        E::TokenOfOtherKey => Fault::TokenOfAnotherKey.into(),
        E::TokenExpired => Fault::TokenExpired.into(),
        // Ours to mend; the same request may succeed then.
        E::SecretUnavailable(_) | E::Stale => Fault::Unavailable.into(),
    }
}

/// What a signature must name.
#[derive(Clone, Copy)]
enum Named<'a> {
    /// What the host or the path says.
    Target(&'a Target),
    /// An operation of the admin API.
    Operation(&'a str),
}

impl<'a> Named<'a> {
    fn resource(self, principal: &'a Principal) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Target(target) => resource(principal, target),
            Self::Operation(operation) => Some(signed_resource(operation)),
        }
    }
}

/// What the signature names: account and bucket of the host. In path style the account is not on
/// the wire and is the key's own; without a bucket nothing is named.
fn resource<'a>(principal: &'a Principal, target: &'a Target) -> Option<(&'a str, &'a str)> {
    let own = || principal.account().map_or("", |account| account.as_str());
    let account = target.account.as_ref().map_or_else(own, AccountId::as_str);
    target.bucket.as_deref().map(|bucket| (account, bucket))
}
