//! Carrying orders out.

use bytes::Bytes;
use serde_json::{Value, json};
use vb_commit::Store;
use vb_engine::{BucketChange, BucketId, Engine};
use vb_identity::{
    AccountId, AssumeRole, AuthenticateError, Command, IdentityStore, Session, Snapshot,
};

use super::order::OpenSession;
use super::{Code, Order, Refusal, explain, show};
use crate::clock::unix_seconds;
use crate::config::Config;
use crate::open;

/// Where orders are carried out: over the store of identities, and the buckets where these count.
pub(crate) struct Desk {
    pub(crate) identities: IdentityStore,
    pub(crate) buckets: Buckets,
    /// The region of the service.
    pub(crate) region: Box<str>,
    /// What holds for accounts that do not say otherwise.
    pub(crate) block_public_access: bool,
    /// The root that opens sessions, where there is one at hand.
    pub(crate) root: Option<Box<str>>,
}

/// The buckets of the store.
pub(crate) enum Buckets {
    /// Of a running service.
    Running(Engine),
    /// Of a store that is opened for this alone, when it is needed.
    AtRest {
        /// How it is opened.
        config: Box<Config>,
        /// What is opened.
        store: Store,
    },
}

impl Desk {
    /// Carries out an order about an account; `None` is enough where it is about all.
    ///
    /// # Errors
    /// See [`Code`].
    pub(crate) async fn serve(
        &self,
        order: Order,
        account: Option<&AccountId>,
    ) -> Result<Value, Refusal> {
        if order == Order::Accounts {
            return Ok(show::accounts(&*self.snapshot().await?));
        }
        if order == Order::Rekey {
            return self.rekey().await;
        }
        let none = || Refusal::invalid("set --account or VECTORBUCKET_ACCOUNT_ID");
        let account = account.ok_or_else(none)?;
        match order {
            Order::Show(noun) => show::part(&*self.snapshot().await?, account, noun),
            Order::Change(action) => {
                let command = Command { account: account.clone(), action };
                self.identities.execute(command).await?;
                Ok(json!({ "done": true }))
            }
            Order::CreateKey(user) => self.create_key(account, &user).await,
            Order::OpenSession(open) => self.open_session(account, &open).await,
            Order::Explain(asked) => explain::run(self, account, &asked).await,
            Order::DropPolicy(bucket) => {
                self.buckets.drop_policy(&BucketId::new(account.as_str(), &*bucket)).await?;
                Ok(json!({ "done": true }))
            }
            Order::Accounts | Order::Rekey => unreachable!("answered above"),
        }
    }

    /// What is true now.
    pub(super) async fn snapshot(&self) -> Result<std::sync::Arc<Snapshot>, Refusal> {
        Ok(self.identities.now().await?)
    }

    async fn create_key(
        &self,
        account: &AccountId,
        user: &vb_identity::Name,
    ) -> Result<Value, Refusal> {
        let key = self.identities.create_access_key(account, user).await?;
        Ok(json!({
            "AccessKeyId": &*key.id,
            "AccessKeySecret": key.secret.expose(),
            "UserName": user.as_str(),
        }))
    }

    async fn open_session(
        &self,
        account: &AccountId,
        open: &OpenSession,
    ) -> Result<Value, Refusal> {
        let no_root = || {
            let text = "opening a session needs the root's access key";
            Refusal::new(Code::AuthenticationRequired, text)
        };
        let root = self.root.as_deref().ok_or_else(no_root)?;
        let caller = self.identities.authenticate(root, None).await;
        let caller = caller.map_err(|error: AuthenticateError| {
            Refusal::new(Code::AuthenticationRequired, error.to_string())
        })?;
        let request = AssumeRole {
            account,
            role: &open.role,
            session: &open.session,
            duration_s: open.duration_s,
            policy: open.policy.as_deref(),
            context: vb_policy::Context {
                time: unix_seconds(),
                access_key_id: Some(root),
                ..vb_policy::Context::default()
            },
        };
        Ok(credentials(&self.identities.assume_role(&caller, &request).await?))
    }

    async fn rekey(&self) -> Result<Value, Refusal> {
        let rekeyed = self.identities.rekey().await?;
        let unavailable: Vec<&str> = rekeyed.unavailable.iter().map(|key| key.as_str()).collect();
        Ok(json!({
            "resealed": rekeyed.resealed,
            "current": rekeyed.current,
            "unavailable": unavailable,
        }))
    }
}

/// Temporary credentials as the SDKs' process providers read them.
pub(crate) fn credentials(session: &Session) -> Value {
    json!({
        "AccessKeyId": session.access_key_id.as_str(),
        "AccessKeySecret": session.secret.expose(),
        "SecurityToken": &*session.token,
        "Expiration": expiration(session.expires_ms),
    })
}

/// `2026-01-02T03:04:05Z`.
fn expiration(ms: u64) -> String {
    let text = vb_api::oss::iso_millis(i64::try_from(ms / 1000 * 1000).unwrap_or(i64::MAX));
    text.replace(".000Z", "Z")
}

impl Buckets {
    /// The stored policy of a bucket, if there are both.
    pub(super) async fn policy(&self, bucket: &BucketId) -> Result<Option<Bytes>, Refusal> {
        let (engine, opened) = self.engine().await?;
        let found = engine.bucket(bucket).await;
        close(opened, engine).await;
        match found {
            Ok(record) => Ok(record.policy),
            Err(vb_engine::Error::NoSuchBucket) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// For a root that a bucket policy shut out.
    async fn drop_policy(&self, bucket: &BucketId) -> Result<(), Refusal> {
        let (engine, opened) = self.engine().await?;
        let done = engine.configure_bucket(bucket, BucketChange::Policy(None)).await;
        close(opened, engine).await;
        Ok(done.map(drop)?)
    }

    /// The engine, and whether it was opened for the call alone.
    async fn engine(&self) -> Result<(Engine, bool), Refusal> {
        match self {
            Self::Running(engine) => Ok((engine.clone(), false)),
            Self::AtRest { config, store } => {
                let opened = open::engine(config, store.clone(), None).await;
                let engine = opened.map_err(|error| {
                    Refusal::new(Code::StoreDamaged, format!("the buckets cannot be read: {error}"))
                })?;
                Ok((engine, true))
            }
        }
    }
}

async fn close(opened: bool, engine: Engine) {
    if opened {
        engine.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_seconds() {
        assert_eq!(expiration(1_767_323_045_678), "2026-01-02T03:04:05Z");
    }
}
