//! Payloads come told by earlier ones; whatever is wrong with that, they come whole; what breaks off is gone on with.

use std::fs;

use bundles::increment;
use bundles::report::Transfer;
use bundles::{Component, Digest};

use crate::crash::copy_tree;
use crate::origin::{Payload, Release};
use crate::server::{Fault, Request};
use crate::world::{World, reports, stderr};

/// What no packer makes smaller by itself.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

const LENGTH: usize = 300_000;

/// Conditions of some size, of which a few bytes change with each release; a chart that never does.
fn large(serial: u64) -> Release {
    let mut checks = noise(1, LENGTH);
    checks[LENGTH / 2..LENGTH / 2 + 8].copy_from_slice(&serial.to_be_bytes());
    Release::new(serial)
        .with(
            Component::Conditions,
            &format!("{}.0.0.0", 280_000 + serial),
            Payload::of("conditions", &[("checks", &checks)]),
        )
        .with(Component::AvAsChartLinux, "33.0.0.0", Payload::of("linux", &[("chart.xml", &noise(2, 50_000))]))
}

fn payload(world: &World, serial: u64) -> Vec<u8> {
    let manifest = large(serial).manifest();
    world.origin.target(manifest.components[0].files[0].payload.target_name().unwrap().as_str())
}

/// A headend that runs release 1; release 2 is published.
fn next_published() -> World {
    let mut world = World::enrolled();
    world.publish(&large(1));
    world.ok(&["update"]);
    world.publish(&large(2));
    world.server.take_requests();
    world
}

fn of_payloads(requests: &[Request]) -> Vec<&Request> {
    requests.iter().filter(|request| request.path.ends_with(".tar")).collect()
}

fn transfer(world: &World) -> Transfer {
    serde_json::from_value(world.ok(&["status"])["last_transfer"].clone()).unwrap()
}

#[test]
fn what_changed_comes_told_by_what_is_here_and_nothing_else_comes() {
    let mut world = next_published();
    let metrics = world.path("client.prom");
    world.configure(&format!("[metrics]\ntextfile = {metrics:?}\n"));
    world.server.pack();
    let facts = world.ok(&["update"]);
    assert_eq!((&facts["result"], &facts["serial"]), (&"ok".into(), &2.into()));
    world.assert_whole();
    let requests = world.server.take_requests();
    let [asked] = of_payloads(&requests)[..] else { panic!("{requests:?}") };
    let named = increment::available_dictionary(&Digest::of(&payload(&world, 1)));
    assert_eq!(asked.header("available-dictionary"), Some(&*named));
    assert_eq!(asked.header("accept-encoding"), Some("dcz, zstd"));
    assert!(asked.sent < 500, "{} bytes", asked.sent);
    assert_eq!(facts["bytes"], asked.sent);

    let all: usize = requests.iter().filter(|request| request.method == "GET").map(|request| request.sent).sum();
    let came = transfer(&world);
    assert_eq!((came.serial.get(), came.increments, came.compressed, came.whole, came.fallbacks), (2, 1, 0, 0, 0));
    assert_eq!(came.received_bytes, all as u64);
    assert_eq!(reports(&requests).pop().unwrap().transfer, Some(came));
    for (part, coding) in [
        ("snapshot.json", "dcz, zstd"),
        ("targets.json", "dcz, zstd"),
        ("stable.json", "dcz, zstd"),
        ("timestamp.json", "zstd"),
    ] {
        let asked = requests.iter().find(|request| request.path.ends_with(part)).unwrap();
        assert_eq!(asked.header("accept-encoding"), Some(coding), "{part}");
    }
    let text = fs::read_to_string(&metrics).unwrap();
    let metric = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("posture_feed_client_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<usize>().unwrap()
    };
    assert!(metric("received_bytes_total{encoding=\"dcz\"}") >= asked.sent);
    assert!(metric("received_bytes_total{encoding=\"identity\"}") > LENGTH, "release 1 came whole");
    assert_eq!(metric("increment_fallback_total"), 0);

    // A first release has nothing to be told by, and comes packed all the same.
    let fresh = World::with_server(world.server.clone());
    world.origin.publish(&world.server);
    fs::write(fresh.path("root.json"), world.origin.root_file()).unwrap();
    fresh.enroll();
    fresh.ok(&["update"]);
    assert_eq!(transfer(&fresh).compressed, 2);
}

