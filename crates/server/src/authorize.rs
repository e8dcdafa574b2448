//! May this caller do this: the one place that can say yes.
//!
//! Twice per request: [`Case::coarse`] on what the head names, before anything of the body is
//! read, and [`Grant::index`] once the body has named the index. Both end in an [`Authorized`]
//! value, which operations demand and only this file can make.
//!
//! What counts is gathered in a [`Case`] beforehand and does not change while the request lives;
//! the rules themselves are `vb_policy`'s.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use http::HeaderValue;
use vb_api::oss::{AccountId, BucketName, Error, Fault, IndexName, Level, Operation};
use vb_engine::BucketId;
use vb_identity::Principal;
use vb_policy::{Action, Cause, Decision, Policy, PolicySet, Request, Resource, Target, evaluate};

use crate::audit::Verdict;
use crate::authenticate::Caller;

/// A request whose caller may do it.
#[derive(Debug)]
pub(crate) struct Authorized<Op> {
    request: Op,
    owner: AccountId,
    bucket: Option<BucketName>,
}

impl<Op> Authorized<Op> {
    /// What is asked for.
    pub(crate) fn request(&self) -> &Op {
        &self.request
    }

    /// The account that owns what is named.
    pub(crate) fn owner(&self) -> &AccountId {
        &self.owner
    }

    /// The plain name of the bucket; empty for the bucket list.
    pub(crate) fn bucket(&self) -> &str {
        self.bucket.as_ref().map_or("", BucketName::as_str)
    }

    /// The bucket as the engine names it.
    pub(crate) fn bucket_id(&self) -> BucketId {
        bucket_id(&self.owner, self.bucket())
    }
}

/// Who asks for what, and everything that has a say about it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) caller: Caller,
    pub(crate) operation: Operation,
    /// The account that is addressed.
    pub(crate) owner: AccountId,
    /// The bucket as the request has it: whether it is a name is told to those only who may ask.
    pub(crate) bucket: Option<Box<str>>,
    /// The bucket's policy, if it has one.
    pub(crate) policy: Option<Arc<Policy>>,
    /// Whether public access to the account's buckets is blocked.
    pub(crate) block_public_access: bool,
    pub(crate) circumstances: Circumstances,
}

/// What conditions look at.
#[derive(Debug)]
pub(crate) struct Circumstances {
    pub(crate) region: Arc<str>,
    pub(crate) client: IpAddr,
    pub(crate) secure_transport: bool,
    /// Seconds since 1970.
    pub(crate) time: i64,
    pub(crate) user_agent: Option<HeaderValue>,
}

impl Case {
    /// Decides on the head alone: is there anything of this kind that the caller may do here?
    /// `tell` learns of the decision either way.
    ///
    /// # Errors
    /// The fault of the refusal; then [`Fault::BucketNameInvalid`], which only those learn who may
    /// ask.
    pub(crate) fn coarse(self, tell: impl FnOnce(Verdict)) -> Result<Grant, Error> {
        let target = coarse_target(self.operation, self.bucket.as_deref());
        self.decide(action(self.operation), target, self.policy.as_deref(), tell)?;
        let bucket = self.bucket.as_deref().map(BucketName::parse).transpose()?;
        Ok(Grant { case: self, bucket })
    }

    fn decide(
        &self,
        action: Action,
        target: Target<'_>,
        bucket: Option<&Policy>,
        tell: impl FnOnce(Verdict),
    ) -> Result<(), Error> {
        let policies = PolicySet {
            identity: self.caller.policies(),
            session: self.caller.session_policy(),
            bucket,
            block_public_access: self.block_public_access,
        };
        let decision = evaluate(&policies, &self.request(action, target));
        tell(verdict(&decision));
        outcome(&decision, action)
    }

