//! What a statement names: actions, resources, principals.

use crate::{Glob, PolicyError};

/// An action pattern. The prefixes `oss:` and `ossvector:` mean the same; case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionPattern(Glob);

impl ActionPattern {
    /// Parses `*` or `{product}:{name}`, where the product is `oss`, `ossvector` or has a wildcard.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let lower = text.to_ascii_lowercase();
        let known = match lower.split_once(':') {
            None => lower == "*",
            Some((product, name)) => {
                let product_known =
                    matches!(product, "oss" | "ossvector") || product.contains(['*', '?']);
                product_known && !name.is_empty()
            }
        };
        if known {
            Ok(Self(Glob::new(&lower)))
        } else {
            Err(PolicyError::syntax(format!("the action {text:?} is not an OSS action")))
        }
    }

    /// Whether an action such as `oss:PutVectors` is meant.
    pub fn matches(&self, action: &str) -> bool {
        let lower = action.to_ascii_lowercase();
        let name = lower.split_once(':').map_or(lower.as_str(), |(_, name)| name);
        ["oss", "ossvector"].iter().any(|product| self.0.matches(&format!("{product}:{name}")))
    }
}

/// The service of a resource pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `acs:ossvector:`.
    Vector,
    /// `acs:oss:`, ordinary buckets. It counts for vector requests in a Deny only: a policy
    /// written for ordinary buckets must not open vector buckets of the same name.
    Object,
    /// `*` or a service with a wildcard.
    Any,
}

/// A resource pattern, in the short spelling `{bucket}/{index}/*`.
///
/// The long spellings `bucket/{bucket}`, `bucket/{bucket}/{index}` and
/// `bucket/{bucket}/index/{index}` are brought to the short one. That is unambiguous because no
/// bucket can be named `bucket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcePattern {
    /// The service.
    pub service: Service,
    region: Glob,
    account: Glob,
    name: Glob,
}

impl ResourcePattern {
    /// Parses `*` or `acs:{service}:{region}:{account}:{name}`.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text == "*" {
            let any = || Glob::new("*");
            return Ok(Self { service: Service::Any, region: any(), account: any(), name: any() });
        }
        let refuse =
            || PolicyError::syntax(format!("the resource {text:?} is not an OSS resource"));
        let parts: Vec<&str> = text.splitn(5, ':').collect();
        let [acs, service, region, account, name] = parts[..] else { return Err(refuse()) };
        let service = match service {
            "ossvector" => Service::Vector,
            "oss" => Service::Object,
            wild if wild.contains(['*', '?']) => Service::Any,
            _ => return Err(refuse()),
        };
        if acs != "acs" || name.is_empty() {
            return Err(refuse());
        }
        let (region, account) = (Glob::new(region), Glob::new(account));
        Ok(Self { service, region, account, name: Glob::new(&short_name(name)) })
    }

    /// Whether a resource of the vector service, given by its parts, is meant.
    pub fn matches(&self, region: &str, account: &str, name: &str) -> bool {
        self.region.matches(region) && self.account.matches(account) && self.name.matches(name)
    }

    /// The pattern in the short spelling.
    pub fn to_text(&self) -> String {
        let service = match self.service {
            Service::Vector => "ossvector",
            Service::Object => "oss",
            Service::Any => "*",
        };
        let (region, account) = (self.region.as_str(), self.account.as_str());
        format!("acs:{service}:{region}:{account}:{}", self.name.as_str())
    }
}

/// Drops `bucket/`, and behind it the infix `index/`.
fn short_name(name: &str) -> String {
    let Some(rest) = name.strip_prefix("bucket/") else { return name.to_owned() };
    match rest.split_once("/index/") {
        Some((bucket, index)) if !bucket.contains('/') => format!("{bucket}/{index}"),
        _ => rest.to_owned(),
    }
}

