//! What can be administered: every verb once, with its arguments and the right that it takes.

use vb_policy::Action;

/// The nouns with what they are.
pub(crate) const NOUNS: &[(&str, &str)] = &[
    ("account", "Tenants"),
    ("user", "Users of an account"),
    ("group", "Users with policies in common"),
    ("role", "Rights that can be assumed"),
    ("key", "Access keys of users"),
    ("policy", "RAM policies, and what they decide"),
    ("session", "Temporary credentials"),
    ("ring", "The keys that secrets are sealed with"),
    ("token", "Tokens of the admin API"),
    ("bucket", "Buckets whose policy shuts everybody out"),
];

/// One verb of a noun.
#[derive(Debug)]
pub(crate) struct Verb {
    pub(crate) noun: &'static str,
    pub(crate) verb: &'static str,
    /// Arguments that must be given; on a command line by their place.
    pub(crate) required: &'static [Argument],
    /// Arguments that may be given; on a command line as flags.
    pub(crate) optional: &'static [Argument],
    /// Who may, over a network.
    pub(crate) right: Right,
    pub(crate) about: &'static str,
}

/// Who may give an order over a network. With access to the store nobody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Whoever holds a token of the admin API: it is about the whole store, or about what an
    /// account may be.
    Operator,
    /// Also the account's root, and those whose policies allow the action on all that is touched.
    Account(Action),
    /// Nobody: it makes or needs secrets that do not travel.
    Nobody,
}

/// An argument: how it is named on command lines and in JSON, and what it holds.
#[derive(Debug)]
pub(crate) struct Argument {
    /// On a command line.
    pub(crate) flag: &'static str,
    /// In JSON.
    pub(crate) member: &'static str,
    pub(crate) form: Form,
    pub(crate) help: &'static str,
}

/// What an argument holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A string.
    Text,
    /// A policy document: a file's name on a command line, a string or an object in JSON.
    Document,
    /// A whole number.
    Number,
    /// `true` or `false`; on a command line there or not.
    Switch,
    /// A list of strings; on a command line separated by commas, or `any` for none.
    List,
    /// `true`, `false` or `null`; on a command line `on`, `off` or `default`.
    OnOffDefault,
}

const fn argument(
    flag: &'static str,
    member: &'static str,
    form: Form,
    help: &'static str,
) -> Argument {
    Argument { flag, member, form, help }
}

const fn text(name: &'static str, help: &'static str) -> Argument {
    argument(name, name, Form::Text, help)
}

const USER: Argument = text("user", "name of a user");
const GROUP: Argument = text("group", "name of a group");
const ROLE: Argument = text("role", "name of a role");
const KEY: Argument = text("key", "id of an access key");
const POLICY: Argument = text("policy", "name of a policy");
const BUCKET: Argument = text("bucket", "name of a bucket");
const ID: Argument = text("id", "id of the entry");
const SESSION: Argument = text("session", "name of the session");
const CALLER: Argument = text("caller", "root, anonymous, user:NAME or role:NAME/SESSION");
const ACTION: Argument = text("action", "as oss:PutVectors");
const RESOURCE: Argument = text("resource", "*, BUCKET or BUCKET/INDEX");
const COMMENT: Argument = text("comment", "for people");
const SOURCE_IP: Argument =
    argument("source-ip", "source_ip", Form::Text, "address the request would come from");
const TRUST: Argument = argument("trust-file", "trust", Form::Document, "the trust policy");
const DOCUMENT: Argument = argument("file", "document", Form::Document, "the policy");
const NARROWING: Argument =
    argument("policy", "policy", Form::Document, "file with a policy that narrows the session");
const SESSION_MAX: Argument =
    argument("session-max", "session_max", Form::Number, "longest session, seconds, 3600 to 43200");
const SECONDS: Argument = argument("seconds", "seconds", Form::Number, "3600 to 43200");
const DURATION: Argument =
    argument("duration", "duration", Form::Number, "seconds that the session lasts");
const VERSION: Argument =
    argument("version", "version", Form::Number, "only if this is still the policy's version");
const FORCE: Argument = argument("force", "force", Form::Switch, "also what is not empty");
const ALL: Argument = argument("all", "all", Form::Switch, "of the whole account");
const NETWORKS: Argument =
    argument("networks", "networks", Form::List, "a.b.c.d/n,... or any; 20 at most");
const BLOCK: Argument =
    argument("on-off-default", "block", Form::OnOffDefault, "on, off, or default as the server");
const BUCKETS: Argument = argument("buckets", "buckets", Form::Number, "vector buckets");
const INDEXES: Argument =
    argument("indexes-per-bucket", "indexes_per_bucket", Form::Number, "indexes of one bucket");
const VECTORS: Argument = argument("vectors", "vectors", Form::Number, "records of all indexes");
const BYTES: Argument = argument("bytes", "bytes", Form::Number, "bytes stored for all indexes");

const READ: Right = Right::Account(Action::AdminRead);
const USERS: Right = Right::Account(Action::AdminUsers);
const KEYS: Right = Right::Account(Action::AdminKeys);
const ROLES: Right = Right::Account(Action::AdminRoles);
const POLICIES: Right = Right::Account(Action::AdminPolicies);
const SESSIONS: Right = Right::Account(Action::AdminSessions);
const ACCOUNT: Right = Right::Account(Action::AdminAccount);
const POLICY_OF_BUCKETS: Right = Right::Account(Action::AdminBuckets);

macro_rules! verbs {
    ($($noun:literal $verb:literal [$($required:expr),*] [$($optional:expr),*] $right:expr, $about:literal;)*) => {
        /// Every verb.
        pub(crate) const VERBS: &[Verb] = &[$(Verb {
            noun: $noun,
            verb: $verb,
            required: &[$($required),*],
            optional: &[$($optional),*],
            right: $right,
            about: $about,
        },)*];
    };
}

