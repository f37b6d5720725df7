//! Bad bytes and bad disks: the reason, the exit code, and nothing that runs changes.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use bundles::{Component, TargetName};

use crate::origin::{Payload, Release};
use crate::server::Fault;
use crate::world::{World, release, text};

/// A headend that runs release 1; release 2 is published.
fn next_published() -> World {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    world.publish(&release(2));
    world
}

#[test]
fn broken_answers_are_told_apart() {
    let world = next_published();
    let payload = "-conditions.tar";
    for (part, fault, code, reason) in [
        ("timestamp.json", Fault::Status(404), 13, "not_found"),
        ("timestamp.json", Fault::Status(500), 13, "http_status"),
        ("timestamp.json", Fault::Status(302), 13, "http_status"),
        ("timestamp.json", Fault::Status(429), 13, "rate_limited"),
        ("timestamp.json", Fault::Instead(b"<html><title>Sign in</title></html>".to_vec()), 13, "not_a_feed"),
        ("timestamp.json", Fault::CutAfter(50), 14, "truncated"),
        ("timestamp.json", Fault::Endless, 14, "too_large"),
        ("snapshot.json", Fault::Longer(b" ".to_vec()), 14, "digest_mismatch"),
        ("targets.json", Fault::Status(404), 13, "not_found"),
        ("stable.json", Fault::Shortened(10), 14, "truncated"),
        ("stable.json", Fault::Instead(vec![b'x'; 5]), 14, "truncated"),
        (payload, Fault::Status(404), 13, "not_found"),
        (payload, Fault::CutAfter(100), 14, "truncated"),
        (payload, Fault::Shortened(100), 14, "truncated"),
        (payload, Fault::Longer(b"more".to_vec()), 14, "too_large"),
        (payload, Fault::Endless, 14, "too_large"),
    ] {
        world.server.break_at(part, fault.clone());
        assert_eq!(world.refuses(&["update"]), (code, reason.to_owned()), "{part}: {fault:?}");
        world.server.mend();
        assert_eq!(world.releases(), [1], "{part}: {fault:?}");
    }
    assert_eq!(world.ok(&["update"])["serial"], 2, "the next run heals it");
    world.assert_whole();
}

#[test]
fn other_bytes_of_the_right_length_are_refused() {
    let world = next_published();
    let files = world.server.files();
    let (path, bytes) = files.iter().rfind(|(path, _)| path.ends_with("-conditions.tar")).unwrap();
    for path in files.keys().filter(|path| path.ends_with("-conditions.tar")) {
        let mut changed = files[path].clone();
        changed[0] ^= 1;
        world.server.put(path, changed);
    }
    assert_eq!(world.refuses(&["update"]), (14, "digest_mismatch".to_owned()));
    assert!(!world.data(".staging").exists() || crate::world::files_below(&world.data(".staging")).is_empty());
    world.server.put(path, bytes.clone());
    world.server.set_files(files);
    assert_eq!(world.ok(&["update"])["serial"], 2);
}

#[test]
fn nobody_there() {
    let world = next_published();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    world.configure(&format!("[server]\nurl = {url:?}\n"));
    assert_eq!(world.refuses(&["update"]), (10, "connect".to_owned()));
    world.configure("[server]\nurl = \"http://no-such-host.invalid\"\n");
    assert_eq!(world.refuses(&["update"]), (10, "dns".to_owned()));
}

