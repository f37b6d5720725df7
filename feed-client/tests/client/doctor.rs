//! `feed-client doctor`: a line per step, the first that fails explained, and nothing changed.

use std::os::unix::fs::PermissionsExt as _;

use certs::lab::{Chain, Keys, Presented, Versions};
use serde_json::Value;

use crate::proxy::{Manner, Proxy, site};
use crate::server::{Fault, Server};
use crate::world::{World, files_below, stderr};

/// The doctor's report, its exit code, and what it says to people; nothing may change by either.
fn examined(world: &World) -> (Value, i32, String) {
    let before = files_below(world.directory.path());
    let json = world.run(&["doctor", "--json"]);
    let text = world.run(&["doctor"]);
    assert_eq!(files_below(world.directory.path()), before, "the doctor changed something");
    assert_eq!(json.status.code(), text.status.code());
    let report = serde_json::from_slice(&json.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&json)));
    (report, json.status.code().unwrap(), String::from_utf8(text.stdout).unwrap())
}

fn step<'r>(report: &'r Value, name: &str) -> &'r Value {
    report["steps"].as_array().unwrap().iter().find(|line| line["step"] == name).unwrap()
}

fn results(report: &Value) -> Vec<(&str, &str)> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps.map(|line| (line["step"].as_str().unwrap(), line["result"].as_str().unwrap())).collect()
}

/// One step fails, with this reason and code; those before it are not to blame, and network steps after it are not tried.
fn fails_at(world: &World, name: &str, reason: &str, code: i32) -> (Value, String) {
    let (report, exit, text) = examined(world);
    assert_eq!((report["failed_step"].as_str(), report["result"].as_str()), (Some(name), Some(reason)), "{text}");
    assert_eq!((exit, report["exit_code"].as_i64()), (code, Some(code.into())), "{text}");
    let network = ["dns", "tcp", "proxy", "connect", "tls", "chain", "http", "repository", "report"];
    if let Some(at) = network.iter().position(|step| *step == name) {
        for later in &network[at + 1..] {
            assert_eq!(step(&report, later)["result"], "not_tried", "{text}");
        }
        for earlier in &network[..at] {
            let result = step(&report, earlier)["result"].as_str().unwrap();
            assert!(matches!(result, "ok" | "none"), "{earlier}: {text}");
        }
    }
    assert!(text.contains(&format!("\nFailed at {name} for {reason} (exit code {code}):\n")), "{text}");
    let message = report["failure"]["message"].as_str().unwrap().to_owned();
    assert!(text.contains(&message.lines().next().unwrap().to_owned()), "{text}");
    (report, text)
}

fn tls_world(chain: &Chain) -> World {
    let world = World::with_server(Server::start_tls(chain.server_config(Versions::Tls12And13).unwrap()));
    std::fs::write(world.path("anchor.pem"), &chain.root.pem).unwrap();
    world
}

fn trusting(world: &World) {
    world.configure(&format!("[server]\ntrust_anchors = [{:?}]\n", world.path("anchor.pem")));
}

