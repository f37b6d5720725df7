//! The client is killed at every point there is, each time it passes it, and the next run heals it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::import::{enclave, enclave_before, put};
use crate::origin::Origin;
use crate::server::Fault;
use crate::world::{World, release, stderr, text};

/// More passes of one point than any update makes.
const MANY: usize = 100;

fn points(world: &World) -> Vec<String> {
    let output = world.run(&["crash-points"]);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    // With links as links, hard ones too: as the headend has them.
    let status = Command::new("cp").args(["-a", text(from), text(to)]).status().unwrap();
    assert!(status.success());
}

/// Kills `feed-client <arguments>` at each pass of each point, from the same start every time. `after` looks at what the
/// dead client left, and then at what the next run made of it. The points that were passed are returned.
fn kill_everywhere(world: &World, arguments: &[&str], healed: impl Fn(&str, &World)) -> BTreeSet<String> {
    let template = world.path("template");
    copy_tree(&world.path("data"), &template);
    let mut passed = BTreeSet::new();
    for point in points(world) {
        for skip in 0..=MANY {
            assert!(skip < MANY, "{point} is passed for ever");
            copy_tree(&template, &world.path("data"));
            let _ = fs::remove_file(world.path("hooked"));
            let output = world
                .command()
                .args(arguments)
                .env("POSTURE_FEED_CRASH_AT", &point)
                .env("POSTURE_FEED_CRASH_SKIP", skip.to_string())
                .output()
                .unwrap();
            if output.status.success() {
                break;
            }
            let at = format!("{point}, pass {}", skip + 1);
            assert_eq!(output.status.code(), None, "{at}: killed, not failed: {}", stderr(&output));
            passed.insert(point.clone());
            world.assert_whole();
            let status = world.ok(&["status"]);
            assert_ne!(status["last_status"]["status"], "running", "{at}");
            healed(&at, world);
        }
    }
    passed
}

