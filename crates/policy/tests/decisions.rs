//! The decision table: caller, action, resource and circumstances with the expected decision.
//!
//! The files under `decisions/` are data for this test and for tests against a running server:
//!
//! ```text
//! world.json   accounts, users, roles, region and the usual context
//! *.json       [ { "about", "policies": {user or role: [document]}, "session": document,
//!                  "bucket_policy": document, "block_public_access": bool (true),
//!                  "stored": bool (read without checking), "cases": [case] } ]
//! case         [caller, action, resource, "allow" or the EC, context that differs from the usual]
//! caller       "root:A" | "alice" | "reader/session" | "anonymous"
//! resource     "*" | "bucket" | "bucket/index"
//! ```
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use vb_policy::{
    Action, Caller, Context, Decision, Document, Kind, Policy, PolicySet, Request, Resource,
    Target, evaluate, explain,
};

struct World {
    value: Value,
    /// What `${name}` stands for.
    ids: HashMap<String, String>,
}

struct Scenario {
    about: String,
    policies: HashMap<String, Vec<Arc<Policy>>>,
    session: Option<Policy>,
    bucket: Option<Policy>,
    block_public_access: bool,
    cases: Vec<Value>,
}

#[test]
fn every_decision_of_the_table() {
    let world = World::load();
    let mut count = 0;
    for scenario in scenarios(&world) {
        for case in &scenario.cases {
            scenario.check(&world, case);
            count += 1;
        }
    }
    assert!(count >= 300, "only {count} decisions");
}

/// What the coarse check refuses, the exact check refuses for the same reason or another.
#[test]
fn the_coarse_check_refuses_nothing_that_is_allowed() {
    let world = World::load();
    let mut refused = 0;
    for scenario in scenarios(&world) {
        for case in scenario.cases.iter().filter(|case| text(&case[2]).contains('/')) {
            let bucket = text(&case[2]).split('/').next().unwrap();
            let coarse = scenario.decide(&world, case, Some(Target::SomeIndex(bucket)));
            if text(&case[3]) == "allow" {
                assert!(coarse, "{}: {case}", scenario.about);
            }
            refused += usize::from(!coarse);
        }
    }
    assert!(refused > 50, "it refused only {refused}");
}

impl World {
    fn load() -> Self {
        let value = read("world.json");
        let mut ids = HashMap::from([("region".to_owned(), text(&value["region"]).to_owned())]);
        for (name, id) in value["accounts"].as_object().unwrap() {
            ids.insert(name.clone(), text(id).to_owned());
        }
        for kind in ["users", "roles"] {
            for (name, entry) in value[kind].as_object().unwrap() {
                ids.insert(name.clone(), text(&entry["id"]).to_owned());
            }
        }
        Self { value, ids }
    }

    /// The text of a document, with the ids filled in.
    fn fill(&self, document: &Value) -> String {
        self.ids.iter().fold(document.to_string(), |text, (name, id)| {
            text.replace(&format!("${{{name}}}"), id)
        })
    }

    fn caller<'a>(&'a self, text: &'a str) -> Caller<'a> {
        if text == "anonymous" {
            return Caller::Anonymous;
        }
        if let Some(account) = text.strip_prefix("root:") {
            return Caller::Root { account: &self.ids[account] };
        }
        let account = |entry: &'a Value| self.ids[self::text(&entry["account"])].as_str();
        match text.split_once('/') {
            Some((name, session)) => {
                let account = account(&self.value["roles"][name]);
                Caller::Role { account, id: &self.ids[name], name, session }
            }
            None => {
                let account = account(&self.value["users"][text]);
                Caller::User { account, id: &self.ids[text], name: text }
            }
        }
    }

    /// The usual context with what a case changes.
    fn context(&self, case: &Value) -> Value {
        let mut context = self.value["context"].clone();
        for (key, value) in case.get(4).and_then(Value::as_object).into_iter().flatten() {
            context[key] = value.clone();
        }
        context
    }
}

impl Scenario {
    fn load(world: &World, value: &Value) -> Self {
        let is_stored = value["stored"] == true;
        let parse = |kind: Kind, name: &str, document: &Value| {
            let text = world.fill(document);
            if is_stored {
                return Policy::stored(kind, name, text.as_bytes());
            }
            let document = Document::parse(kind, text.as_bytes())
                .unwrap_or_else(|error| panic!("{}: {error}", value["about"]));
            Policy::new(name, document)
        };
        let attached = value["policies"].as_object().into_iter().flatten();
        let policies = attached.map(|(name, documents)| {
            let documents = documents.as_array().unwrap().iter().enumerate();
            let policies = documents.map(|(at, document)| {
                Arc::new(parse(Kind::Identity, &format!("{name}-{at}"), document))
            });
            (name.clone(), policies.collect())
        });
        Self {
            about: text(&value["about"]).to_owned(),
            policies: policies.collect(),
            session: value.get("session").map(|d| parse(Kind::Session, "session", d)),
            bucket: value.get("bucket_policy").map(|d| parse(Kind::Bucket, "bucket", d)),
            block_public_access: value["block_public_access"] != false,
            cases: value["cases"].as_array().unwrap().clone(),
        }
    }

