//! What must hold for all policies and requests.

use std::fmt::Write;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use vb_policy::{
    Action, Caller, Context, Document, Kind, Policy, PolicySet, Request, Resource, Target,
    evaluate, explain,
};

const OWNER: &str = "1000000000000001";
const OTHER: &str = "2000000000000002";

/// A statement as text, so that tests can leave parts out and parse what remains.
#[derive(Clone, Debug)]
struct Draft {
    effect: &'static str,
    verb: &'static str,
    actions: Vec<&'static str>,
    principals: Vec<&'static str>,
    resources: Vec<&'static str>,
    conditions: Vec<(&'static str, &'static str, &'static str)>,
}

impl Draft {
    fn text(&self, kind: Kind) -> String {
        let list = |items: &[&str]| serde_json::to_string(items).expect("strings are JSON");
        let mut text = format!(
            r#"{{"Effect":"{}","{}":{},"Resource":{}"#,
            self.effect,
            self.verb,
            list(&self.actions),
            list(&self.resources)
        );
        if kind == Kind::Bucket {
            write!(text, r#","Principal":{}"#, list(&self.principals))
                .expect("writing to a String cannot fail");
        }
        let conditions = self.conditions.iter();
        let conditions =
            conditions.map(|(op, key, values)| format!(r#""{op}":{{"{key}":{values}}}"#));
        let conditions: Vec<String> = conditions.collect();
        text + &format!(r#","Condition":{{{}}}}}"#, conditions.join(","))
    }
}

fn document(kind: Kind, drafts: &[Draft]) -> Document {
    let statements: Vec<String> = drafts.iter().map(|draft| draft.text(kind)).collect();
    let text = format!(r#"{{"Version":"1","Statement":[{}]}}"#, statements.join(","));
    Document::parse(kind, text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// No statements, no policy: a document cannot be empty.
fn policy(kind: Kind, drafts: &[Draft]) -> Option<Policy> {
    (!drafts.is_empty()).then(|| Policy::new("p", document(kind, drafts)))
}

fn some_of(items: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(items.to_vec(), 1..=2)
}

/// One condition per operator, so that the operators of a statement differ.
fn conditions() -> impl Strategy<Value = Vec<(&'static str, &'static str, &'static str)>> {
    let all = vec![
        ("IpAddress", "acs:SourceIp", r#"["10.0.0.0/8","1.2.3.4"]"#),
        ("NotIpAddress", "acs:SourceIp", r#"["10.1.0.0/16"]"#),
        ("StringEquals", "acs:AccessId", r#"["k1","k2"]"#),
        ("StringNotEquals", "acs:AccessId", r#"["k1"]"#),
        ("StringLike", "acs:UserAgent", r#"["sdk*"]"#),
        ("StringNotLike", "acs:SourceVpc", r#"["vpc-*"]"#),
        ("Bool", "acs:SecureTransport", r#"["true"]"#),
        ("DateLessThan", "acs:CurrentTime", r#"["1970-01-01T00:01:40Z"]"#),
        ("DateNotEquals", "acs:CurrentTime", r#"["1970-01-01T00:00:50Z"]"#),
        ("NumericEquals", "oss:BucketTag/n", r#"["1"]"#),
        ("NumericNotEquals", "oss:BucketTag/n", r#"["1"]"#),
    ];
    subsequence(all, 0..=2)
}

fn draft() -> impl Strategy<Value = Draft> {
    let actions: &[&str] =
        &["oss:PutVectors", "oss:Get*", "ossvector:*Vectors", "*", "oss:ListVectorIndexes"];
    let principals: &[&str] =
        &["*", OWNER, OTHER, "11", "12", "arn:sts::1000000000000001:assumed-role/r/*"];
    let resources: &[&str] = &[
        "*",
        "acs:ossvector:*:*:vec",
        "acs:ossvector:*:*:vec/*",
        "acs:ossvector:*:*:bucket/vec/index/i1/*",
        "acs:ossvector:cn-*:*:v?c/i*",
        "acs:oss:*:*:vec*",
        "acs:ossvector:*:2000000000000002:*",
    ];
    let effect = select(vec!["Allow", "Allow", "Deny"]);
    let verb = select(vec!["Action", "Action", "NotAction"]);
    let lists = (some_of(actions), some_of(principals), some_of(resources));
    (effect, verb, lists, conditions()).prop_map(
        |(effect, verb, (actions, principals, resources), conditions)| Draft {
            effect,
            verb,
            actions,
            principals,
            resources,
            conditions,
        },
    )
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    prop::collection::vec(draft(), 0..5)
}

fn caller() -> impl Strategy<Value = Caller<'static>> {
    select(vec![
        Caller::Anonymous,
        Caller::Root { account: OWNER },
        Caller::Root { account: OTHER },
        Caller::User { account: OWNER, id: "11", name: "u" },
        Caller::User { account: OTHER, id: "12", name: "v" },
        Caller::Role { account: OWNER, id: "13", name: "r", session: "s" },
    ])
}

fn target() -> impl Strategy<Value = Target<'static>> {
    select(vec![
        Target::Account,
        Target::Bucket("vec"),
        Target::Bucket("other"),
        Target::Indexes("vec"),
        Target::Index { bucket: "vec", index: "i1" },
        Target::Data { bucket: "vec", index: "i1" },
        Target::Data { bucket: "vec", index: "x" },
    ])
}

fn context() -> impl Strategy<Value = Context<'static>> {
    let address = select(vec![None, Some("10.1.2.3"), Some("10.2.0.1"), Some("1.2.3.4")]);
    let agent = select(vec![None, Some("sdk/1"), Some("curl")]);
    let key = select(vec![None, Some("k1"), Some("k3")]);
    (address, agent, key, any::<bool>(), select(vec![0i64, 50, 100, 200])).prop_map(
        |(address, user_agent, access_key_id, secure_transport, time)| Context {
            source_ip: address.map(|text| text.parse().expect("an address")),
            secure_transport,
            time,
            user_agent,
            access_key_id,
        },
    )
}

fn request() -> impl Strategy<Value = Request<'static>> {
    let action = select(Action::ALL.to_vec());
    (caller(), action, target(), context()).prop_map(|(caller, action, target, context)| Request {
        caller,
        action,
        resource: Resource { region: "cn-hangzhou", account: OWNER, target },
        context,
    })
}

/// The three sides as drafts.
#[derive(Clone, Debug)]
struct Sides {
    identity: Vec<Draft>,
    bucket: Vec<Draft>,
    session: Option<Vec<Draft>>,
    block: bool,
}

fn sides() -> impl Strategy<Value = Sides> {
    let session = prop::option::weighted(0.3, drafts());
    (drafts(), drafts(), session, any::<bool>())
        .prop_map(|(identity, bucket, session, block)| Sides { identity, bucket, session, block })
}

impl Sides {
    fn allows(&self, request: &Request<'_>) -> bool {
        let identity: Vec<Arc<Policy>> =
            policy(Kind::Identity, &self.identity).into_iter().map(Arc::new).collect();
        let bucket = policy(Kind::Bucket, &self.bucket);
        let session = self.session.as_ref().and_then(|drafts| policy(Kind::Session, drafts));
        let policies = PolicySet {
            identity: &identity,
            session: session.as_ref(),
            bucket: bucket.as_ref(),
            block_public_access: self.block,
        };
        let decision = evaluate(&policies, request);
        assert_eq!(explain(&policies, request).decision, decision);
        decision.is_allowed()
    }

    /// The same without the `at`-th statement of all.
    fn without(&self, at: usize) -> Option<(Self, Draft)> {
        let mut less = self.clone();
        let session = less.session.as_mut().filter(|drafts| drafts.len() > 1);
        let mut lists = vec![&mut less.identity, &mut less.bucket];
        lists.extend(session);
        let mut at = at;
        for list in lists {
            if at < list.len() {
                let removed = list.remove(at);
                return Some((less, removed));
            }
            at -= list.len();
        }
        None
    }

    fn list_mut(&mut self, is_bucket: bool) -> &mut Vec<Draft> {
        if is_bucket { &mut self.bucket } else { &mut self.identity }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn one_more_deny_never_widens(
        sides in sides(), deny in draft(), is_bucket: bool, at in 0usize..5, request in request(),
    ) {
        let deny = Draft { effect: "Deny", ..deny };
        let mut more = sides.clone();
        let list = more.list_mut(is_bucket);
        list.insert(at.min(list.len()), deny);
        prop_assert!(sides.allows(&request) || !more.allows(&request));
    }

    #[test]
    fn one_more_allow_never_narrows(
        sides in sides(), allow in draft(), is_bucket: bool, at in 0usize..5, request in request(),
    ) {
        let allow = Draft { effect: "Allow", ..allow };
        let mut more = sides.clone();
        let list = more.list_mut(is_bucket);
        list.insert(at.min(list.len()), allow);
        prop_assert!(!sides.allows(&request) || more.allows(&request));
    }

    #[test]
    fn removing_a_statement_moves_one_way(sides in sides(), at in 0usize..14, request in request()) {
        if let Some((less, removed)) = sides.without(at) {
            let (before, after) = (sides.allows(&request), less.allows(&request));
            match removed.effect {
                "Allow" => prop_assert!(before || !after, "removing an Allow widened"),
                _ => prop_assert!(!before || after, "removing a Deny narrowed"),
            }
        }
    }

    /// A condition less can only let an Allow through more often, as long as the statement does
    /// not become public while that is blocked.
    #[test]
    fn removing_a_condition_from_an_allow_never_narrows(
        sides in sides(), allow in draft(), is_bucket: bool, request in request(),
    ) {
        let mut with = Sides { block: false, ..sides };
        let mut without = with.clone();
        with.list_mut(is_bucket).push(Draft { effect: "Allow", ..allow.clone() });
        let mut allow = allow;
        allow.conditions.pop();
        without.list_mut(is_bucket).push(Draft { effect: "Allow", ..allow });
        prop_assert!(!with.allows(&request) || without.allows(&request));
    }

    /// A session policy only narrows.
    #[test]
    fn a_session_policy_never_widens(sides in sides(), request in request()) {
        let free = Sides { session: None, ..sides.clone() };
        prop_assert!(free.allows(&request) || !sides.allows(&request));
    }

    /// Blocking public access only narrows.
    #[test]
    fn blocking_never_widens(sides in sides(), request in request()) {
        let open = Sides { block: false, ..sides.clone() };
        let blocked = Sides { block: true, ..sides };
        prop_assert!(open.allows(&request) || !blocked.allows(&request));
    }

    /// Statements have no order.
    #[test]
    fn order_does_not_matter(sides in sides(), request in request()) {
        let mut reversed = sides.clone();
        reversed.identity.reverse();
        reversed.bucket.reverse();
        prop_assert_eq!(sides.allows(&request), reversed.allows(&request));
    }

    #[test]
    fn the_coarse_check_refuses_nothing_that_is_allowed(sides in sides(), request in request()) {
        let bucket = match request.resource.target {
            Target::Index { bucket, .. } | Target::Data { bucket, .. } => bucket,
            _ => return Ok(()),
        };
        let target = Target::SomeIndex(bucket);
        let coarse = Request { resource: Resource { target, ..request.resource }, ..request };
        prop_assert!(sides.allows(&coarse) || !sides.allows(&request));
    }

    /// Reading what was stored by us decides as what was checked at the door.
    #[test]
    fn stored_text_decides_alike(drafts in drafts(), request in request()) {
        let Some(checked) = policy(Kind::Bucket, &drafts) else { return Ok(()) };
        let text = document(Kind::Bucket, &drafts).print();
        prop_assert_eq!(&Policy::stored(Kind::Bucket, "p", text.as_bytes()), &checked);
        let set = |bucket| PolicySet {
            identity: &[], session: None, bucket: Some(bucket), block_public_access: false,
        };
        let stored = Policy::stored(Kind::Bucket, "p", text.as_bytes());
        prop_assert_eq!(evaluate(&set(&stored), &request), evaluate(&set(&checked), &request));
    }

    /// Printing and parsing give the same document; the printed text is a fixed point.
    #[test]
    fn print_and_parse(drafts in prop::collection::vec(draft(), 1..4), is_bucket: bool) {
        let kind = if is_bucket { Kind::Bucket } else { Kind::Identity };
        let parsed = document(kind, &drafts);
        let text = parsed.print();
        let again = Document::parse(kind, text.as_bytes()).unwrap();
        prop_assert_eq!(&again, &parsed);
        prop_assert_eq!(again.print(), text);
    }

    /// Nothing that was damaged after it was stored lets anybody in who was not let in before,
    /// unless what is left is a whole policy again.
    #[test]
    fn damage_never_opens(drafts in prop::collection::vec(draft(), 1..3), at: usize, request in request()) {
        let mut text = document(Kind::Bucket, &drafts).print();
        text.truncate(at % text.len());
        let policy = Policy::stored(Kind::Bucket, "p", text.as_bytes());
        let set = PolicySet {
            identity: &[], session: None, bucket: Some(&policy), block_public_access: false,
        };
        let is_owner = request.caller.is_root_of(OWNER);
        prop_assert!(is_owner || !evaluate(&set, &request).is_allowed());
    }
}

/// Canonical texts of each kind come back byte for byte.
#[test]
fn canonical_texts_are_printed_as_they_are() {
    let cases = [
        (
            Kind::Bucket,
            r#"{"Version":"1","Statement":[{"Effect":"Deny","NotAction":["oss:Get*"],"Principal":["*","1"],"Resource":["acs:oss:*:*:vec/*","*"],"Condition":{"NotIpAddress":{"acs:SourceIp":["10.0.0.0/8"]},"StringLike":{"acs:UserAgent":["a\"b*"],"acs:SourceVpc":["vpc-*"]}}}]}"#,
        ),
        (
            Kind::Identity,
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole"],"Resource":["acs:ram:*:1:role/r"]}]}"#,
        ),
        (
            Kind::Trust,
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole"],"Principal":{"RAM":["acs:ram::1:root","acs:ram::1:user/u"]},"Condition":{"Bool":{"acs:SecureTransport":["true"]}}}]}"#,
        ),
    ];
    for (kind, text) in cases {
        assert_eq!(Document::parse(kind, text.as_bytes()).unwrap().print(), text);
    }
}
