//! The vendor's zip, brought by hand to an origin without a way to the vendor.

use serde_json::Value;

use crate::origin::Origin;
use crate::running::{NO_FETCHING, Site};
use crate::{nothing_is_staged, status, text};

#[test]
fn the_vendors_zip_becomes_a_release_and_is_served_as_it_is() {
    let mut vendor = Origin::new();
    let out = tempfile::tempdir().unwrap();
    let mut next = |serial: u64| {
        if serial > 1 {
            vendor.next();
        }
        // Index and archives, flat: what the vendor's own zip looks like.
        vendor.site.prints(&["bundle", "build", "--ise", "--out", text(out.path())]);
        out.path().join(format!("posture-offline-{serial}.zip"))
    };
    let first = next(1);
    let second = next(2);
    let origin = Site::new(NO_FETCHING);
    let told = origin.prints(&["bundle", "import", "--vendor", text(&first)]);
    assert!(told.starts_with("Release 1 is imported and published"), "{told}");
    nothing_is_staged(&origin);
    let shown = origin.prints(&["release", "show", "1"]);
    let user = feed_server::store::user_name(rustix::process::getuid().as_raw());
    let vouched = format!("operator {user} on the server itself");
    assert!(shown.contains("300418.0.0.0") && shown.contains(&vouched), "{shown}");
    origin.prints(&["bundle", "build", "--ise", "--out", text(origin.path())]);
    let served = std::fs::read(origin.path().join("posture-offline-1.zip")).unwrap();
    assert!(served == std::fs::read(&first).unwrap(), "byte for byte");

    let told = origin.prints(&["bundle", "import", "--vendor", text(&first)]);
    assert_eq!(told, "Already up to date: release 1.\n");
    origin.prints(&["bundle", "import", "--vendor", text(&second)]);
    let (code, error) = origin.fails(&["bundle", "import", "--vendor", text(&first)]);
    assert!(code == 12 && error.contains("(version_rollback)"), "{error}");
    assert!(error.contains("bundle import --vendor --accept-version-rollback"), "{error}");
    let back = ["bundle", "import", "--vendor", "--accept-version-rollback", "--json", text(&first)];
    let told: Value = serde_json::from_str(&origin.prints(&back)).unwrap();
    assert_eq!((&told["serial"], &told["kind"]), (&3.into(), &"vendor-zip".into()));
    assert_eq!(status(&origin)["release"]["serial"], 3);
}

#[test]
fn a_kill_during_the_import_of_the_vendors_zip_is_known_afterwards() {
    let vendor = Origin::new();
    let out = tempfile::tempdir().unwrap();
    vendor.site.prints(&["bundle", "build", "--ise", "--out", text(out.path())]);
    let zip = out.path().join("posture-offline-1.zip");
    for (point, result) in
        [("import.received", "internal"), ("catalog.committed", "imported"), ("import.before_record", "imported")]
    {
        let origin = Site::new(NO_FETCHING);
        let killed =
            origin.runs_with(&["bundle", "import", "--vendor", text(&zip)], &[("POSTURE_FEED_CRASH_AT", point)]);
        assert_eq!(killed.status.code(), None, "{point}: {killed:?}");
        let after = status(&origin);
        assert_eq!(after["last_import"]["result"], result, "{point}: {after}");
        origin.prints(&["bundle", "import", "--vendor", text(&zip)]);
        assert_eq!(status(&origin)["release"]["serial"], 1, "{point}");
    }
}
