//! How much is too much: request rates, failed authentications and quotas.
//!
//! What decides is pure ([`pace`], [`tally`]); what remembers takes a fixed amount of memory
//! ([`ledger`]) or one entry per account with a quota ([`quota`]). Rates are kept per node: each
//! counts what clients send to it, and not what other nodes send on.

mod ledger;
mod pace;
mod quota;
mod tally;

use std::net::IpAddr;
use std::time::Instant;

use vb_api::oss::Fault;
use vb_identity::Principal;

use crate::config::{Rate, RateConfig};
use crate::transport::source;
use ledger::Ledger;
use pace::Pace;

pub(crate) use quota::Quotas;

/// The names of limits in metrics, each with its fault.
pub(crate) const LIMITS: [(&str, Fault); 8] = [
    ("key", Fault::KeyRate),
    ("account", Fault::AccountRate),
    ("source", Fault::SourceFailures),
    ("buckets", Fault::TooManyBuckets),
    ("indexes", Fault::TooManyIndexes),
    ("index_vectors", Fault::IndexVectorsQuota),
    ("vectors", Fault::VectorsQuota),
    ("bytes", Fault::BytesQuota),
];

/// The limit that a fault is about.
pub(crate) fn limit_of(fault: Fault) -> Option<&'static str> {
    LIMITS.iter().find(|(_, of)| *of == fault).map(|(name, _)| *name)
}

/// How often callers may ask, and sources may fail.
pub(crate) struct Rates {
    keys: Option<Ledger>,
    accounts: Option<Ledger>,
    failures: Option<Ledger>,
    started: Instant,
}

impl Rates {
    /// Ledgers of the rates that are set.
    pub(crate) fn new(config: &RateConfig) -> Self {
        let ledger = |rate: Option<Rate>| rate.map(|rate| Ledger::new(Pace::new(rate)));
        Self {
            keys: ledger(config.key),
            accounts: ledger(config.account),
            failures: ledger(config.source_failures),
            started: Instant::now(),
        }
    }

    /// Before anything is done for a signature.
    ///
    /// # Errors
    /// [`Fault::SourceFailures`]: too many requests from there failed to authenticate.
    pub(crate) fn check_source(&self, client: IpAddr) -> Result<(), Fault> {
        match &self.failures {
            Some(ledger) if !ledger.is_open(source(client), self.now()) => {
                Err(Fault::SourceFailures)
            }
            _ => Ok(()),
        }
    }

    /// Somebody there failed to authenticate and was answered `status`. What is ours to mend does not count.
    pub(crate) fn note_failure(&self, client: IpAddr, status: u16) {
        if let Some(ledger) = self.failures.as_ref().filter(|_| status < 500) {
            ledger.charge(source(client), self.now());
        }
    }

    /// Counts a request of a caller who is known; of nobody by where it comes from.
    ///
    /// # Errors
    /// [`Fault::KeyRate`], [`Fault::AccountRate`].
    pub(crate) fn admit(&self, caller: &Principal, client: IpAddr) -> Result<(), Fault> {
        let now = self.now();
        let key = |ledger: &Ledger| match caller.access_key_id() {
            Some(key) => ledger.admit(key, now),
            None => ledger.admit(source(client), now),
        };
        if !self.keys.as_ref().is_none_or(key) {
            return Err(Fault::KeyRate);
        }
        let account = |ledger: &Ledger| match caller.account() {
            Some(account) => ledger.admit(account.as_str(), now),
            None => true,
        };
        if self.accounts.as_ref().is_none_or(account) { Ok(()) } else { Err(Fault::AccountRate) }
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use vb_api::oss::Error;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn failures_shut_out_their_source_alone() {
        let rate = Some(Rate::per_second(1, 3));
        let rates = Rates::new(&RateConfig { key: None, account: None, source_failures: rate });
        let (bad, good) = (address("192.0.2.1"), address("192.0.2.2"));
        let failed = Error::new(Fault::SignatureMismatch);
        for _ in 0..3 {
            assert_eq!(rates.check_source(bad), Ok(()));
            rates.note_failure(bad, failed.status());
            rates.note_failure(good, Error::new(Fault::Unavailable).status());
        }
        assert_eq!(rates.check_source(bad), Err(Fault::SourceFailures));
        assert_eq!(rates.check_source(good), Ok(()));
    }

    #[test]
    fn nothing_is_limited_that_is_not_set() {
        let config = RateConfig { key: None, account: None, source_failures: None };
        let rates = Rates::new(&config);
        let here = address("::1");
        for _ in 0..10_000 {
            assert_eq!(rates.admit(&Principal::Anonymous, here), Ok(()));
            rates.note_failure(here, Error::new(Fault::SignatureMismatch).status());
            assert_eq!(rates.check_source(here), Ok(()));
        }
    }

    #[test]
    fn faults_and_limits_go_together() {
        assert_eq!(limit_of(Fault::KeyRate), Some("key"));
        assert_eq!(limit_of(Fault::TooManyIndexes), Some("indexes"));
        assert_eq!(limit_of(Fault::Throttled), None);
    }
}
