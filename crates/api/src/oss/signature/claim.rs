//! What a request says of its sender, checked as far as possible without the secret.

use std::borrow::Cow;

use http::{HeaderMap, header};

use crate::oss::query::decode_value;
use crate::oss::signature::SigningKey;
use crate::oss::signature::body::payload_hash;
use crate::oss::signature::canonical::{self, ALGORITHM, Canonical, TOKEN};
use crate::oss::{Error, Fault, Query, iso_millis, parse_basic, to_basic};

const SKEW_SECONDS_MAX: i64 = 15 * 60;
const EXPIRES_SECONDS_MAX: i64 = 7 * 86_400;
const DAY_SECONDS: i64 = 86_400;

/// The parts of a request that are signed. The URL path is not among them.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The raw query string, without `?`.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
}

/// What the server accepts.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The one signing region.
    pub region: &'a str,
    /// Seconds since 1970.
    pub now: i64,
}

/// Who a request claims to come from.
#[expect(clippy::large_enum_variant, reason = "one per request, on the stack, soon taken apart")]
pub enum Claim<'a> {
    /// No credentials at all.
    Anonymous,
    /// Signed; to be verified with the secret of its access key.
    Signed(Signed<'a>),
}

impl<'a> Claim<'a> {
    /// Reads header or query authentication and checks everything that needs no secret.
    ///
    /// The order of checks: mode, shape and scope, timestamp, skew or validity window, access key
    /// characters, payload hash. Errors: the rows of the signature table in
    /// `docs/compatibility.md`.
    pub fn parse(request: Request<'a>, rules: &Rules<'_>) -> Result<Self, Error> {
        let query = Query::parse(request.query);
        let in_query = uses_query(&query);
        let in_header = request.headers.contains_key(header::AUTHORIZATION);
        let signed = match (in_header, in_query) {
            (false, false) => return Ok(Claim::Anonymous),
            (true, true) => return Err(Error::new(Fault::AuthenticationTwice)),
            (true, false) => from_header(request, rules)?,
            (false, true) => from_query(request, &query, rules)?,
        };
        refuse_repeated(&query)?;
        refuse_repeated_headers(request.headers, &signed.additional)?;
        check_access_key(&signed.credential.access_key_id)?;
        payload_hash(request.headers)?;
        Ok(Claim::Signed(signed))
    }
}

/// A parsed signature whose scope and time are fine.
pub struct Signed<'a> {
    request: Request<'a>,
    credential: Credential<'a>,
    /// The value of the string to sign's date line.
    date: String,
    /// Lowercase, sorted, without repetition.
    additional: Vec<String>,
    token: Option<Cow<'a, str>>,
    signature: Cow<'a, str>,
    in_query: bool,
}

impl Signed<'_> {
    /// The access key id.
    pub fn access_key_id(&self) -> &str {
        &self.credential.access_key_id
    }

    /// The day of the scope, `YYYYMMDD`.
    pub fn day(&self) -> &str {
        &self.credential.day
    }

    /// The region of the scope.
    pub fn region(&self) -> &str {
        &self.credential.region
    }

    /// The security token, if one was sent.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Compares the signature in constant time.
    ///
    /// `resource` is account and bucket of the canonical URI, `None` for the bucket list. Error:
    /// [`Fault::SignatureMismatch`] with its fields, the token masked.
    pub fn verify(&self, key: &SigningKey, resource: Option<(&str, &str)>) -> Result<(), Error> {
        let canonical = self.canonical(resource);
        let text = self.string_to_sign(&canonical);
        if key.verify(&text, &self.signature) {
            return Ok(());
        }
        let bytes: Vec<String> = text.bytes().map(|b| format!("{b:02x}")).collect();
        Err(Error::new(Fault::SignatureMismatch)
            .field("OSSAccessKeyId", self.access_key_id())
            .field("SignatureProvided", &*self.signature)
            .field("StringToSign", text)
            .field("StringToSignBytes", bytes.join(" "))
            .field("CanonicalRequest", canonical.masked()))
    }

    /// The answer to an access key nobody has, after the same work as a comparison.
    pub fn unknown_key(&self) -> Error {
        let key = SigningKey::derive("", self.day(), self.region());
        // The outcome is of no interest; the time it takes is the same as for a known key.
        let text = self.string_to_sign(&self.canonical(None));
        std::hint::black_box(key.verify(&text, &self.signature));
        Error::new(Fault::AccessKeyUnknown).field("OSSAccessKeyId", self.access_key_id())
    }

    /// The answer to a disabled access key.
    pub fn disabled_key(&self) -> Error {
        Error::new(Fault::AccessKeyDisabled).field("OSSAccessKeyId", self.access_key_id())
    }

    /// Whether the signature came in the query of a signed URL.
    pub fn is_presigned(&self) -> bool {
        self.in_query
    }

    fn canonical<'s>(&'s self, resource: Option<(&'s str, &'s str)>) -> Canonical<'s> {
        Canonical {
            method: self.request.method,
            region: self.region(),
            resource,
            query: self.request.query,
            headers: self.request.headers,
            additional: &self.additional,
        }
    }

    fn string_to_sign(&self, canonical: &Canonical<'_>) -> String {
        let scope = canonical::scope(self.day(), self.region());
        canonical::string_to_sign(&self.date, &scope, &canonical.request())
    }
}

