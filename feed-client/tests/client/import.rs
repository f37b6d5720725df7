//! Releases that come in a bundle: what is taken, what is refused, and what is noted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bundles::Digest;
use serde_json::Value;

use crate::origin::{Origin, in_hours};
use crate::server::{Fault, Server};
use crate::world::{World, files_below, release, text};

/// An enclave's headend: it trusts the offline repository, and there is no server. Release 1 runs.
pub(crate) fn enclave() -> (World, Origin) {
    let (world, mut offline) = enclave_before();
    let bundle = put(&world, "posture-bundle-1.zip", &offline.bundle(&release(1)));
    assert_eq!(world.ok(&["import", text(&bundle)])["result"], "ok");
    (world, offline)
}

/// The same before the first import.
pub(crate) fn enclave_before() -> (World, Origin) {
    let world = World::new();
    let offline = Origin::new("offline");
    let root = world.path("offline-root.json");
    fs::write(&root, offline.root_file()).unwrap();
    let facts = world.ok(&["enroll", "--root", text(&root), "--id", "vpn-1"]);
    assert_eq!((&facts["server"], &facts["repository"]), (&Value::Null, &"offline".into()));
    (world, offline)
}

/// A headend that polls, and knows what bundles are signed with. Release 1 runs.
fn online() -> (World, Origin) {
    let mut world = World::enrolled();
    let mut offline = Origin::new("offline");
    offline.add(&release(1));
    world.origin.set_target("offline-root.json", offline.root_file().to_vec());
    world.publish(&release(1));
    world.ok(&["update"]);
    (world, offline)
}

/// Puts a file where a medium would be.
pub(crate) fn put(world: &World, name: &str, bytes: &[u8]) -> PathBuf {
    let folder = world.path("medium");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
    folder.join(name)
}

/// All that a refusal must leave as it was: everything here but the note of the attempt.
fn kept(world: &World) -> (BTreeMap<PathBuf, Vec<u8>>, Value) {
    let mut files = files_below(&world.path("data"));
    files.remove(&PathBuf::from("feed.prom"));
    let state = files.remove(&PathBuf::from("state.json")).unwrap_or_else(|| b"{}".to_vec());
    let mut state: Value = serde_json::from_slice(&state).unwrap();
    let notes = state.as_object_mut().unwrap();
    notes.retain(|key, _| key != "last_import" && key != "import_total");
    // How the clock was at the newest attempt, and what says that the rest is whole.
    notes.retain(|key, _| key != "clock_behind" && key != "sha256");
    // The first attempt writes all of it, with nothing in it.
    notes.retain(|key, value| key != "format" && !value.is_null() && *value != 0 && *value != serde_json::json!({}));
    (files, state)
}

/// An import that has to fail, by exit code and reason, and to leave everything as it was.
pub(crate) fn refuses(world: &World, bundle: &Path) -> (i32, String) {
    let before = kept(world);
    let (code, reason) = world.refuses(&["import", text(bundle)]);
    let after = kept(world);
    assert_eq!(before.1, after.1, "{reason}: the state changed");
    assert!(before.0 == after.0, "{reason}: files changed: {:?}", after.0.keys());
    assert!(!world.data(".staging").exists(), "{reason}: something is left in the staging");
    assert_eq!(world.ok(&["status"])["last_import"]["failure"]["reason"], reason.as_str());
    (code, reason)
}

