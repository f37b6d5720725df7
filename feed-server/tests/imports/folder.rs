//! The watched folder of a relay that runs.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::origin::{Origin, relay};
use crate::running::Site;
use crate::{nothing_is_staged, status};

/// Far longer than anything here takes: it ends a hanging test, it decides nothing.
const DEADLINE: Duration = Duration::from_secs(60);

/// Makes seconds of minutes, so that a file is left alone for a second and not for five.
const QUICK: (&str, &str) = ("POSTURE_FEED_TIMEOUTS_DIVIDED_BY", "60");

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn serving(origin: &Origin) -> (Site, PathBuf) {
    let mut relay = relay(origin, "");
    relay.serve_with(&[QUICK]);
    let folder = relay.data().join("incoming");
    until("the folder is made", || folder.is_dir());
    (relay, folder)
}

fn imports(relay: &Site) -> u64 {
    status(relay)["last_import"]["id"].as_u64().unwrap_or_default()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn a_bundle_that_is_put_there_is_imported_and_goes() {
    let mut origin = Origin::new();
    let (relay, folder) = serving(&origin);
    let bundle = origin.bundle(1, &folder);
    let digest = bundles::Digest::of(&origin.bundle_bytes());
    fs::write(folder.join("posture-bundle-1.zip.sha256"), format!("{digest}  posture-bundle-1.zip\n")).unwrap();
    until("it is taken", || !bundle.exists());
    until("the digest goes too", || is_empty(&folder));
    let after = status(&relay);
    assert_eq!((&after["release"]["serial"], &after["last_import"]["by"]), (&1.into(), &"watched_folder".into()));
    assert_eq!(after["last_import"]["name"], "posture-bundle-1.zip");
    nothing_is_staged(&relay);

    origin.next();
    origin.bundle(2, &folder);
    until("the next one is taken", || is_empty(&folder));
    assert_eq!(status(&relay)["release"]["serial"], 2);
}

#[test]
fn a_copy_that_goes_on_is_left_alone_until_it_is_whole() {
    let origin = Origin::new();
    let (relay, folder) = serving(&origin);
    let bytes = origin.bundle_bytes();
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let path = folder.join("posture-bundle-1.zip");
    let mut file = File::create(&path).unwrap();
    file.write_all(first).unwrap();
    for name in ["x.zip.part", ".y.zip", "z.zip.tmp"] {
        fs::write(folder.join(name), &bytes).unwrap();
    }
    std::os::unix::fs::symlink(folder.join("x.zip.part"), folder.join("link.zip")).unwrap();
    // That looks were taken since is seen by what another file comes to.
    fs::write(folder.join("other.zip"), b"PK\x05\x06 is no zip's end").unwrap();
    fs::write(folder.join("other.tar.gz"), b"\x1f\x8b\x08\0").unwrap();
    until("looks were taken", || folder.join("quarantine/other.tar.gz").exists());
    assert_eq!(fs::read(&path).unwrap(), first);
    assert_eq!(imports(&relay), 1);
    file.write_all(rest).unwrap();
    until("it is taken", || !path.exists());
    assert_eq!(status(&relay)["release"]["serial"], 1);
    for name in ["x.zip.part", ".y.zip", "z.zip.tmp", "link.zip"] {
        assert!(fs::symlink_metadata(folder.join(name)).is_ok(), "{name} is not ours to take");
    }
}

#[test]
fn a_bad_one_goes_to_quarantine_with_its_reason() {
    let origin = Origin::new();
    let (relay, folder) = serving(&origin);
    let forged = Origin::new().bundle_bytes();
    fs::write(folder.join("forged.zip"), &forged).unwrap();
    let quarantine = folder.join("quarantine");
    until("it is moved", || quarantine.join("forged.zip").exists() && !folder.join("forged.zip").exists());
    let reason = fs::read_to_string(quarantine.join("forged.zip.reason.txt")).unwrap();
    for part in ["signature", "not signed by the origin", &bundles::Digest::of(&forged).to_string()] {
        assert!(reason.contains(part), "{reason}");
    }
    // Whole as a zip, and not what the line beside it says.
    fs::write(folder.join("other.zip.sha256"), format!("{}  other.zip\n", bundles::Digest::of(b"x"))).unwrap();
    fs::write(folder.join("other.zip"), origin.bundle_bytes()).unwrap();
    until("it is moved", || quarantine.join("other.zip.reason.txt").exists() && !folder.join("other.zip").exists());
    let reason = fs::read_to_string(quarantine.join("other.zip.reason.txt")).unwrap();
    assert!(reason.contains("digest_mismatch"), "{reason}");
    let after = status(&relay);
    assert!(after["release"].is_null(), "{after}");
    nothing_is_staged(&relay);
}

#[test]
fn what_was_imported_when_the_power_went_is_not_imported_twice() {
    let origin = Origin::new();
    let mut relay = relay(&origin, "");
    relay.serve_with(&[QUICK, ("POSTURE_FEED_CRASH_AT", "incoming.recorded")]);
    let folder = relay.data().join("incoming");
    until("the folder is made", || folder.is_dir());
    let bundle = origin.bundle(1, &folder);
    relay.ends();
    assert!(bundle.exists());
    relay.serve_with(&[QUICK]);
    until("it goes", || !bundle.exists());
    let after = status(&relay);
    assert_eq!((&after["release"]["serial"], &after["last_import"]["result"]), (&1.into(), &"up_to_date".into()));
}

#[test]
fn a_folder_elsewhere_may_come_later() {
    let origin = Origin::new();
    let mut relay = relay(&origin, "[bundles]\nwatched_folder = \"media/stick\"\n");
    fs::write(relay.path().join("media"), "a file where the medium will be").unwrap();
    relay.serve_with(&[QUICK]);
    assert!(status(&relay)["last_import"].is_null());
    fs::remove_file(relay.path().join("media")).unwrap();
    let folder = relay.path().join("media/stick");
    fs::create_dir_all(&folder).unwrap();
    let bundle = origin.bundle(1, &folder);
    until("it is taken", || !bundle.exists());
    OpenOptions::new().read(true).open(&folder).unwrap();
    assert_eq!(status(&relay)["release"]["serial"], 1);
}
