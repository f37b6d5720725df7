//! Another feed-server as a source, as far as it goes before anything is verified: what is asked for, when the asking ends,
//! and how much is taken.

use bundles::signed::{MAX_ROOTS, Metadata};
use bundles::{Digest, Reason, Reasoned as _};
use feed_server::upstream::mirror::{Mirror, MirrorError};

use crate::support::server::Reply;
use crate::support::world::World;

const END: &str = "2030-01-01T00:00:00Z";

fn root(version: usize) -> String {
    let role = r#"{"keyids":["a"],"threshold":1}"#;
    format!(
        r#"{{"signatures":[],"signed":{{"_type":"root","spec_version":"1.0.31","consistent_snapshot":true,"version":{version},"expires":"{END}","keys":{{}},"roles":{{"root":{role},"timestamp":{role},"snapshot":{role},"targets":{role}}}}}}}"#
    )
}

fn naming(role: &str, version: u64, named: &str, named_version: u64) -> String {
    format!(
        r#"{{"signatures":[],"signed":{{"_type":"{role}","spec_version":"1.0.31","version":{version},"expires":"{END}","meta":{{"{named}.json":{{"version":{named_version}}}}}}}}}"#
    )
}

/// A server below a path of its own, with roots 1 to 3 and one set of metadata.
struct Served {
    world: World,
    timestamp: String,
}

impl Served {
    fn new() -> Self {
        let mut world = World::new();
        world.config.url = world.config.url.join("/feeds/posture").unwrap();
        let served = Self { world, timestamp: naming("timestamp", 9, "snapshot", 8) };
        for version in 1..=3 {
            served.put(&format!("{version}.root.json"), root(version));
        }
        served.put("timestamp.json", &*served.timestamp);
        served.put("8.snapshot.json", naming("snapshot", 8, "targets", 7));
        served.put("7.targets.json", "{}");
        served
    }

    fn put(&self, name: &str, text: impl Into<String>) {
        let bytes = text.into().into_bytes();
        // As a feed-server tags what it serves.
        let etag = Some(format!("\"{}\"", Digest::of(&bytes)));
        self.reply(name, Reply::File { bytes, etag });
    }

    fn reply(&self, name: &str, reply: Reply) {
        self.world.server.put(&format!("/feeds/posture/repo/metadata/{name}"), reply);
    }

    fn mirror(&self) -> Mirror {
        Mirror::new(&self.world.vendor().unwrap())
    }

    async fn metadata(&self, known: usize, held: Option<&Metadata>) -> Result<Metadata, MirrorError> {
        self.mirror().metadata("repo", self.timestamp.clone(), &root(known), held).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_over_one_connection_and_what_is_held_does_not_come_again() {
    let served = Served::new();
    let fetched = served.metadata(2, None).await.unwrap();
    assert_eq!(fetched.roots, [root(1), root(3)], "older and newer ones than the one that is known");
    assert_eq!(fetched.targets, "{}");
    let asked = ["1.root.json", "3.root.json", "4.root.json", "7.targets.json", "8.snapshot.json"];
    assert_eq!(served.world.asked(), asked);

    let held = Metadata { roots: vec![root(2), root(3)], ..fetched };
    let again = served.metadata(3, Some(&held)).await.unwrap();
    assert_eq!(served.world.asked(), ["4.root.json"], "later roots alone");
    assert_eq!((again.roots, again.snapshot), (Vec::new(), held.snapshot));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_that_is_held_is_asked_for_by_its_digest() {
    let served = Served::new();
    let mirror = served.mirror();
    let polled = mirror.timestamp("repo", None).await.unwrap().unwrap();
    assert_eq!(polled.timestamp.as_deref(), Some(&*served.timestamp));
    assert!(polled.clock_offset.unwrap() < -900_000_000, "the server lives in 1994");
    let polled = mirror.timestamp("repo", Some(&served.timestamp)).await.unwrap().unwrap();
    assert_eq!(polled.timestamp, None);
    assert_eq!(served.world.asked(), ["timestamp.json", "timestamp.json?"]);
    // A server with tags of another kind sends the same once more.
    served.reply("timestamp.json", Reply::file(served.timestamp.clone()));
    let polled = mirror.timestamp("repo", Some(&served.timestamp)).await.unwrap().unwrap();
    assert_eq!(polled.timestamp, None);
    assert!(mirror.timestamp("offline", None).await.unwrap().is_none(), "there is no such repository");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_not_found_ends_the_walk_over_the_roots() {
    let served = Served::new();
    for (reply, reason) in [
        (Reply::status("500 Oops"), Reason::HttpStatus),
        (Reply::status("403 Forbidden"), Reason::HttpStatus),
        (Reply::status("410 Gone"), Reason::HttpStatus),
        (Reply::status("429 Slow down"), Reason::RateLimited),
        (Reply::file("<html>login</html>"), Reason::NotAFeed),
        (Reply::file(vec![0xff, 0xfe]), Reason::NotAFeed),
        (Reply::Raw(Vec::new()), Reason::Connect),
        // Another version than it is named: whoever answers the same to everything would be asked for ever.
        (Reply::file(root(3)), Reason::Signature),
    ] {
        served.reply("4.root.json", reply);
        let error = served.metadata(3, None).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_taken_than_metadata_can_have() {
    let served = Served::new();
    served.put("timestamp.json", " ".repeat(17 << 10));
    served.put("8.snapshot.json", " ".repeat(3 << 20));
    let of_timestamp = served.mirror().timestamp("repo", None).await.unwrap_err();
    for error in [of_timestamp, served.metadata(3, None).await.unwrap_err()] {
        assert_eq!(error.reason(), Reason::TooLarge);
        assert!(!error.whole_message().contains("[limits]"), "no setting of ours would change that: {error}");
    }
    for version in 4..=MAX_ROOTS + 4 {
        served.put(&format!("{version}.root.json"), root(version));
    }
    let error = served.metadata(3, None).await.unwrap_err();
    assert!(matches!(error, MirrorError::TooManyRoots { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_and_gone_says_that_the_server_is_switching() {
    let served = Served::new();
    served.reply("7.targets.json", Reply::status("404 Not Found"));
    let error = served.metadata(3, None).await.unwrap_err();
    assert!(matches!(error, MirrorError::Gone { .. }), "{error}");
    assert!(error.to_string().contains("/feeds/posture/repo/metadata/7.targets.json"), "{error}");
}