#[test]
fn a_bundle_brings_a_release_as_a_poll_does() {
    let (mut world, mut offline) = online();
    let two = release(2);
    let bytes = offline.bundle(&two);
    let bundle = put(&world, "posture-bundle-2.zip", &bytes);
    world.server.take_requests();
    let facts = world.ok(&["import", text(&bundle)]);
    assert_eq!((&facts["result"], &facts["serial"], &facts["previous_serial"]), (&"ok".into(), &2.into(), &1.into()));
    assert_eq!(world.current(), Some(2));
    world.assert_whole();
    let inode = |serial: u64| {
        let file = world.data(&format!("releases/{serial}/payloads/linux.tar"));
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(file).unwrap())
    };
    assert_eq!(inode(1), inode(2), "what is here already is not taken from the bundle");
    let requests = world.server.take_requests();
    assert!(requests.iter().all(|request| request.method == "PUT"), "{requests:?}");
    let report = crate::world::reports(&requests).pop().unwrap();
    assert_eq!(report.serial.unwrap().get(), 2, "the server knows what runs");

    let status = world.ok(&["status"]);
    assert_eq!(status["source"]["kind"], "bundle");
    assert_eq!(status["source"]["name"], "posture-bundle-2.zip");
    assert_eq!(status["source"]["sha256"], Digest::of(&bytes).to_string());
    assert_eq!(status["last_status"]["status"], "successful");
    let shown = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(shown.contains("Came from         imported from posture-bundle-2.zip, SHA-256 "), "{shown}");
    assert!(!world.data(".staging").exists());

    // Again, and by the other way.
    assert_eq!(world.ok(&["import", text(&bundle)])["result"], "unchanged");
    let said = String::from_utf8(world.run(&["import", text(&bundle)]).stdout).unwrap();
    assert!(said.starts_with("Already up to date: release 2 runs\nReceipt: PF1 R2 P2 "), "{said}");
    world.publish(&two);
    assert_eq!(world.ok(&["update"])["result"], "unchanged");
    world.publish(&release(3));
    world.ok(&["update"]);
    let status = world.ok(&["status"]);
    assert_eq!((&status["source"]["kind"], &status["last_import"]["serial"]), (&"server".into(), &2.into()));
    world.ok(&["rollback"]);
    assert_eq!(world.ok(&["status"])["source"]["kind"], "bundle", "each release has its own");
}

#[test]
fn an_enclaves_headend_needs_no_server_and_says_so() {
    let (world, mut offline) = enclave_before();
    let status = world.ok(&["status"]);
    assert_eq!(status["server"], Value::Null);
    let bundle = put(&world, "bundle.zip", &offline.bundle(&release(1)));
    assert_eq!(world.ok(&["import", text(&bundle)])["serial"], 1);
    world.assert_whole();
    assert!(world.data("policy").exists());
    for command in ["update", "run"] {
        let (code, reason, message) = world.fails(&[command]);
        assert_eq!((code, reason.as_str()), (2, "bad_request"));
        assert!(message.contains("feed-client import ZIP"), "{message}");
    }
    let status = world.ok(&["status"]);
    assert_eq!((&status["last_status"]["status"], &status["serial"]), (&"successful".into(), &1.into()));
    assert_eq!(status["offline_root"]["fingerprint"], Digest::of(offline.root_file()).to_string());
    let shown = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(shown.contains("none: releases come with `feed-client import`"), "{shown}");
    let doctor = world.ok(&["doctor"]);
    let steps = doctor["steps"].as_array().unwrap();
    let of = |name: &str| steps.iter().find(|step| step["step"] == name).unwrap().clone();
    assert_eq!((&of("import")["result"], &of("http")["result"]), (&"ok".into(), &"none".into()));
    assert!(world.server.take_requests().is_empty());
}

