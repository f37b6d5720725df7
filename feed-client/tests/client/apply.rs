//! Releases come, are kept, refused, gone back from; default policies come once.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bundles::{Component, Reason};

use crate::origin::{Payload, Release};
use crate::world::{World, release, text};

fn fetched_payloads(world: &World) -> Vec<String> {
    let requests = world.server.take_requests();
    let targets = requests.iter().filter_map(|request| request.path.strip_prefix("/repo/targets/"));
    targets.filter(|path| !path.ends_with("stable.json")).map(|path| path[82..].to_owned()).collect()
}

#[test]
fn a_release_comes_whole_and_only_what_changed_is_fetched() {
    let mut world = World::enrolled();
    let facts = world.ok(&["update"]);
    assert_eq!((&facts["result"], &facts["serial"]), (&"ok".into(), &1.into()));
    assert_eq!(fetched_payloads(&world), ["conditions.tar", "linux.tar"]);
    world.assert_whole();
    assert_eq!(fs::read_link(world.data("current")).unwrap(), Path::new("releases/1"));
    let checks = world.data("current/conditions/conditions/checks.xml");
    assert_eq!(fs::read_to_string(checks).unwrap(), "<checks release=\"1\"/>");

    let facts = world.ok(&["update"]);
    assert_eq!((&facts["result"], &facts["serial"]), (&"unchanged".into(), &1.into()));
    assert!(fetched_payloads(&world).is_empty());

    world.publish(&release(2));
    let facts = world.ok(&["update"]);
    let conditions = fs::metadata(world.data("releases/2/payloads/conditions.tar")).unwrap().len();
    assert_eq!(facts["bytes"], conditions, "only the changed payload is counted");
    assert_eq!(fetched_payloads(&world), ["conditions.tar"]);
    let inode = |serial: u64| fs::metadata(world.data(&format!("releases/{serial}/payloads/linux.tar"))).unwrap().ino();
    assert_eq!(inode(1), inode(2), "an unchanged payload takes no room");
    world.assert_whole();
}

#[test]
fn a_payload_that_rotted_on_disk_is_fetched_again() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    fs::write(world.data("releases/1/payloads/linux.tar"), b"rotten").unwrap();
    world.publish(&release(2));
    world.server.take_requests();
    world.ok(&["update"]);
    assert_eq!(fetched_payloads(&world), ["conditions.tar", "linux.tar"]);
    let good = fs::read(world.data("releases/2/payloads/linux.tar")).unwrap();
    assert_eq!(bundles::Digest::of(&good), release(2).manifest().components[1].files[0].payload.sha256);
}

#[test]
fn a_release_that_lost_its_manifest_is_made_again_in_place() {
    let world = World::enrolled();
    world.ok(&["update"]);
    let whole = world.visible().unwrap();
    fs::write(world.data("releases/1/manifest.json"), b"{").unwrap();
    fs::remove_dir_all(world.data("releases/1/conditions")).unwrap();
    assert_eq!(world.ok(&["update"])["result"], "ok");
    assert_eq!(world.visible().unwrap(), whole);
}

#[test]
fn status_says_what_runs() {
    let world = World::enrolled();
    assert_eq!(world.ok(&["status"])["last_status"]["status"], "none");
    world.ok(&["update"]);
    let status = world.ok(&["status"]);
    assert_eq!(status["last_status"]["status"], "successful");
    assert_eq!(status["versions"][0]["version"], "280001.0.0.0");
    assert_eq!(status["serial"], 1);
    assert_eq!(status["root"]["version"], 1);
    assert_eq!(status["held"], serde_json::Value::Null);
    let text = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(text.contains("Cisco AV/AS support chart version for Linux    33.0.0.0\n"), "{text}");
    assert!(text.contains("Release number    1\n"), "{text}");
}

