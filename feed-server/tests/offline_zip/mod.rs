//! The vendor's own zip beside the index: fetched conditionally, carried as it came, and needed to be whole.

use bundles::fake::{Edition, Feed, Options, ZipShape};
use bundles::{Digest, Reason, Reasoned as _};
use feed_server::sync::{Looked, SyncError};

use crate::support::server::Reply;
use crate::support::world::World;

fn world() -> World {
    let mut world = World::new();
    world.config.offline_zip_url = Some(world.config.url.join("posture-offline.zip").unwrap());
    world
}

fn zip(edition: &Edition) -> Vec<u8> {
    let base = "https://upstream.example/web/secure/spa/".parse().unwrap();
    Feed::make(edition, &Options::small()).offline_zip(&base, &ZipShape::default())
}

fn put(world: &World, bytes: &[u8]) {
    world.put("posture-offline.zip", bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_beside_the_feed_and_is_asked_for_conditionally() {
    let world = world();
    let bytes = zip(&Edition::before());
    put(&world, &bytes);
    let feed = world.feed().await;
    let carried = feed.offline_zip.clone().unwrap();
    assert_eq!((carried.sha256, carried.length), (Digest::of(&bytes), bytes.len() as u64));
    assert!(feed.new_files.iter().any(|file| std::fs::read(file.path()).unwrap() == bytes), "byte for byte");
    assert_eq!(feed.components.len(), 3, "what it holds is not released from here");
    world.keep(feed);

    let Looked::Unchanged { received_bytes, validators, .. } = world.look().await.unwrap() else {
        panic!("something was new");
    };
    assert_eq!((received_bytes, validators.len()), (0, 6));
    assert!(world.asked().contains(&"posture-offline.zip?".to_owned()));

    // The zip alone is another one: a feed all the same, of which the rest is known.
    let other = zip(&Edition::after());
    put(&world, &other);
    let feed = world.feed().await;
    assert_eq!(feed.new_files.iter().map(|file| file.file().sha256).collect::<Vec<_>>(), [Digest::of(&other)]);
    assert_eq!((feed.components.len(), feed.index.is_some()), (3, true));
    let zips = world.asked().into_iter().filter(|asked| asked.starts_with("posture-offline")).count();
    assert_eq!(zips, 1, "it is fetched once");
    world.keep(feed);
    assert!(matches!(world.look().await.unwrap(), Looked::Unchanged { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_that_is_no_longer_configured_is_not_asked_for_and_stays_carried() {
    let mut world = world();
    put(&world, &zip(&Edition::before()));
    world.keep(world.feed().await);
    world.config.offline_zip_url = None;
    assert!(matches!(world.look().await.unwrap(), Looked::Unchanged { .. }));
    assert!(world.asked().iter().all(|asked| !asked.starts_with("posture-offline")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_where_it_does_not_and_the_reason_names_the_key() {
    let world = world();
    let sound = zip(&Edition::before());
    put(&world, &sound);
    world.keep(world.feed().await);
    let before = world.staged();
    let bomb = {
        let base = "https://upstream.example/web/secure/spa/".parse().unwrap();
        let shape = ZipShape::flat().with("zeros.bin", vec![0; 8 << 20]);
        Feed::make(&Edition::before(), &Options::small()).offline_zip(&base, &shape)
    };
    let mut flipped = sound.clone();
    let at = flipped.windows(4).position(|bytes| bytes == b"PK\x07\x08").unwrap() - 100;
    flipped[at] ^= 1;
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sound.len()).into_bytes();
    for (what, reply, reason) in [
        ("404", Reply::status("404 Not Found"), Reason::HttpStatus),
        ("a page", Reply::file("<html><title>Log in</title></html>"), Reason::NotAFeed),
        ("a gzip", Reply::file([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0]), Reason::NotAFeed),
        ("half of it, announced whole", Reply::Raw([&cut, &sound[..sound.len() / 2]].concat()), Reason::Truncated),
        ("half of it, announced so", Reply::file(&sound[..sound.len() / 2]), Reason::Truncated),
        ("a bomb", Reply::file(bomb), Reason::TooLarge),
        ("a flipped bit", Reply::file(flipped), Reason::BadArchive),
    ] {
        world.reply("posture-offline.zip", reply);
        let error = world.look().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{what}: {}", error.whole_message());
        assert!(error.to_string().contains("offline_zip_url"), "{what}: {error}");
        assert!(matches!(error, SyncError::OfflineZip { .. }));
        assert_eq!(world.staged(), before, "{what}");
    }
    put(&world, &sound);
    assert!(matches!(world.look().await.unwrap(), Looked::Unchanged { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_limit_has_a_name_of_its_own() {
    let mut world = world();
    let sound = zip(&Edition::before());
    put(&world, &sound);
    world.limits.offline_zip_bytes = sound.len() as u64 - 1;
    let error = world.look().await.unwrap_err();
    assert_eq!(error.reason(), Reason::TooLarge);
    assert!(error.whole_message().contains("offline_zip_bytes"), "{}", error.whole_message());
    // An archive may be no larger than that by far: the two limits are not one.
    world.limits.offline_zip_bytes = sound.len() as u64;
    world.limits.archive_bytes = sound.len() as u64 - 1;
    assert!(world.feed().await.offline_zip.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_is_asked_for_where_it_breaks_off() {
    let world = world();
    let sound = zip(&Edition::before());
    let etag = format!("\"{}\"", Digest::of(&sound).short());
    let (half, all) = (sound.len() / 2, sound.len());
    let first = format!("HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {all}\r\n\r\n");
    let rest = format!(
        "HTTP/1.1 206 Partial Content\r\nETag: {etag}\r\nContent-Range: bytes {half}-{}/{all}\r\nContent-Length: {}\r\n\r\n",
        all - 1,
        all - half
    );
    let parts = [(first, &sound[..half]), (rest, &sound[half..])];
    let replies = parts.map(|(head, body)| Reply::Raw([head.as_bytes(), body].concat()));
    world.reply("posture-offline.zip", Reply::Each(replies.into()));
    let feed = world.feed().await;
    assert_eq!(feed.offline_zip.unwrap().sha256, Digest::of(&sound));
    let requests = world.server.requests();
    assert!(requests.iter().any(|request| request.header("range") == Some(&format!("bytes={half}-"))), "{requests:?}");
}