#[test]
fn online_and_offline_do_not_stand_in_for_each_other_and_share_one_floor() {
    let (mut world, mut offline) = online();
    // A bundle made of the online repository's metadata, genuine as it is.
    let mixed = world.origin.bundle(&release(2));
    let mixed = put(&world, "mixed.zip", &mixed);
    assert_eq!(refuses(&world, &mixed), (12, "signature".to_owned()));
    // The offline repository served as the online one.
    offline.add(&release(2));
    let real = world.server.files();
    let stand_in = Server::start();
    offline.publish(&stand_in);
    for (path, bytes) in stand_in.files() {
        world.server.put(&path.replace("/offline/", "/repo/"), bytes);
    }
    assert_eq!(world.refuses(&["update"]), (12, "signature".to_owned()));
    world.server.set_files(real);

    let (two, three) = (offline.bundle(&release(2)), offline.bundle(&release(3)));
    let three = put(&world, "3.zip", &three);
    assert_eq!(world.ok(&["import", text(&three)])["serial"], 3);
    world.publish(&release(2));
    assert_eq!(world.refuses(&["update"]), (12, "rollback".to_owned()));
    assert_eq!(refuses(&world, &put(&world, "2.zip", &two)), (12, "rollback".to_owned()));
    let five = offline.bundle(&release(5));
    world.publish(&release(6));
    assert_eq!(world.ok(&["update"])["serial"], 6);
    assert_eq!(refuses(&world, &put(&world, "5.zip", &five)), (12, "rollback".to_owned()));
}

#[test]
fn what_bundles_are_signed_with_is_learnt_from_the_server_and_no_longer_believed_than_it() {
    let mut world = World::enrolled();
    let mut offline = Origin::new("offline");
    let bundle = put(&world, "2.zip", &offline.bundle(&release(2)));
    world.ok(&["update"]);
    let (code, reason, message) = world.fails(&["import", text(&bundle)]);
    assert_eq!((code, reason.as_str()), (2, "bad_request"));
    assert!(message.contains("feed-client update"), "{message}");
    assert_eq!(world.ok(&["status"])["offline_root"], Value::Null);

    world.origin.set_target("offline-root.json", offline.root_file().to_vec());
    world.origin.publish(&world.server);
    world.server.break_at("offline-root.json", Fault::Status(500));
    assert_eq!(world.ok(&["update"])["result"], "unchanged", "the release is what a poll is for");
    assert_eq!(world.fails(&["import", text(&bundle)]).1, "bad_request");
    world.server.mend();
    world.ok(&["update"]);
    assert_eq!(fs::read(world.data("offline-root.json")).unwrap(), offline.root_file());
    world.server.take_requests();
    world.ok(&["update"]);
    let asked = world.server.take_requests().iter().any(|request| request.path.contains("offline-root"));
    assert!(!asked, "it is here already");
    assert_eq!(world.ok(&["import", text(&bundle)])["serial"], 2);

    // Enrolled anew with the same root, it stays; with another one, it goes.
    world.enroll();
    assert!(world.data("offline-root.json").exists());
    world.origin = Origin::new("repo");
    world.server.set_files(BTreeMap::new());
    world.publish(&release(3));
    fs::write(world.path("root.json"), world.origin.root_file()).unwrap();
    world.enroll();
    assert!(!world.data("offline-root.json").exists());
}

#[test]
fn keys_rotate_through_bundles() {
    let (world, mut offline) = enclave();
    let late = offline.bundle(&release(2));
    offline.rotate();
    offline.rotate();
    let new = put(&world, "3.zip", &offline.bundle(&release(3)));
    assert_eq!(world.ok(&["import", text(&new)])["serial"], 3);
    let status = world.ok(&["status"]);
    assert_eq!(status["root"]["version"], 3);
    // A bundle of before, and one that a thief of the old keys makes.
    assert_eq!(refuses(&world, &put(&world, "2.zip", &late)).0, 12);
    let new = put(&world, "4.zip", &offline.bundle(&release(4)));
    assert_eq!(world.ok(&["import", text(&new)])["serial"], 4);
}

