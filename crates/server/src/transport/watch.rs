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
        let warned = now.saturating_sub(self.warned_at.load(Ordering::Relaxed)) < DAY_SECONDS;
        let (listener, file) = (self.side.name(), self.files.certificate.display());
        match End::of(self.not_after(), now) {
            End::Far => return,
            _ if warned => return,
            End::Soon { days } => {
                tracing::warn!(listener, %file, days, "certificate ends soon");
            }
            End::Past => {
                tracing::error!(listener, %file, "certificate has ended, clients refuse it");
            }
        }
        self.warned_at.store(now, Ordering::Relaxed);
    }
}

/// How far away the end of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Far,
    Soon { days: i64 },
    Past,
}

impl End {
    /// Both in seconds since 1970.
    fn of(not_after: i64, now: i64) -> Self {
        match not_after.saturating_sub(now) {
            ..=0 => Self::Past,
            left @ ..=WARNING_SECONDS => Self::Soon { days: left / DAY_SECONDS },
            _ => Self::Far,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_two_weeks_before() {
        let now = 1_800_000_000;
        for (days, expected) in [
            (400, End::Far),
            (15, End::Far),
            (14, End::Soon { days: 14 }),
            (1, End::Soon { days: 1 }),
            (0, End::Past),
            (-3, End::Past),
        ] {
            assert_eq!(End::of(now + days * DAY_SECONDS, now), expected, "{days}");
        }
        assert_eq!(End::of(now + 1, now), End::Soon { days: 0 });
        assert_eq!(End::of(i64::MIN, i64::MAX), End::Past);
    }
}
