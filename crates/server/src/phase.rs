//! Where the process stands between its start and its end.

use tokio::sync::watch;

/// The life of a server, in order; a phase is never left for an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The store is being opened and probed.
    Starting,
    /// Requests are served.
    Ready,
    /// Not ready any more, so that load balancers and peers turn away; everything is still served.
    Leaving,
    /// No new connections; requests in flight are finished.
    Draining,
    /// Whatever is still open is dropped.
    Stopped,
}

impl Phase {
    /// One word for the admin listener.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Leaving | Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// Announces phases to every task.
#[derive(Clone)]
pub(crate) struct Phases(watch::Sender<Phase>);

impl Phases {
    /// Begins with [`Phase::Starting`].
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }

    /// The present phase.
    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Moves on to `phase`, unless it has been reached already.
    pub(crate) fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = *now < phase;
            *now = (*now).max(phase);
            later
        });
    }

    /// Resolves once `phase` or a later one is reached.
    pub(crate) async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.subscribe();
        // The sender is held by `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }
}
