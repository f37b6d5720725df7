//! What is not vouched for is not applied, and the reason says why.

use std::fs;

use bundles::{Reason, Reasoned as _};
use feed_client::repository::{Repository, Store};
use feed_client::settings::Local;

use crate::origin::{Origin, in_hours, now};
use crate::server::Fault;
use crate::world::{World, release};

/// A headend that runs release 2.
fn running() -> World {
    let mut world = World::enrolled();
    world.publish(&release(2));
    world.ok(&["update"]);
    world
}

fn assert_refused(world: &World, reason: &str) {
    assert_eq!(world.refuses(&["update"]), (12, reason.to_owned()));
    assert_eq!(world.current(), Some(2));
}

#[test]
fn older_metadata_is_refused_even_after_a_restart() {
    let mut world = World::enrolled();
    let old = world.server.files();
    world.publish(&release(2));
    world.ok(&["update"]);
    let new = world.server.files();
    world.server.set_files(old);
    assert_refused(&world, "rollback");
    world.server.set_files(new);
    assert_eq!(world.ok(&["update"])["result"], "unchanged");
}

#[test]
fn an_older_snapshot_under_a_new_timestamp_is_refused() {
    let mut world = running();
    // The keys are the right ones: an origin that was restored from a backup.
    world.origin.version = 0;
    world.origin.publish(&world.server);
    assert_refused(&world, "rollback");
}

#[test]
fn an_older_release_in_newer_metadata_is_refused() {
    let mut world = running();
    world.publish(&release(1));
    assert_refused(&world, "rollback");
    // Also one that was only seen: the hook refused it.
    world.hook("exit 1", "");
    world.publish(&release(5));
    assert_eq!(world.refuses(&["update"]).1, "hook_failed");
    world.publish(&release(4));
    assert_refused(&world, "rollback");
}

#[test]
fn another_release_of_the_same_number_is_refused() {
    let mut world = running();
    let other = release(2).with(bundles::Component::SupportedOs, "84.6.2.0", crate::origin::Payload::of("os", &[]));
    world.publish(&other);
    assert_refused(&world, "rollback");
}

#[test]
fn expired_metadata_is_refused_whichever_it_is() {
    for role in ["timestamp", "snapshot", "targets"] {
        let mut world = running();
        world.origin.expires.insert(role, in_hours(-1));
        world.publish(&release(3));
        assert_refused(&world, "expired");
        world.origin.expires.insert(role, in_hours(1));
        world.publish(&release(3));
        assert_eq!(world.ok(&["update"])["serial"], 3, "{role}");
    }
    let mut world = running();
    world.origin.expire_root();
    world.origin.publish(&world.server);
    assert_refused(&world, "expired");
}

/// In this process and not through the binary, since here the time is an argument.
#[test]
fn a_server_that_stands_still_past_its_promise_is_a_freeze() {
    let mut world = World::enrolled();
    let settings = Local::load(None, &world.path("data")).unwrap().settings().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let remote = settings.remote().unwrap();
    let store = Store::open(&settings.paths.metadata(settings.side));
    let refresh = |now| {
        let (http, location, root) = (&remote.http, &remote.location, &settings.pinned_root);
        runtime
            .block_on(Repository::refresh(http, location, root, &store, now))
            .map_err(|error| error.reason())
            .map(drop)
    };

    assert_eq!(refresh(in_hours(25)), Err(Reason::Expired), "never seen before, so nothing stands still");
    assert_eq!(refresh(now()), Ok(()));
    assert_eq!(refresh(in_hours(23)), Ok(()));
    assert_eq!(refresh(in_hours(25)), Err(Reason::Freeze));
    world.publish(&release(2));
    assert_eq!(refresh(in_hours(25)), Err(Reason::Expired), "it moved, though not far enough");
    assert_eq!(refresh(in_hours(23)), Ok(()));
}

#[test]
fn signatures_of_others_are_refused() {
    let mut world = running();
    world.origin.forge();
    world.publish(&release(3));
    assert_refused(&world, "signature");

    let mut world = running();
    world.publish(&release(3));
    let path = "/repo/metadata/timestamp.json";
    let signed = String::from_utf8(world.server.files()[path].clone()).unwrap();
    let changed = signed.replace(&format!("\"version\": {}", world.origin.version), "\"version\": 99");
    assert_ne!(signed, changed);
    world.server.put(path, changed.into_bytes());
    assert_refused(&world, "signature");
}

