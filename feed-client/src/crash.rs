//! Named points at which debug builds can be told to die, so that tests kill the client at every step that changes
//! something durable and see the next run heal it. Release builds compile them to nothing.

/// Every point, in the order in which a first update or import passes them.
pub const POINTS: &[&str] = &[
    "client.state.before_write",
    "client.refresh.root_stored",
    "client.refresh.timestamp_stored",
    "client.refresh.stored",
    "client.offline_root.stored",
    "client.import.begun",
    "client.import.checked",
    "client.import.partial",
    "client.import.opened",
    "client.download.partial",
    "client.download.whole",
    "client.download.done",
    "client.stage.unpacked",
    "client.stage.before_rename",
    "client.stage.renamed",
    "client.import.root_stored",
    "client.import.metadata_stored",
    "client.activate.before_switch",
    "client.activate.switched",
    "client.hook.after",
    "client.defaults.partial",
    "client.defaults.committed",
    "client.defaults.moved",
    "client.activate.kept",
    "client.prune",
    "client.import.noted",
    "client.receipt.before_write",
    "client.receipt.written",
];

/// Dies here, without destructors or flushing, if `POSTURE_FEED_CRASH_AT` names this point. Debug builds only.
///
/// `POSTURE_FEED_CRASH_SKIP` lets that many passes go by first, so that points which are passed often (each write of the
/// state, each payload) can be tested beyond the first pass.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static PASSES: AtomicUsize = AtomicUsize::new(0);

    debug_assert!(POINTS.contains(&name), "{name} is missing from POINTS");
    if std::env::var("POSTURE_FEED_CRASH_AT").is_ok_and(|at| at == name) {
        let skip: usize = std::env::var("POSTURE_FEED_CRASH_SKIP").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
        if PASSES.fetch_add(1, Ordering::Relaxed) == skip {
            std::process::abort();
        }
    }
}

/// Nothing, in release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &str) {}
