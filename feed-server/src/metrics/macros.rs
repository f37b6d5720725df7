//! Metrics as structs: a field is a family, its doc comment the HELP text, its name the metric's after the prefix.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use serde::Serialize;

use super::PREFIX;

/// What a family is, for people who write queries.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Described {
    /// Its name after the prefix.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// The HELP text.
    pub help: &'static str,
}

/// A kind of family that can be made from a name, a help text and labels.
pub trait Family: Sized {
    /// What Prometheus calls it.
    const KIND: &'static str;

    /// Makes and registers it.
    ///
    /// # Errors
    /// The name or a label is none, or it is registered already: mistakes in this program.
    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self>;
}

impl Family for IntCounterVec {
    const KIND: &'static str = "counter";

    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        let family = Self::new(Opts::new(format!("{PREFIX}{name}"), help), labels)?;
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

impl Family for IntGaugeVec {
    const KIND: &'static str = "gauge";

    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        let family = Self::new(Opts::new(format!("{PREFIX}{name}"), help), labels)?;
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

/// A histogram whose buckets fit HTTP requests: half a millisecond (a poll from memory) to two minutes (a large archive
/// to a slow line).
#[derive(Debug, Clone)]
pub struct RequestSeconds(pub HistogramVec);

/// A histogram whose buckets fit update runs: one second (nothing changed) to the half hour that the vendor's own first
/// update takes.
#[derive(Debug, Clone)]
pub struct RunSeconds(pub HistogramVec);

impl Family for RequestSeconds {
    const KIND: &'static str = "histogram";

    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        let buckets = [0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];
        histogram(registry, name, help, labels, &buckets).map(Self)
    }
}

impl Family for RunSeconds {
    const KIND: &'static str = "histogram";

    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        let buckets = [1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0];
        histogram(registry, name, help, labels, &buckets).map(Self)
    }
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new(format!("{PREFIX}{name}"), help).buckets(buckets.to_vec());
    let family = HistogramVec::new(opts, labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// ```text
/// metrics! {
///     /// What they measure.
///     pub struct SyncMetrics {
///         /// Update runs by result.
///         pub sync_total: IntCounterVec ["result"],
///     }
/// }
/// ```
macro_rules! metrics {
    ($(#[$doc:meta])* pub struct $name:ident {
        $(#[doc = $help:literal] pub $field:ident : $family:ty [$($label:literal),*],)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $(#[doc = $help] pub $field: $family,)*
        }

        impl $name {
            /// What each is.
            pub const DESCRIBED: &'static [$crate::metrics::macros::Described] = &[$(
                $crate::metrics::macros::Described {
                    name: stringify!($field),
                    kind: <$family as $crate::metrics::macros::Family>::KIND,
                    labels: &[$($label),*],
                    help: $help,
                },
            )*];

            /// Makes and registers all of them.
            ///
            /// # Errors
            /// Two have one name, or a name is none: mistakes in this program.
            pub fn register(registry: &prometheus::Registry) -> prometheus::Result<Self> {
                Ok(Self {
                    $($field: <$family as $crate::metrics::macros::Family>::register(
                        registry, stringify!($field), $help.trim(), &[$($label),*],
                    )?,)*
                })
            }
        }
    };
}

pub(crate) use metrics;