    fn request<'a>(&'a self, action: Action, target: Target<'a>) -> Request<'a> {
        let (principal, given) = (self.caller.principal(), &self.circumstances);
        Request {
            caller: principal.caller(),
            action,
            resource: Resource { region: &given.region, account: self.owner.as_str(), target },
            context: vb_policy::Context {
                source_ip: Some(given.client),
                secure_transport: given.secure_transport,
                time: given.time,
                user_agent: given.user_agent.as_ref().and_then(|value| value.to_str().ok()),
                access_key_id: principal.access_key_id(),
            },
        }
    }
}

/// What the head of a request was granted; turned into [`Authorized`] by what the body names.
#[derive(Debug)]
pub(crate) struct Grant {
    case: Case,
    bucket: Option<BucketName>,
}

impl Grant {
    /// The operation that was granted.
    pub(crate) fn operation(&self) -> Operation {
        self.case.operation
    }

    /// The bucket whose existence the operation depends on; `None` for the bucket list.
    pub(crate) fn bucket_id(&self) -> Option<BucketId> {
        self.bucket.as_ref().map(|bucket| bucket_id(&self.case.owner, bucket.as_str()))
    }

    /// Whether public access to the account's buckets is blocked.
    pub(crate) fn blocks_public_access(&self) -> bool {
        self.case.block_public_access
    }

    /// For an operation on the account or on the bucket as a whole, which [`Case::coarse`] decided
    /// on.
    pub(crate) fn whole<Op>(self, request: Op) -> Authorized<Op> {
        let is_whole = matches!(self.operation().level(), Level::Account | Level::Bucket);
        assert!(is_whole, "what is done to an index is decided by the index");
        self.authorized(request)
    }

    /// For an operation on an index that the body names.
    ///
    /// # Errors
    /// The fault of the refusal.
    pub(crate) fn index<Op: NamesIndex>(
        self,
        request: Op,
        tell: impl FnOnce(Verdict),
    ) -> Result<Authorized<Op>, Error> {
        self.decide_on(request.index(), tell)?;
        Ok(self.authorized(request))
    }

    /// Whether the operation may be done to this index.
    pub(crate) fn reaches(&self, index: &IndexName) -> bool {
        self.decide_on(index, |_| ()).is_ok()
    }

    /// Whether access logs may be sent there: a right of its own, which the policy of the bucket
    /// that they tell of does not give.
    ///
    /// # Errors
    /// The fault of the refusal.
    pub(crate) fn log_target(&self, name: &str, tell: impl FnOnce(Verdict)) -> Result<(), Error> {
        self.case.decide(Action::PutObject, Target::Objects(name), None, tell)
    }

    fn decide_on(&self, index: &IndexName, tell: impl FnOnce(Verdict)) -> Result<(), Error> {
        let bucket = self.bucket.as_ref().map_or("", BucketName::as_str);
        let target = exact_target(self.operation(), bucket, index.as_str());
        self.case.decide(action(self.operation()), target, self.case.policy.as_deref(), tell)
    }

    fn authorized<Op>(self, request: Op) -> Authorized<Op> {
        Authorized { request, owner: self.case.owner, bucket: self.bucket }
    }
}

/// A request that names an index.
pub(crate) trait NamesIndex {
    /// The index it names.
    fn index(&self) -> &IndexName;
}

/// The account that is addressed: the host's, or the caller's own where the host names none.
///
/// # Errors
/// [`Fault::AnonymousForbidden`] where there is neither.
pub(crate) fn owner(
    principal: &Principal,
    target: &vb_api::oss::Target,
) -> Result<AccountId, Error> {
    let own = || AccountId::parse(principal.account()?.as_str());
    target.account.clone().or_else(own).ok_or_else(|| Fault::AnonymousForbidden.into())
}

fn bucket_id(owner: &AccountId, bucket: &str) -> BucketId {
    BucketId::new(owner.as_bytes(), bucket)
}

/// The actions of operations, in the order of [`Operation::ALL`].
static ACTIONS: LazyLock<Box<[Action]>> = LazyLock::new(|| {
    let action = |operation: &Operation| {
        Action::parse(operation.action()).expect("policies know the action of every operation")
    };
    Operation::ALL.iter().map(action).collect()
});