#[test]
fn a_kept_payload_that_rotted_tells_nothing() {
    let world = next_published();
    fs::write(world.data("releases/1/payloads/conditions.tar"), b"rotten").unwrap();
    world.server.pack();
    world.ok(&["update"]);
    let requests = world.server.take_requests();
    let [asked] = of_payloads(&requests)[..] else { panic!("{requests:?}") };
    assert_eq!((asked.header("available-dictionary"), asked.header("accept-encoding")), (None, Some("zstd")));
    assert_eq!(transfer(&world).compressed, 1);
}

#[test]
fn an_increment_that_is_of_no_use_is_refused_and_the_payload_comes_whole() {
    let world = next_published();
    let (base, content) = (payload(&world, 1), payload(&world, 2));
    let good = increment::increment(&base, &content).unwrap();
    let damaged = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let other = increment::increment(b"something else", &content).unwrap();
    let bomb = increment::increment(&base, &vec![0; 64 << 20]).unwrap();
    let other_content = increment::increment(&base, &payload(&world, 1)).unwrap();
    let shorter = increment::increment(&base, &content[..content.len() - 512]).unwrap();
    let template = world.path("template");
    copy_tree(&world.path("data"), &template);
    for (what, fault, reason) in [
        ("another beginning", Fault::Packed("dcz", damaged(3)), "bad_archive"),
        ("another base", Fault::Packed("dcz", other), "digest_mismatch"),
        ("a damaged frame", Fault::Packed("dcz", damaged(increment::HEADER_BYTES)), "bad_archive"),
        ("half of it", Fault::Packed("dcz", good[..good.len() / 2].to_vec()), "truncated"),
        ("nothing", Fault::Packed("dcz", Vec::new()), "truncated"),
        ("a bomb", Fault::Packed("dcz", bomb), "too_large"),
        ("other content", Fault::Packed("dcz", other_content), "digest_mismatch"),
        ("less content", Fault::Packed("dcz", shorter), "truncated"),
        ("no end", Fault::PackedEndless("dcz"), "bad_archive"),
        ("more than it saves", Fault::Packed("dcz", vec![b'x'; content.len() + 1025]), "too_large"),
        ("gzip, which nobody asked for", Fault::Packed("gzip", good.clone()), "bad_archive"),
        ("two codings", Fault::Packed("gzip, dcz", good.clone()), "bad_archive"),
        ("a dcz for a zstd", Fault::Packed("zstd", good.clone()), "bad_archive"),
        ("a proxy that knows no such header", Fault::StatusOfPacked(406), "http_status"),
    ] {
        copy_tree(&template, &world.path("data"));
        world.server.break_at("-conditions.tar", fault);
        let output = world.command().arg("update").output().unwrap();
        let log = stderr(&output);
        assert!(output.status.success(), "{what}: {log}");
        assert!(log.contains("came packed and was refused, so it is fetched whole"), "{what}: {log}");
        assert_eq!(world.current(), Some(2), "{what}");
        world.assert_whole();
        let came = transfer(&world);
        let [refused] = &came.refused[..] else { panic!("{what}: {came:?}") };
        assert_eq!((came.increments, came.whole, came.fallbacks), (0, 1, 1), "{what}");
        assert_eq!(
            (refused.payload.as_str(), refused.reason.as_str()),
            ("conditions.tar", reason),
            "{what}: {}",
            refused.message
        );
        assert!(refused.message.len() > 20, "{what}: {} is no sentence", refused.message);
        let requests = world.server.take_requests();
        assert_eq!(of_payloads(&requests).len(), 2, "{what}");
        assert_eq!(reports(&requests).pop().unwrap().transfer, Some(came), "{what}");
        let text = String::from_utf8(world.run(&["status"]).stdout).unwrap();
        assert!(text.contains("1 whole, 1 of them after something packed was refused"), "{what}: {text}");
        world.server.mend();
    }
}

