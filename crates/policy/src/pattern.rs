//! What a statement names: actions and resources.

use std::borrow::Cow;

use crate::action::ActionSet;
use crate::{Action, Glob, Kind, PolicyError};

/// An action pattern. The prefixes `oss:` and `ossvector:` mean the same; case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionPattern {
    text: Box<str>,
    meant: ActionSet,
}

impl ActionPattern {
    /// Parses `*` or `{product}:{name}`.
    ///
    /// The product is `oss` or `ossvector`, `sts` or `vectorbucket` where the kind of document may
    /// speak of identities, or has a wildcard. A trust policy names `sts:AssumeRole` alone.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, PolicyError> {
        let lower = text.to_ascii_lowercase();
        let known = match (kind, lower.split_once(':')) {
            (Kind::Trust, _) => lower == "sts:assumerole",
            (_, None) => lower == "*",
            (kind, Some((product, name))) => is_product(kind, product) && !name.is_empty(),
        };
        if !known {
            return Err(PolicyError::syntax(format!("the action {text:?} is not an OSS action")));
        }
        Ok(Self { text: text.into(), meant: ActionSet::named(&Glob::new(&lower)) })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether an action is meant.
    pub fn matches(&self, action: Action) -> bool {
        self.meant.bits() & ActionSet::bit(action) != 0
    }

    pub(crate) fn meant(&self) -> ActionSet {
        self.meant
    }
}

fn is_product(kind: Kind, product: &str) -> bool {
    let speaks_of_identities = matches!(kind, Kind::Identity | Kind::Session);
    matches!(product, "oss" | "ossvector")
        || (matches!(product, "sts" | "vectorbucket") && speaks_of_identities)
        || product.contains(['*', '?'])
}

/// Whose resource a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// `acs:ossvector:`.
    Vector = 0,
    /// `acs:oss:`, ordinary buckets.
    Object = 1,
    /// `acs:ram:`, roles and other identities.
    Ram = 2,
}

/// A resource pattern, in the short spelling `{bucket}/{index}/*`.
///
/// The long spellings `bucket/{bucket}`, `bucket/{bucket}/{index}` and
/// `bucket/{bucket}/index/{index}` are brought to the short one. That is unambiguous because no
/// bucket can be named `bucket`. `*/*`, documented as a spelling of everything, becomes `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcePattern {
    service: Glob,
    /// Whether the service is meant, by [`Service`].
    reach: [bool; 3],
    region: Glob,
    account: Glob,
    name: Glob,
}