/// A principal pattern of a bucket policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalPattern {
    /// `*`: everybody, also anonymous callers.
    Everyone,
    /// A numeric id of an account, user or role.
    Id(Box<str>),
    /// `arn:sts::{uid}:assumed-role/{role}/{session}`, with case.
    AssumedRole {
        /// The account.
        account: Box<str>,
        /// The role.
        role: Box<str>,
        /// The session; `None` for `*`.
        session: Option<Box<str>>,
    },
}

impl PrincipalPattern {
    /// Parses one value.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let is_id = |t: &str| (1..=32).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
        if text == "*" {
            return Ok(Self::Everyone);
        }
        if is_id(text) {
            return Ok(Self::Id(text.into()));
        }
        let role = text.strip_prefix("arn:sts::").and_then(|rest| {
            let (account, rest) = rest.split_once(":assumed-role/")?;
            let (role, session) = rest.split_once('/')?;
            let fine = is_id(account) && is_name(role) && (session == "*" || is_name(session));
            let session = (session != "*").then(|| session.into());
            fine.then(|| Self::AssumedRole { account: account.into(), role: role.into(), session })
        });
        role.ok_or_else(|| PolicyError::syntax(format!("the principal {text:?} is not valid")))
    }
}

/// Role and session names.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'@' | b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
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
        ];
        for (pattern, expected) in cases {
            let matches = ActionPattern::parse(pattern).unwrap().matches("oss:PutVectors");
            assert_eq!(matches, expected, "{pattern}");
        }
        for bad in ["", "PutVectors", "ecs:Start", "oss:", "oss"] {
            assert!(ActionPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn resources_have_one_short_spelling() {
        let cases = [
            ("acs:ossvector:*:*:bucket/vec", "acs:ossvector:*:*:vec"),
            ("acs:ossvector:*:1:bucket/vec/*", "acs:ossvector:*:1:vec/*"),
            ("acs:ossvector:*:1:bucket/vec/index/i/*", "acs:ossvector:*:1:vec/i/*"),
            ("acs:ossvector:*:1:vec/index/*", "acs:ossvector:*:1:vec/index/*"),
            ("acs:oss:*:*:vec/*", "acs:oss:*:*:vec/*"),
            ("*", "acs:*:*:*:*"),
        ];
        for (text, short) in cases {
            assert_eq!(ResourcePattern::parse(text).unwrap().to_text(), short, "{text}");
        }
        for bad in
            ["", "vec", "acs:ossvector:*:*:", "acs:ecs:*:*:x", "arn:oss:*:*:x", "acs:oss:*:*"]
        {
            assert!(ResourcePattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn resources_match_by_part() {
        let pattern = |text| ResourcePattern::parse(text).unwrap();
        let region = pattern("acs:ossvector:cn-hangzhou:1:vec/*");
        assert!(region.matches("cn-hangzhou", "1", "vec/i/*"));
        assert!(!region.matches("cn-beijing", "1", "vec/i/*"));
        assert!(!region.matches("cn-hangzhou", "1", "vec"));
        assert!(pattern("acs:ossvector:*:*:*").matches("r", "2", "vec/i"));
        assert!(pattern("acs:ossvector:*:*:v?c/i").matches("r", "2", "vec/i"));
    }

    #[test]
    fn principals() {
        assert_eq!(PrincipalPattern::parse("*").unwrap(), PrincipalPattern::Everyone);
        assert!(matches!(PrincipalPattern::parse("1234").unwrap(), PrincipalPattern::Id(_)));
        let role = PrincipalPattern::parse("arn:sts::1:assumed-role/Role.x/*").unwrap();
        assert!(matches!(role, PrincipalPattern::AssumedRole { session: None, .. }));
        let bad = [
            "",
            "12*",
            "user",
            "arn:sts::1:assumed-role/x",
            "arn:sts::1:assumed-role//s",
            "arn:sts::x:assumed-role/r/s",
            "arn:sts::1:assumed-role/r/s/t",
        ];
        for bad in bad {
            assert!(PrincipalPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
