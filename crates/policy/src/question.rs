//! A request, prepared for being held against many statements.

use std::cell::OnceCell;

use crate::action::ActionSet;
use crate::demand::{TextKey, letters_of_text};
use crate::document::Effect;
use crate::pattern::Service;
use crate::policy::Rule;
use crate::request::Target;
use crate::sieve::{name_bit, pairs};
use crate::value::Network;
use crate::{Action, Caller, Context, PrincipalPattern, Request, ResourcePattern};

/// What every statement is asked.
pub(crate) struct Question<'a> {
    pub(crate) caller: Caller<'a>,
    pub(crate) action_bit: u64,
    /// The bits of [`name_bit`] one of which a statement about this bucket has.
    pub(crate) bucket_bits: u64,
    /// The same of the index.
    pub(crate) index_bits: u64,
    /// The bits of [`pairs`] that an Allow may demand.
    pub(crate) pairs_allowed: u128,
    /// Those that a Deny may demand.
    pub(crate) pairs_denied: u128,
    /// Whether the caller is the root of the account that owns the resource.
    pub(crate) is_owner: bool,
    service: Service,
    region: &'a str,
    account: &'a str,
    name: Name<'a>,
    pub(crate) context: Context<'a>,
    /// The pairs of letters of text keys, once they were asked for.
    letters: [OnceCell<u128>; TextKey::COUNT],
}

/// The part of a resource name behind the account.
enum Name<'a> {
    /// Exactly this.
    One(&'a str),
    /// Exactly this, made up.
    Made(String),
    /// Either; a pattern that matches one of them speaks of the resource.
    Either(&'a str, String),
    /// Something that starts with this.
    From(String),
}

impl Name<'_> {
    /// The pairs of letters that patterns which match it may hold: those of an Allow, and of a
    /// Deny, which must match all that begins with it.
    fn pairs(&self) -> (u128, u128) {
        let both = |bits: u128| (bits, bits);
        match self {
            Name::One(name) => both(pairs(name)),
            Name::Made(name) => both(pairs(name)),
            Name::Either(name, other) => both(pairs(name) | pairs(other)),
            Name::From(prefix) => (!0, pairs(prefix)),
        }
    }
}

impl<'a> Question<'a> {
    pub(crate) fn new(request: &Request<'a>) -> Self {
        let Request { caller, action, resource, context } = *request;
        let (service, bucket, name) = name(resource.target);
        // Identities are of no region.
        let region = if service == Service::Ram { "" } else { resource.region };
        let (pairs_allowed, pairs_denied) = name.pairs();
        Self {
            pairs_allowed,
            pairs_denied,
            caller,
            action_bit: ActionSet::bit(action),
            bucket_bits: bucket.map_or(!0, name_bit),
            index_bits: index(resource.target).map_or(!0, name_bit),
            is_owner: caller.is_root_of(resource.account),
            service,
            region,
            account: resource.account,
            name,
            context,
            letters: Default::default(),
        }
    }

    /// May this caller assume a role?
    pub(crate) fn about_role(
        caller: Caller<'a>,
        account: &'a str,
        role: &str,
        context: Context<'a>,
    ) -> Self {
        Self {
            caller,
            action_bit: ActionSet::bit(Action::AssumeRole),
            bucket_bits: !0,
            index_bits: !0,
            pairs_allowed: !0,
            pairs_denied: !0,
            is_owner: matches!(caller, Caller::Root { .. }),
            service: Service::Ram,
            region: "",
            account,
            name: Name::Made(format!("role/{role}")),
            context,
            letters: Default::default(),
        }
    }

    /// Whether the caller belongs to the account that owns the resource, so that its own policies
    /// count.
    pub(crate) fn is_of_the_account(&self) -> bool {
        self.caller.account() == Some(self.account)
    }

    /// Whether the request comes from a network.
    pub(crate) fn comes_from(&self, network: &Network) -> bool {
        self.context.source_ip.is_some_and(|address| network.contains(address))
    }

    /// The pairs of letters in the text of a key; none where the request lacks it.
    pub(crate) fn letters(&self, key: TextKey) -> u128 {
        let of_text = || self.context.text(&key.key()).map_or(0, |text| letters_of_text(&text));
        *self.letters[key as usize].get_or_init(of_text)
    }

