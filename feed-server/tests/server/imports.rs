//! Zips that are refused before anything in them is looked at, over the network and through the control socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use crate::running::{NO_FETCHING, Site, plain};

/// Far longer than anything here takes: it ends a hanging test, it decides nothing.
const DEADLINE: Duration = Duration::from_secs(30);

fn token(site: &Site, scope: &str) -> String {
    site.prints(&["token", "add", scope, "--scope", scope]).trim().to_owned()
}

async fn sent(site: &Site, token: &str, query: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
    let url = site.url(&format!("/api/v1/imports{query}"));
    let response = plain().post(url).bearer_auth(token).body(body).send().await.unwrap();
    (response.status(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

/// An upload that is begun: the head, and some bytes of a longer body.
fn begun(site: &Site, token: &str) -> TcpStream {
    let address = site.listening()["address"].as_str().unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = "POST /api/v1/imports?kind=vendor-zip&name=half.zip HTTP/1.1";
    write!(
        stream,
        "{head}\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\nPK\x03\x04"
    )
    .unwrap();
    stream
}

fn imports(site: &Site) -> Value {
    serde_json::from_str::<Value>(&site.prints(&["status", "--json"])).unwrap()
}

async fn until(site: &Site, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = imports(site);
        if holds(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what}: {status}");
    }
}

fn is_staged(site: &Site) -> bool {
    std::fs::read_dir(site.data().join("staging")).unwrap().count() == 1
}

fn nothing_is_left(site: &Site) {
    let left: Vec<_> = std::fs::read_dir(site.data().join("staging")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn what_is_no_zip_or_too_large_is_refused_and_recorded() {
    let site = Site::serving(&format!("{NO_FETCHING}[bundles]\nmax_upload = \"1KiB\"\n"));
    let token = token(&site, "operate");
    let in_pieces = || {
        let pieces = (0..4).map(|_| Ok::<_, std::io::Error>(vec![b'P'; 300]));
        reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
    };
    for (query, body, status, reason, word) in [
        ("?kind=vendor-zip&name=x.tar.gz", vec![0x1f, 0x8b, 8, 0].into(), 400, "bad_archive", "it is gzip"),
        ("?kind=vendor-zip", "<!DOCTYPE html><html>".into(), 400, "bad_archive", "a web page"),
        ("?kind=vendor-zip", Vec::new().into(), 400, "bad_archive", "it is empty"),
        ("?kind=vendor-zip", vec![b'P'; 1_025].into(), 413, "too_large", "max_upload"),
        ("?kind=vendor-zip", in_pieces(), 413, "too_large", "1024 bytes"),
        ("", vec![b'P'; 1_000].into(), 400, "bad_request", "import the bundle on a relay"),
        ("?kind=bundel", Vec::new().into(), 400, "bad_request", "bundel"),
        ("?nmae=x", Vec::new().into(), 400, "bad_request", "nmae"),
    ] {
        let (found, problem) = sent(&site, &token, query, body).await;
        assert_eq!((found.as_u16(), problem["reason"].as_str()), (status, Some(reason)), "{query}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
    let list = plain().get(site.url("/api/v1/imports")).bearer_auth(&token).send().await.unwrap();
    let list: Value = serde_json::from_str(&list.text().await.unwrap()).unwrap();
    let results: Vec<_> = list["imports"].as_array().unwrap().iter().map(|import| &import["result"]).collect();
    assert_eq!(results, ["bad_request", "too_large", "too_large", "bad_archive", "bad_archive", "bad_archive"]);
    let first = &list["imports"][5];
    assert_eq!((&first["id"], &first["name"], &first["token"]), (&1.into(), &"x.tar.gz".into(), &"operate".into()));
    assert_eq!(first["by"], "token");
    let metrics = plain().get(site.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in ["{result=\"bad_archive\"} 3", "{result=\"too_large\"} 2", "{result=\"imported\"} 0"] {
        assert!(metrics.contains(&format!("posture_feed_import_total{line}\n")), "{line}");
    }
    nothing_is_left(&site);
}

#[tokio::test]
async fn a_token_of_too_small_a_scope_brings_nothing() {
    let site = Site::serving(NO_FETCHING);
    let token = token(&site, "read");
    let (status, problem) = sent(&site, &token, "", vec![b'P'; 100_000]).await;
    assert_eq!((status, problem["reason"].as_str()), (StatusCode::FORBIDDEN, Some("unauthorized")));
    assert_eq!(imports(&site)["last_import"], Value::Null);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let site = Site::serving(NO_FETCHING);
    let token = token(&site, "operate");
    let upload = begun(&site, &token);
    until(&site, "an import is going on", |status| status["importing"]["name"] == "half.zip").await;
    until(&site, "it is in staging", |_| is_staged(&site)).await;
    drop(upload);
    let has_ended = |status: &Value| status["last_import"]["result"].is_string() && status["importing"].is_null();
    let status = until(&site, "it ends", has_ended).await;
    assert_eq!(status["last_import"]["result"], "truncated", "{status}");
    nothing_is_left(&site);
}

#[tokio::test]
async fn an_upload_that_stalls_is_cut_off() {
    let mut site = Site::new(NO_FETCHING);
    site.serve_with(&[("POSTURE_FEED_TIMEOUTS_DIVIDED_BY", "120")]);
    let mut upload = begun(&site, &token(&site, "operate"));
    let mut answer = String::new();
    upload.set_read_timeout(Some(DEADLINE)).unwrap();
    // The server closes once it has said so.
    let _ = upload.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"reason\":\"timeout\""), "{answer}");
    nothing_is_left(&site);
}

#[tokio::test]
async fn one_act_at_a_time() {
    let site = Site::serving("[schedule]\ninitial_delay = \"10:00:00\"\n");
    let token = token(&site, "operate");
    let upload = begun(&site, &token);
    until(&site, "an import is going on", |status| status["importing"]["step"] == "receiving").await;
    let (status, problem) = sent(&site, &token, "", "PK\x03\x04").await;
    assert_eq!((status, problem["reason"].as_str()), (StatusCode::CONFLICT, Some("busy")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("import 1 is going on"), "{problem}");
    let (code, error) = site.fails(&["sync"]);
    assert!(code == 16 && error.contains("import 1 is going on"), "{error}");
    assert!(site.prints(&["status"]).contains("import 1, half.zip is coming in"));
    drop(upload);
    until(&site, "it ends", |status| status["importing"].is_null()).await;
    assert_eq!(site.fails(&["sync"]).0, 10, "the way is free");
}

#[tokio::test]
async fn a_server_that_stops_waits_for_no_upload() {
    let mut site = Site::serving(NO_FETCHING);
    let token = token(&site, "operate");
    let _upload = begun(&site, &token);
    until(&site, "an import is going on", |status| status["importing"]["step"] == "receiving").await;
    assert_eq!(site.stop(), Some(0));
    nothing_is_left(&site);
    let status = imports(&site);
    assert_eq!(status["last_import"]["result"], "internal", "{status}");
    assert!(status["last_import"]["message"].as_str().unwrap().contains("cut off"), "{status}");
}

#[tokio::test]
async fn an_import_that_was_killed_has_an_end_after_the_next_start() {
    let mut site = Site::serving(NO_FETCHING);
    let upload = begun(&site, &token(&site, "operate"));
    until(&site, "an import is going on", |status| status["importing"]["step"] == "receiving").await;
    until(&site, "it is in staging", |_| is_staged(&site)).await;
    site.kill();
    drop(upload);
    site.serve();
    nothing_is_left(&site);
    assert_eq!(imports(&site)["last_import"]["result"], "internal");
}

#[test]
fn the_command_says_why_with_and_without_a_server() {
    for with_server in [false, true] {
        let site = if with_server { Site::serving(NO_FETCHING) } else { Site::new(NO_FETCHING) };
        let gz = site.path().join("bundle.tar.gz");
        std::fs::write(&gz, b"\x1f\x8b\x08\0").unwrap();
        let (code, error) = site.fails(&["bundle", "import", "--vendor", gz.to_str().unwrap()]);
        assert!(code == 14 && error.contains("no zip: it is gzip") && error.contains("(bad_archive)"), "{error}");
        let (code, error) = site.fails(&["bundle", "import", "nothing.zip"]);
        assert!(code == 13 && error.contains("nothing.zip cannot be read"), "{error}");
        let (code, error) = site.fails(&["bundle", "import", "."]);
        assert!(code == 2 && error.contains("is no file"), "{error}");
        assert_eq!(site.fails(&["bundle", "import", "x", "--accept-version-rollback"]).0, 2);
        let status = site.prints(&["status"]);
        assert!(status.contains(" on the server itself: failed (bad_archive)"), "{status}");
        nothing_is_left(&site);
    }
}
