//! Making access keys, and sealing their secrets anew.

use crate::command::{Action, Command, Resealed};
use crate::compiled::secret_owner;
use crate::credential::generate_key_id;
use crate::record::{Account, SealedSecret};
use crate::seal::{self, Purpose};
use crate::{AccessKey, AccountId, Error, IdentityStore, KeyId, KeyRing, Name, Rejection, Secret};

/// Secrets per command that seals them anew.
const RESEALS_MAX: usize = 500;

/// What came of sealing secrets anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Secrets that were sealed anew.
    pub resealed: usize,
    /// Secrets that were sealed with the newest key already.
    pub current: usize,
    /// Access keys whose secrets cannot be opened, and so were left alone.
    pub unavailable: Vec<KeyId>,
}

impl IdentityStore {
    /// Creates an access key of a user. This is the only time its secret is seen.
    ///
    /// # Errors
    ///
    /// As [`Self::execute`]; `NoKeyRing` without one.
    pub async fn create_access_key(
        &self,
        account: &AccountId,
        user: &Name,
    ) -> Result<AccessKey, Error> {
        let ring = self.ring.as_ref().ok_or(Error::NoKeyRing)?;
        let snapshot = self.now().await?;
        let record = snapshot.account(account).ok_or(Rejection::NoSuchAccount)?;
        let uid = record.users.get(user).ok_or(Rejection::NoSuchUser)?.id;
        let random = &*self.options.random;
        let (key, secret) = (generate_key_id(random), Secret::generate(random));
        let owner = secret_owner(account, uid, &key);
        let sealed =
            ring.newest().seal(Purpose::Secret, &owner, secret.expose().as_bytes(), random);
        let sealed = SealedSecret(sealed.into());
        let id = key.as_str().into();
        let action = Action::AddKey { user: user.clone(), uid, key, secret: sealed };
        self.send(Command { account: account.clone(), action }).await?;
        Ok(AccessKey { id, secret, account: account.clone() })
    }

    /// Seals all secrets that are not sealed with the newest key of the ring anew.
    ///
    /// May be broken off and repeated. Afterwards older keys of the ring are needed for sessions
    /// only, for as long as these last.
    ///
    /// # Errors
    ///
    /// As [`Self::execute`]; what was sealed anew until then stays so.
    pub async fn rekey(&self) -> Result<Rekeyed, Error> {
        let ring = self.ring.as_ref().ok_or(Error::NoKeyRing)?;
        let snapshot = self.now().await?;
        let mut rekeyed = Rekeyed::default();
        for (account, record) in snapshot.accounts() {
            let resealed = self.reseal_account(ring, account, record, &mut rekeyed);
            for secrets in resealed.chunks(RESEALS_MAX) {
                let action = Action::Reseal { secrets: secrets.to_vec() };
                self.send(Command { account: account.clone(), action }).await?;
                rekeyed.resealed += secrets.len();
            }
        }
        Ok(rekeyed)
    }

    /// The account's secrets that are not sealed with the newest key, sealed with it.
    fn reseal_account(
        &self,
        ring: &KeyRing,
        account: &AccountId,
        record: &Account,
        rekeyed: &mut Rekeyed,
    ) -> Vec<Resealed> {
        let users = record.users.iter();
        let keys =
            users.flat_map(|(name, user)| user.keys.iter().map(move |key| (name, user.id, key)));
        let mut resealed = Vec::new();
        for (user, uid, key) in keys {
            let owner = secret_owner(account, uid, &key.id);
            let opened = seal::open(ring.keys(), Purpose::Secret, &owner, &key.secret.0);
            let Ok(secret) = opened else {
                rekeyed.unavailable.push(key.id.clone());
                continue;
            };
            if key.secret.ring_key() == Some(ring.current()) {
                rekeyed.current += 1;
                continue;
            }
            let new = ring.newest().seal(Purpose::Secret, &owner, &secret, &*self.options.random);
            resealed.push(Resealed {
                user: user.clone(),
                key: key.id.clone(),
                old: key.secret.clone(),
                new: SealedSecret(new.into()),
            });
        }
        resealed
    }
}
