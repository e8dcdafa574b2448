//! What a caller may be allowed to do.

use std::sync::LazyLock;

use crate::Glob;

macro_rules! actions {
    ($($name:ident $product:literal,)*) => {
        /// An action that is checked somewhere. Policies may name others; they match nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are the language's own")]
        pub enum Action { $($name,)* }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Action] = &[$(Action::$name,)*];

            /// The name with its usual prefix, `oss:PutVectors`.
            pub const fn name(self) -> &'static str {
                match self { $(Action::$name => concat!($product, ":", stringify!($name)),)* }
            }
        }
    };
}

actions! {
    ListVectorBuckets "oss",
    PutVectorBucket "oss",
    GetVectorBucket "oss",
    DeleteVectorBucket "oss",
    PutBucketPolicy "oss",
    GetBucketPolicy "oss",
    DeleteBucketPolicy "oss",
    GetBucketPolicyStatus "oss",
    PutBucketLogging "oss",
    GetBucketLogging "oss",
    DeleteBucketLogging "oss",
    PutBucketTagging "oss",
    GetBucketTagging "oss",
    DeleteBucketTagging "oss",
    PutBucketResourceGroup "oss",
    GetBucketResourceGroup "oss",
    PutVectorIndex "oss",
    GetVectorIndex "oss",
    ListVectorIndexes "oss",
    DeleteVectorIndex "oss",
    PutVectors "oss",
    GetVectors "oss",
    ListVectors "oss",
    DeleteVectors "oss",
    QueryVectors "oss",
    PutVectorIndexFusion "oss",
    QueryVectorsFusion "oss",
    PutObject "oss",
    AssumeRole "sts",
    AdminRead "vectorbucket",
    AdminUsers "vectorbucket",
    AdminKeys "vectorbucket",
    AdminRoles "vectorbucket",
    AdminPolicies "vectorbucket",
    AdminSessions "vectorbucket",
    AdminBuckets "vectorbucket",
    AdminAccount "vectorbucket",
}

impl Action {
    /// The action of a name. The prefixes `oss:` and `ossvector:` mean the same; case does not
    /// matter.
    pub fn parse(text: &str) -> Option<Self> {
        let (product, name) = text.split_once(':')?;
        let product = if product.eq_ignore_ascii_case("ossvector") { "oss" } else { product };
        Self::ALL.iter().copied().find(|action| {
            let (own_product, own_name) = action.parts();
            own_product.eq_ignore_ascii_case(product) && own_name.eq_ignore_ascii_case(name)
        })
    }

    /// Product and name.
    pub(crate) fn parts(self) -> (&'static str, &'static str) {
        self.name().split_once(':').expect("an action's name has a product")
    }

    /// Whether only the caller's own policies count: because there is no bucket yet whose policy
    /// could (`PutVectorBucket` and `ListVectorBuckets`), or because buckets have no say about who
    /// administers.
    pub const fn is_without_bucket_policy(self) -> bool {
        matches!(self, Action::ListVectorBuckets | Action::PutVectorBucket)
            || self.is_administrative()
    }

    /// Whether it is about identities and settings of the account, not about what it stores.
    pub const fn is_administrative(self) -> bool {
        matches!(
            self,
            Action::AdminRead
                | Action::AdminUsers
                | Action::AdminKeys
                | Action::AdminRoles
                | Action::AdminPolicies
                | Action::AdminSessions
                | Action::AdminBuckets
                | Action::AdminAccount
        )
    }

    /// The plain action whose name also stands for this one: the documents give both names to the
    /// fusion operations.
    const fn also_named(self) -> Option<Action> {
        match self {
            Action::PutVectorIndexFusion => Some(Action::PutVectorIndex),
            Action::QueryVectorsFusion => Some(Action::QueryVectors),
            _ => None,
        }
    }
}

/// A set of actions, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActionSet(u64);

const _: () = assert!(Action::ALL.len() <= 64, "an action set is one word");

impl ActionSet {
    /// Those that a lower-case pattern names.
    pub(crate) fn named(pattern: &Glob) -> Self {
        if pattern.is_any() {
            return Self(Action::ALL.iter().fold(0, |set, action| set | Self::bit(*action)));
        }
        let matched = SPELLINGS.iter().filter(|(text, _)| pattern.matches(text));
        matched.fold(Self::EMPTY, |set, (_, named)| set.union(*named))
    }

    /// All that are in one of the two.
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All that are not in the set.
    pub(crate) fn complement(self) -> Self {
        Self(!self.0)
    }

    /// No action.
    pub(crate) const EMPTY: Self = Self(0);

    /// The set as a word, [`Self::bit`] of each action.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The bit of an action.
    pub(crate) const fn bit(action: Action) -> u64 {
        1 << action as u64
    }
}

/// Every way to write an action, in lower case, and what is meant by it. Made once: a session's policy
/// is read while its first request waits.
static SPELLINGS: LazyLock<Box<[(String, ActionSet)]>> = LazyLock::new(|| {
    let spelled = |action: &Action| {
        let (product, name) = action.parts();
        let products: &[&str] = if product == "oss" { &["oss", "ossvector"] } else { &[product] };
        let meant = meant_by(*action);
        let text = |product: &&str| (format!("{product}:{name}").to_ascii_lowercase(), meant);
        products.iter().map(text).collect::<Vec<_>>()
    };
    Action::ALL.iter().flat_map(spelled).collect()
});

/// The action itself and those that it also names.
fn meant_by(named: Action) -> ActionSet {
    let also = Action::ALL.iter().filter(|action| action.also_named() == Some(named));
    ActionSet(also.fold(ActionSet::bit(named), |set, action| set | ActionSet::bit(*action)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_meaning() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.name()), Some(*action));
        }
        assert_eq!(Action::parse("OSSVector:putvectors"), Some(Action::PutVectors));
        for unknown in ["", "PutVectors", "oss:", "ecs:PutVectors", "sts:PutVectors", "oss:Put*"] {
            assert_eq!(Action::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_fusion_action_has_two_names() {
        let set = |text: &str| ActionSet::named(&Glob::new(text)).bits();
        let fusion = ActionSet::bit(Action::QueryVectorsFusion);
        assert_eq!(set("oss:queryvectors"), fusion | ActionSet::bit(Action::QueryVectors));
        assert_eq!(set("oss:queryvectorsfusion"), fusion);
        assert_eq!(set("sts:*"), ActionSet::bit(Action::AssumeRole));
        assert_eq!(set("*").count_ones() as usize, Action::ALL.len());
        assert_eq!(set("ossvector:*"), set("oss:*"));
    }
}
