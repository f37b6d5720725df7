use actix_web::body::{BodySize, MessageBody as _, to_bytes};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, web};
use bundles::Digest;
use bytes::Bytes;

use super::*;
use crate::testing::{World, hours};

const TIMESTAMP: &str = "/repo/metadata/timestamp.json";
const ARCHIVE: &str = "/web/secure/spa/r/1/avchart-win.tar.gz";
const ZIP: &str = "/offline/posture-offline-1.zip";

async fn ask(world: &World, method: Method, path: &str, headers: &[(HeaderName, &str)]) -> ServiceResponse {
    let data = web::Data::from(world.publisher.published());
    let prepared = web::Data::from(world.prepared());
    let service = init_service(App::new().app_data(data).app_data(prepared).configure(configure)).await;
    let mut request = TestRequest::default().method(method).uri(path);
    for header in headers {
        request = request.insert_header(header.clone());
    }
    call_service(&service, request.to_request()).await
}

async fn fetch(world: &World, path: &str, headers: &[(HeaderName, &str)]) -> (StatusCode, Bytes) {
    let response = ask(world, Method::GET, path, headers).await;
    let status = response.status();
    (status, to_bytes(response.into_body()).await.unwrap())
}

fn header_of<'a>(response: &'a ServiceResponse, name: &HeaderName) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn published() -> World {
    let mut world = World::new();
    world.publish_next().await;
    world
}

#[actix_web::test]
async fn every_published_path_gives_its_bytes_with_length_and_validators() {
    let world = published().await;
    for (file, bytes) in world.files() {
        let path = format!("/{file}");
        let response = ask(&world, Method::GET, &path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.response().body().size(), BodySize::Sized(bytes.len() as u64), "{path}");
        let tag = format!("\"{}\"", Digest::of(&bytes));
        assert_eq!(header_of(&response, &header::ETAG), tag);
        assert_eq!(header_of(&response, &header::ACCEPT_RANGES), "bytes");
        let modified = header_of(&response, &header::LAST_MODIFIED).to_owned();
        assert_eq!(to_bytes(response.into_body()).await.unwrap(), bytes, "{path}");

        for condition in [(header::IF_NONE_MATCH, tag.as_str()), (header::IF_MODIFIED_SINCE, modified.as_str())] {
            let response = ask(&world, Method::GET, &path, &[condition]).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(header_of(&response, &header::ETAG), tag);
            assert!(to_bytes(response.into_body()).await.unwrap().is_empty());
        }
    }
}

#[actix_web::test]
async fn caches_are_told_what_may_change() {
    let world = published().await;
    for (path, cache, media) in [
        (TIMESTAMP, REVALIDATE, "application/json"),
        (INDEX, REVALIDATE, "application/xml"),
        ("/offline/posture-offline.zip", REVALIDATE, "application/zip"),
        ("/repo/metadata/1.root.json", IMMUTABLE, "application/json"),
        (ARCHIVE, IMMUTABLE, "application/gzip"),
        (ZIP, IMMUTABLE, "application/zip"),
        ("/offline/posture-offline-1.zip.sha256", IMMUTABLE, "text/plain; charset=utf-8"),
    ] {
        let response = ask(&world, Method::GET, path, &[]).await;
        assert_eq!(header_of(&response, &header::CACHE_CONTROL), cache, "{path}");
        assert_eq!(header_of(&response, &header::CONTENT_TYPE), media, "{path}");
    }
    let zip = ask(&world, Method::GET, ZIP, &[]).await;
    assert_eq!(zip.headers().get(ZIP_ORIGIN_HEADER).unwrap(), "built-from-feed");
}