verbs! {
    "account" "list" [] [] Right::Operator, "All accounts with a record";
    "account" "show" [] [] READ, "Everything that is known of an account";
    "account" "create" [] [COMMENT] Right::Operator, "Make the record of an account";
    "account" "comment" [COMMENT] [] ACCOUNT, "Replace the comment";
    "account" "delete" [] [] Right::Operator, "Delete an account that holds nothing";
    "account" "suspend" [] [] Right::Operator, "Let nobody of the account in, its root included";
    "account" "resume" [] [] Right::Operator, "End a suspension";
    "account" "quotas" [] [BUCKETS, INDEXES, VECTORS, BYTES] Right::Operator, "Replace all quotas; what is not given is as the server is set";
    "account" "block-public-access" [BLOCK] [] ACCOUNT, "Whether bucket policies may let everybody in";
    "user" "list" [] [] READ, "The users";
    "user" "create" [USER] [COMMENT] USERS, "A user without keys and rights";
    "user" "delete" [USER] [FORCE] USERS, "Delete a user";
    "user" "enable" [USER] [] USERS, "Let a user in again";
    "user" "disable" [USER] [] USERS, "Refuse all keys and sessions of a user";
    "group" "list" [] [] READ, "The groups";
    "group" "create" [GROUP] [COMMENT] USERS, "A group without members";
    "group" "delete" [GROUP] [FORCE] USERS, "Delete a group";
    "group" "add" [GROUP, USER] [] USERS, "Put a user into a group";
    "group" "remove" [GROUP, USER] [] USERS, "Take a user out of a group";
    "role" "list" [] [] READ, "The roles";
    "role" "create" [ROLE, TRUST] [COMMENT, SESSION_MAX] ROLES, "A role that those whom the trust policy names may assume";
    "role" "delete" [ROLE] [FORCE] ROLES, "Delete a role and end its sessions";
    "role" "trust" [ROLE, TRUST] [] ROLES, "Replace the trust policy";
    "role" "session-max" [ROLE, SECONDS] [] ROLES, "Longest session";
    "key" "list" [] [] READ, "The access keys";
    "key" "create" [USER] [] KEYS, "Make an access key and show its secret, once";
    "key" "enable" [USER, KEY] [] KEYS, "Accept a key again";
    "key" "disable" [USER, KEY] [] KEYS, "Refuse a key";
    "key" "delete" [USER, KEY] [] KEYS, "Delete a key";
    "key" "limit" [USER, KEY, NETWORKS] [] KEYS, "Accept a key from these networks only (a.b.c.d/n,... or any)";
    "policy" "list" [] [] READ, "The policies that can be attached";
    "policy" "create" [POLICY, DOCUMENT] [COMMENT] POLICIES, "A policy that can be attached";
    "policy" "set" [POLICY, DOCUMENT] [VERSION] POLICIES, "Replace a policy's document";
    "policy" "delete" [POLICY] [] POLICIES, "Delete a policy that is attached nowhere";
    "policy" "attach" [POLICY] [USER, GROUP, ROLE] POLICIES, "Attach a policy to a user, group or role";
    "policy" "detach" [POLICY] [USER, GROUP, ROLE] POLICIES, "Detach it";
    "policy" "put-inline" [POLICY, DOCUMENT] [USER, GROUP, ROLE] POLICIES, "Give a policy of its own to a user, group or role";
    "policy" "delete-inline" [POLICY] [USER, GROUP, ROLE] POLICIES, "Take it away";
    "policy" "explain" [CALLER, ACTION, RESOURCE] [SOURCE_IP] READ, "Which statement decides, and why the others do not";
    "session" "open" [ROLE, SESSION] [DURATION, NARROWING] Right::Nobody, "Assume a role as root; prints what credentials providers read";
    "session" "revoke" [] [USER, ROLE, ALL] SESSIONS, "End sessions";
    "ring" "generate" [ID] [] Right::Nobody, "Make an entry for the key ring";
    "ring" "rekey" [] [] Right::Operator, "Seal all secrets with the first entry of the ring";
    "token" "generate" [] [] Right::Nobody, "Make a token for admin_token_file";
    "bucket" "drop-policy" [BUCKET] [] POLICY_OF_BUCKETS, "Remove a bucket's policy, for a root that it shuts out";
}

impl Verb {
    /// The verb of a noun.
    pub(crate) fn find(noun: &str, verb: &str) -> Option<&'static Self> {
        VERBS.iter().find(|known| (known.noun, known.verb) == (noun, verb))
    }

    /// All arguments.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static Argument> {
        self.required.iter().chain(self.optional)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_documented_with_its_right_and_arguments() {
        let page = include_str!("../../../../docs/admin-api.md");
        for verb in VERBS {
            assert!(NOUNS.iter().any(|(noun, _)| *noun == verb.noun), "{}", verb.noun);
            let right = match verb.right {
                Right::Operator => "token".to_owned(),
                Right::Account(action) => format!("`{}`", action.name()),
                Right::Nobody => continue,
            };
            let members = |arguments: &[Argument]| -> Vec<String> {
                arguments.iter().map(|argument| format!("`{}`", argument.member)).collect()
            };
            let optional = members(verb.optional).into_iter().map(|name| format!("[{name}]"));
            let all: Vec<String> = members(verb.required).into_iter().chain(optional).collect();
            let row = format!("| `{}/{}` | {} | {right} |", verb.noun, verb.verb, all.join(" "));
            assert!(page.contains(&row), "{row} is missing in docs/admin-api.md");
        }
    }
}