#[test]
fn metadata_that_comes_packed_and_damaged_is_asked_for_as_it_is() {
    for (part, base, content) in [("targets.json", "1", "2"), ("snapshot.json", "1", "2")] {
        let world = next_published();
        // The lab's world published a release of its own first.
        let file = |version: &str| {
            let number: u64 = version.parse().unwrap();
            world.server.files()[&format!("/repo/metadata/{}.{part}", number + 1)].clone()
        };
        let (base, content) = (file(base), file(content));
        let mut other = content.clone();
        let at = other.len() / 2;
        other[at] ^= 1;
        for bytes in [b"no dcz".to_vec(), increment::increment(&base, &other).unwrap()] {
            let template = world.path("template");
            if !template.exists() {
                copy_tree(&world.path("data"), &template);
            }
            copy_tree(&template, &world.path("data"));
            world.server.break_at(part, Fault::Packed("dcz", bytes));
            let output = world.command().arg("update").output().unwrap();
            assert!(output.status.success(), "{part}: {}", stderr(&output));
            assert!(stderr(&output).contains("came packed and was refused"), "{part}: {}", stderr(&output));
            assert_eq!(world.current(), Some(2));
            world.server.mend();
        }
    }
    // The timestamp, as the first answer of a poll and as one that a refresh asked for.
    for refreshed in [true, false] {
        let world = next_published();
        let timestamp = world.server.files()["/repo/metadata/timestamp.json"].clone();
        let mut other = timestamp.clone();
        let at = other.len() / 2;
        other[at] ^= 1;
        let template = world.path("template");
        copy_tree(&world.path("data"), &template);
        for bytes in
            [b"no frame".to_vec(), increment::zstd(&other).unwrap(), increment::zstd(&[b' '; 1 << 20]).unwrap()]
        {
            copy_tree(&template, &world.path("data"));
            if !refreshed {
                fs::remove_file(world.data("tuf/repo/timestamp.json")).unwrap();
            }
            world.server.break_at("timestamp.json", Fault::Packed("zstd", bytes));
            let output = world.command().arg("update").output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            assert!(stderr(&output).contains("came packed and was refused"), "{}", stderr(&output));
            assert_eq!(world.current(), Some(2));
            world.server.mend();
            assert_eq!(world.ok(&["update"])["result"], "unchanged");
        }
    }
    let world = next_published();
    let manifest = large(2).manifest().to_json();
    let other = increment::increment(&large(1).manifest().to_json(), &manifest[1..]).unwrap();
    world.server.break_at("stable.json", Fault::Packed("dcz", other));
    world.ok(&["update"]);
    assert_eq!(world.current(), Some(2));
}

#[test]
fn a_download_that_breaks_is_gone_on_with_at_once() {
    let world = next_published();
    world.server.break_at("-conditions.tar", Fault::CutBeginning(100_000));
    world.ok(&["update"]);
    world.assert_whole();
    let requests = world.server.take_requests();
    let asked = of_payloads(&requests);
    assert_eq!(asked.iter().map(|request| request.header("range")).collect::<Vec<_>>(), [None, Some("bytes=100000-")]);
    assert_eq!(asked.iter().map(|request| request.sent).sum::<usize>(), payload(&world, 2).len(), "no byte twice");
    assert!(!world.data(".downloads").exists());
}

#[test]
fn a_download_that_broke_is_gone_on_with_by_the_next_attempt() {
    let mut world = next_published();
    let signed = payload(&world, 2);
    let partial = world.data(".downloads").join(format!("{}.partial", Digest::of(&signed)));
    let broken = |world: &World| {
        world.server.break_at("-conditions.tar", Fault::CutAfter(100_000));
        assert_eq!(world.refuses(&["update"]), (14, "truncated".to_owned()));
        world.server.mend();
        world.server.take_requests();
    };
    broken(&world);
    assert_eq!(fs::read(&partial).unwrap(), signed[..100_000]);
    let template = world.path("template");
    copy_tree(&world.path("data"), &template);

    // What is there is gone on with where it is the beginning, and thrown away where it is not.
    for (what, held, ranges) in [
        ("a beginning", signed[..100_000].to_vec(), vec![Some("bytes=100000-")]),
        ("all of it", signed.clone(), vec![]),
        ("other bytes", noise(9, 100_000), vec![Some("bytes=100000-"), None]),
        ("other bytes, all of them", noise(9, signed.len()), vec![None]),
        ("more than all", noise(9, signed.len() + 5), vec![None]),
    ] {
        copy_tree(&template, &world.path("data"));
        fs::write(&partial, held).unwrap();
        world.ok(&["update"]);
        world.assert_whole();
        let requests = world.server.take_requests();
        assert_eq!(
            of_payloads(&requests).iter().map(|request| request.header("range")).collect::<Vec<_>>(),
            ranges,
            "{what}"
        );
        assert!(!world.data(".downloads").exists(), "{what}");
    }

    // What nobody wants any more goes with the next download.
    copy_tree(&template, &world.path("data"));
    world.publish(&large(3));
    broken(&world);
    let left: Vec<_> = fs::read_dir(world.data(".downloads")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.len(), 1);
    assert_ne!(left[0], partial);
}