#[test]
fn archives_that_hold_what_they_must_not_are_not_opened() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    let file = tar::EntryType::Regular;
    let evil = [
        Payload::evil("evil", b"../outside", file, None),
        Payload::evil("evil", b"a/../../outside", file, None),
        Payload::evil("evil", b"/outside", file, None),
        Payload::evil("evil", b"link", tar::EntryType::Symlink, Some("/etc")),
        Payload::evil("evil", b"hard", tar::EntryType::Link, Some("../../manifest.json")),
        Payload::evil("evil", b"device", tar::EntryType::Char, None),
        Payload::evil("evil", b"pipe", tar::EntryType::Fifo, None),
        Payload::raw("evil", b"this is no tar at all, whatever its name says"),
    ];
    for (serial, payload) in (2..).zip(evil) {
        let release = Release::new(serial).with(Component::Conditions, "1.0", payload);
        world.publish(&release);
        assert_eq!(world.refuses(&["update"]), (14, "bad_archive".to_owned()), "release {serial}");
        assert_eq!(world.releases(), [1]);
        assert!(!world.data("outside").exists() && !world.path("outside").exists());
    }
    world.publish(&release(20));
    assert_eq!(world.ok(&["update"])["serial"], 20);
}

#[test]
fn a_file_that_cannot_grow_is_said_and_survived() {
    let world = next_published();
    // Writes beyond 64 blocks of 512 bytes fail, as they do on a full disk; needs no privilege.
    let script = format!(
        "trap '' XFSZ; ulimit -f 64; exec {} --data {} update --json",
        env!("CARGO_BIN_EXE_feed-client"),
        text(&world.path("data"))
    );
    fs::write(world.data("releases/1/payloads/linux.tar"), b"rotten, so the large one has to be fetched").unwrap();
    let before = world.visible();
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let stderr = crate::world::stderr(&output);
    assert_eq!(output.status.code(), Some(15), "{stderr}");
    assert!(stderr.contains("\"reason\":\"storage\"") && stderr.contains("free space"), "{stderr}");
    assert_eq!(world.visible(), before);
    assert_eq!(world.ok(&["update"])["serial"], 2);
}

/// Runs the script with the data directory on a small file system of its own, `$data`, and brings what became of it back
/// to `data`. `None` where this machine lets nobody mount.
fn on_a_small_disk(world: &World, kibibytes: u32, script: &str) -> Option<std::process::Output> {
    let (home, disk) = (world.path("data"), world.path("disk"));
    let (home, disk) = (text(&home), text(&disk));
    let client = env!("CARGO_BIN_EXE_feed-client");
    let script = format!(
        "data={disk}; client={client}; mkdir -p $data && mount -t tmpfs -o size={kibibytes}k none $data || exit 77
         cp -a {home}/. $data/ || exit 78
         {script}
         rm -rf {home} && cp -a $data {home} || exit 79
         exit $code"
    );
    let output = Command::new("unshare").args(["--map-root-user", "--mount", "sh", "-c", &script]).output().ok()?;
    let mounted = !matches!(output.status.code(), None | Some(1 | 77)) || !output.stdout.is_empty();
    if !mounted {
        eprintln!("skipped: no file system can be mounted here ({})", crate::world::stderr(&output).trim());
    }
    mounted.then_some(output)
}

#[test]
fn a_disk_that_is_full_at_any_step_is_said_and_survived() {
    let world = next_published();
    let template = world.path("template");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let _ = fs::remove_dir_all(to);
        assert!(Command::new("cp").args(["-a", text(from), text(to)]).status().unwrap().success());
    };
    copy(&world.path("data"), &template);
    let before = world.visible();
    let mut full = 0;
    // What is there takes some 300 KiB and the update as much again; the steps are of a few pages.
    for kibibytes in (260..).step_by(12) {
        assert!(kibibytes < 2_000, "the update never fits");
        copy(&template, &world.path("data"));
        let script = "echo begun; $client --data $data update; code=$?";
        let Some(output) = on_a_small_disk(&world, kibibytes, script) else { return };
        let stderr = crate::world::stderr(&output);
        match output.status.code() {
            // Not even what is there fits.
            Some(78) => {}
            Some(15) => {
                full += 1;
                world.assert_whole();
                assert_eq!(world.visible(), before, "{kibibytes} KiB: {stderr}");
                assert_eq!(world.ok(&["update"])["serial"], 2, "{kibibytes} KiB: with room again");
                world.assert_whole();
            }
            Some(0) => break,
            other => panic!("{kibibytes} KiB: {other:?}: {stderr}"),
        }
    }
    assert!(full > 3, "the disk was full at {full} sizes only");
}