#[test]
fn a_report_that_the_server_does_not_take_is_in_status_until_it_takes_one() {
    let world = World::enrolled();
    world.server.break_at("/report", crate::server::Fault::Status(401));
    world.ok(&["update"]);
    let status = world.ok(&["status"]);
    assert_eq!(status["last_report_failure"]["reason"], "unauthorized");
    assert_eq!(status["last_status"]["status"], "successful", "the update itself went well");
    let text = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(text.contains("Last report       refused (unauthorized): "), "{text}");
    world.server.mend();
    world.ok(&["update"]);
    assert_eq!(world.ok(&["status"])["last_report_failure"], serde_json::Value::Null);
}

#[test]
fn a_server_that_has_no_time_for_a_report_gets_it_a_little_later() {
    let world = World::enrolled();
    world.server.break_at("/report", crate::server::Fault::BusyOnce(503));
    world.ok(&["update"]);
    assert_eq!(world.reports().len(), 2);
    assert_eq!(world.ok(&["status"])["last_report_failure"], serde_json::Value::Null);
}

#[test]
fn status_where_nothing_is_says_where_it_looked() {
    let world = World::new();
    let (code, reason, message) = world.fails(&["status"]);
    assert_eq!((code, reason.as_str()), (13, "not_found"));
    assert!(message.contains("not enrolled") && message.contains(text(&world.path("data"))), "{message}");
}

#[test]
fn the_server_is_told_after_each_attempt() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    let report = world.reports().pop().unwrap();
    assert_eq!(report.serial.unwrap().get(), 1);
    assert_eq!(report.components[&Component::Conditions].to_string(), "280001.0.0.0");
    assert_eq!(report.interval_seconds, 7200);
    assert_eq!(report.last_failure, None);
    assert!(report.last_success.is_some());

    world.publish(&release(2));
    world.server.break_at("timestamp.json", crate::server::Fault::Status(500));
    assert_eq!(world.refuses(&["update"]), (13, "http_status".to_owned()));
    let report = world.reports().pop().unwrap();
    assert_eq!(report.serial.unwrap().get(), 1);
    assert_eq!(report.last_failure.unwrap().reason, Reason::HttpStatus);
    assert_eq!(world.ok(&["status"])["last_status"]["reason"], "http_status");

    // A server that takes no reports still gives releases.
    world.server.mend();
    world.server.break_at("/api/", crate::server::Fault::Status(500));
    assert_eq!(world.ok(&["update"])["serial"], 2);
}