/// Access key, day and region of a credential scope.
struct Credential<'a> {
    access_key_id: Cow<'a, str>,
    day: Cow<'a, str>,
    region: Cow<'a, str>,
}

/// The faults that differ between header and query.
struct ScopeFaults {
    shape: Fault,
    day: Fault,
    region: Fault,
}

const HEADER_FAULTS: ScopeFaults = ScopeFaults {
    shape: Fault::CredentialShape,
    day: Fault::SigningDate,
    region: Fault::SigningRegion,
};
const QUERY_FAULTS: ScopeFaults = ScopeFaults {
    shape: Fault::CredentialShapeInQuery,
    day: Fault::SigningDateInQuery,
    region: Fault::SigningRegionInQuery,
};

/// Whether the query tries to authenticate, in any version.
fn uses_query(query: &Query<'_>) -> bool {
    let names =
        ["x-oss-signature", "x-oss-signature-version", "x-oss-credential", "OSSAccessKeyId"];
    names.iter().any(|name| query.has(name))
}

fn refuse_repeated(query: &Query<'_>) -> Result<(), Error> {
    let mut names: Vec<&str> = query.pairs().iter().map(|(name, _)| *name).collect();
    names.retain(|name| name.starts_with("x-oss-"));
    names.sort_unstable();
    match names.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(Error::new(Fault::AuthenticationRepeated)),
        false => Ok(()),
    }
}

/// The canonical request joins the values of a repeated header with commas, so that one header with
/// a comma and two without are signed alike. No client repeats them.
fn refuse_repeated_headers(headers: &HeaderMap, additional: &[String]) -> Result<(), Error> {
    // Without repeated headers the map has as many names as values.
    if headers.len() == headers.keys_len() {
        return Ok(());
    }
    let is_signed = |name: &str| {
        canonical::is_default_signed(name) || additional.iter().any(|listed| listed == name)
    };
    let is_repeated = |name: &&http::HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    match headers.keys().filter(is_repeated).any(|name| is_signed(name.as_str())) {
        true => Err(Error::new(Fault::AuthenticationRepeated)),
        false => Ok(()),
    }
}

fn check_access_key(id: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'=');
    if id.len() <= 128 && id.bytes().all(allowed) {
        return Ok(());
    }
    let shown: String = id.chars().take(128).collect();
    Err(Error::new(Fault::AccessKeyCharacters).field("OSSAccessKeyId", shown))
}

fn from_header<'a>(request: Request<'a>, rules: &Rules<'_>) -> Result<Signed<'a>, Error> {
    let mut values = request.headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    let value = value.ok_or(Error::new(Fault::AuthorizationMalformed))?;
    if values.next().is_some() {
        return Err(Error::new(Fault::AuthenticationRepeated));
    }
    let parts = authorization_parts(value).map_err(|fault| echo(fault, value))?;
    let credential = parse_scope(Cow::Borrowed(parts.credential), rules.region, &HEADER_FAULTS)
        .map_err(|fault| echo(fault, value))?;
    let additional = additional_headers(parts.additional, request.headers)
        .ok_or_else(|| echo(Fault::AdditionalHeaderMissing, value))?;
    let (at, date) = header_time(request.headers)?;
    check_day((&credential.day, &date), at, rules.now).map_err(|fault| echo(fault, value))?;
    check_skew(at, rules.now)?;
    let token = header_token(request.headers)?.map(Cow::Borrowed);
    let signature = Cow::Borrowed(parts.signature);
    Ok(Signed { request, credential, date, additional, token, signature, in_query: false })
}