impl ResourcePattern {
    /// Parses `*` or `acs:{service}:{region}:{account}:{name}`.
    ///
    /// The service is `ossvector`, `oss`, `ram` where the kind of document may speak of roles, or
    /// a pattern that matches one of them. Region and account must not be empty (but for `ram`):
    /// they would match nothing.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, PolicyError> {
        if text == "*" {
            return Ok(Self::everything());
        }
        let refuse =
            || PolicyError::syntax(format!("the resource {text:?} is not an OSS resource"));
        let parts: Vec<&str> = text.splitn(5, ':').collect();
        let ["acs", service, region, account, name] = parts[..] else { return Err(refuse()) };
        let is_ram = service == "ram" && matches!(kind, Kind::Identity | Kind::Session);
        let service = Glob::new(service);
        let reach = reach(&service);
        let is_known = is_ram || reach[Service::Vector as usize] || reach[Service::Object as usize];
        let is_empty = name.is_empty() || (!is_ram && (region.is_empty() || account.is_empty()));
        if !is_known || is_empty {
            return Err(refuse());
        }
        let name = if is_ram { Glob::new(name) } else { Glob::new(short_name(name).as_ref()) };
        Ok(Self { service, reach, region: Glob::new(region), account: Glob::new(account), name })
    }

    /// The pattern `*`.
    pub fn everything() -> Self {
        let any = || Glob::new("*");
        Self { service: any(), reach: [true; 3], region: any(), account: any(), name: any() }
    }

    /// Whether a resource of a vector bucket, given by its parts, is granted by this pattern.
    pub fn matches(&self, region: &str, account: &str, name: &str) -> bool {
        self.reaches(Service::Vector, false)
            && self.matches_place(region, account)
            && self.name.matches(name)
    }

    /// Whether the pattern speaks of a service.
    ///
    /// `acs:oss:` reaches vector buckets in a Deny only: a policy that was written for ordinary
    /// buckets must not open vector buckets of the same name.
    pub(crate) fn reaches(&self, service: Service, is_deny: bool) -> bool {
        let of_ordinary = is_deny && service == Service::Vector && self.means(Service::Object);
        self.means(service) || of_ordinary
    }

    fn means(&self, service: Service) -> bool {
        self.reach[service as usize]
    }

    pub(crate) fn matches_place(&self, region: &str, account: &str) -> bool {
        self.region.matches(region) && self.account.matches(account)
    }

    pub(crate) fn name(&self) -> &Glob {
        &self.name
    }

    /// The one bucket that the pattern can be about; `None` if there may be several.
    pub(crate) fn only_bucket(&self) -> Option<&str> {
        let name = self.name.as_str();
        let bucket = name.split_once('/').map_or(name, |(bucket, _)| bucket);
        let is_one = !bucket.contains(['*', '?']) && !self.means(Service::Ram);
        is_one.then_some(bucket)
    }

    /// The one index that the pattern can be about; `None` if there may be several, or none.
    pub(crate) fn only_index(&self) -> Option<&str> {
        let (_, rest) = self.only_bucket().and_then(|_| self.name.as_str().split_once('/'))?;
        let index = rest.split('/').next().unwrap_or(rest);
        (!index.contains(['*', '?'])).then_some(index)
    }

    /// The pattern in the short spelling.
    pub fn to_text(&self) -> String {
        let parts = [&self.service, &self.region, &self.account, &self.name];
        if parts.iter().all(|part| part.as_str() == "*") {
            return "*".to_owned();
        }
        let [service, region, account, name] = parts.map(Glob::as_str);
        format!("acs:{service}:{region}:{account}:{name}")
    }
}

fn reach(service: &Glob) -> [bool; 3] {
    ["ossvector", "oss", "ram"].map(|name| service.matches(name))
}

