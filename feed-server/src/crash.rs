//! Points at which tests kill the process, to show that nothing half-done is ever seen. Release builds have none.

/// Every point, so that a test can run them all.
pub const POINTS: &[&str] = &[
    "download.partial",
    "download.done",
    "blob.staged",
    "blob.renamed",
    "blobs.all",
    "catalog.before_commit",
    "catalog.committed",
    "tree.targets",
    "tree.metadata",
    "tree.online_switched",
    "tree.offline_switched",
    "tree.vendor_archives",
    "tree.vendor_switched",
    "tree.bundle_built",
    "tree.bundle_unnamed",
    "tree.before_cleanup",
    "collect.partial",
    "run.before_record",
    "import.received",
    "import.verified",
    "import.staged",
    "import.taken",
    "import.before_record",
    "incoming.recorded",
    "prepare.packed",
    "prepare.kept",
    "prepare.forgotten",
    "manners.before_keep",
    "manners.kept",
    "republish.before_commit",
    "republish.committed",
    "keys.made",
    "keys.committed",
    "keys.before_removal",
    "schema.saved",
    "schema.changed",
    "backup.written",
    "restore.staged",
    "restore.partial",
    "restore.placed",
    "report.gathered",
    "report.kept",
];

/// Aborts the process if `POSTURE_FEED_CRASH_AT` names this point (debug builds only).
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in POINTS");
    if cfg!(debug_assertions) && std::env::var_os("POSTURE_FEED_CRASH_AT").is_some_and(|wanted| wanted == name) {
        std::process::abort();
    }
}