#[test]
fn a_root_that_the_old_keys_did_not_sign_is_refused() {
    let mut world = running();
    let mut thief = Origin::new("repo");
    thief.rotate();
    // With something new, so that the poll looks for roots.
    world.origin.publish(&world.server);
    world.server.put("/repo/metadata/2.root.json", thief.root_file().to_vec());
    assert_refused(&world, "signature");
    // Nothing of it stays.
    let mut files = world.server.files();
    files.remove("/repo/metadata/2.root.json");
    world.server.set_files(files);
    world.publish(&release(3));
    assert_eq!(world.ok(&["update"])["serial"], 3);
}

#[test]
fn keys_may_change_and_the_floor_of_roots_survives_a_restart() {
    let mut world = running();
    world.origin.rotate();
    world.origin.rotate();
    world.publish(&release(3));
    assert_eq!(world.ok(&["update"])["serial"], 3);
    assert_eq!(world.ok(&["status"])["root"]["version"], 3);
    assert_eq!(fs::read(world.data("root.json")).unwrap(), world.origin.first_root(), "the pinned root stays");
    // A server that hides the newer roots does not bring the old keys back: nothing they sign counts.
    let mut old = Origin::new("repo");
    old.add(&release(4));
    let mut files = world.server.files();
    files.remove("/repo/metadata/2.root.json");
    files.remove("/repo/metadata/3.root.json");
    world.server.set_files(files);
    world.publish(&release(4));
    assert_eq!(world.ok(&["update"])["serial"], 4, "roots that are known need not be fetched");
    assert_eq!(world.ok(&["status"])["root"]["version"], 3);
}

#[test]
fn a_root_that_cannot_be_fetched_is_not_taken_for_absent() {
    let mut world = running();
    world.origin.rotate();
    world.publish(&release(3));
    world.server.break_at("2.root.json", Fault::Status(503));
    assert_eq!(world.refuses(&["update"]), (13, "http_status".to_owned()));
    world.server.mend();
    world.server.break_at("2.root.json", Fault::CutAfter(100));
    assert_eq!(world.refuses(&["update"]), (14, "truncated".to_owned()));
    world.server.mend();
    assert_eq!(world.ok(&["update"])["serial"], 3);
}

#[test]
fn metadata_that_cannot_be_kept_or_read_stops_the_update() {
    let mut world = running();
    world.publish(&release(3));
    // A directory in the place of the file: neither readable nor replaceable, for root as well.
    fs::remove_file(world.data("tuf/repo/timestamp.json")).unwrap();
    fs::create_dir(world.data("tuf/repo/timestamp.json")).unwrap();
    assert_eq!(world.refuses(&["update"]), (15, "storage".to_owned()));
    fs::remove_dir(world.data("tuf/repo/timestamp.json")).unwrap();
    assert_eq!(world.ok(&["update"])["serial"], 3);
}

#[test]
fn a_release_from_the_future_means_that_a_clock_is_wrong() {
    let mut world = running();
    let mut future = release(3);
    future.created = in_hours(30);
    world.publish(&future);
    assert_refused(&world, "clock");
}

#[test]
fn a_manifest_that_is_not_signed_or_names_what_is_not_is_refused() {
    let mut world = running();
    let manifest = world.origin.add(&release(3));
    let payload = manifest.components[0].files[0].payload.target_name().unwrap();
    let bytes = world.origin.target(payload.as_str());

    world.origin.remove_target(payload.as_str());
    world.origin.publish(&world.server);
    assert_eq!(world.refuses(&["update"]), (13, "not_found".to_owned()));

    world.origin.set_target(payload.as_str(), b"other bytes than the manifest says".to_vec());
    world.origin.publish(&world.server);
    assert_eq!(world.refuses(&["update"]), (14, "digest_mismatch".to_owned()));

    world.origin.set_target(payload.as_str(), bytes);
    let stable = world.origin.target("stable.json");
    world.origin.set_target("stable.json", b"{\"format\":2}".to_vec());
    world.origin.publish(&world.server);
    assert_eq!(world.refuses(&["update"]), (14, "bad_archive".to_owned()));

    world.origin.remove_target("stable.json");
    world.origin.publish(&world.server);
    assert_eq!(world.refuses(&["update"]), (13, "not_found".to_owned()));

    world.origin.set_target("stable.json", stable);
    world.origin.publish(&world.server);
    assert_eq!(world.ok(&["update"])["serial"], 3);
}
