//! May this caller do this: the one place that can say yes.
//!
//! Twice per request: [`coarse`] on what the head names, before anything of the body is read, and
//! [`Grant::index`] once the body has named the index. Both end in an [`Authorized`] value, which
//! operations demand and only this file can make.
//!
//! Today's rule is ownership: the root key of an account may do everything to its own account and
//! nothing to another, and nobody may do anything anonymously.

use vb_api::oss::{AccountId, BucketName, Error, Fault, IndexName, Operation, Target};
use vb_engine::BucketId;
use vb_identity::Principal;

use crate::audit::Verdict;

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

/// What the head of a request was granted; turned into [`Authorized`] by what the body names.
#[derive(Debug)]
pub(crate) struct Grant {
    principal: Principal,
    operation: Operation,
    owner: AccountId,
    bucket: Option<BucketName>,
}

/// Decides on the head alone: is there anything of this kind that the caller may do here?
///
/// # Errors
/// [`Fault::AnonymousForbidden`], [`Fault::NotOwner`]; then [`Fault::BucketNameInvalid`], which
/// only those learn who may ask.
pub(crate) fn coarse(
    principal: Principal,
    operation: Operation,
    target: &Target,
) -> Result<Grant, Error> {
    let owner = owner(&principal, target)?;
    allowed(&principal, &owner)?;
    let bucket = target.bucket.as_deref().map(BucketName::parse).transpose()?;
    Ok(Grant { principal, operation, owner, bucket })
}

/// What the audit is told of a decision.
pub(crate) fn verdict<T>(decided: &Result<T, Error>) -> Verdict {
    let reason = match decided {
        Ok(_) => "owner",
        Err(error) => error.code().as_str(),
    };
    // Ownership alone decides; there is no statement to name.
    Verdict { allowed: decided.is_ok(), reason: reason.into(), statement: None }
}

impl Grant {
    /// The operation that was granted.
    pub(crate) fn operation(&self) -> Operation {
        self.operation
    }

    /// The bucket whose existence the operation depends on; `None` for the bucket list.
    pub(crate) fn bucket_id(&self) -> Option<BucketId> {
        self.bucket.as_ref().map(|bucket| bucket_id(&self.owner, bucket.as_str()))
    }

    /// For an operation on the account or on the bucket as a whole, which [`coarse`] decided on.
    pub(crate) fn whole<Op>(self, request: Op) -> Authorized<Op> {
        Authorized { request, owner: self.owner, bucket: self.bucket }
    }

    /// For an operation on an index that the body names.
    ///
    /// # Errors
    /// [`Fault::AnonymousForbidden`], [`Fault::NotOwner`].
    pub(crate) fn index<Op: NamesIndex>(self, request: Op) -> Result<Authorized<Op>, Error> {
        // Ownership reaches every index of the account; rules per index decide here later.
        allowed(&self.principal, &self.owner)?;
        Ok(self.whole(request))
    }
}

/// A request that names an index.
pub(crate) trait NamesIndex {
    /// The index it names.
    fn index(&self) -> &IndexName;
}

fn bucket_id(owner: &AccountId, bucket: &str) -> BucketId {
    BucketId::new(owner.as_bytes(), bucket)
}

/// The account that is addressed: the host's, or the caller's own where the host names none.
fn owner(principal: &Principal, target: &Target) -> Result<AccountId, Error> {
    let own = || AccountId::parse(principal.account()?.as_str());
    target.account.clone().or_else(own).ok_or_else(|| Fault::AnonymousForbidden.into())
}

fn allowed(principal: &Principal, owner: &AccountId) -> Result<(), Error> {
    match principal {
        Principal::Anonymous => Err(Fault::AnonymousForbidden.into()),
        Principal::Root { account, .. } if account.as_str() == owner.as_str() => Ok(()),
        // Users and roles have no rights of their own.
        _ => Err(Fault::NotOwner.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb_api::oss::Style;

    fn root(account: &str) -> Principal {
        let account = vb_identity::AccountId::parse(account).unwrap();
        Principal::Root { account, access_key_id: "AK".into() }
    }

    fn target(account: Option<&str>, bucket: Option<&str>) -> Target {
        Target {
            host: "localhost".into(),
            style: Style::Virtual,
            account: account.and_then(AccountId::parse),
            bucket: bucket.map(Into::into),
        }
    }

    fn decide(principal: Principal, target: &Target) -> Result<String, Fault> {
        let grant = coarse(principal, Operation::GetVectorBucket, target);
        grant.map(|g| format!("{:?}", g.bucket_id())).map_err(|e| e.fault())
    }

    const A: &str = "1234567890123456";
    const B: &str = "6543210987654321";

    #[test]
    fn root_rules_its_own_account_only() {
        let own = decide(root(A), &target(Some(A), Some("vec"))).unwrap();
        assert_eq!(own, format!("Some({A}/vec)"));
        assert_eq!(decide(root(A), &target(None, Some("vec"))).unwrap(), own);
        assert_eq!(decide(root(A), &target(Some(B), Some("vec"))), Err(Fault::NotOwner));
        assert_eq!(decide(root(A), &target(None, None)), Ok("None".to_owned()));
    }

    #[test]
    fn nobody_acts_anonymously_or_learns_about_names() {
        for bucket in ["vec", "No_Name"] {
            let fault = decide(Principal::Anonymous, &target(Some(A), Some(bucket)));
            assert_eq!(fault, Err(Fault::AnonymousForbidden));
            assert_eq!(decide(root(B), &target(Some(A), Some(bucket))), Err(Fault::NotOwner));
        }
        assert_eq!(
            decide(Principal::Anonymous, &target(None, None)),
            Err(Fault::AnonymousForbidden)
        );
        let invalid = decide(root(A), &target(Some(A), Some("No_Name")));
        assert_eq!(invalid, Err(Fault::BucketNameInvalid));
    }
}