#[test]
fn time_is_what_is_signed_where_the_clock_is_behind() {
    let (world, mut offline) = enclave();
    offline.expires.insert("timestamp", in_hours(-50));
    let ended = put(&world, "2.zip", &offline.bundle(&release(2)));
    assert_eq!(refuses(&world, &ended), (12, "expired".to_owned()));
    let (_, _, message) = world.fails(&["import", text(&ended)]);
    assert!(message.contains("2 days ago") && message.contains("newer"), "{message}");
    assert_eq!(world.current(), Some(1), "what runs stays");

    // Within a day of the clock, a later time is believed, and held to from then on.
    offline.expires.insert("timestamp", in_hours(100));
    let mut ahead = release(3);
    ahead.created = in_hours(23);
    let made = ahead.created.to_string();
    let ahead = put(&world, "3.zip", &offline.bundle(&ahead));
    assert_eq!(world.ok(&["import", text(&ahead)])["serial"], 3);
    assert_eq!(world.ok(&["status"])["newest_signed_time"], made);
    offline.expires.insert("timestamp", in_hours(20));
    let ended = put(&world, "4.zip", &offline.bundle(&release(4)));
    assert_eq!(refuses(&world, &ended), (12, "expired".to_owned()));

    offline.expires.insert("timestamp", in_hours(100));
    let mut future = release(5);
    future.created = in_hours(26);
    let future = put(&world, "5.zip", &offline.bundle(&future));
    assert_eq!(refuses(&world, &future), (12, "clock".to_owned()));
}

