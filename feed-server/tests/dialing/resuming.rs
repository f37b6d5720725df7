//! Downloads that break off.

use std::time::Duration;

use bundles::{Digest, Reason, Reasoned as _};
use feed_server::upstream::Timeouts;

use crate::support::server::Reply;
use crate::support::world::World;

const OS: &str = "<os>some text that is cut in two</os>";

/// Before which byte it is cut.
const CUT: usize = 9;

fn world() -> World {
    let mut world = World::new();
    world.timeouts = Timeouts { resume: Duration::from_millis(1), ..Timeouts::default() };
    world
}

fn raw(head: &str, body: &str) -> Reply {
    Reply::Raw(format!("HTTP/1.1 {head}\r\n\r\n{body}").into_bytes())
}

/// The beginning, then the connection ends without goodbye.
fn cut() -> Reply {
    raw(&format!("200 OK\r\nETag: \"one\"\r\nContent-Length: {}", OS.len()), &OS[..CUT])
}

fn rest() -> Reply {
    let (last, all) = (OS.len() - 1, OS.len());
    let head = format!("206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes {CUT}-{last}/{all}");
    raw(&format!("{head}\r\nContent-Length: {}", all - CUT), &OS[CUT..])
}

/// What `osgroups.xml` was asked for with: range and condition.
fn asked(world: &World) -> Vec<(Option<String>, Option<String>)> {
    let requests = world.server.requests().into_iter().filter(|request| request.path.ends_with("/osgroups.xml"));
    let header = |request: &crate::support::server::Request, name: &str| request.header(name).map(str::to_owned);
    requests.map(|request| (header(&request, "range"), header(&request, "if-range"))).collect()
}

async fn comes_whole(world: &World, text: &str) {
    let feed = world.feed().await;
    let found = feed.new_files.iter().find(|file| file.file().sha256 == Digest::of(text.as_bytes()));
    assert_eq!(std::fs::read(found.expect("another content came").path()).unwrap(), text.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_is_asked_for_and_put_behind_what_came() {
    let world = world();
    world.reply("osgroups.xml", Reply::Each(vec![cut(), rest()]));
    comes_whole(&world, OS).await;
    let again = (Some(format!("bytes={CUT}-")), Some("\"one\"".to_owned()));
    assert_eq!(asked(&world), [(None, None), again]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_body_is_gone_on_with_over_another_connection() {
    let mut world = world();
    world.timeouts.stall = Duration::from_millis(200);
    let Reply::Raw(begun) = cut() else { unreachable!() };
    world.reply("osgroups.xml", Reply::Each(vec![Reply::Stall(begun), rest()]));
    comes_whole(&world, OS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_meanwhile_is_fetched_whole() {
    let world = world();
    let other = "<os>something shorter</os>";
    world.reply("osgroups.xml", Reply::Each(vec![cut(), Reply::file(other)]));
    comes_whole(&world, other).await;
    // And a login page that is shown in the midst of it is no archive either.
    world.reply("osgroups.xml", Reply::Each(vec![cut(), Reply::file("<html>Login</html>")]));
    assert_eq!(world.look().await.unwrap_err().reason(), Reason::NotAFeed);
    // A promise of the index's holds for what comes in the end.
    world.publish(&format!(r#"<f><x url="osgroups.xml" size="{}"/></f>"#, OS.len()));
    world.reply("osgroups.xml", Reply::Each(vec![cut(), Reply::file(other)]));
    assert_eq!(world.look().await.unwrap_err().reason(), Reason::Truncated);
    assert_eq!(world.staged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_strong_etag_nothing_is_resumed() {
    for etag in ["", "ETag: W/\"one\"\r\n"] {
        let world = world();
        let head = format!("200 OK\r\n{etag}Content-Length: {}", OS.len());
        world.reply("osgroups.xml", Reply::Each(vec![raw(&head, &OS[..CUT]), rest()]));
        assert_eq!(world.look().await.unwrap_err().reason(), Reason::Truncated);
        assert_eq!(asked(&world), [(None, None)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_nothing_is_not_asked_for_ever() {
    // A server without ranges that always breaks off at the same place.
    let world = world();
    world.reply("osgroups.xml", cut());
    let error = world.look().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Truncated, "{error}");
    assert_eq!(asked(&world).len(), 2);
    // One that sends a byte at a time.
    let piece = |at: usize| {
        let (last, all) = (OS.len() - 1, OS.len());
        let head = format!("206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes {at}-{last}/{all}");
        raw(&format!("{head}\r\nContent-Length: {}", all - at), &OS[at..=at])
    };
    world.reply("osgroups.xml", Reply::Each([cut()].into_iter().chain((CUT..OS.len()).map(piece)).collect()));
    let error = world.look().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Truncated, "{error}");
    assert_eq!(asked(&world).len(), 6);
    assert_eq!(world.staged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_that_does_not_fit_is_refused() {
    let all = OS.len();
    let partial = |range: &str, etag: &str| {
        raw(&format!("206 Partial Content\r\n{etag}{range}Content-Length: {}", all - CUT), &OS[CUT..])
    };
    let fits = format!("Content-Range: bytes {CUT}-{}/{all}\r\n", all - 1);
    for (reply, reason, words) in [
        (
            partial(&format!("Content-Range: bytes 0-{}/{all}\r\n", all - CUT - 1), ""),
            Reason::Truncated,
            "another range",
        ),
        (partial("", ""), Reason::Truncated, "which range"),
        (
            partial(&format!("Content-Range: bytes {CUT}-{}/{}\r\n", all, all + 1), ""),
            Reason::Truncated,
            "another length",
        ),
        (partial(&fits, "ETag: \"two\"\r\n"), Reason::Truncated, "ETag is another one"),
        (partial(&fits, ""), Reason::Truncated, "has no ETag"),
        (partial(&fits, "ETag: \"one\"\r\nContent-Encoding: gzip\r\n"), Reason::Truncated, "Content-Encoding"),
        (raw("416 Range Not Satisfiable\r\nContent-Length: 0", ""), Reason::Truncated, "416"),
        (Reply::status("404 Not Found"), Reason::HttpStatus, "404"),
        (raw("429 Slower\r\nRetry-After: 7\r\nContent-Length: 0", ""), Reason::RateLimited, "wait 7 s"),
    ] {
        let world = world();
        world.reply("osgroups.xml", Reply::Each(vec![cut(), reply]));
        let error = world.look().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(world.staged(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_of_which_nobody_says_where_it_ends_is_refused() {
    let (last, all) = (OS.len() - 5, OS.len());
    let begun = format!("200 OK\r\nETag: \"one\"\r\nTransfer-Encoding: chunked\r\n\r\n{CUT:x}\r\n{}\r\n", &OS[..CUT]);
    let part = |total: &str, upto: usize| {
        let head = format!("206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes {CUT}-{upto}/{total}");
        raw(&format!("{head}\r\nContent-Length: {}", upto + 1 - CUT), &OS[CUT..=upto])
    };
    let world = world();
    let begun = Reply::Raw(format!("HTTP/1.1 {begun}").into_bytes());
    world.reply("osgroups.xml", Reply::Each(vec![begun.clone(), part("*", last)]));
    let error = world.look().await.expect_err("a part was taken for the whole");
    assert!(error.reason() == Reason::Truncated && error.to_string().contains("how long"), "{error}");
    assert_eq!(world.staged(), 0);
    // One whose end is known is gone on with.
    world.reply("osgroups.xml", Reply::Each(vec![begun, part(&all.to_string(), all - 1)]));
    comes_whole(&world, OS).await;
}