fn assert_tidy(at: &str, world: &World) {
    world.assert_whole();
    let left: Vec<_> = fs::read_dir(world.path("data")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let hidden: Vec<_> = left.iter().filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(hidden.is_empty(), "{at}: left over: {hidden:?}");
}

const POLICIES: [&str; 2] = ["policy-a.xml", "policy-b.xml"];

fn policies(world: &World) -> Vec<String> {
    let folder = world.data("policy/conditions/conditions/defaults");
    let there = |name: &&&str| folder.join(name).exists();
    POLICIES.iter().filter(there).map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_first_update_killed_anywhere_is_healed_by_the_next() {
    let mut world = World::enrolled();
    world.origin.set_target("offline-root.json", Origin::new("offline").root_file().to_vec());
    world.origin.publish(&world.server);
    world.hook("echo called >> hooked", "");
    let passed = kill_everywhere(&world, &["update"], |at, world| {
        world.ok(&["update"]);
        assert_eq!(world.current(), Some(1), "{at}");
        assert_eq!(policies(world), POLICIES, "{at}: all default policies");
        assert!(world.path("hooked").exists(), "{at}: no release runs without the hook's word");
        assert_tidy(at, world);
        assert_eq!(world.ok(&["update"])["result"], "unchanged", "{at}");
    });
    let never: Vec<_> = points(&world).into_iter().filter(|point| !passed.contains(point)).collect();
    let of_others =
        |point: &&String| *point != "client.prune" && !point.contains(".import.") && !point.contains(".receipt.");
    assert!(!never.iter().any(|point| of_others(&point)), "points that a first update does not pass: {never:?}");
}

#[test]
fn a_first_import_killed_anywhere_is_healed_by_the_next() {
    let (world, mut offline) = enclave_before();
    // With more than one root, so that a kill between them is one of the kills.
    offline.rotate();
    world.hook("echo called >> hooked", "");
    let bundle = put(&world, "1.zip", &offline.bundle(&release(1)));
    let receipt = world.path("receipt.json");
    let import = ["import", text(&bundle), "--receipt", text(&receipt)];
    let passed = kill_everywhere(&world, &import, |at, world| {
        if let Ok(bytes) = fs::read(&receipt) {
            let whole: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(whole["serial"], 1, "{at}: a receipt is whole or not there");
            fs::remove_file(&receipt).unwrap();
        }
        world.ok(&import);
        assert_eq!(world.current(), Some(1), "{at}");
        assert_eq!(policies(world), POLICIES, "{at}: all default policies");
        assert!(world.path("hooked").exists(), "{at}: no release runs without the hook's word");
        assert!(receipt.exists(), "{at}");
        assert_tidy(at, world);
        assert_eq!(world.ok(&import)["result"], "unchanged", "{at}");
    });
    let of_updates = [".refresh.stored", ".download.", ".offline_root.", ".prune"];
    let never: Vec<_> = points(&world).into_iter().filter(|point| !passed.contains(point)).collect();
    let of_others = |point: &&String| !of_updates.iter().any(|part| point.contains(part));
    assert!(!never.iter().any(|point| of_others(&point)), "points that a first import does not pass: {never:?}");
}

#[test]
fn a_later_import_killed_anywhere_is_healed_by_the_next_bundle_or_the_same() {
    let (world, mut offline) = enclave();
    world.hook("echo called >> hooked", "keep_releases = 2\n");
    for serial in 2..=3 {
        let bundle = put(&world, "bundle.zip", &offline.bundle(&release(serial)));
        world.ok(&["import", text(&bundle)]);
    }
    let bundle = put(&world, "4.zip", &offline.bundle(&release(4)));
    let next = put(&world, "5.zip", &offline.bundle(&release(5)));
    let passed = kill_everywhere(&world, &["import", text(&bundle)], |at, world| {
        assert!(matches!(world.current(), Some(3 | 4)), "{at}: something whole runs at any time");
        // Lost or the same, as it comes.
        let same = at.len() % 2 == 0;
        let (carried, serial) = if same { (&bundle, 4) } else { (&next, 5) };
        world.ok(&["import", text(carried)]);
        assert_eq!(world.current(), Some(serial), "{at}");
        assert_tidy(at, world);
    });
    assert!(passed.contains("client.prune"));
}

#[test]
fn an_import_that_the_hook_refuses_killed_anywhere_ends_refused() {
    let (world, mut offline) = enclave();
    world.hook("exit 1", "");
    let bundle = put(&world, "2.zip", &offline.bundle(&release(2)));
    ends_refused(&world, &["import", text(&bundle)]);
}

#[test]
fn default_policies_that_an_administrator_deletes_after_a_kill_stay_deleted() {
    let world = World::enrolled();
    kill_everywhere(&world, &["update"], |at, world| {
        let created = policies(world);
        for name in &created {
            fs::remove_file(world.data("policy/conditions/conditions/defaults").join(name)).unwrap();
        }
        world.ok(&["update"]);
        let expected: Vec<_> = POLICIES.iter().filter(|name| !created.iter().any(|made| made == *name)).collect();
        assert_eq!(policies(world).iter().collect::<Vec<_>>(), expected, "{at}: each is created once, and once only");
    });
}

#[test]
fn a_later_update_killed_anywhere_is_healed_by_the_next() {
    let mut world = World::enrolled();
    world.hook("echo called >> hooked", "keep_releases = 2\n");
    for serial in 1..=2 {
        world.publish(&release(serial));
        world.ok(&["update"]);
    }
    fs::remove_dir_all(world.data("policy")).unwrap();
    world.publish(&release(3));
    let passed = kill_everywhere(&world, &["update"], |at, world| {
        assert!(matches!(world.current(), Some(2 | 3)), "{at}: something whole runs at any time");
        world.ok(&["update"]);
        assert_eq!(world.current(), Some(3), "{at}");
        assert!(!world.data("policy").exists(), "{at}: default policies came back");
        assert_tidy(at, world);
        assert_eq!(world.ok(&["update"])["result"], "unchanged", "{at}");
    });
    assert!(passed.contains("client.prune"));
}

#[test]
fn an_update_that_mends_what_is_torn_killed_anywhere_is_finished_by_the_next() {
    let mut world = World::enrolled();
    for serial in 1..=2 {
        world.origin.renew_root();
        world.publish(&release(serial));
        world.ok(&["update"]);
    }
    for name in ["state.json", "tuf/repo/root_history/2.root.json", "tuf/repo/root.json", "tuf/repo/timestamp.json"] {
        let path = world.data(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }
    world.publish(&release(3));
    let passed = kill_everywhere(&world, &["update"], |at, world| {
        assert!(world.ok(&["status"])["highest_serial_seen"].as_u64() >= Some(2), "{at}: the floor");
        world.ok(&["update"]);
        assert_eq!(world.current(), Some(3), "{at}");
        assert_eq!(world.ok(&["status"])["damaged"], serde_json::json!([]), "{at}");
        assert_tidy(at, world);
    });
    assert!(passed.contains("client.refresh.root_stored"));
}

#[test]
fn an_update_by_increments_or_with_a_broken_download_killed_anywhere_is_healed_by_the_next() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    world.publish(&release(2));
    // Packed, and whole with a break: in the midst of either.
    for breaks in [false, true] {
        if breaks {
            world.server.break_at("-conditions.tar", Fault::CutBeginning(1_000));
        } else {
            world.server.pack();
        }
        let passed = kill_everywhere(&world, &["update"], |at, world| {
            assert!(matches!(world.current(), Some(1 | 2)), "{at}: something whole runs at any time");
            world.ok(&["update"]);
            assert_eq!(world.current(), Some(2), "{at}");
            assert_tidy(at, world);
            assert_eq!(world.ok(&["update"])["result"], "unchanged", "{at}");
        });
        assert!(passed.contains("client.download.partial"));
        assert_eq!(passed.contains("client.download.whole"), breaks);
        let template = world.path("template");
        copy_tree(&template, &world.path("data"));
    }
}

#[test]
fn an_update_that_the_hook_refuses_killed_anywhere_ends_refused() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    world.hook("exit 1", "");
    world.publish(&release(2));
    ends_refused(&world, &["update"]);
}

/// The hook refuses release 2; release 1 runs.
fn ends_refused(world: &World, arguments: &[&str]) {
    let template = world.path("template");
    copy_tree(&world.path("data"), &template);
    for point in points(world) {
        for skip in 0..=MANY {
            assert!(skip < MANY, "{point} is passed for ever");
            copy_tree(&template, &world.path("data"));
            let mut command = world.command();
            command
                .args(arguments)
                .env("POSTURE_FEED_CRASH_AT", &point)
                .env("POSTURE_FEED_CRASH_SKIP", skip.to_string());
            let output = command.output().unwrap();
            if output.status.code() == Some(1) {
                break;
            }
            assert_eq!(output.status.code(), None, "{}", stderr(&output));
            world.assert_whole();
            // Whether the first run had come to the refusal or not: the next one ends with it or finishes it.
            let next = world.run(arguments);
            assert_eq!(next.status.code(), Some(1), "{point}, pass {}: {}", skip + 1, stderr(&next));
            assert_eq!(world.current(), Some(1), "{point}, pass {}", skip + 1);
            assert_eq!(world.ok(&["status"])["held"]["why"], "hook_failed");
        }
    }
}

#[test]
fn a_rollback_killed_anywhere_leaves_one_whole_release_or_the_other() {
    let mut world = World::enrolled();
    for serial in 1..=2 {
        world.publish(&release(serial));
        world.ok(&["update"]);
    }
    kill_everywhere(&world, &["rollback"], |at, world| {
        assert!(matches!(world.current(), Some(1 | 2)), "{at}");
        assert_eq!(world.ok(&["update"])["serial"], 2, "{at}");
        assert_eq!(world.current(), Some(2), "{at}");
        assert_tidy(at, world);
    });
}