    /// Holds a statement against the question; the first part that does not fit is the answer.
    pub(crate) fn judge(&self, rule: &Rule) -> Verdict {
        let statement = &rule.statement;
        let is_deny = statement.effect == Effect::Deny;
        if rule.is_inert() {
            return Verdict::NotUnderstood;
        }
        if rule.actions.bits() & self.action_bit == 0 {
            return Verdict::OtherAction;
        }
        if let Some(principals) = &statement.principals {
            let spared = self.is_owner && !statement.is_conditioned;
            if !principals.iter().any(|p| self.is_meant(p, spared)) {
                let had_everyone = principals.contains(&PrincipalPattern::Everyone);
                return if had_everyone { Verdict::OwnerSpared } else { Verdict::OtherPrincipal };
            }
        }
        if !statement.resources.iter().any(|resource| self.is_about(resource, is_deny)) {
            return Verdict::OtherResource;
        }
        let failing = statement.conditions.iter().position(|c| !c.holds(&self.context));
        failing.map_or(Verdict::Applies, Verdict::ConditionFails)
    }

    /// `*` without a condition does not mean the owner.
    fn is_meant(&self, principal: &PrincipalPattern, owner_is_spared: bool) -> bool {
        let passes_over = owner_is_spared && *principal == PrincipalPattern::Everyone;
        !passes_over && principal.matches(&self.caller)
    }

    fn is_about(&self, pattern: &ResourcePattern, is_deny: bool) -> bool {
        pattern.reaches(self.service, is_deny)
            && pattern.matches_place(self.region, self.account)
            && match &self.name {
                Name::One(name) => pattern.name().matches(name),
                Name::Made(name) => pattern.name().matches(name),
                Name::Either(name, other) => {
                    pattern.name().matches(name) || pattern.name().matches(other)
                }
                Name::From(prefix) if is_deny => pattern.name().matches_all_from(prefix),
                Name::From(prefix) => pattern.name().matches_some_from(prefix),
            }
    }
}

/// Service, bucket and resource name of a target.
fn name(target: Target<'_>) -> (Service, Option<&str>, Name<'_>) {
    let vector = |bucket, name| (Service::Vector, Some(bucket), name);
    match target {
        Target::Account => (Service::Vector, None, Name::One("*")),
        Target::Bucket(bucket) => vector(bucket, Name::One(bucket)),
        Target::Indexes(bucket) => vector(bucket, Name::Either(bucket, format!("{bucket}/*"))),
        Target::Index { bucket, index } => vector(bucket, Name::Made(format!("{bucket}/{index}"))),
        Target::Data { bucket, index } => vector(bucket, Name::Made(format!("{bucket}/{index}/*"))),
        Target::SomeIndex(bucket) => vector(bucket, Name::From(format!("{bucket}/"))),
        Target::Objects(bucket) => {
            (Service::Object, Some(bucket), Name::Made(format!("{bucket}/*")))
        }
        Target::Identity(name) => (Service::Ram, None, Name::One(name)),
    }
}

/// The index of a target, as far as a pattern without wildcards would name it.
fn index(target: Target<'_>) -> Option<&str> {
    match target {
        Target::Index { index, .. } | Target::Data { index, .. } => index.split('/').next(),
        Target::Account
        | Target::Bucket(_)
        | Target::Indexes(_)
        | Target::SomeIndex(_)
        | Target::Objects(_)
        | Target::Identity(_) => None,
    }
}

/// How a statement answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It applies: grants or refuses.
    Applies,
    /// It does not mean the action.
    OtherAction,
    /// It does not mean the caller.
    OtherPrincipal,
    /// It means everybody, without a condition, and so not the owner.
    OwnerSpared,
    /// It does not mean the resource.
    OtherResource,
    /// The condition of this number does not hold.
    ConditionFails(usize),
    /// It is an Allow with something in it that is not understood.
    NotUnderstood,
    /// It would grant, but it is public and public access is blocked.
    PublicAccessBlocked,
}