/// In this process, since there is no telling when another one reads: the medium goes between the checks and the content.
#[test]
fn polls_that_fail_go_on_failing_and_imports_are_counted_apart() {
    let (mut world, mut offline) = online();
    world.configure("[metrics]\ntextfile = \"feed.prom\"\n");
    world.server.break_at("timestamp.json", Fault::Status(500));
    world.refuses(&["update"]);
    let two = release(2);
    let bundle = put(&world, "2.zip", &offline.bundle(&two));
    world.server.take_requests();
    world.ok(&["import", text(&bundle)]);
    let state: Value = serde_json::from_slice(&fs::read(world.data("state.json")).unwrap()).unwrap();
    assert_eq!((&state["failures_in_a_row"], &state["last_failure"]["reason"]), (&1.into(), &"http_status".into()));
    let report = world.reports().pop().unwrap();
    assert_eq!(report.serial.unwrap().get(), 2);
    assert_eq!(report.last_failure.unwrap().reason, bundles::Reason::HttpStatus, "the last poll did fail");
    assert!(report.last_success.unwrap() > report.last_attempt);

    world.server.mend();
    world.publish(&two);
    world.ok(&["update"]);
    refuses(&world, &put(&world, "cut.zip", &fs::read(&bundle).unwrap()[..5000]));
    let state: Value = serde_json::from_slice(&fs::read(world.data("state.json")).unwrap()).unwrap();
    assert_eq!((&state["failures_in_a_row"], &state["last_failure"]), (&0.into(), &Value::Null));
    let text = fs::read_to_string(world.data("feed.prom")).unwrap();
    for line in [
        "posture_feed_client_import_total{result=\"ok\"} 1",
        "posture_feed_client_import_total{result=\"truncated\"} 1",
        "posture_feed_client_poll_total{result=\"http_status\"} 1",
        "posture_feed_client_poll_total{result=\"truncated\"} 0",
        "posture_feed_client_release_imported 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn a_hook_may_refuse_an_import_and_the_same_import_tries_again() {
    let (world, mut offline) = enclave();
    world.hook("echo no thanks; exit 1", "");
    let bundle = put(&world, "2.zip", &offline.bundle(&release(2)));
    assert_eq!(world.refuses(&["import", text(&bundle)]), (1, "hook_failed".to_owned()));
    assert_eq!(world.current(), Some(1));
    assert_eq!(world.ok(&["status"])["held"]["why"], "hook_failed");
    world.hook("true", "");
    assert_eq!(world.ok(&["import", text(&bundle)])["serial"], 2);
    assert_eq!(world.ok(&["status"])["held"], Value::Null);
}

#[test]
fn a_receipt_says_what_when_and_where() {
    let (world, mut offline) = enclave();
    let bytes = offline.bundle(&release(2));
    let bundle = put(&world, "2.zip", &bytes);
    let receipt = world.path("receipt.json");
    let facts = world.ok(&["import", text(&bundle), "--receipt", text(&receipt)]);
    let written: Value = serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap();
    assert_eq!(facts["receipt"], written);
    assert_eq!((&written["serial"], &written["previous_serial"]), (&2.into(), &1.into()));
    assert_eq!(written["versions"]["conditions"], "280002.0.0.0");
    assert_eq!(written["headend"], "vpn-1");
    assert!(!written["host"].as_str().unwrap().is_empty());
    assert_eq!(written["bundle"]["sha256"], Digest::of(&bytes).to_string());
    assert_eq!(written["signer"]["fingerprint"], Digest::of(offline.root_file()).to_string());
    let line = written["line"].as_str().unwrap();
    assert!(line.starts_with("PF1 R2 P1 ") && line.contains(" vpn-1 B"), "{line}");
    // As README says that it is checked.
    let (said, check) = line.rsplit_once(" #").unwrap();
    let output = Command::new("sh").args(["-c", "printf %s \"$1\" | sha256sum", "sh", said]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(&check.replace('-', "")));

    // What cannot be written undoes nothing, is said, and is asked for again.
    let bundle = put(&world, "3.zip", &offline.bundle(&release(3)));
    let blocked = world.path("medium/3.zip/receipt.json");
    let (code, reason, message) = world.fails(&["import", text(&bundle), "--receipt", text(&blocked)]);
    assert_eq!((code, reason.as_str()), (15, "storage"));
    assert!(message.contains("release 3 runs"), "{message}");
    assert_eq!(world.current(), Some(3));
    let facts = world.ok(&["import", text(&bundle), "--receipt", text(&receipt)]);
    assert_eq!((&facts["result"], &facts["receipt"]["previous_serial"]), (&"unchanged".into(), &3.into()));
    let written: Value = serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap();
    assert_eq!(written["serial"], 3);
}

#[test]
fn inspect_says_everything_and_changes_nothing() {
    let (world, mut offline) = enclave();
    let bundle = put(&world, "2.zip", &offline.bundle(&release(2)));
    let before = files_below(&world.path("data"));
    let facts = world.ok(&["inspect", text(&bundle)]);
    assert_eq!((&facts["bundle"]["serial"], &facts["here"]["serial"]), (&2.into(), &1.into()));
    assert_eq!(facts["bundle"]["versions"]["conditions"], "280002.0.0.0");
    assert_eq!(facts["here"]["versions"]["conditions"], "280001.0.0.0");
    assert_eq!(facts["import"]["can"], true);
    let steps = facts["steps"].as_array().unwrap();
    assert!(steps.len() >= 8 && steps.iter().all(|step| step["result"] == "ok"), "{facts:#}");

    let mut cut = fs::read(&bundle).unwrap();
    cut.truncate(cut.len() - 100);
    let cut = put(&world, "cut.zip", &cut);
    let (code, reason, _) = world.fails(&["inspect", text(&cut)]);
    assert_eq!((code, reason.as_str()), (14, "truncated"));
    offline.expires.insert("snapshot", in_hours(-1));
    let ended = put(&world, "3.zip", &offline.bundle(&release(3)));
    assert_eq!(world.fails(&["inspect", text(&ended)]).1, "expired");
    assert_eq!(files_below(&world.path("data")), before);

    // On any machine, whom to believe has to be said.
    let elsewhere = world.path("elsewhere");
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_feed-client"));
        let output =
            command.arg("--data").arg(&elsewhere).args(["inspect", text(&bundle)]).args(more).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &crate::world::stderr(&output),
        )
    };
    let (code, said) = run(&[]);
    assert_eq!(code, 2);
    assert!(said.contains("--root FILE is needed"), "{said}");
    let root = world.path("offline-root.json");
    let (code, said) = run(&["--root", text(&root)]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Can be imported here: no; this headend is not enrolled"), "{said}");
    let (code, said) = run(&["--root", text(&world.path("root.json"))]);
    assert_eq!(code, 12, "{said}");
    assert!(!elsewhere.exists());
}