fn action(operation: Operation) -> Action {
    ACTIONS[operation as usize]
}

/// What an operation is done to, as far as the head says.
fn coarse_target(operation: Operation, bucket: Option<&str>) -> Target<'_> {
    let Some(bucket) = bucket else { return Target::Account };
    match operation.level() {
        Level::Account => Target::Account,
        Level::Bucket if operation == Operation::ListVectorIndexes => Target::Indexes(bucket),
        Level::Bucket => Target::Bucket(bucket),
        Level::Index | Level::Data => Target::SomeIndex(bucket),
    }
}

/// What an operation on an index is done to.
fn exact_target<'a>(operation: Operation, bucket: &'a str, index: &'a str) -> Target<'a> {
    match operation.level() {
        Level::Data => Target::Data { bucket, index },
        Level::Account | Level::Bucket | Level::Index => Target::Index { bucket, index },
    }
}

/// What a decision means for the request.
fn outcome(decision: &Decision<'_>, action: Action) -> Result<(), Error> {
    let fault = match decision.cause {
        Cause::Owner | Cause::Granted => return Ok(()),
        Cause::Anonymous => Fault::AnonymousForbidden,
        Cause::DeniedByBucket => Fault::DeniedExplicitly,
        Cause::DeniedByIdentity => Fault::DeniedByIdentity,
        Cause::DeniedByBoth => Fault::DeniedByBoth,
        Cause::NotGrantedBySession | Cause::DeniedBySession => Fault::DeniedBySession,
        Cause::NotGranted
        | Cause::NotGrantedToStranger
        | Cause::NotTrusted
        | Cause::DeniedByTrust => Fault::NotOwner,
    };
    let error = Error::new(fault);
    Err(match decision.denial(action) {
        None => error,
        Some(denial) => error
            .field("AuthAction", denial.action)
            .field("NoPermissionType", denial.no_permission_type)
            .field("PolicyType", denial.policy_type),
    })
}

/// What the audit is told of a decision.
pub(crate) fn verdict(decision: &Decision<'_>) -> Verdict {
    Verdict {
        allowed: decision.is_allowed(),
        reason: reason(decision.cause).into(),
        statement: decision.statement.map(|statement| statement.to_string().into()),
    }
}

/// What the audit is told where nobody is behind a request that names no account.
pub(crate) fn nobody() -> Verdict {
    Verdict { allowed: false, reason: reason(Cause::Anonymous).into(), statement: None }
}

fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Owner => "owner",
        Cause::Granted => "granted",
        Cause::Anonymous => "anonymous",
        Cause::NotGranted => "not_granted",
        Cause::NotGrantedToStranger => "not_granted_to_stranger",
        Cause::DeniedByBucket => "denied_by_bucket",
        Cause::DeniedByIdentity => "denied_by_identity",
        Cause::DeniedByBoth => "denied_by_both",
        Cause::NotGrantedBySession => "not_granted_by_session",
        Cause::DeniedBySession => "denied_by_session",
        Cause::NotTrusted => "not_trusted",
        Cause::DeniedByTrust => "denied_by_trust",
    }
}

#[cfg(test)]
mod tests {
    use vb_api::oss::Style;
    use vb_policy::{Document, Kind};

    use super::*;

    const A: &str = "1234567890123456";

    fn case(operation: Operation, policy: Option<&str>) -> Case {
        let policy = policy.map(|text| {
            let document = Document::parse(Kind::Bucket, text.as_bytes()).unwrap();
            Arc::new(Policy::new("vec", document))
        });
        Case {
            caller: Caller::anonymous(),
            operation,
            owner: AccountId::parse(A).unwrap(),
            bucket: Some("vec".into()),
            policy,
            block_public_access: false,
            circumstances: Circumstances {
                region: "cn-hangzhou".into(),
                client: IpAddr::from([127, 0, 0, 1]),
                secure_transport: false,
                time: 0,
                user_agent: None,
            },
        }
    }

