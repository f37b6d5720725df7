//! Looking at a bundle without taking it.

use serde_json::Value;

use crate::origin::{Origin, relay};
use crate::running::Site;
use crate::{status, text};

#[test]
fn a_bundle_is_looked_at_wherever_it_is_and_nothing_is_changed() {
    let mut origin = Origin::new();
    let (relay, to_be) = (relay(&origin, ""), relay(&origin, ""));
    let media = tempfile::tempdir().unwrap();
    relay.prints(&["bundle", "import", text(&origin.bundle(1, media.path()))]);
    origin.next();
    let second = origin.bundle(2, media.path());

    let told = relay.prints(&["bundle", "inspect", text(&second)]);
    for part in
        ["Release      2", "relay in ", "release 1", "300418.0.0.0", "300419.0.0.0", "trusted here", "here: yes"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    // A relay that is configured and no more: the first import makes it, and a look does not.
    let told = to_be.prints(&["bundle", "inspect", text(&second)]);
    assert!(told.contains("relay to be made in ") && told.contains("here: yes"), "{told}");
    assert!(!to_be.data().exists(), "nothing is made");
    let status = status(&relay);
    assert_eq!((&status["release"]["serial"], &status["last_import"]["id"]), (&1.into(), &1.into()));

    // An origin says why it does not take it; that is no failed check.
    let told = origin.site.prints(&["bundle", "inspect", text(&second)]);
    assert!(told.contains("origin in ") && told.contains("Can be imported here: no; an origin"), "{told}");

    // Neither one nor the other.
    let nowhere = Site::new("");
    let root = origin.root();
    let told = nowhere.prints(&["bundle", "inspect", "--json", "--root", text(&root), text(&second)]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["bundle"]["serial"], 2);
    assert_eq!(told["zip"]["sha256"], bundles::Digest::of(&std::fs::read(&second).unwrap()).to_string());
    assert!(!nowhere.data().exists(), "nothing is made");
    let (code, error) = nowhere.fails(&["bundle", "inspect", text(&second)]);
    assert!(code == 13 && error.contains("there is no mirror in"), "{error}");
}

#[test]
fn the_first_failed_check_gives_the_exit_code() {
    let origin = Origin::new();
    let relay = relay(&origin, "");
    let media = tempfile::tempdir().unwrap();
    let first = origin.bundle(1, media.path());
    relay.prints(&["bundle", "import", text(&first)]);
    let forged = Origin::new().bundle(1, media.path());
    assert_eq!(relay.fails(&["bundle", "inspect", text(&forged)]).0, 12);
    let cut = media.path().join("cut.zip");
    std::fs::write(&cut, &origin.bundle_bytes()[..5_000]).unwrap();
    assert_eq!(relay.fails(&["bundle", "inspect", text(&cut)]).0, 14);
    assert_eq!(relay.fails(&["bundle", "inspect", "nothing.zip"]).0, 13);
    assert_eq!(status(&relay)["last_import"]["id"], 1, "a look is no import");
}
