//! One look at upstream, against a server that behaves as told: what comes, what is not fetched again, and that
//! whatever goes wrong has its reason and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod dialing;
mod manners;
mod mirror;
mod offline_zip;
mod support;

use std::io::Write as _;
use std::time::Duration;

use bundles::{Component, Digest, Limits, Reason, Reasoned as _, Version};
use certs::lab::{Chain, Keys};
use feed_server::config;
use feed_server::sync::Looked;
use feed_server::upstream::{Timeouts, Vendor};
use proptest::prelude::*;

use support::archives::{chart, conditions, gzip, outside};
use support::server::{Reply, chain};
use support::world::{INDEX, SOUND, World};

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_the_index_names_comes_checked_and_opened() {
    let world = World::new();
    let feed = world.feed().await;
    let version = |component: &Component| {
        feed.components.iter().find(|released| released.component == *component).map(|c| c.version.to_string())
    };
    assert_eq!(version(&Component::Conditions).unwrap(), "300418.0.0.0", "by the index");
    assert_eq!(version(&Component::AvAsChartLinux).unwrap(), "4.3.3030.6145", "by what is inside");
    let digests = [Digest::of(b"<os>one</os>"), Digest::of(b"<os>two</os>")];
    let mut sorted = digests;
    sorted.sort();
    let whole: Vec<u8> = sorted.iter().flat_map(|digest| *digest.as_bytes()).collect();
    assert_eq!(version(&Component::SupportedOs).unwrap(), Version::Digest(Digest::of(&whole)).to_string());

    let os = feed.components.iter().find(|released| released.component == Component::SupportedOs).unwrap();
    assert_eq!(os.files.iter().map(|file| file.archive.sha256).collect::<Vec<_>>(), digests);
    assert_eq!(os.files[0].archive, os.files[0].payload, "what is not compressed is its own payload");
    let chart_file = &feed.components.iter().find(|c| c.component == Component::AvAsChartLinux).unwrap().files[0];
    assert_eq!(chart_file.archive.sha256, Digest::of(&chart()));
    assert_eq!(chart_file.payload.name.as_str(), "chart-linux.xml");

    for file in &feed.new_files {
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (file.file().sha256, file.file().length));
    }
    let sizes = [SOUND.len(), conditions("1").len(), chart().len(), 12, 12];
    assert_eq!(feed.received_bytes, sizes.iter().sum::<usize>() as u64);
    assert!(feed.clock_offset.unwrap() < -900_000_000, "the server lives in 1994");
    assert_eq!(feed.index.as_ref().unwrap().sha256, Digest::of(SOUND.as_bytes()));
    assert_eq!(feed.source.url.as_deref(), Some(world.config.url.as_str()));

    let requests = world.server.requests();
    assert!(requests.iter().all(|request| request.header("user-agent") == Some("posture-feed/test")));
    assert!(requests.iter().all(|request| request.header("accept-encoding") == Some("identity")));
    drop(feed);
    assert_eq!(world.staged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_asked_for_conditionally_and_not_fetched_again() {
    let world = World::new();
    world.keep(world.feed().await);
    let Looked::Unchanged { received_bytes, validators, clock_offset, reading } = world.look().await.unwrap() else {
        panic!("something was new");
    };
    assert_eq!((received_bytes, reading), (0, None));
    assert!(clock_offset.is_some());
    assert_eq!(validators, world.store.validators().unwrap());
    let all = ["chart-linux.xml.gz?", "conditions.tar.gz?", "osgroups.xml?", "osgroupsV2.xml?", "posture-update.xml?"];
    assert_eq!(world.asked(), all);

    // The same index, and yet an archive has changed: names carry no version.
    world.put("osgroups.xml", b"<os>three</os>");
    let feed = world.feed().await;
    assert_eq!(feed.new_files.len(), 1);
    assert_eq!(feed.received_bytes, SOUND.len() as u64 + 14);
    world.keep(feed);

    // Another index, the same archives.
    world.publish(&SOUND.replace("<feed>", "<feed><!-- new -->"));
    let feed = world.feed().await;
    assert_eq!(feed.new_files.iter().map(|file| file.file().name.as_str()).collect::<Vec<_>>(), ["posture-update.xml"]);
    assert_eq!(feed.components.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_an_unknown_dialect_is_mirrored_all_the_same() {
    let world = World::new();
    world.publish("<f>Today: conditions.tar.gz and\n osgroups.xml.gz, chart-linux.xml.gz;<!-- osgroupsV2.xml --></f>");
    world.put("osgroups.xml.gz", &gzip(b"<os>one</os>"));
    let feed = world.feed().await;
    assert_eq!(feed.reading, Some(bundles::index::Reading::LocatorsOnly));
    let versions: Vec<String> = feed.components.iter().map(|c| format!("{} {}", c.component, c.version)).collect();
    let digest = Digest::of(b"<os>one</os>");
    let expected = [
        "conditions 1".to_owned(),
        "av-as-chart-linux 4.3.3030.6145".to_owned(),
        format!("supported-os sha256:{digest}"),
    ];
    assert_eq!(versions, expected);
    world.keep(feed);
    assert!(matches!(world.look().await.unwrap(), Looked::Unchanged { reading: None, .. }));

    // Hosts are held to the same rule.
    world.publish("<f>conditions.tar.gz https://elsewhere.example/osgroups.xml.gz</f>");
    assert_eq!(world.look().await.unwrap_err().reason(), Reason::HostNotAllowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_validators_is_found_unchanged_by_content() {
    let world = World::new();
    let bytes = |name: &str| -> Vec<u8> {
        match name {
            "conditions.tar.gz" => conditions("1"),
            "chart-linux.xml.gz" => chart(),
            "osgroups.xml" => b"<os>one</os>".to_vec(),
            _ => b"<os>two</os>".to_vec(),
        }
    };
    for name in ["conditions.tar.gz", "chart-linux.xml.gz", "osgroups.xml", "osgroupsV2.xml"] {
        world.reply(name, Reply::File { bytes: bytes(name), etag: None });
    }
    world.keep(world.feed().await);
    let looked = world.look().await.unwrap();
    assert!(matches!(looked, Looked::Unchanged { received_bytes, .. } if received_bytes > 500), "{looked:?}");
    assert_eq!(world.staged(), 0);

    // Then it begins to send them: the next look asks with them.
    world.put("conditions.tar.gz", &conditions("1"));
    let Looked::Unchanged { validators, .. } = world.look().await.unwrap() else { panic!("something was new") };
    assert_eq!(validators.iter().filter(|validator| validator.etag.is_some()).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_lost_is_fetched_again() {
    let world = World::new();
    world.keep(world.feed().await);
    world.store.blobs.remove(&Digest::of(b"<os>one</os>")).unwrap();
    let feed = world.feed().await;
    assert_eq!(feed.new_files.iter().map(|file| file.file().name.as_str()).collect::<Vec<_>>(), ["osgroups.xml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_in_the_index_spares_the_question() {
    let world = World::new();
    let one = Digest::of(b"<os>one</os>");
    world.publish(&format!(r#"<feed><f url="osgroups.xml" sha256="{one}"/><f url="chart-linux.xml.gz"/></feed>"#));
    world.keep(world.feed().await);
    world.publish(&format!(r#"<feed> <f url="osgroups.xml" sha256="{one}"/><f url="chart-linux.xml.gz"/></feed>"#));
    world.keep_asked(&["chart-linux.xml.gz?", "posture-update.xml?"]).await;

    // An old copy on upstream's side does not pass for what the index promises.
    let two = Digest::of(b"<os>two</os>");
    world.publish(&format!(r#"<feed><f url="osgroups.xml" sha256="{two}"/><f url="chart-linux.xml.gz"/></feed>"#));
    assert_eq!(world.look().await.unwrap_err().reason(), Reason::DigestMismatch);
}

#[tokio::test]
async fn a_signed_address_that_a_redirect_leads_to_is_nobody_elses_business() {
    let world = World::new();
    let signed = "/web/secure/spa/moved.xml?signature=secret";
    let head = format!("HTTP/1.1 302 Found\r\nLocation: {signed}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    world.server.put(INDEX, Reply::Raw(head.into_bytes()));
    world.server.put(signed, Reply::file(SOUND));
    let url = world.feed().await.source.url.unwrap();
    assert!(url.ends_with("/web/secure/spa/moved.xml"), "{url}");
    // Nor where what is there cannot be used.
    let size = u64::MAX;
    let large = format!(r#"<feed><x url="osgroups.xml?signature=secret" size="{size}"/></feed>"#);
    for (index, reason) in [("no index", Reason::NotAFeed), (&large, Reason::TooLarge)] {
        world.server.put(signed, Reply::file(index));
        let error = world.look().await.unwrap_err();
        let message = error.whole_message();
        assert!(error.reason() == reason && !message.contains("secret"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_to_allowed_hosts_only() {
    let mut world = World::new();
    let port = world.server.address.port();
    let to = |target: &str| {
        let head =
            format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        Reply::Raw(head.into_bytes())
    };
    world.server.put("/moved/osgroups.xml", Reply::file("<os>moved</os>"));
    world.reply("osgroups.xml", to("/moved/osgroups.xml"));
    assert!(world.feed().await.new_files.iter().any(|file| file.file().sha256 == Digest::of(b"<os>moved</os>")));

    let other = format!("https://localhost:{port}/moved/osgroups.xml");
    world.reply("osgroups.xml", to(&other));
    let error = world.look().await.unwrap_err();
    assert_eq!(error.reason(), Reason::HostNotAllowed);
    assert!(error.to_string().contains("\"localhost\" to [upstream] allowed_hosts"), "{error}");
    world.config.allowed_hosts.push(config::AllowedHost { host: "localhost".to_owned(), trust_anchors: None });
    world.feed().await;

    for (target, reason) in [
        (format!("http://127.0.0.1:{port}/moved/osgroups.xml"), Reason::HostNotAllowed),
        ("/web/secure/spa/osgroups.xml".to_owned(), Reason::HttpStatus),
    ] {
        world.reply("osgroups.xml", to(&target));
        let error = world.look().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{target}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_has_its_reason_and_leaves_nothing_behind() {
    let head = |head: &str, body: &str| Reply::Raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes());
    let one_file = |attributes: &str| format!(r#"<feed><f url="osgroups.xml" {attributes}/></feed>"#);
    let index = |text: String| (INDEX.rsplit('/').next().unwrap(), Reply::file(text));
    let os = |reply: Reply| ("osgroups.xml", reply);
    let many: String = (0..10_000).map(|n| format!("<f url=\"a{n}.tar.gz\"/>")).collect();
    let laughs =
        r#"<?xml version="1.0"?><!DOCTYPE f [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><f><x url="a.gz">&b;</x></f>"#;
    let spaces = [b"<x>".to_vec(), vec![b' '; 8 << 20], b"</x>".to_vec()].concat();

    let cases: Vec<(&str, (&str, Reply), Reason)> = vec![
        ("index 404", ("posture-update.xml", Reply::status("404 Not Found")), Reason::HttpStatus),
        ("index 500", ("posture-update.xml", Reply::status("500 Oh No")), Reason::HttpStatus),
        ("index 429", ("posture-update.xml", Reply::status("429 Too Many")), Reason::RateLimited),
        ("archive 404", os(Reply::status("404 Not Found")), Reason::HttpStatus),
        ("archive 403", os(Reply::status("403 Forbidden")), Reason::HttpStatus),
        ("not HTTP", os(Reply::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())), Reason::HttpStatus),
        ("HTML for an index", index("<!DOCTYPE html><html><body>Login</body></html>".to_owned()), Reason::NotAFeed),
        ("HTML for an archive", os(Reply::file("\n<html><body>Login</body></html>")), Reason::NotAFeed),
        ("an index of nothing", index("<feed/>".to_owned()), Reason::NotAFeed),
        ("10,000 entries", index(format!("<feed>{many}</feed>")), Reason::TooLarge),
        ("an undefined entity", index(r#"<f><x url="a.gz">&nbsp;</x></f>"#.to_owned()), Reason::NotAFeed),
        ("a billion laughs", index(laughs.to_owned()), Reason::NotAFeed),
        ("another host", index(r#"<f><x url="https://evil.example/a.gz"/></f>"#.to_owned()), Reason::HostNotAllowed),
        ("http", index(r#"<f><x url="http://127.0.0.1/a.gz"/></f>"#.to_owned()), Reason::HostNotAllowed),
        ("../", index(r#"<f><x url="../../../../../etc/passwd.gz"/></f>"#.to_owned()), Reason::HttpStatus),
        ("cut short", os(head("Content-Length: 100", "<os>")), Reason::Truncated),
        ("cut short in chunks", os(head("Transfer-Encoding: chunked", "a\r\n<os>one")), Reason::Truncated),
        ("10 GB", os(head("Content-Length: 10000000000", "")), Reason::TooLarge),
        ("a large index", ("posture-update.xml", head("Content-Length: 10000000000", "")), Reason::TooLarge),
        (
            "an endless index",
            ("posture-update.xml", Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())),
            Reason::TooLarge,
        ),
        ("a large size", index(one_file(r#"size="99999999999""#)), Reason::TooLarge),
        ("fewer bytes than promised", index(one_file(r#"size="13""#)), Reason::Truncated),
        ("more bytes than promised", index(one_file(r#"size="11""#)), Reason::DigestMismatch),
        ("MD5", index(one_file(r#"md5="d41d8cd98f00b204e9800998ecf8427e""#)), Reason::DigestMismatch),
        ("SHA-256", index(one_file(&format!(r#"sha256="{}""#, Digest::of(b"other")))), Reason::DigestMismatch),
        ("a bomb", ("chart-linux.xml.gz", Reply::file(gzip(&spaces))), Reason::TooLarge),
        ("half an archive", ("conditions.tar.gz", Reply::file(&conditions("1")[..60])), Reason::Truncated),
        ("a member outside", ("conditions.tar.gz", Reply::file(outside())), Reason::BadArchive),
        ("no gzip", ("conditions.tar.gz", Reply::file("plain text")), Reason::BadArchive),
        ("a name too long", index(format!(r#"<f><x url="{}.gz"/></f>"#, "a".repeat(157))), Reason::HttpStatus),
    ];
    let world = World::new();
    world.keep(world.feed().await);
    for (what, (name, reply), reason) in cases {
        let broken = World::new();
        for world in [&broken, &world] {
            world.reply(name, reply.clone());
            let error = world.look().await.unwrap_err();
            assert_eq!(error.reason(), reason, "{what}: {}", error.whole_message());
            assert_eq!(world.staged(), 0, "{what}");
        }
        // What was broken is mended, and the next look finds everything in order.
        world.publish(SOUND);
        for (name, bytes) in [
            ("osgroups.xml", b"<os>one</os>".to_vec()),
            ("chart-linux.xml.gz", chart()),
            ("conditions.tar.gz", conditions("1")),
        ] {
            world.put(name, &bytes);
        }
        assert!(matches!(world.look().await, Ok(Looked::Unchanged { .. })), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn not_modified_is_no_answer_to_a_question_without_condition() {
    let world = World::new();
    world.reply("osgroups.xml", Reply::status("304 Not Modified"));
    assert_eq!(world.look().await.unwrap_err().reason(), Reason::HttpStatus);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_is_answered_there_is_a_reason_and_nothing_is_left(
        answers in prop::collection::vec(
            "(HTTP/1\\.1 (200|304|302|100|599) OK\r\n)?(Content-Length: -?[0-9]{1,20}\r\n|Location: \\PC{0,9}\r\n|ETag: \\PC{0,9}\r\n|Transfer-Encoding: chunked\r\n){0,3}(\r\n)?[ -~]{0,40}",
            1..8,
        ),
        is_index in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let world = World::new();
        for answer in answers {
            let name = if is_index { "posture-update.xml" } else { "osgroups.xml" };
            world.reply(name, Reply::Raw(answer.clone().into_bytes()));
            match runtime.block_on(world.look()) {
                // Some of what is generated is a sound answer with some text for an archive.
                Ok(_) => prop_assert!(!is_index && answer.contains(" 200 OK"), "{answer:?}"),
                Err(error) => prop_assert_ne!(error.reason(), Reason::Internal, "{}", error),
            }
            prop_assert_eq!(world.staged(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_where_nothing_was_announced() {
    let mut world = World::new();
    world.limits.archive_bytes = 1 << 20;
    world.reply("osgroups.xml", Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    let error = world.look().await.unwrap_err();
    assert!(error.reason() == Reason::TooLarge && error.to_string().contains("archive_bytes"), "{error}");
    world.limits = Limits { run_bytes: 500, ..Limits::default() };
    world.put("osgroups.xml", &[b'x'; 400]);
    let error = world.look().await.unwrap_err();
    assert!(error.reason() == Reason::TooLarge && error.to_string().contains("run_bytes"), "{error}");
    assert_eq!(world.staged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_waited_for_only_so_long() {
    let mut world = World::new();
    let short = Duration::from_millis(200);
    world.timeouts = Timeouts { first_byte: short, stall: short, ..Timeouts::default() };
    for silence in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<os>"] {
        world.reply("osgroups.xml", Reply::Stall(silence.to_vec()));
        let error = world.look().await.unwrap_err();
        assert_eq!(error.reason(), Reason::Timeout, "{error}");
        assert!(error.to_string().starts_with("127.0.0.1:") && error.to_string().contains(" did not "), "{error}");
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sound = world.config.url.clone();
    world.config.url = format!("https://{}/x.xml", silent.local_addr().unwrap()).parse().unwrap();
    world.timeouts = Timeouts { tls: short, ..Timeouts::default() };
    let error = world.look().await.unwrap_err();
    assert!(error.reason() == Reason::Timeout && error.to_string().contains("complete a TLS handshake"), "{error}");
    world.config.url = sound;
    // Dripping: each piece in time, and yet it would never end.
    world.timeouts = Timeouts { grace: Duration::ZERO, ..Timeouts::default() };
    world.reply("osgroups.xml", Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<os>".to_vec()));
    world.timeouts.stall = Duration::from_secs(2);
    assert_eq!(world.look().await.unwrap_err().reason(), Reason::Timeout);
    assert_eq!(world.staged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_nobody_waits_for_leaves_nothing_behind() {
    let world = World::new();
    world.reply("osgroups.xml", Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<os>".to_vec()));
    let given_up = tokio::time::timeout(Duration::from_millis(300), world.look()).await;
    assert!(given_up.is_err());
    let emptied = async {
        while world.staged() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), emptied).await.expect("threads go on after the look was dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_must_be_trusted() {
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let ecdsa = || Chain::builder().keys(Keys::Ecdsa);
    let expired = ecdsa().loopback().valid(at(1_500_000_000), at(1_600_000_000)).build().unwrap();
    let early = ecdsa().loopback().valid(at(1_900_000_000), at(2_000_000_000)).build().unwrap();
    let elsewhere = ecdsa().names(["www.cisco.com"]).build().unwrap();
    for (world, reason) in [
        (World::trusting(&chain(), &chain()), Reason::TlsUntrusted),
        (World::with(&expired), Reason::TlsExpired),
        (World::with(&early), Reason::TlsExpired),
        (World::with(&elsewhere), Reason::TlsName),
    ] {
        let error = world.look().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
        assert!(world.server.requests().is_empty(), "nothing was asked of it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_named() {
    let mut world = World::new();
    // A port that is bound and not listened on refuses, and nobody else can take it meanwhile.
    let bound = socket_that_does_not_listen();
    world.config.url = format!("https://127.0.0.1:{}/x.xml", bound.local_addr().unwrap().port()).parse().unwrap();
    let error = world.look().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Connect, "{error}");
    assert!(error.to_string().contains("127.0.0.1:"), "{error}");

    // Longer than a part of a name can be: no resolver needs to be asked.
    world.config.url = format!("https://{}.example/x.xml", "a".repeat(64)).parse().unwrap();
    let error = world.look().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Dns, "{}", error.whole_message());

    // Something that does not speak TLS.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || plain.accept().and_then(|(mut stream, _)| stream.write_all(b"HTTP/1.1 400 No\r\n\r\n")));
    world.config.url = format!("https://127.0.0.1:{port}/x.xml").parse().unwrap();
    assert_eq!(world.look().await.unwrap_err().reason(), Reason::TlsUntrusted);
}

fn socket_that_does_not_listen() -> std::net::UdpSocket {
    // TCP and UDP ports are apart, so a UDP socket only finds a number; whoever takes the TCP port of that number in
    // the next microseconds would have to speak TLS with our root.
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_used_says_so_before_anything_is_asked() {
    let world = World::new();
    let make = |change: &dyn Fn(&mut config::Upstream)| {
        let mut config = world.config.clone();
        change(&mut config);
        Vendor::new(&config, "posture-feed/test").unwrap_err()
    };
    for error in [
        make(&|config| config.trust_anchors = vec!["No Such Root CA".to_owned()]),
        make(&|config| config.trust_anchors = vec!["missing.pem".to_owned()]),
        make(&|config| config.components = vec![("[".to_owned(), "conditions".to_owned())]),
    ] {
        assert_eq!(error.reason(), Reason::BadRequest, "{}", error.whole_message());
    }
}