    /// Anonymous callers may put vectors into `docs`.
    const DOCS: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Principal":"*",
        "Action":"oss:PutVectors","Resource":"acs:ossvector:*:*:vec/docs/*"}]}"#;

    fn refused<T: std::fmt::Debug>(decided: Result<T, Error>) -> Fault {
        decided.unwrap_err().fault()
    }

    #[test]
    fn nobody_does_anything_without_a_grant() {
        for operation in Operation::ALL {
            let mut told = None;
            let decided = case(*operation, None).coarse(|verdict| told = Some(verdict));
            assert_eq!(refused(decided), Fault::AnonymousForbidden, "{operation:?}");
            assert!(!told.unwrap().allowed);
        }
    }

    #[test]
    fn an_index_is_decided_on_when_it_is_named() {
        let grant = case(Operation::PutVectors, Some(DOCS)).coarse(|_| ()).unwrap();
        assert!(grant.reaches(&IndexName::parse("docs").unwrap()));
        let other = IndexName::parse("other").unwrap();
        let mut told = None;
        let decided = grant.index(other, |verdict| told = Some(verdict));
        assert_eq!(refused(decided), Fault::AnonymousForbidden);
        assert_eq!(&*told.unwrap().reason, "anonymous");
        let grant = case(Operation::PutVectors, Some(DOCS)).coarse(|_| ()).unwrap();
        let mut told = None;
        let docs = IndexName::parse("docs").unwrap();
        grant.index(docs, |verdict| told = Some(verdict)).unwrap();
        assert_eq!(told.unwrap().statement.as_deref(), Some("bucket policy vec, Statement[0]"));
        assert_eq!(
            refused(case(Operation::GetVectors, Some(DOCS)).coarse(|_| ())),
            Fault::AnonymousForbidden
        );
    }

    #[test]
    fn names_are_told_to_those_who_may_ask() {
        let named = |policy| {
            let mut case = case(Operation::GetVectorBucket, policy);
            case.bucket = Some("No_Name".into());
            refused(case.coarse(|_| ()))
        };
        let open = r#"{"Version":"1","Statement":[{"Effect":"Allow","Principal":"*",
            "Action":"*","Resource":"*"}]}"#;
        assert_eq!(named(None), Fault::AnonymousForbidden);
        assert_eq!(named(Some(open)), Fault::BucketNameInvalid);
    }

    #[test]
    fn refusals_say_what_is_missing() {
        let error = case(Operation::PutVectors, None).coarse(|_| ()).unwrap_err();
        let fields = [
            ("AuthAction", "oss:PutVectors".to_owned()),
            ("NoPermissionType", "ImplicitDeny".to_owned()),
            ("PolicyType", "BucketPolicy".to_owned()),
        ];
        assert_eq!(error.fields(), fields);
    }

    #[test]
    fn faults_carry_the_codes_of_their_causes() {
        use Cause as C;
        for cause in [
            C::Anonymous,
            C::NotGranted,
            C::NotGrantedToStranger,
            C::DeniedByBucket,
            C::DeniedByIdentity,
            C::DeniedByBoth,
            C::NotGrantedBySession,
            C::DeniedBySession,
        ] {
            let decision = Decision { cause, statement: None };
            let error = outcome(&decision, Action::PutVectors).unwrap_err();
            assert_eq!(Some(error.ec()), cause.ec(), "{cause:?}");
        }
    }

    #[test]
    fn the_host_or_the_caller_names_the_account() {
        let account = vb_identity::AccountId::parse(A).unwrap();
        let root = Principal::Root { account, access_key_id: "AK".into() };
        let target = |account: Option<&str>| vb_api::oss::Target {
            host: "localhost".into(),
            style: Style::Virtual,
            account: account.and_then(AccountId::parse),
            bucket: None,
        };
        let other = "6543210987654321";
        assert_eq!(owner(&root, &target(None)).unwrap().as_str(), A);
        assert_eq!(owner(&root, &target(Some(other))).unwrap().as_str(), other);
        assert_eq!(refused(owner(&Principal::Anonymous, &target(None))), Fault::AnonymousForbidden);
    }
}