    fn policies(&self, caller: &str) -> PolicySet<'_> {
        let name = caller.split('/').next().unwrap();
        PolicySet {
            identity: self.policies.get(name).map_or(&[], |list| &list[..]),
            session: self.session.as_ref().filter(|_| caller.contains('/')),
            bucket: self.bucket.as_ref(),
            block_public_access: self.block_public_access,
        }
    }

    fn check(&self, world: &World, case: &Value) {
        let expected = text(&case[3]);
        self.with(world, case, None, |policies, request| {
            let decision = evaluate(policies, request);
            let got = if decision.is_allowed() { "allow" } else { decision.ec().unwrap() };
            let explanation = explain(policies, request);
            assert_eq!(got, expected, "{}: {case}\n{explanation}", self.about);
            self.check_explanation(&decision, &explanation);
            assert_eq!(decision.denial(request.action).is_none(), decision.is_allowed());
        });
    }

    /// The explanation reaches the same decision, and its deciding statement applies.
    fn check_explanation(&self, decision: &Decision<'_>, told: &vb_policy::Explanation<'_>) {
        assert_eq!(told.decision, *decision);
        if let Some(statement) = decision.statement {
            let line = told.lines.iter().find(|line| line.statement == statement).unwrap();
            assert!(line.verdict == vb_policy::Verdict::Applies && line.counts, "{}", self.about);
        }
    }

    fn decide(&self, world: &World, case: &Value, target: Option<Target<'_>>) -> bool {
        let mut allowed = false;
        self.with(world, case, target, |policies, request| {
            allowed = evaluate(policies, request).is_allowed();
        });
        allowed
    }

    fn with(
        &self,
        world: &World,
        case: &Value,
        target: Option<Target<'_>>,
        then: impl FnOnce(&PolicySet<'_>, &Request<'_>),
    ) {
        let name = format!("oss:{}", text(&case[1]));
        let action = Action::parse(&name).expect("the action is known");
        let caller = world.caller(text(&case[0]));
        let owner = world.ids[text(&world.value["owner"])].as_str();
        let target = target.unwrap_or_else(|| self::target(action, text(&case[2])));
        let account = match target {
            Target::Account => caller.account().unwrap_or(owner),
            _ => owner,
        };
        let context = world.context(case);
        let context = Context {
            source_ip: context["source_ip"].as_str().map(|ip| ip.parse().unwrap()),
            secure_transport: context["secure_transport"] == true,
            time: seconds(text(&context["time"])),
            user_agent: context["user_agent"].as_str(),
            access_key_id: context["access_key_id"].as_str(),
        };
        let resource = Resource { region: &world.ids["region"], account, target };
        then(&self.policies(text(&case[0])), &Request { caller, action, resource, context });
    }
}

fn target(action: Action, resource: &str) -> Target<'_> {
    match (resource.split_once('/'), action) {
        (None, Action::ListVectorIndexes) => Target::Indexes(resource),
        (None, _) if resource == "*" => Target::Account,
        (None, _) => Target::Bucket(resource),
        (Some((bucket, index)), action) if action.name().contains("VectorIndex") => {
            Target::Index { bucket, index }
        }
        (Some((bucket, index)), _) => Target::Data { bucket, index },
    }
}

/// Seconds since 1970 of a day in 2025 or 2026, `2026-01-02T03:04:05Z`.
fn seconds(text: &str) -> i64 {
    let number = |at: usize| text[at..at + 2].parse::<i64>().unwrap();
    let days = match &text[..10] {
        "2025-12-31" => 20_453,
        "2026-01-01" => 20_454,
        "2026-01-02" => 20_455,
        other => panic!("{other} is not in the table of days"),
    };
    days * 86_400 + number(11) * 3600 + number(14) * 60 + number(17)
}

fn scenarios(world: &World) -> Vec<Scenario> {
    let files = ["basics", "resources", "bucket-policies", "sessions", "conditions", "stored"];
    let all = files.iter().flat_map(|file| {
        let scenarios = read(&format!("{file}.json"));
        scenarios.as_array().unwrap().clone()
    });
    all.map(|value| Scenario::load(world, &value)).collect()
}

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text"))
}