#[actix_web::test]
async fn head_is_get_without_the_body() {
    let world = published().await;
    for path in [TIMESTAMP, ARCHIVE] {
        let get = ask(&world, Method::GET, path, &[]).await;
        let head = ask(&world, Method::HEAD, path, &[(header::RANGE, "bytes=0-1")]).await;
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.response().body().size(), get.response().body().size());
        for name in [header::ETAG, header::LAST_MODIFIED, header::CONTENT_TYPE, header::CACHE_CONTROL] {
            assert_eq!(header_of(&head, &name), header_of(&get, &name), "{path}");
        }
    }
    let missing = ask(&world, Method::HEAD, "/repo/metadata/9.root.json", &[]).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn parts_of_files_in_memory_and_on_disk() {
    let world = published().await;
    for path in [TIMESTAMP, ARCHIVE] {
        let (_, whole) = fetch(&world, path, &[]).await;
        let last = whole.len() - 1;
        for (range, expected, said) in [
            ("bytes=0-0".to_owned(), 0..1, format!("bytes 0-0/{}", whole.len())),
            ("bytes=10-".to_owned(), 10..whole.len(), format!("bytes 10-{last}/{}", whole.len())),
            ("bytes=-7".to_owned(), whole.len() - 7..whole.len(), format!("bytes {}-{last}/{}", last - 6, whole.len())),
        ] {
            let response = ask(&world, Method::GET, path, &[(header::RANGE, &range)]).await;
            assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
            assert_eq!(header_of(&response, &header::CONTENT_RANGE), said);
            assert_eq!(response.response().body().size(), BodySize::Sized(expected.len() as u64));
            assert_eq!(to_bytes(response.into_body()).await.unwrap(), whole[expected], "{path} {range}");
        }
        let beyond = ask(&world, Method::GET, path, &[(header::RANGE, &format!("bytes={}-", whole.len()))]).await;
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(header_of(&beyond, &header::CONTENT_RANGE), format!("bytes */{}", whole.len()));

        let other = [(header::RANGE, "bytes=0-0"), (header::IF_RANGE, "\"of older content\"")];
        assert_eq!(fetch(&world, path, &other).await, (StatusCode::OK, whole.clone()));
        let several = [(header::RANGE, "bytes=0-0,5-6")];
        assert_eq!(fetch(&world, path, &several).await, (StatusCode::OK, whole));
    }
}

#[actix_web::test]
async fn before_the_first_release_ise_is_asked_to_come_back() {
    let world = World::new();
    world.publisher.publish(world.now).await.unwrap();
    for path in [INDEX, "/offline/posture-offline.zip"] {
        let response = ask(&world, Method::GET, path, &[]).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(header_of(&response, &header::RETRY_AFTER), RETRY_AFTER_SECONDS);
        assert_eq!(header_of(&response, &header::CONTENT_TYPE), "application/problem+json");
        let body: serde_json::Value = serde_json::from_slice(&to_bytes(response.into_body()).await.unwrap()).unwrap();
        assert!(body["detail"].as_str().unwrap().contains("no release yet"), "{body}");
    }
}

#[actix_web::test]
async fn what_is_not_published_is_not_there_whatever_the_path() {
    let world = published().await;
    let outside = world.config.data.directory.join("keys/online-root.der");
    assert!(outside.exists());
    for path in [
        "/repo/metadata/2.root.json",
        "/repo/targets/x",
        "/repo/",
        "/repo/../keys/online-root.der",
        "/repo/..%2f..%2fkeys/online-root.der",
        "/repo/%2e%2e/%2e%2e/keys/online-root.der",
        "/offline/..\\keys",
        "/offline/.scratch/0",
        "/repo/metadata//timestamp.json",
        "/web/secure/spa/r/2/osgroups.tar.gz",
        "/web/secure/spa/posture-update.xml/",
    ] {
        let response = ask(&world, Method::GET, path, &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(header_of(&response, &header::CACHE_CONTROL), "no-store", "{path}");
        let body: serde_json::Value = serde_json::from_slice(&to_bytes(response.into_body()).await.unwrap()).unwrap();
        assert_eq!(body["reason"], "not_found", "{path}");
    }
    let put = ask(&world, Method::PUT, TIMESTAMP, &[]).await;
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header_of(&put, &header::ALLOW), "GET, HEAD");
}

#[actix_web::test]
async fn a_plus_sign_that_a_client_escaped_is_a_plus_sign() {
    let mut world = World::new();
    let mut feed = world.next_feed();
    feed.components[0].files[0].archive.name = "a+b.tar.gz".parse().unwrap();
    feed.index = None;
    let manifest = crate::release::plan(&feed, None, None, world.now, false).unwrap().unwrap();
    crate::release::commit(&world.store, feed, &manifest).unwrap();
    world.publisher.publish(world.now).await.unwrap();
    for path in ["/web/secure/spa/r/1/a+b.tar.gz", "/web/secure/spa/r/1/a%2Bb.tar.gz"] {
        assert_eq!(fetch(&world, path, &[]).await.0, StatusCode::OK, "{path}");
    }
}