#[test]
fn metrics_are_written_for_every_attempt() {
    let world = World::enrolled();
    world.configure("[metrics]\ntextfile = \"feed.prom\"\n");
    world.ok(&["update"]);
    world.ok(&["update"]);
    world.server.break_at("timestamp.json", crate::server::Fault::Status(500));
    world.refuses(&["update"]);
    let text = fs::read_to_string(world.data("feed.prom")).unwrap();
    for line in [
        "posture_feed_client_poll_total{result=\"ok\"} 1",
        "posture_feed_client_poll_total{result=\"unchanged\"} 1",
        "posture_feed_client_poll_total{result=\"http_status\"} 1",
        "posture_feed_client_poll_total{result=\"signature\"} 0",
        "posture_feed_client_release_serial 1",
        "posture_feed_client_component_info{component=\"conditions\",version=\"280001.0.0.0\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn a_hook_that_fails_leaves_the_release_before_and_holds() {
    let mut world = World::enrolled();
    world.hook("echo \"$POSTURE_FEED_SERIAL from ${POSTURE_FEED_PREVIOUS_SERIAL:-none}\" >> calls; grep -q checks $POSTURE_FEED_RELEASE_DIR/conditions/conditions/checks.xml", "");
    world.ok(&["update"]);
    world.hook("echo \"$POSTURE_FEED_SERIAL from $POSTURE_FEED_PREVIOUS_SERIAL\" >> calls; echo no thanks; exit 1", "");
    world.publish(&release(2));
    world.server.take_requests();
    let (code, reason) = world.refuses(&["update"]);
    assert_eq!((code, reason.as_str()), (1, "hook_failed"));
    assert_eq!(world.current(), Some(1));
    let report = world.reports().pop().unwrap();
    assert_eq!(report.serial.unwrap().get(), 1);
    let failure = report.last_failure.unwrap();
    assert_eq!(failure.reason, Reason::HookFailed);
    assert!(failure.message.contains("no thanks"), "{}", failure.message);
    assert_eq!(world.ok(&["status"])["held"]["why"], "hook_failed");
    assert_eq!(fs::read_to_string(world.path("calls")).unwrap(), "1 from none\n2 from 1\n");

    // A person may try again; the release is here already.
    world.hook("true", "");
    world.server.take_requests();
    assert_eq!(world.ok(&["update"])["serial"], 2);
    assert!(fetched_payloads(&world).is_empty());
    assert_eq!(world.ok(&["status"])["held"], serde_json::Value::Null);
}

#[test]
fn a_hook_that_fails_on_the_first_release_leaves_none() {
    let world = World::enrolled();
    world.hook("exit 9", "");
    assert_eq!(world.refuses(&["update"]), (1, "hook_failed".to_owned()));
    assert_eq!(world.current(), None);
    assert!(fs::symlink_metadata(world.data("current")).is_err());
    assert!(!world.data("policy").exists(), "default policies come with the first apply that is kept");
    world.hook("true", "");
    world.ok(&["update"]);
    assert!(world.data("policy").exists());
}

#[test]
fn rollback_goes_back_and_an_update_goes_forward_again() {
    let mut world = World::enrolled();
    assert_eq!(world.fails(&["rollback"]).1, "not_found");
    for serial in 1..=3 {
        world.publish(&release(serial));
        world.ok(&["update"]);
    }
    world.server.take_requests();
    assert_eq!(world.ok(&["rollback"])["serial"], 2);
    assert_eq!(world.current(), Some(2));
    assert_eq!(world.reports().pop().unwrap().serial.unwrap().get(), 2, "the server knows at once");
    assert_eq!(world.ok(&["rollback", "1"])["serial"], 1);
    let status = world.ok(&["status"]);
    assert_eq!((&status["held"]["why"], &status["held"]["serial"]), (&"rollback".into(), &3.into()));
    for (asked, reason) in [("1", "bad_request"), ("3", "bad_request")] {
        assert_eq!(world.refuses(&["rollback", asked]).1, reason);
    }
    assert_eq!(world.ok(&["update"])["serial"], 3, "asked for by a person");
    assert_eq!(world.ok(&["status"])["held"], serde_json::Value::Null);
}

#[test]
fn what_the_hook_refused_does_not_stay_even_if_that_cannot_be_noted() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    let state = fs::read(world.data("state.json")).unwrap();
    world.publish(&release(2));
    // A directory in the place of the state: as little can be written as on a full disk.
    world.hook("rm data/state.json; mkdir data/state.json; exit 1", "");
    assert_eq!(world.refuses(&["update"]), (15, "storage".to_owned()));
    assert_eq!(world.current(), Some(1));
    fs::remove_dir(world.data("state.json")).unwrap();
    fs::write(world.data("state.json"), state).unwrap();
    world.hook("true", "");
    assert_eq!(world.ok(&["update"])["serial"], 2);
}

#[test]
fn a_hook_may_refuse_to_go_back() {
    let mut world = World::enrolled();
    for serial in 1..=2 {
        world.publish(&release(serial));
        world.ok(&["update"]);
    }
    world.hook("exit 1", "");
    assert_eq!(world.refuses(&["rollback"]), (1, "hook_failed".to_owned()));
    assert_eq!(world.current(), Some(2));
    assert_eq!(world.ok(&["status"])["held"], serde_json::Value::Null);
}

#[test]
fn as_many_releases_stay_as_configured() {
    let mut world = World::enrolled();
    world.configure("[apply]\nkeep_releases = 2\n");
    for serial in 1..=4 {
        world.publish(&release(serial));
        world.ok(&["update"]);
    }
    assert_eq!(world.releases(), [3, 4]);
    assert_eq!(world.refuses(&["rollback", "1"]), (13, "not_found".to_owned()));
    world.assert_whole();
}