#[test]
fn where_all_is_well_every_step_says_what_it_saw() {
    let chain = Chain::builder().keys(Keys::Ecdsa).loopback().build().unwrap();
    let world = tls_world(&chain);
    trusting(&world);
    world.enroll();
    world.ok(&["update"]);
    world.server.break_at("/report", Fault::Status(400));
    let (report, code, text) = examined(&world);
    assert_eq!((code, report["result"].as_str()), (0, Some("ok")), "{text}");
    assert_eq!(
        results(&report),
        [
            ("settings", "ok"),
            ("dns", "none"),
            ("tcp", "ok"),
            ("proxy", "none"),
            ("connect", "none"),
            ("tls", "ok"),
            ("chain", "ok"),
            ("http", "ok"),
            ("repository", "ok"),
            ("report", "ok"),
            ("import", "none"),
            ("disk", "ok"),
            ("clock", "ok"),
        ],
        "{text}"
    );
    assert!(step(&report, "tls")["seen"].as_str().unwrap().starts_with("TLSv1_3"), "{text}");
    assert!(step(&report, "tls")["took_seconds"].as_f64().unwrap() > 0.0);
    let certificates = report["chains"][0]["certificates"].as_array().unwrap();
    assert_eq!(certificates.len(), 3);
    for (position, certificate) in certificates.iter().enumerate() {
        assert_eq!(certificate["position"], position);
        for fact in ["subject", "issuer", "serial", "sha256"] {
            assert!(text.contains(certificate[fact].as_str().unwrap()), "{fact} {text}");
        }
    }
    let program = &report["program"];
    assert_eq!((&program["name"], &program["version"]), (&"feed-client".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(program["kernel"].as_str().is_some_and(|kernel| !kernel.is_empty()), "{program}");
    assert_eq!(report["repository"]["serial"], 1);
    let roles = report["repository"]["roles"].as_array().unwrap();
    assert_eq!(
        roles.iter().map(|role| role["role"].as_str().unwrap()).collect::<Vec<_>>(),
        ["root", "timestamp", "snapshot", "targets"]
    );
    assert!(roles.iter().all(|role| text.contains(role["expires"].as_str().unwrap())), "{text}");
    assert!(text.ends_with("Everything is as it should be.\n"), "{text}");
}

#[test]
fn nothing_is_reported_by_looking() {
    let world = World::enrolled();
    world.ok(&["update"]);
    world.server.take_requests();
    let (report, _, text) = examined(&world);
    assert_eq!(report["result"], "ok", "{text}");
    assert_eq!(step(&report, "tls")["result"], "none");
    let puts: Vec<_> = world.server.take_requests().into_iter().filter(|request| request.method == "PUT").collect();
    assert!(!puts.is_empty() && puts.iter().all(|put| put.body.is_empty()), "{puts:?}");
}

#[test]
fn the_first_step_that_fails_is_explained() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    world.server.break_at("/report", Fault::Status(401));
    let (_, text) = fails_at(&world, "report", "unauthorized", 13);
    assert!(text.contains("another token"), "{text}");
    world.server.mend();

    world.server.break_at("timestamp.json", Fault::Status(503));
    fails_at(&world, "http", "http_status", 13);
    world.server.mend();

    world.server.break_at("timestamp.json", Fault::Instead(b"<html>log in</html>".to_vec()));
    fails_at(&world, "repository", "not_a_feed", 13);
    world.server.mend();

    // What was held counts: the same server with its old metadata is a rollback.
    let old = world.server.files();
    world.publish(&crate::world::release(2));
    world.ok(&["update"]);
    world.server.set_files(old);
    fails_at(&world, "repository", "rollback", 12);
}

#[test]
fn a_server_that_is_not_there_fails_at_the_step_that_shows_it() {
    let world = World::enrolled();
    world.configure("[server]\nurl = \"http://127.0.0.1:1\"\n");
    fails_at(&world, "tcp", "connect", 10);
    world.configure("[server]\nurl = \"https://feed.example.invalid\"\nproxy = \"none\"\n");
    let (_, text) = fails_at(&world, "dns", "dns", 10);
    assert!(text.contains("feed.example.invalid"), "{text}");
    world.configure("[server]\nurl = \"nonsense\"\n");
    let (report, _) = fails_at(&world, "settings", "bad_request", 2);
    assert!(results(&report)[1..].iter().all(|(_, result)| *result == "not_tried"), "{report}");
}

#[test]
fn a_refused_chain_is_shown_certificate_by_certificate() {
    let chain = Chain::builder().keys(Keys::Ecdsa).loopback().root_named("The Site's Root").build().unwrap();
    let world = tls_world(&chain);
    trusting(&world);
    world.enroll();
    world.configure("");
    let (report, text) = fails_at(&world, "chain", "tls_untrusted", 12);
    assert_eq!(report["chains"][0]["is_trusted"], false);
    assert!(text.contains("subject  O=Posture Feed Lab, CN=The Site's Root"), "{text}");
    assert!(text.contains("save its certificate as a PEM file"), "{text}");

    let incomplete = tls_world(&chain.presenting(Presented::LeafOnly));
    trusting(&incomplete);
    incomplete.configure(&format!("[server]\nurl = {:?}\n", incomplete.server.url));
    let (report, text) = fails_at(&incomplete, "chain", "tls_untrusted", 12);
    assert!(text.contains("HydrantID Server CA O1, which was not presented"), "{text}");
    // Nobody enrolled it, and the way is looked at all the same.
    assert_eq!(step(&report, "settings")["result"], "warning");
}

#[test]
fn plain_http_to_a_port_that_speaks_tls_fails_at_http() {
    let world = World::enrolled();
    let tls = tls_world(&Chain::builder().keys(Keys::Ecdsa).loopback().build().unwrap());
    world.configure(&format!("[server]\nurl = {:?}\n", tls.server.url.replacen("https", "http", 1)));
    fails_at(&world, "http", "connect", 10);
}

#[test]
fn a_proxy_is_a_step_of_its_own() {
    let site = site();
    let url = format!("url = {:?}\n", site.url);
    let examined_by = |manner| {
        let proxy = Proxy::start(&site.server, manner);
        site.world.configure(&format!("{}{url}proxy = \"http://{}\"\n", site.anchors, proxy.address));
        proxy
    };
    let proxy = examined_by(Manner::Open(None));
    let (report, _, text) = examined(&site.world);
    assert_eq!(step(&report, "proxy")["target"], proxy.address, "{text}");
    assert_eq!(step(&report, "connect")["result"], "ok", "{text}");
    assert_eq!(step(&report, "chain")["result"], "ok", "{text}");
    assert_eq!(report["server"]["proxy"], proxy.address);

    let proxy = examined_by(Manner::Open(Some("bWU6c2VjcmV0")));
    let (_, text) = fails_at(&site.world, "connect", "proxy_auth", 11);
    assert!(text.contains("it offers: nothing"), "{text}");
    // Twice examined, and not once more asked than that: accounts get locked.
    assert_eq!(proxy.asked().len(), 2);
    let _proxy = examined_by(Manner::Refuse(403));
    let (_, text) = fails_at(&site.world, "connect", "proxy_refused", 11);
    assert!(text.contains("with status 403"), "{text}");
    let _proxy = examined_by(Manner::HangUp);
    fails_at(&site.world, "connect", "proxy_connect", 11);
    site.world.configure(&format!("{}{url}proxy = \"http://127.0.0.1:1\"\n", site.anchors));
    fails_at(&site.world, "tcp", "proxy_connect", 11);
}

#[test]
fn directories_are_looked_at_even_where_the_server_is_away() {
    let world = World::enrolled();
    std::fs::write(world.path("file"), b"").unwrap();
    world.configure(&format!("[apply]\ndirectory = {:?}\n", world.path("file")));
    let (report, _) = fails_at(&world, "disk", "storage", 15);
    assert_eq!(report["disk"][0]["is_writable"], true);
    assert_eq!(report["disk"][1]["is_writable"], false);

    std::fs::set_permissions(world.data("token"), std::fs::Permissions::from_mode(0o644)).unwrap();
    world.configure("[server]\nurl = \"http://127.0.0.1:1\"\n");
    let (report, text) = fails_at(&world, "tcp", "connect", 10);
    assert_eq!(step(&report, "disk")["result"], "warning");
    assert!(text.contains("chmod 600"), "{text}");
}
