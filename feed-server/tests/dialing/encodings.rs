//! What comes encoded, though nobody asked for it; and connections that are used again.

use bundles::{Digest, Reason, Reasoned as _};

use crate::support::archives::{chart, gzip};
use crate::support::server::Reply;
use crate::support::world::{INDEX, SOUND, World};

fn encoded(encoding: &str, bytes: &[u8]) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n", bytes.len());
    Reply::Raw([head.as_bytes(), bytes].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_comes_compressed_is_what_it_is_without() {
    let world = World::new();
    for reply in [encoded("gzip", &gzip(SOUND.as_bytes())), encoded("x-gzip", SOUND.as_bytes())] {
        world.server.put(INDEX, reply);
        assert_eq!(world.feed().await.index.unwrap().sha256, Digest::of(SOUND.as_bytes()));
    }
    let mut half = gzip(SOUND.as_bytes());
    half.truncate(half.len() / 2);
    for (reply, reason) in [
        (encoded("gzip", &half), Reason::HttpStatus),
        (encoded("br", b"whatever"), Reason::HttpStatus),
        // A bomb: the limit is for what comes out, too.
        (encoded("gzip", &gzip(&vec![b' '; 64 << 20])), Reason::TooLarge),
    ] {
        world.server.put(INDEX, reply);
        let error = world.look().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_kept_as_it_came_or_refused() {
    let world = World::new();
    world.reply("chart-linux.xml.gz", encoded("gzip", &chart()));
    let feed = world.feed().await;
    assert!(feed.new_files.iter().any(|file| file.file().sha256 == Digest::of(&chart())));
    drop(feed);
    world.reply("osgroups.xml", encoded("gzip", &gzip(b"<os>one</os>")));
    let error = world.look().await.unwrap_err();
    assert!(error.reason() == Reason::HttpStatus && error.to_string().contains("Content-Encoding: gzip"), "{error}");
    assert_eq!(world.staged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again_and_replaced_where_it_has_gone() {
    let world = World::new();
    let vendor = world.vendor().unwrap();
    let url = vendor.index_url().clone();
    for _ in 0..3 {
        assert_eq!(vendor.get_raw(&url, 1 << 20).await.unwrap().status, 200);
    }
    assert_eq!(world.server.connections(), 1);
    assert_eq!(vendor.head(&url).await.unwrap().body, b"");
    // The server ends the connection after this answer, without having said so.
    world.server.put(INDEX, encoded("identity", b"bye"));
    for _ in 0..2 {
        assert_eq!(vendor.get_raw(&url, 1 << 20).await.unwrap().body, b"bye");
    }
}
