//! What is counted of log lines, and when an operator is told.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Why a line was not kept.
#[derive(Debug)]
pub(super) enum Dropped {
    /// Lines come faster than they are written, or the disk stands still.
    QueueFull,
    /// As many lines wait for their delivery as may.
    SpoolFull,
    /// The file system failed, for example because it is full.
    SpoolFailed(io::Error),
}

impl Dropped {
    fn name(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::SpoolFull => "spool_full",
            Self::SpoolFailed(_) => "spool_failed",
        }
    }

    fn cause(&self) -> String {
        match self {
            Self::QueueFull | Self::SpoolFull => String::new(),
            Self::SpoolFailed(error) => error.to_string(),
        }
    }
}

/// The counters of access logs.
#[derive(Default)]
pub(crate) struct Counters {
    lines: Counter<u64, AtomicU64>,
    dropped: Family<ReasonLabel, Counter>,
    objects: Counter<u64, AtomicU64>,
    failures: Counter<u64, AtomicU64>,
    spool_bytes: Gauge<i64, AtomicI64>,
    /// Lines are being dropped, and the log says so.
    dropping: AtomicBool,
}

impl Counters {
    /// Registers them under their names.
    pub(crate) fn register(self: &Arc<Self>, registry: &mut Registry) {
        for reason in ["queue_full", "spool_full", "spool_failed"] {
            drop(self.dropped.get_or_create(&ReasonLabel { reason }));
        }
        let r = registry;
        r.register("access_log_lines", "Lines of access logs written", self.lines.clone());
        r.register("access_log_lines_dropped", "Lines that were not", self.dropped.clone());
        r.register("access_log_objects", "Objects of lines delivered", self.objects.clone());
        r.register(
            "access_log_delivery_failures",
            "Deliveries that failed and are tried again",
            self.failures.clone(),
        );
        r.register(
            "access_log_spool_bytes",
            "Bytes of lines that are not delivered yet",
            self.spool_bytes.clone(),
        );
    }

    pub(super) fn line_added(&self) {
        self.lines.inc();
    }

    /// Counts a line that was dropped; the first of a row is logged.
    pub(super) fn line_dropped(&self, why: &Dropped) {
        self.dropped.get_or_create(&ReasonLabel { reason: why.name() }).inc();
        if !self.dropping.swap(true, Ordering::Relaxed) {
            let (reason, cause) = (why.name(), why.cause());
            tracing::error!(reason, cause, "lines of access logs are dropped");
        }
    }

    /// Lines are written again.
    pub(super) fn recovered(&self) {
        if self.dropping.load(Ordering::Relaxed) && self.dropping.swap(false, Ordering::Relaxed) {
            tracing::info!("lines of access logs are written again");
        }
    }

    pub(super) fn delivered(&self) {
        self.objects.inc();
    }

    pub(super) fn delivery_failed(&self) {
        self.failures.inc();
    }

    /// Bytes that were added to the spool.
    pub(super) fn taken(&self, bytes: u64) {
        self.spool_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Bytes that left it.
    pub(super) fn freed(&self, bytes: u64) {
        self.spool_bytes.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn spool_bytes(&self) -> u64 {
        u64::try_from(self.spool_bytes.get()).unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn seen(&self) -> (u64, u64) {
        (self.lines.get(), self.objects.get())
    }
}
