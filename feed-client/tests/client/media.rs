//! Bundles that are damaged or lie, and media that fail: nothing is taken of them, and nothing stays.

use std::fs;
use std::path::Path;
use std::process::Command;

use bundles::fake::hostile::Hostile;
use bundles::{Digest, Reason, Reasoned as _};
use feed_client::carried::Carried;
use feed_client::progress::Progress;

use crate::crash::copy_tree;
use crate::import::{enclave, enclave_before, put, refuses};
use crate::origin::in_hours;
use crate::world::{release, text};

#[test]
fn damaged_bundles_and_what_is_none_change_nothing() {
    // Nothing is here that could be taken in place of what is damaged.
    let (world, mut offline) = enclave_before();
    let whole = offline.bundle(&release(2));
    let bundle = world.path("medium/2.zip");
    for length in (0..whole.len()).step_by(4 << 10) {
        let cut = put(&world, "2.zip", &whole[..length]);
        let (code, reason) = refuses(&world, &cut);
        assert_eq!(code, 14, "cut at {length}: {reason}");
    }
    put(&world, "2.zip", &[whole.as_slice(), b"x"].concat());
    assert_eq!(refuses(&world, &bundle).0, 14);
    put(&world, "2.zip", b"\x1f\x8b\x08\0not a zip");
    assert_ne!(refuses(&world, &bundle).0, 0);
    // A medium that answers with an error in place of content: nothing is at address 0.
    assert_eq!(refuses(&world, Path::new("/proc/self/mem")), (15, "storage".to_owned()));
    assert_eq!(refuses(&world, &world.path("nowhere.zip")), (15, "storage".to_owned()));
    assert_eq!(refuses(&world, &world.path("medium")), (2, "bad_request".to_owned()));
    // Nobody writes into it, so that whoever opened it would wait.
    let pipe = world.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(refuses(&world, &pipe), (2, "bad_request".to_owned()));

    let before = world.path("before");
    copy_tree(&world.path("data"), &before);
    put(&world, "2.zip", &whole);
    assert_eq!(world.ok(&["import", text(&bundle)])["serial"], 2);
    world.assert_whole();
    let right = world.visible();

    // Somewhere in each part of it; every bit is the zip reader's own test. What is of no use to a headend is not looked
    // at, so that some may pass: with the very same content.
    let mut passed = 0;
    for part in 0..40 {
        copy_tree(&before, &world.path("data"));
        let mut changed = whole.clone();
        changed[part * whole.len() / 40] ^= 4;
        put(&world, "2.zip", &changed);
        if world.run(&["import", text(&bundle)]).status.success() {
            passed += 1;
            assert_eq!(world.visible(), right, "a bit in part {part}");
        } else {
            assert!(matches!(refuses(&world, &bundle).0, 12 | 14), "a bit in part {part}");
        }
    }
    assert!(passed < 10, "{passed} of 40 passed");
}

#[test]
fn zips_that_lie_change_nothing() {
    let (world, mut offline) = enclave_before();
    let good = offline.bundle(&release(1));
    let bundle = world.path("medium/1.zip");
    for hostile in Hostile::ALL {
        put(&world, "1.zip", &hostile.from_good(&good));
        let (_, reason) = refuses(&world, &bundle);
        assert_eq!(reason, hostile.reason().as_str(), "{hostile}");
        assert!(!world.path("evil").exists() && !world.path("medium/evil").exists(), "{hostile}");
    }
    put(&world, "1.zip", &good);
    assert_eq!(world.ok(&["import", text(&bundle)])["serial"], 1);
}

#[test]
fn a_medium_that_is_pulled_out_gives_nothing_that_is_taken() {
    let (world, mut offline) = enclave_before();
    let two = release(2);
    let bundle = put(&world, "2.zip", &offline.bundle(&two));
    let limits = bundles::Limits::default();
    let progress = Progress::hidden();
    let trust = bundles::bundle::Trust {
        root: offline.root_file(),
        held: None,
        highest_serial: None,
        signed_time: None,
        now: in_hours(0),
    };
    let file = two.manifest().components[0].files[0].clone();
    let (aside, into) = (world.path("aside"), world.path("into"));
    let bring = |length: Option<u64>| {
        let _ = (fs::remove_file(&aside), fs::remove_file(&into));
        let mut carried = Carried::open(&bundle, &limits, &progress).unwrap();
        carried.check(&trust).unwrap();
        if let Some(length) = length {
            let whole = fs::read(&bundle).unwrap();
            fs::OpenOptions::new().write(true).open(&bundle).unwrap().set_len(length).unwrap();
            let brought = carried.bring(&file, &aside, &into, &limits, &progress);
            fs::write(&bundle, whole).unwrap();
            return brought.map_err(|error| (error.reason(), error.whole_message()));
        }
        carried.bring(&file, &aside, &into, &limits, &progress).map_err(|error| (error.reason(), error.whole_message()))
    };
    assert_eq!(bring(None), Ok(file.archive.length));
    assert_eq!(Digest::of(&fs::read(&into).unwrap()), file.payload.sha256);
    assert!(!aside.exists());
    for length in [0, 100, 1000] {
        let (reason, message) = bring(Some(length)).unwrap_err();
        assert!(matches!(reason, Reason::Storage | Reason::Truncated | Reason::BadArchive), "{reason}: {message}");
        assert!(!into.exists(), "{message}");
    }
}

#[test]
fn a_medium_that_cannot_be_written_is_enough() {
    let (world, mut offline) = enclave();
    let bundle = put(&world, "2.zip", &offline.bundle(&release(2)));
    let medium = world.path("stick");
    let script = format!(
        "mkdir -p {stick} && mount -t tmpfs none {stick} || exit 77
         cp {bundle} {stick}/2.zip && mount -o remount,ro {stick} || exit 78
         exec {client} --data {data} import {stick}/2.zip",
        stick = text(&medium),
        bundle = text(&bundle),
        client = env!("CARGO_BIN_EXE_feed-client"),
        data = text(&world.path("data")),
    );
    let output = Command::new("unshare").args(["--map-root-user", "--mount", "sh", "-c", &script]).output().unwrap();
    let stderr = crate::world::stderr(&output);
    if matches!(output.status.code(), Some(77)) || stderr.contains("unshare failed") {
        eprintln!("skipped: no file system can be mounted here ({})", stderr.trim());
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(world.current(), Some(2));
}
