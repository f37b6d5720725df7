//! Power is cut at every step of an import. What was served is served, and the same zip once more heals.

use crate::origin::{Origin, relay};
use crate::{nothing_is_staged, status, text};

#[test]
fn an_import_survives_a_kill_at_every_step() {
    let mut origin = Origin::new();
    let relay = relay(&origin, "");
    let media = tempfile::tempdir().unwrap();
    relay.prints(&["bundle", "import", text(&origin.bundle(1, media.path()))]);
    let all = relay.prints(&["crash-points"]);
    let steps = ["import.", "blob", "catalog.", "tree.offline", "tree.targets", "tree.metadata", "tree.vendor"];
    let points: Vec<_> = all.lines().filter(|point| steps.iter().any(|step| point.starts_with(step))).collect();
    assert!(points.len() > 10, "{all}");
    let mut serial = 1;
    for point in points {
        origin.next();
        let bundle = origin.bundle(serial + 1, media.path());
        let killed = relay.runs_with(&["bundle", "import", text(&bundle)], &[("POSTURE_FEED_CRASH_AT", point)]);
        assert_eq!(killed.status.code(), None, "{point} is never come by: {killed:?}");

        let after = status(&relay);
        nothing_is_staged(&relay);
        let is_there = after["release"]["serial"].as_u64().unwrap();
        assert!(is_there == serial || is_there == serial + 1, "{point}: {after}");
        let result = after["last_import"]["result"].as_str().unwrap();
        let expected = if is_there == serial { "internal" } else { "imported" };
        assert_eq!(result, expected, "{point}: {after}");

        let again = relay.prints(&["bundle", "import", text(&bundle)]);
        serial += 1;
        assert!(again.contains(&format!("elease {serial}")), "{point}: {again}");
        assert_eq!(status(&relay)["release"]["serial"], serial, "{point}");
        let timestamp = |site: &crate::running::Site| {
            std::fs::read(site.data().join("tree/offline/metadata/timestamp.json")).unwrap()
        };
        assert_eq!(timestamp(&relay), timestamp(&origin.site), "{point}");
    }
}