#[test]
fn default_policies_come_once_and_then_belong_to_the_administrator() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    let policy = |name: &str| world.data("policy/conditions/conditions/defaults").join(name);
    assert_eq!(fs::read_to_string(policy("policy-a.xml")).unwrap(), "<policy release=\"1\"/>");
    assert!(policy("policy-b.xml").exists());
    assert!(!world.data("policy/conditions/conditions/checks.xml").exists());
    fs::remove_file(policy("policy-a.xml")).unwrap();
    fs::write(policy("policy-b.xml"), "edited").unwrap();
    let (a, b) = (policy("policy-a.xml"), policy("policy-b.xml"));

    let untouched = || !a.exists() && fs::read_to_string(&b).unwrap() == "edited";
    world.ok(&["update"]);
    assert!(untouched(), "after a restart");
    world.publish(&release(2));
    world.ok(&["update"]);
    assert!(untouched(), "after an update");
    world.ok(&["rollback"]);
    assert!(untouched(), "after a rollback");
    world.publish(&release(3));
    world.ok(&["update"]);
    assert!(untouched(), "after the next update");
    fs::remove_dir_all(world.data("policy")).unwrap();
    world.publish(&release(4));
    world.ok(&["update"]);
    assert!(!world.data("policy").exists(), "all of them deleted stays so too");
}

#[test]
fn releases_go_where_they_are_told() {
    let world = World::enrolled();
    world.configure(&format!("[apply]\ndirectory = {:?}\n", world.path("elsewhere")));
    world.ok(&["update"]);
    assert!(world.path("elsewhere/current/manifest.json").is_file());
    assert!(world.path("elsewhere/policy").is_dir());
    assert!(!world.data("current").exists());
}

#[test]
fn relative_paths_lead_to_the_same_places_from_everywhere() {
    let mut world = World::enrolled();
    world.hook("echo $POSTURE_FEED_RELEASE_DIR > told; test -d $POSTURE_FEED_RELEASE_DIR/payloads", "");
    world.configure("[apply]\ndirectory = \"../served\"\nhook = \"../hook\"\n");
    let update = |from: &Path, data: &str| {
        let program = env!("CARGO_BIN_EXE_feed-client");
        std::process::Command::new(program).current_dir(from).args(["--data", data, "update"]).output().unwrap()
    };
    let note = world.path("told");
    let told = || fs::read_to_string(&note).unwrap();

    let output = update(world.directory.path(), "data");
    assert!(output.status.success(), "{}", crate::world::stderr(&output));
    assert!(Path::new(told().trim()).is_absolute(), "{}", told());
    let current = world.path("served/current");
    assert_eq!(fs::read_link(&current).unwrap(), Path::new("releases/1"));
    assert!(current.join("manifest.json").is_file());

    world.publish(&release(2));
    let output = update(&world.data(""), ".");
    assert!(output.status.success(), "{}", crate::world::stderr(&output));
    assert_eq!(fs::read_link(&current).unwrap(), Path::new("releases/2"));
    assert_eq!(fs::canonicalize(told().trim()).unwrap(), fs::canonicalize(&current).unwrap());
}

#[test]
fn two_payloads_of_one_name_are_kept_apart() {
    let mut world = World::enrolled();
    let same = |content: &[u8]| Payload::of("rules", &[("rules.xml", content)]);
    let release = Release::new(2).with(Component::Conditions, "1.0", same(b"one")).with(
        Component::SupportedOs,
        "1.0",
        same(b"one"),
    );
    world.publish(&release);
    world.ok(&["update"]);
    for component in ["conditions", "supported-os"] {
        let opened = world.data("current").join(component).join("rules/rules.xml");
        assert_eq!(fs::read(opened).unwrap(), b"one");
    }
}
