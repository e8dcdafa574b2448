//! Users, roles and sessions of a running server, and calls that they sign.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use vb_identity::{AccountId, Action, AssumeRole, Candidate, Command, Holder, IdentityStore, Name};
use vb_server::{Config, Secret};

use super::{ACCESS_KEY_ID, ACCOUNT, Call, OTHER_ACCOUNT, SECRET};

/// The key of the other account's root.
pub const OTHER_ACCESS_KEY_ID: &str = "LTAIotherroot";

/// One entry of a key ring.
pub const KEY_RING: &str = "one:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// With what somebody signs.
#[derive(Clone, Debug)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl Keys {
    pub fn root() -> Self {
        Self { id: ACCESS_KEY_ID.into(), secret: SECRET.into(), token: None }
    }

    pub fn other_root() -> Self {
        Self { id: OTHER_ACCESS_KEY_ID.into(), secret: SECRET.into(), token: None }
    }

    /// The call, signed by these keys.
    pub fn sign(&self, call: &Call) -> Call {
        let mut call = call.clone();
        call.access_key_id = self.id.clone();
        call.secret = self.secret.clone();
        match &self.token {
            Some(token) => call.with_header("x-oss-security-token", token),
            None => call,
        }
    }
}

/// A key ring, and a second account with a root.
pub fn with_people(config: &mut Config, dir: &Path) {
    config.key_ring = Secret::new(KEY_RING);
    let path = dir.join("roots.toml");
    let text = format!(
        "[[account]]\nid = \"{OTHER_ACCOUNT}\"\n\
         keys = [{{ id = \"{OTHER_ACCESS_KEY_ID}\", secret = \"{SECRET}\" }}]\n"
    );
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    std::io::Write::write_all(&mut file.expect("a new file"), text.as_bytes()).expect("room");
    config.root_credentials_file = Some(path);
}

pub fn account(text: &str) -> AccountId {
    AccountId::parse(text).expect("an account id")
}

pub fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// A RAM policy of one statement.
pub fn statement(effect: &str, actions: &[&str], resources: &[&str]) -> String {
    let statement = json!({"Effect": effect, "Action": actions, "Resource": resources});
    json!({"Version": "1", "Statement": [statement]}).to_string()
}

pub fn allow(actions: &[&str], resources: &[&str]) -> String {
    statement("Allow", actions, resources)
}

/// Changes identities; each change must be possible.
pub struct People<'a>(pub &'a IdentityStore);

impl People<'_> {
    pub async fn run(&self, of: &str, action: Action) {
        let done = self.0.execute(Command { account: account(of), action: action.clone() }).await;
        done.unwrap_or_else(|error| panic!("{action:?}: {error}"));
    }

    /// A user with a key and without rights.
    pub async fn user(&self, of: &str, user: &str) -> Keys {
        self.run(of, Action::CreateUser { user: name(user), comment: "".into() }).await;
        let key = self.0.create_access_key(&account(of), &name(user)).await.expect("a key");
        Keys { id: key.id.to_string(), secret: key.secret.expose().to_owned(), token: None }
    }

    /// A numeric id, as bucket policies name it.
    pub fn uid(&self, of: &str, user: &str) -> String {
        let snapshot = self.0.snapshot();
        let account = snapshot.account(&account(of)).expect("an account");
        account.users[&name(user)].id.to_string()
    }

    pub async fn grant(&self, of: &str, to: Holder, text: &str) {
        let action = Action::PutInline { to, name: name("test"), text: Arc::from(text) };
        self.run(of, action).await;
    }

    pub async fn grant_user(&self, user: &str, text: &str) {
        self.grant(ACCOUNT, Holder::User(name(user)), text).await;
    }

    /// A role that the account's root may assume.
    pub async fn role(&self, of: &str, role: &str) {
        let trust = json!({"Version": "1", "Statement": [{"Effect": "Allow",
            "Action": "sts:AssumeRole", "Principal": {"RAM": [format!("acs:ram::{of}:root")]}}]});
        let (role, comment) = (name(role), "".into());
        let trust = trust.to_string().into();
        self.run(of, Action::CreateRole { role, comment, trust, session_s_max: 3600 }).await;
    }

    /// A session of a role, opened by the root of its account.
    pub async fn session(&self, of: &str, role: &str, policy: Option<&str>) -> Keys {
        let root = if of == ACCOUNT { ACCESS_KEY_ID } else { OTHER_ACCESS_KEY_ID };
        let root: Arc<Candidate> = self.0.authenticate(root, None).await.expect("a root");
        let context = vb_policy::Context::default();
        let account = account(of);
        let asked = AssumeRole {
            account: &account,
            role,
            session: "nightly",
            duration_s: None,
            policy,
            context,
        };
        let session = self.0.assume_role(&root, &asked).await.expect("a session");
        Keys {
            id: session.access_key_id.as_str().to_owned(),
            secret: session.secret.expose().to_owned(),
            token: Some(session.token.to_string()),
        }
    }
}
