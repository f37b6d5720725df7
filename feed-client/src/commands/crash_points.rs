//! `feed-client crash-points`, in debug builds: so that tests run every point there is.

/// One point a line.
pub(super) fn print() {
    for point in crate::crash::POINTS {
        println!("{point}");
    }
}