#[test]
fn a_read_only_disk_is_said_and_what_runs_can_be_looked_at() {
    let world = next_published();
    let before = world.visible();
    world.server.take_requests();
    let script = "mount -o remount,ro $data; $client --data $data status && $client --data $data update; code=$?";
    let Some(output) = on_a_small_disk(&world, 2_000, script) else { return };
    let stderr = crate::world::stderr(&output);
    assert_eq!(output.status.code(), Some(15), "{stderr}");
    assert!(stderr.contains("reason: storage"), "{stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Release number    1"));
    assert_eq!(world.visible(), before);
    let report = world.reports().pop().expect("the server is told all the same");
    assert_eq!(report.last_failure.unwrap().reason, bundles::Reason::Storage);
    assert_eq!(report.serial.unwrap().get(), 1);
    assert!(report.last_success.is_some());
}

#[test]
fn a_disk_that_a_killed_update_filled_is_cleared_first() {
    let world = next_published();
    let script = "mkdir -p $data/.staging/2; echo begun; cat /dev/zero > $data/.staging/2/rest 2> /dev/null
        $client --data $data update; code=$?";
    let Some(output) = on_a_small_disk(&world, 2_000, script) else { return };
    assert_eq!(output.status.code(), Some(0), "{}", crate::world::stderr(&output));
    assert_eq!(world.current(), Some(2));
    world.assert_whole();
}

#[test]
fn an_attempt_that_cannot_begin_is_reported_all_the_same() {
    let world = next_published();
    let state = fs::read(world.data("state.json")).unwrap();
    let newer = "{\"format\":2}";
    fs::write(world.data("state.json"), newer).unwrap();
    world.server.take_requests();
    assert_eq!(world.refuses(&["update"]), (15, "storage".to_owned()));
    assert_eq!(fs::read_to_string(world.data("state.json")).unwrap(), newer, "it is left as it is");
    let report = world.reports().pop().unwrap();
    assert_eq!(report.serial.unwrap().get(), 1);
    let failure = report.last_failure.unwrap();
    assert_eq!(failure.reason, bundles::Reason::Storage);
    assert!(failure.message.contains("newer feed-client"), "{}", failure.message);
    fs::write(world.data("state.json"), state).unwrap();
    assert_eq!(world.ok(&["update"])["serial"], 2);
}

#[test]
fn a_data_directory_that_cannot_be_written_is_said() {
    let world = next_published();
    let blocked = world.path("blocked");
    fs::write(&blocked, b"a file where the apply directory should be").unwrap();
    world.configure(&format!("[apply]\ndirectory = {blocked:?}\n"));
    assert_eq!(world.fails(&["update"]).0, 15);
    world.configure("");
    fs::write(world.data("state.json"), "{\"format\":2}").unwrap();
    let (code, reason, message) = world.fails(&["update"]);
    assert_eq!((code, reason.as_str()), (15, "storage"));
    assert!(message.contains("newer feed-client"), "{message}");
    assert_eq!(world.current(), Some(1));
}

#[test]
fn a_payload_beyond_the_limits_is_not_begun() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    let mut manifest = world.origin.add(&release(2));
    let payload = &mut manifest.components[0].files[0].payload;
    payload.length = 9 << 30;
    world.origin.set_target(TargetName::of_channel_stable().as_str(), manifest.to_json());
    world.origin.publish(&world.server);
    world.server.take_requests();
    assert_eq!(world.refuses(&["update"]), (14, "too_large".to_owned()));
    assert!(world.server.take_requests().iter().all(|request| !request.path.ends_with(".tar")));
}
