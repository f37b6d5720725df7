//! Gauges that are read from the store whenever somebody asks, so that a restart does not reset them. One without a
//! value is absent: 1970 would be a lie.

use jiff::Timestamp;
use prometheus::{GaugeVec, Opts, Registry, proto::MetricFamily};

use super::PREFIX;
use super::macros::Described;

/// The samples of one gauge: label values and value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<(Vec<String>, f64)>);

impl Samples {
    /// A gauge without labels.
    #[allow(clippy::cast_precision_loss, reason = "counts and seconds stay far below 2^53")]
    pub fn set(&mut self, value: u64) {
        self.0 = vec![(Vec::new(), value as f64)];
    }

    /// A gauge of a time; stays absent where there is none.
    pub fn set_time(&mut self, time: Option<Timestamp>) {
        self.0 = time.map(|time| (Vec::new(), seconds(time))).into_iter().collect();
    }

    /// A gauge of whole seconds, of either sign.
    #[allow(clippy::cast_precision_loss, reason = "counts and seconds stay far below 2^53")]
    pub fn set_seconds(&mut self, value: i64) {
        self.0 = vec![(Vec::new(), value as f64)];
    }

    /// One more set of labels.
    #[allow(clippy::cast_precision_loss, reason = "counts and seconds stay far below 2^53")]
    pub fn add(&mut self, labels: &[&str], value: u64) {
        self.0.push((labels.iter().map(|&label| label.to_owned()).collect(), value as f64));
    }

    /// One more set of labels, with a time.
    pub fn add_time(&mut self, labels: &[&str], time: Timestamp) {
        self.0.push((labels.iter().map(|&label| label.to_owned()).collect(), seconds(time)));
    }
}

#[allow(clippy::cast_precision_loss, reason = "Unix seconds stay far below 2^53")]
fn seconds(time: Timestamp) -> f64 {
    time.as_second() as f64
}

macro_rules! facts {
    ($(#[$doc:meta])* pub struct $name:ident {
        $(#[doc = $help:literal] pub $field:ident : [$($label:literal),*],)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub struct $name {
            $(#[doc = $help] pub $field: Samples,)*
        }

        impl $name {
            /// What each is.
            pub const DESCRIBED: &'static [Described] = &[$(
                Described { name: stringify!($field), kind: "gauge", labels: &[$($label),*], help: $help },
            )*];

            /// The families that have a value.
            ///
            /// # Errors
            /// A name is none, or labels do not fit: mistakes in this program.
            pub fn families(&self) -> prometheus::Result<Vec<MetricFamily>> {
                let registry = Registry::new();
                $({
                    let opts = Opts::new(format!("{PREFIX}{}", stringify!($field)), $help.trim());
                    let gauge = GaugeVec::new(opts, &[$($label),*])?;
                    for (labels, value) in &self.$field.0 {
                        gauge.get_metric_with_label_values(labels)?.set(*value);
                    }
                    registry.register(Box::new(gauge))?;
                })*
                Ok(registry.gather())
            }
        }
    };
}

facts! {
    /// Everything that is read when somebody asks.
    pub struct Facts {
        /// Always 1; the program's version and what it is: origin (holds keys) or relay.
        pub build_info: ["version", "role"],
        /// Seconds between scheduled update runs; absent where nothing is fetched.
        pub sync_interval_seconds: [],
        /// When the last update run began, Unix seconds.
        pub last_attempt_timestamp_seconds: [],
        /// 1 for how the last update run that ended went, 0 for everything else.
        pub last_attempt_result: ["result"],
        /// When an update run last ended well, with or without anything new, Unix seconds.
        pub last_success_timestamp_seconds: [],
        /// When content last changed, Unix seconds.
        pub content_timestamp_seconds: [],
        /// When the next update run is due, Unix seconds.
        pub next_run_timestamp_seconds: [],
        /// When the last of the cool-downs is over that upstream asked for, Unix seconds; absent while nothing cools down.
        pub cooldown_until_timestamp_seconds: [],
        /// When the update run that is going on began, Unix seconds; absent while none is.
        pub run_started_timestamp_seconds: [],
        /// Always 1; the version of each component in the newest release (digest: upstream gives none).
        pub component_info: ["component", "version"],
        /// The number of the newest release.
        pub release_serial: [],
        /// When each certificate of the chain that upstream last presented ends, whether that chain was accepted or refused, Unix seconds; position 0 is the leaf.
        pub upstream_certificate_not_after_timestamp_seconds: ["host_role", "position"],
        /// When the certificate that this server presents ends, Unix seconds; absent where it does not answer by TLS.
        pub server_certificate_not_after_timestamp_seconds: [],
        /// Upstream's clock less this machine's at the last run, seconds.
        pub clock_offset_seconds: [],
        /// 1 while the server warns of something that will stop updates or may mean harm, 0 else; feed-server status says what it is.
        pub warning: ["kind"],
        /// When each role's signed metadata expires, Unix seconds.
        pub metadata_expires_timestamp_seconds: ["repository", "role"],
        /// 1 while new releases are held back, by an operator or since content was withdrawn; 0 else.
        pub release_held: [],
        /// Since when new releases are held back, Unix seconds; absent while they are not.
        pub release_held_since_timestamp_seconds: [],
        /// ISE deployments by state, as far as what they ask for shows it: refused, silent, partial or fetched.
        pub ise_deployments: ["state"],
        /// Headends by state.
        pub headends: ["state"],
        /// Bytes that content and catalog take.
        pub store_bytes: [],
        /// Bytes that could still be written to the data directory's file system.
        pub store_free_bytes: [],
    }
}
