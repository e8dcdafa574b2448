//! Handshakes and certificates, counted by listener.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedLabels {
    listener: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LookLabels {
    listener: &'static str,
    outcome: &'static str,
}

/// Shared by reference; all updates are atomic.
#[derive(Clone, Default)]
pub(crate) struct TlsCounters {
    refused: Family<RefusedLabels, Counter>,
    looks: Family<LookLabels, Counter>,
    ends: Family<ListenerLabel, Gauge<i64, AtomicI64>>,
}

impl TlsCounters {
    /// Adds the counters under their names.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "tls_handshakes_refused",
            "Connections closed because no TLS came about",
            self.refused.clone(),
        );
        registry.register(
            "tls_certificates_read",
            "New contents of certificate files, by whether they are shown now",
            self.looks.clone(),
        );
        registry.register_with_unit(
            "tls_certificate_not_after",
            "When the certificate ends, seconds since 1970",
            Unit::Seconds,
            self.ends.clone(),
        );
    }

    /// A listener has TLS, with a certificate that ends then; its counters exist from now on.
    pub(super) fn expires(&self, listener: &'static str, not_after: i64) {
        self.ends.get_or_create(&ListenerLabel { listener }).set(not_after);
        for reason in ["timeout", "failed"] {
            drop(self.refused.get_or_create(&RefusedLabels { listener, reason }));
        }
        for outcome in ["replaced", "refused"] {
            drop(self.looks.get_or_create(&LookLabels { listener, outcome }));
        }
    }

    /// A handshake did not come about.
    pub(super) fn refused(&self, listener: &'static str, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { listener, reason }).inc();
    }

    /// New contents were read.
    pub(super) fn looked(&self, listener: &'static str, outcome: &'static str) {
        self.looks.get_or_create(&LookLabels { listener, outcome }).inc();
    }
}