#[actix_web::test]
async fn a_download_that_began_ends_whole_though_its_release_is_removed() {
    let mut world = published().await;
    let (_, whole) = fetch(&world, ARCHIVE, &[]).await;
    let begun = ask(&world, Method::GET, ARCHIVE, &[]).await;
    world.publish_next().await;
    crate::release::retain(&world.store, 1).unwrap();
    world.publisher.publish(world.now + hours(1)).await.unwrap();
    crate::release::collect(&world.store, &world.publisher.in_use()).unwrap();
    assert_eq!(fetch(&world, ARCHIVE, &[]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(to_bytes(begun.into_body()).await.unwrap(), whole);
}

#[actix_web::test]
async fn a_damaged_file_is_refused_and_not_sent_short() {
    let world = published().await;
    let path = world.tree(ARCHIVE.trim_start_matches('/'));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"short").unwrap();
    let (status, body) = fetch(&world, ARCHIVE, &[]).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("\"storage\"") && !body.contains("spa/r"), "{body}");
}

#[actix_web::test]
async fn large_files_stream_whole_in_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large");
    let whole: Vec<u8> = (0..9 << 20_u32).map(|i: u32| (i % 251) as u8).collect();
    std::fs::write(&path, &whole).unwrap();
    let part = Part { first: 3, length: whole.len() as u64 - 5 };
    let body = stream::open(opener(path.clone()), whole.len() as u64, part).await.unwrap();
    assert_eq!(to_bytes(body).await.unwrap(), whole[3..whole.len() - 2]);
    assert!(stream::open(opener(path), 7, part).await.is_err());
}

/// A real connection: what matters on the wire is that HEAD sends no body and that lengths are true.
#[actix_web::test]
async fn on_the_wire() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let world = published().await;
    let data = web::Data::from(world.publisher.published());
    let prepared = web::Data::from(world.prepared());
    let service = move || App::new().app_data(data.clone()).app_data(prepared.clone()).configure(configure);
    let server = actix_web::HttpServer::new(service).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);

    let archive = std::fs::read(world.tree(ARCHIVE.trim_start_matches('/'))).unwrap();
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let requests = format!(
        "HEAD {ARCHIVE} HTTP/1.1\r\nHost: evil.example\r\n\r\n\
         GET {ARCHIVE} HTTP/1.1\r\nHost: evil.example\r\nRange: bytes=5-9\r\n\r\n\
         GET {ARCHIVE} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    connection.read_to_end(&mut answers).await.unwrap();

    let mut rest = answers.as_slice();
    let mut next = |has_body: bool| {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&rest[..end]).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        rest = &rest[end..];
        let (body, after) = rest.split_at(if has_body { length } else { 0 });
        rest = after;
        (head, length, body.to_vec())
    };
    let (head, length, _) = next(false);
    assert!(head.starts_with("http/1.1 200") && length == archive.len(), "{head}");
    let (head, _, body) = next(true);
    assert!(head.starts_with("http/1.1 206") && body == archive[5..10], "{head}");
    let (head, _, body) = next(true);
    assert!(head.starts_with("http/1.1 200") && body == archive, "{head}");
    assert!(rest.is_empty());

    handle.stop(true).await;
    running.await.unwrap().unwrap();
}

#[actix_web::test]
async fn a_relay_without_the_online_repository_says_how_to_enroll() {
    let origin = published().await;
    let relay = World::relay();
    let (status, body) = fetch(&relay, TIMESTAMP, &[]).await;
    assert!(status == StatusCode::NOT_FOUND && String::from_utf8_lossy(&body).contains("received no release yet"));

    relay.take(&origin.tree(""), &[Repository::Offline]).unwrap();
    relay.publisher.publish(relay.now).await.unwrap();
    for path in [TIMESTAMP, "/repo/metadata/1.root.json", "/repo/targets/x"] {
        let (status, body) = fetch(&relay, path, &[]).await;
        // Whoever enrolls goes on to the offline repository after this reason alone.
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(body.contains("\"not_found\"") && body.contains("export-root --offline"), "{body}");
    }
    for path in ["/offline/metadata/timestamp.json", ARCHIVE, ZIP] {
        assert_eq!(fetch(&relay, path, &[]).await.0, StatusCode::OK, "{path}");
    }
}

#[actix_web::test]
async fn a_relay_without_the_offline_repository_promises_no_bundle() {
    let origin = published().await;
    let relay = World::relay();
    relay.take(&origin.tree(""), &[Repository::Online]).unwrap();
    relay.publisher.publish(relay.now).await.unwrap();
    for path in ["/offline/posture-bundle.zip", "/offline/posture-bundle-1.zip", "/offline/metadata/timestamp.json"] {
        let (status, body) = fetch(&relay, path, &[]).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(status == StatusCode::NOT_FOUND && body.contains("online repository alone"), "{path}: {status} {body}");
    }
    for path in [TIMESTAMP, ARCHIVE, ZIP, "/offline/posture-offline.zip"] {
        assert_eq!(fetch(&relay, path, &[]).await.0, StatusCode::OK, "{path}");
    }
}
