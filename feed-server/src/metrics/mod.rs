//! Metrics (design, section 10): counters that live beside what they count, and facts that are read when asked for.
//! Labels come from closed sets, and every result exists at 0 from the start.

pub mod facts;
pub mod macros;

use bundles::Reason;
use prometheus::{IntCounterVec, IntGaugeVec, Registry, TextEncoder};

pub use facts::Facts;
use macros::{Described, RequestSeconds, RunSeconds, metrics};

/// What every name begins with.
pub const PREFIX: &str = "posture_feed_";

/// The media type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

metrics! {
    /// Update runs.
    pub struct SyncMetrics {
        /// Update runs that ended, by result: ok (a new release), unchanged, held (something new is held back), or the reason of the failure.
        pub sync_total: IntCounterVec ["result"],
        /// How long update runs took, seconds.
        pub sync_duration_seconds: RunSeconds [],
    }
}

metrics! {
    /// Imports.
    pub struct ImportMetrics {
        /// Imports that ended, by result: imported (a new release), refreshed (newer signatures), up_to_date, or the reason of the failure.
        pub import_total: IntCounterVec ["result"],
    }
}

metrics! {
    /// Requests.
    pub struct HttpMetrics {
        /// Requests by route template, method and status.
        pub http_requests_total: IntCounterVec ["route", "method", "status"],
        /// Time to the head of the answer by route template, seconds.
        pub http_request_duration_seconds: RequestSeconds ["route"],
        /// Requests that were refused for want of a token that allows them, by why: no_token, wrong_token, expired_token, wrong_certificate, small_scope, too_many (wrong ones from one address).
        pub unauthorized_total: IntCounterVec ["refusal"],
        /// Bytes of answers' bodies by content encoding.
        pub sent_bytes_total: IntCounterVec ["encoding"],
        /// Requests for files that the vendor's layout does not have: what ISE looks for and does not find here.
        pub vendor_layout_misses_total: IntCounterVec [],
    }
}

metrics! {
    /// Connections.
    pub struct ConnectionMetrics {
        /// Connections that are open, by listener: public or monitoring.
        pub connections: IntGaugeVec ["listener"],
        /// Connections, and requests on them, that the server ended by itself, by listener and why.
        pub connections_ended_total: IntCounterVec ["listener", "why"],
    }
}

/// What every family is that a server exposes.
pub fn described() -> impl Iterator<Item = &'static Described> {
    let all = [
        Facts::DESCRIBED,
        SyncMetrics::DESCRIBED,
        ImportMetrics::DESCRIBED,
        HttpMetrics::DESCRIBED,
        ConnectionMetrics::DESCRIBED,
    ];
    all.into_iter().flatten()
}

/// Every result that an update run can have.
pub fn results() -> impl Iterator<Item = &'static str> {
    ["ok", "unchanged", "held"].into_iter().chain(Reason::ALL.iter().map(|reason| reason.as_str()))
}

/// Every result that an import can have.
pub fn import_results() -> impl Iterator<Item = &'static str> {
    ["imported", "refreshed", "up_to_date"].into_iter().chain(Reason::ALL.iter().map(|reason| reason.as_str()))
}

/// Why requests are refused.
pub const REFUSALS: [&str; 7] =
    ["no_token", "wrong_token", "expired_token", "wrong_certificate", "small_scope", "foreign_form", "too_many"];

/// The content encodings that the server knows.
pub const ENCODINGS: [&str; 4] = ["identity", "dcz", "zstd", "gzip"];

/// The registry with all counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Update runs.
    pub sync: SyncMetrics,
    /// Imports.
    pub imports: ImportMetrics,
    /// Requests.
    pub http: HttpMetrics,
    /// Connections.
    pub connections: ConnectionMetrics,
}

impl Metrics {
    /// All of them, every result at 0.
    ///
    /// # Errors
    /// Two have one name: a mistake in this program.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let sync = SyncMetrics::register(&registry)?;
        let imports = ImportMetrics::register(&registry)?;
        let http = HttpMetrics::register(&registry)?;
        let connections = ConnectionMetrics::register(&registry)?;
        for result in results() {
            sync.sync_total.get_metric_with_label_values(&[result])?;
        }
        for result in import_results() {
            imports.import_total.get_metric_with_label_values(&[result])?;
        }
        sync.sync_duration_seconds.0.get_metric_with_label_values::<&str>(&[])?;
        http.vendor_layout_misses_total.get_metric_with_label_values::<&str>(&[])?;
        for refusal in REFUSALS {
            http.unauthorized_total.get_metric_with_label_values(&[refusal])?;
        }
        for encoding in ENCODINGS {
            http.sent_bytes_total.get_metric_with_label_values(&[encoding])?;
        }
        Ok(Self { registry, sync, imports, http, connections })
    }

    /// The text format.
    ///
    /// # Errors
    /// A family cannot be written: a mistake in this program.
    pub fn render(&self, facts: &Facts) -> prometheus::Result<String> {
        let mut families = self.registry.gather();
        families.extend(facts.families()?);
        TextEncoder::new().encode_to_string(&families)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn every_result_is_there_from_the_start() {
        let text = Metrics::new().unwrap().render(&Facts::default()).unwrap();
        for result in results() {
            assert!(text.contains(&format!("posture_feed_sync_total{{result=\"{result}\"}} 0\n")), "{result}: {text}");
        }
        for result in import_results() {
            assert!(
                text.contains(&format!("posture_feed_import_total{{result=\"{result}\"}} 0\n")),
                "{result}: {text}"
            );
        }
        assert!(text.contains("posture_feed_sync_duration_seconds_count 0\n"));
        assert!(text.contains("# HELP posture_feed_sync_total Update runs that ended, by result"));
    }

    #[test]
    fn every_family_is_described() {
        let metrics = Metrics::new().unwrap();
        let described: Vec<_> = described().map(|one| format!("{PREFIX}{}", one.name)).collect();
        for family in metrics.registry.gather() {
            assert!(described.iter().any(|name| name == family.name()), "{}", family.name());
        }
    }

    #[test]
    fn facts_are_absent_until_there_is_one() {
        let metrics = Metrics::new().unwrap();
        let mut facts = Facts::default();
        assert!(!metrics.render(&facts).unwrap().contains("last_success"));
        facts.last_success_timestamp_seconds.set_time(Timestamp::from_second(1_750_000_000).ok());
        let text = metrics.render(&facts).unwrap();
        assert!(text.contains("posture_feed_last_success_timestamp_seconds 1750000000\n"), "{text}");
    }

    #[test]
    fn labels_are_written_as_given() {
        let mut facts = Facts::default();
        facts.component_info.add(&["conditions", "300418.0.0.0"], 1);
        facts.component_info.add(&["other", "digest"], 1);
        let text = Metrics::new().unwrap().render(&facts).unwrap();
        assert!(text.contains("posture_feed_component_info{component=\"conditions\",version=\"300418.0.0.0\"} 1\n"));
    }
}
