//! The server over TLS.

use certs::lab::{Chain, Keys, Versions};
use jiff::Timestamp;

use crate::server::Server;
use crate::world::{World, text};

fn world(chain: &Chain) -> World {
    let world = World::with_server(Server::start_tls(chain.server_config(Versions::Tls12And13).unwrap()));
    std::fs::write(world.path("anchor.pem"), &chain.root.pem).unwrap();
    world
}

fn trusting(world: &World) {
    world.configure(&format!("[server]\ntrust_anchors = [{:?}]\n", world.path("anchor.pem")));
}

fn enroll(world: &World) -> (i32, String, String) {
    let root = world.path("root.json");
    world.fails(&["enroll", "--server", &world.server.url, "--root", text(&root)])
}

#[test]
fn the_named_root_is_trusted_and_the_token_travels() {
    let world = world(&Chain::builder().keys(Keys::Ecdsa).loopback().build().unwrap());
    trusting(&world);
    world.enroll();
    assert_eq!(world.ok(&["update"])["serial"], 1);
    assert_eq!(world.reports().len(), 1);
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let loopback = || Chain::builder().keys(Keys::Ecdsa).loopback();
    let day = |day: i64| Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap();

    let untrusted = world(&loopback().build().unwrap());
    let (code, reason, message) = enroll(&untrusted);
    assert_eq!((code, reason.as_str()), (12, "tls_untrusted"), "{message}");
    assert!(message.contains("no configuration file was read: write "), "{message}");
    assert!(message.contains("IdenTrust Commercial Root CA 1"), "{message}");

    let expired = world(&loopback().valid(day(0), day(1)).build().unwrap());
    trusting(&expired);
    let (code, reason, message) = enroll(&expired);
    assert_eq!((code, reason.as_str()), (12, "tls_expired"), "{message}");
    assert!(message.contains("check [server] trust_anchors in "), "{message}");
    assert!(message.contains("data/feed-client.toml"), "{message}");

    let named = world(&Chain::builder().keys(Keys::Ecdsa).build().unwrap());
    trusting(&named);
    let (code, reason, message) = enroll(&named);
    assert_eq!((code, reason.as_str()), (12, "tls_name"), "{message}");
    assert!(message.contains("www.cisco.com"), "{message}");

    let (code, reason, _) = {
        named.configure("[server]\ntrust_anchors = [\"no such root\"]\n");
        enroll(&named)
    };
    assert_eq!((code, reason.as_str()), (2, "bad_request"));
}

#[test]
fn plain_http_to_a_port_that_speaks_tls_is_recognised() {
    let world = world(&Chain::builder().keys(Keys::Ecdsa).loopback().build().unwrap());
    let (url, root) = (world.server.url.replacen("https", "http", 1), world.path("root.json"));
    let (code, reason, message) = world.fails(&["enroll", "--server", &url, "--root", text(&root)]);
    assert_eq!((code, reason.as_str()), (10, "connect"), "{message}");
    assert!(message.contains("does the port speak TLS? try https://"), "{message}");
}