struct AuthorizationParts<'a> {
    credential: &'a str,
    additional: &'a str,
    signature: &'a str,
}

/// Splits `OSS4-HMAC-SHA256 Credential=..[,AdditionalHeaders=..],Signature=..`; a space may follow
/// a comma.
fn authorization_parts(value: &str) -> Result<AuthorizationParts<'_>, Fault> {
    let rest = value.trim().strip_prefix(ALGORITHM).ok_or(Fault::AuthorizationScheme)?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return Err(Fault::AuthorizationScheme);
    }
    let (mut credential, mut additional, mut signature) = (None, None, None);
    for part in rest.trim().split(',').map(str::trim) {
        if part.is_empty() {
            return Err(Fault::AuthorizationMalformed);
        }
        let (name, text) = part.split_once('=').ok_or(Fault::AuthorizationPart)?;
        let slot = match name {
            "Credential" => &mut credential,
            "AdditionalHeaders" => &mut additional,
            "Signature" => &mut signature,
            _ => return Err(Fault::AuthorizationMalformed),
        };
        if slot.replace(text).is_some() {
            return Err(Fault::AuthorizationMalformed);
        }
    }
    let filled = |text: Option<&'_ str>| text.is_some_and(|text| !text.is_empty());
    if !filled(credential) {
        return Err(Fault::AuthorizationCredentialMissing);
    }
    if !filled(signature) {
        return Err(Fault::AuthorizationSignatureEmpty);
    }
    if additional == Some("") {
        return Err(Fault::AuthorizationAdditionalHeadersEmpty);
    }
    Ok(AuthorizationParts {
        credential: credential.unwrap_or_default(),
        additional: additional.unwrap_or_default(),
        signature: signature.unwrap_or_default(),
    })
}

/// An error that shows the sender its own header, without the signature.
fn echo(fault: Fault, authorization: &str) -> Error {
    let text = match authorization.find("Signature=") {
        Some(at) => format!("{}Signature=***", &authorization[..at]),
        None if fault == Fault::AuthorizationScheme => "***".to_owned(),
        None => authorization.to_owned(),
    };
    Error::new(fault).field("Authorization", text.chars().take(512).collect::<String>())
}

/// Splits `{access key}/{day}/{region}/oss/aliyun_v4_request` and checks it.
fn parse_scope<'a>(
    text: Cow<'a, str>,
    region: &str,
    faults: &ScopeFaults,
) -> Result<Credential<'a>, Fault> {
    let parts: Vec<Cow<'a, str>> = match text {
        Cow::Borrowed(text) => text.split('/').map(Cow::Borrowed).collect(),
        Cow::Owned(text) => text.split('/').map(|part| Cow::Owned(part.to_owned())).collect(),
    };
    let [access_key_id, day, scope_region, product, end]: [Cow<'a, str>; 5] =
        parts.try_into().map_err(|_| faults.shape)?;
    if access_key_id.is_empty() {
        return Err(faults.shape);
    }
    if parse_basic(&format!("{day}T000000Z")).is_none() {
        return Err(faults.day);
    }
    if product != "oss" || end != "aliyun_v4_request" {
        return Err(faults.shape);
    }
    if scope_region != region {
        return Err(faults.region);
    }
    Ok(Credential { access_key_id, day, region: scope_region })
}

/// The listed names, lowercase and sorted; `None` if one is missing from the request.
fn additional_headers(list: &str, headers: &HeaderMap) -> Option<Vec<String>> {
    let names = list.split(';').map(str::trim).filter(|name| !name.is_empty());
    let mut names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    names.sort_unstable();
    names.dedup();
    let present = |name: &String| !name.contains('_') && headers.contains_key(name.as_str());
    names.iter().all(present).then_some(names)
}

