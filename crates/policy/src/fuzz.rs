//! Bodies of fuzz targets: total functions on bytes that assert what must hold.
#![doc(hidden)]

use std::net::IpAddr;
use std::sync::Arc;

use crate::{
    Action, Caller, Context, Document, Effect, Glob, Kind, Network, Policy, PolicySet, Request,
    Resource, Target, evaluate, explain,
};

const KINDS: [Kind; 4] = [Kind::Bucket, Kind::Identity, Kind::Session, Kind::Trust];

/// Any bytes parse or are refused; what is accepted prints to a text that parses to the same and
/// is read from the store as the same.
pub fn policy(bytes: &[u8]) {
    for kind in KINDS {
        let Ok(document) = Document::parse(kind, bytes) else { continue };
        assert!(!document.statements().is_empty());
        let text = document.print();
        // The canonical text of a document just under the limit may be just above it.
        if text.len() <= kind.bytes_max() {
            assert_eq!(Document::parse(kind, text.as_bytes()).as_ref(), Ok(&document), "{text}");
        }
        assert_eq!(Policy::stored(kind, "p", bytes), Policy::new("p", document));
    }
}

/// Stored bytes decide something about every request: nobody but the owner gets in unless an
/// Allow was understood, and the explanation agrees.
pub fn decide(bytes: &[u8]) {
    let own = [Arc::new(Policy::stored(Kind::Identity, "own", bytes))];
    let bucket = Policy::stored(Kind::Bucket, "bucket", bytes);
    let session = Policy::stored(Kind::Session, "session", bytes);
    let owner = "1000000000000001";
    let callers = [
        Caller::Anonymous,
        Caller::Root { account: owner },
        Caller::User { account: owner, id: "1", name: "u" },
        Caller::Role { account: "2", id: "2", name: "r", session: "s" },
    ];
    for caller in callers {
        let target = Target::Data { bucket: "vec", index: "i" };
        let resource = Resource { region: "r", account: owner, target };
        let request =
            Request { caller, action: Action::PutVectors, resource, context: Context::default() };
        let session = matches!(caller, Caller::Role { .. }).then_some(&session);
        let set = PolicySet {
            identity: &own,
            session,
            bucket: Some(&bucket),
            block_public_access: false,
        };
        let decision = evaluate(&set, &request);
        assert_eq!(explain(&set, &request).decision, decision);
        let grants = |policy: &Policy| {
            policy.rules().iter().any(|r| r.statement.effect == Effect::Allow && !r.is_inert())
        };
        let is_owner = caller.is_root_of(owner);
        assert!(is_owner || !decision.is_allowed() || grants(&own[0]) || grants(&bucket));
    }
}

/// The first byte cuts the rest into pattern and text; a literal pattern matches only itself.
pub fn glob(bytes: &[u8]) {
    let Some((cut, rest)) = bytes.split_first() else { return };
    let (pattern, text) = rest.split_at(usize::from(*cut).min(rest.len()));
    let (pattern, text) = (String::from_utf8_lossy(pattern), String::from_utf8_lossy(text));
    let glob = Glob::new(&pattern);
    if glob.is_literal() {
        assert_eq!(glob.matches(&text), pattern == text);
    }
    assert!(!glob.matches(&text) || glob.matches_some_from(&text));
    assert!(!glob.matches_all_from("") || glob.matches(&text));
    assert!(Glob::new("*").matches(&text) && Glob::new(&format!("*{text}")).matches(&text));
    if let Some(network) = Network::parse(&text) {
        network.contains(IpAddr::from([127, 0, 0, 1]));
    }
}
