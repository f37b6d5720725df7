//! What is wrong is refused with its reason, and leaves nothing.

use crate::origin::{Origin, relay};
use crate::running::{NO_FETCHING, Site};
use crate::{nothing_is_staged, status, text};

fn refused(relay: &Site, bytes: &[u8], code: i32, reason: &str) -> String {
    let media = tempfile::tempdir().unwrap();
    let path = media.path().join("posture-bundle-1.zip");
    std::fs::write(&path, bytes).unwrap();
    let (found, error) = relay.fails(&["bundle", "import", text(&path)]);
    assert!(found == code && error.contains(&format!("({reason})")), "{code} {reason}: {found} {error}");
    nothing_is_staged(relay);
    let status = status(relay);
    assert_eq!(status["last_import"]["reason"], reason);
    assert!(status["release"].is_null(), "{status}");
    assert_eq!(std::fs::read_dir(relay.data().join("blobs")).unwrap().count(), 0, "nothing of it is kept");
    error
}

#[test]
fn damaged_and_forged_bundles_are_refused_and_leave_nothing() {
    let origin = Origin::new();
    let relay = relay(&origin, "");
    let bundle = origin.bundle_bytes();
    refused(&relay, &bundle[..bundle.len() - 100], 14, "truncated");
    refused(&relay, &bundle[..bundle.len() / 2], 14, "truncated");
    refused(&relay, &[bundle.as_slice(), b"more"].concat(), 14, "bad_archive");
    refused(&relay, b"\x1f\x8b\x08\0 a tar.gz", 14, "bad_archive");

    let forged = Origin::new().bundle_bytes();
    let error = refused(&relay, &forged, 12, "signature");
    assert!(error.contains("not signed by the origin that is trusted here"), "{error}");

    // A bit of an archive's content: the zip's own checksum tells.
    let needle = crate::support::archives::chart();
    let at = bundle.windows(needle.len()).position(|window| window == needle).expect("archives are stored as they are");
    let mut flipped = bundle.clone();
    flipped[at + needle.len() / 2] ^= 1;
    refused(&relay, &flipped, 14, "bad_archive");

    // And the whole one is taken after all that.
    let media = tempfile::tempdir().unwrap();
    let path = origin.bundle(1, media.path());
    relay.prints(&["bundle", "import", text(&path)]);
}

#[test]
fn each_role_refuses_what_is_for_the_other() {
    let origin = Origin::new();
    let relay = relay(&origin, "");
    let media = tempfile::tempdir().unwrap();
    let bundle = origin.bundle(1, media.path());
    let (code, error) = origin.site.fails(&["bundle", "import", text(&bundle)]);
    assert!(code == 2 && error.contains("import the bundle on a relay"), "{error}");
    relay.prints(&["bundle", "import", text(&bundle)]);
    let (code, error) = relay.fails(&["bundle", "import", "--vendor", text(&bundle)]);
    assert!(code == 2 && error.contains("on the origin"), "{error}");
    assert_eq!(status(&origin.site)["release"]["serial"], 1);
    // A forgotten --config makes no origin of what was to be a relay.
    let fresh = Site::new(NO_FETCHING);
    let (code, error) = fresh.fails(&["bundle", "import", text(&bundle)]);
    assert!(code == 13 && error.contains("there is no mirror in"), "{error}");
    assert!(!fresh.data().exists());
    nothing_is_staged(&origin.site);
}

#[test]
fn an_ise_zip_is_not_taken_for_a_bundle() {
    let origin = Origin::new();
    let relay = relay(&origin, "");
    let out = tempfile::tempdir().unwrap();
    origin.site.prints(&["bundle", "build", "--ise", "--out", text(out.path())]);
    let zip = out.path().join("posture-offline-1.zip");
    let (code, error) = relay.fails(&["bundle", "import", text(&zip)]);
    assert!(code == 2 && error.contains("is no bundle") && error.contains("posture-update.xml"), "{error}");
}