/// The time of a header signature, in seconds and in the form that is signed.
fn header_time(headers: &HeaderMap) -> Result<(i64, String), Error> {
    if let Some(value) = headers.get("x-oss-date") {
        let text = value.to_str().ok().map(str::trim);
        let at = text.and_then(parse_basic).ok_or(Error::new(Fault::DateFormat))?;
        return Ok((at, to_basic(at)));
    }
    let value = headers.get(header::DATE).ok_or(Error::new(Fault::DateMissing))?;
    let time = value.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    let time = time.ok_or(Error::new(Fault::DateFormat))?;
    let at =
        time.duration_since(std::time::UNIX_EPOCH).map_err(|_| Error::new(Fault::DateFormat))?;
    let at = i64::try_from(at.as_secs()).map_err(|_| Error::new(Fault::DateFormat))?;
    Ok((at, to_basic(at)))
}

/// The scope's day must be the timestamp's, and not far from today: a signing date that is far off
/// is answered as such and not as skew.
fn check_day((day, date): (&str, &str), at: i64, now: i64) -> Result<(), Fault> {
    let far_off = (at - now).abs() > 7 * DAY_SECONDS;
    if date.get(..8) != Some(day) || far_off { Err(Fault::SigningDate) } else { Ok(()) }
}

fn check_skew(at: i64, now: i64) -> Result<(), Error> {
    if (at - now).abs() <= SKEW_SECONDS_MAX {
        return Ok(());
    }
    Err(Error::new(Fault::TimeSkewed)
        .field("MaxAllowedSkewMilliseconds", (SKEW_SECONDS_MAX * 1000).to_string())
        .field("RequestTime", iso_millis(at * 1000))
        .field("ServerTime", iso_millis(now * 1000)))
}

fn header_token(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(TOKEN).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Error::new(Fault::AuthenticationRepeated));
    }
    let text = |value: &'_ http::HeaderValue| value.to_str().is_ok();
    match first {
        Some(value) if !text(value) => Err(Error::new(Fault::TokenInvalid)),
        Some(value) => Ok(value.to_str().ok()),
        None => Ok(None),
    }
}

fn from_query<'a>(
    request: Request<'a>,
    query: &Query<'a>,
    rules: &Rules<'_>,
) -> Result<Signed<'a>, Error> {
    if query.raw("x-oss-signature-version") != Some(ALGORITHM) {
        return Err(Error::new(Fault::QueryVersionMissing));
    }
    let parameter = |name: &str, missing: Fault| -> Result<Cow<'a, str>, Error> {
        let value = query.raw(name).map(decode_value).transpose()?;
        value.filter(|value| !value.is_empty()).ok_or(Error::new(missing))
    };
    let credential = parameter("x-oss-credential", Fault::QueryParameterMissing)?;
    let date = parameter("x-oss-date", Fault::QueryParameterMissing)?;
    let expires = parameter("x-oss-expires", Fault::QueryExpiresMissing)?;
    let signature = parameter("x-oss-signature", Fault::QuerySignatureMissing)?;
    let credential = parse_scope(credential, rules.region, &QUERY_FAULTS)?;
    let list =
        query.raw("x-oss-additional-headers").map(decode_value).transpose()?.unwrap_or_default();
    let additional = additional_headers(&list, request.headers)
        .ok_or(Error::new(Fault::AdditionalHeaderMissingInQuery))?;
    let at = parse_basic(&date).ok_or(Error::new(Fault::DateFormat))?;
    if date.get(..8) != Some(&*credential.day) {
        return Err(Error::new(Fault::SigningDateInQuery));
    }
    check_window(at, &expires, rules.now)?;
    let token = query.raw(TOKEN).map(decode_value).transpose()?.filter(|token| !token.is_empty());
    let date = date.into_owned();
    Ok(Signed { request, credential, date, additional, token, signature, in_query: true })
}

/// A signed URL is valid from 15 minutes before its date until it expires.
fn check_window(at: i64, expires: &str, now: i64) -> Result<(), Error> {
    let digits = !expires.is_empty() && expires.bytes().all(|b| b.is_ascii_digit());
    let seconds = expires.parse::<i64>().ok().filter(|_| digits);
    let seconds = seconds
        .filter(|seconds| (1..=EXPIRES_SECONDS_MAX).contains(seconds))
        .ok_or(Error::new(Fault::ExpiresRange))?;
    if at - SKEW_SECONDS_MAX <= now && now <= at + seconds {
        return Ok(());
    }
    Err(Error::new(Fault::UrlExpired)
        .field("Expires", iso_millis((at + seconds) * 1000))
        .field("ServerTime", iso_millis(now * 1000)))
}