/// Drops `bucket/`, and behind it the infix `index/`.
fn short_name(name: &str) -> Cow<'_, str> {
    let rest = name.strip_prefix("bucket/").filter(|rest| !rest.is_empty());
    let short = match rest.map(|rest| (rest, rest.split_once("/index/"))) {
        None => Cow::Borrowed(name),
        Some((_, Some((bucket, index)))) if !bucket.contains('/') => {
            Cow::Owned(format!("{bucket}/{index}"))
        }
        Some((rest, _)) => Cow::Borrowed(rest),
    };
    if short == "*/*" { Cow::Borrowed("*") } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_ignore_case_and_prefix() {
        let cases = [
            ("oss:PutVectors", true),
            ("ossvector:putvectors", true),
            ("oss:Put*", true),
            ("*", true),
            ("OSS:*", true),
            ("*:PutVectors", true),
            ("oss:GetVectors", false),
            ("oss:Put", false),
            ("ossvector:PutVector?", true),
        ];
        for (text, expected) in cases {
            let pattern = ActionPattern::parse(Kind::Bucket, text).unwrap();
            assert_eq!(pattern.matches(Action::PutVectors), expected, "{text}");
            assert_eq!(pattern.as_str(), text);
        }
        for bad in ["", "PutVectors", "ecs:Start", "oss:", "oss", "sts:AssumeRole"] {
            assert!(ActionPattern::parse(Kind::Bucket, bad).is_err(), "{bad}");
        }
        assert!(ActionPattern::parse(Kind::Identity, "sts:AssumeRole").is_ok());
        assert!(ActionPattern::parse(Kind::Identity, "vectorbucket:Admin*").is_ok());
        assert!(ActionPattern::parse(Kind::Bucket, "vectorbucket:AdminRead").is_err());
        assert!(ActionPattern::parse(Kind::Trust, "sts:AssumeRole").is_ok());
        assert!(ActionPattern::parse(Kind::Trust, "*").is_err());
    }

    #[test]
    fn resources_have_one_short_spelling() {
        let cases = [
            ("acs:ossvector:*:*:bucket/vec", "acs:ossvector:*:*:vec"),
            ("acs:ossvector:*:1:bucket/vec/*", "acs:ossvector:*:1:vec/*"),
            ("acs:ossvector:*:1:bucket/vec/index/i/*", "acs:ossvector:*:1:vec/i/*"),
            ("acs:ossvector:*:1:bucket/*/index/i", "acs:ossvector:*:1:*/i"),
            ("acs:ossvector:*:1:vec/index/*", "acs:ossvector:*:1:vec/index/*"),
            ("acs:ossvector:*:*:*/*", "acs:ossvector:*:*:*"),
            ("acs:ossvector:*:*:bucket/*/*", "acs:ossvector:*:*:*"),
            ("acs:oss:*:*:vec/*", "acs:oss:*:*:vec/*"),
            ("acs:*:*:*:*", "*"),
            ("*", "*"),
        ];
        for (text, short) in cases {
            let pattern = ResourcePattern::parse(Kind::Bucket, text).unwrap();
            assert_eq!(pattern.to_text(), short, "{text}");
            assert_eq!(ResourcePattern::parse(Kind::Bucket, short).unwrap(), pattern);
        }
        let bad = [
            "",
            "vec",
            "acs:ossvector:*:*:",
            "acs:ossvector::1:vec",
            "acs:ossvector:*::vec",
            "acs:ecs*:*:*:x",
            "acs:ram:*:*:x",
            "arn:oss:*:*:x",
            "acs:oss:*:*",
        ];
        for bad in bad {
            assert!(ResourcePattern::parse(Kind::Bucket, bad).is_err(), "{bad}");
        }
        assert!(ResourcePattern::parse(Kind::Identity, "acs:ram::1:role/r").is_ok());
    }

    #[test]
    fn resources_match_by_part() {
        let pattern = |text| ResourcePattern::parse(Kind::Bucket, text).unwrap();
        let region = pattern("acs:ossvector:cn-hangzhou:1:vec/*");
        assert!(region.matches("cn-hangzhou", "1", "vec/i/*"));
        assert!(!region.matches("cn-beijing", "1", "vec/i/*"));
        assert!(!region.matches("cn-hangzhou", "1", "vec"));
        assert!(pattern("acs:ossvector:*:*:*").matches("r", "2", "vec/i"));
        assert!(pattern("acs:ossvector:*:*:v?c/i").matches("r", "2", "vec/i"));
        assert!(pattern("acs:oss*:*:*:vec").matches("r", "2", "vec"));
    }

    #[test]
    fn ordinary_buckets_reach_vector_buckets_in_a_deny_only() {
        let pattern = ResourcePattern::parse(Kind::Bucket, "acs:oss:*:*:vec").unwrap();
        assert!(!pattern.matches("r", "1", "vec"));
        assert!(pattern.reaches(Service::Vector, true));
        assert!(!pattern.reaches(Service::Vector, false));
    }

    #[test]
    fn the_only_bucket() {
        let only = |text| {
            let pattern = ResourcePattern::parse(Kind::Bucket, text).unwrap();
            pattern.only_bucket().map(str::to_owned)
        };
        assert_eq!(only("acs:ossvector:*:*:vec/i/*").as_deref(), Some("vec"));
        assert_eq!(only("acs:ossvector:*:*:bucket/vec").as_deref(), Some("vec"));
        assert_eq!(only("acs:ossvector:*:*:vec*"), None);
        assert_eq!(only("*"), None);
    }
}
