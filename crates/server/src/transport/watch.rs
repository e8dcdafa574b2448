//! New certificate files replace what handshakes show.
//!
//! The files are read every few seconds and compared with what was read last: notifications of the
//! file system miss the links and mounts that tools renew certificates by. A pair that does not make
//! a certificate is reported once and the old one stays; so the two files may be replaced one after
//! the other.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::tls::Tls;
use crate::clock::unix_seconds;
use crate::phase::{Phase, Phases};

const DAY_SECONDS: i64 = 86_400;

/// How long before its end a certificate is warned about.
const WARNING_SECONDS: i64 = 14 * DAY_SECONDS;

/// What a look at the files led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The files are what they were.
    Unchanged,
    /// Another certificate is shown now.
    Replaced,
    /// What is in the files is no certificate with its key; the old one stays.
    Refused,
}

impl Tls {
    /// Looks every so often until the process stops, and when `asked` says so.
    pub(crate) async fn watch(
        self: Arc<Self>,
        every: Duration,
        mut asked: tokio::sync::watch::Receiver<u64>,
        phases: Phases,
    ) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // Ends only with the handle that asks; the ticks go on.
                Ok(()) = asked.changed() => self.forget(),
                () = phases.reached(Phase::Stopped) => return,
            }
            let tls = Arc::clone(&self);
            // A panic in there is reported by the panic hook; the next tick looks again.
            let _ = tokio::task::spawn_blocking(move || tls.look()).await;
            self.warn_of_the_end(unix_seconds());
        }
    }

    /// Makes the next look take the files for new ones.
    fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Reads the files and shows what is in them if that is new. Blocks.
    pub(crate) fn look(&self) -> Look {
        let contents = self.files.read();
        let digest = contents.as_ref().map_or([0; 32], |contents| contents.digest());
        if self.seen.lock().unwrap_or_else(PoisonError::into_inner).replace(digest) == Some(digest)
        {
            return Look::Unchanged;
        }
        let side = self.side.name();
        match contents
            .and_then(|contents| Ok((contents.certificate(&self.files)?, contents.exposed)))
        {
            Ok((certificate, exposed)) => {
                tracing::info!(
                    listener = side,
                    not_after = certificate.not_after,
                    "certificate read"
                );
                self.show(certificate);
                self.counters.looked(side, "replaced");
                if exposed {
                    self.warn_exposed();
                }
                Look::Replaced
            }
            Err(why) => {
                tracing::warn!(listener = side, why, "new certificate refused, the old one stays");
                self.counters.looked(side, "refused");
                Look::Refused
            }
        }
    }

    /// Warns once a day when the certificate ends soon or has ended.
    fn warn_of_the_end(&self, now: i64) {
        let left = self.not_after().saturating_sub(now);
        let warned = self.warned_at.load(Ordering::Relaxed);
        if left > WARNING_SECONDS || now.saturating_sub(warned) < DAY_SECONDS {
            return;
        }
        self.warned_at.store(now, Ordering::Relaxed);
        let (listener, file) = (self.side.name(), self.files.certificate.display());
        match left {
            1.. => {
                tracing::warn!(listener, %file, days = left / DAY_SECONDS, "certificate ends soon")
            }
            _ => tracing::error!(listener, %file, "certificate has ended, clients refuse it"),
        }
    }
}
