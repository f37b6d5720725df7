//! What is right is taken, and served.

use std::path::Path;

use serde_json::Value;

use crate::origin::{Origin, relay};
use crate::running::{Site, plain};
use crate::{answer, nothing_is_staged, status, text};

/// Every file below a directory with its bytes, by its path.
fn files(directory: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.insert(path.strip_prefix(directory).unwrap().display().to_string(), std::fs::read(path).unwrap());
            }
        }
    }
    files
}

/// The relay's offline repository is the origin's, byte for byte, zips aside: it builds those itself.
fn serves_the_same(relay: &Site, origin: &Site) {
    for part in ["metadata", "targets"] {
        let of = |site: &Site| files(&site.data().join("tree/offline").join(part));
        let (of_relay, of_origin) = (of(relay), of(origin));
        for (name, bytes) in of_relay.iter().filter(|(name, _)| !name.ends_with(".zip")) {
            assert!(of_origin.get(name) == Some(bytes), "{part}/{name} is not the origin's");
        }
        let is_there = |end: &str| of_relay.keys().any(|name| name.ends_with(end));
        assert!(if part == "metadata" { is_there("timestamp.json") } else { is_there("-conditions.tar") });
    }
}

#[test]
fn a_bundle_is_the_first_thing_that_a_relay_gets_and_the_next_ones_follow() {
    let mut origin = Origin::new();
    let relay = relay(&origin, "");
    let media = tempfile::tempdir().unwrap();
    let first = origin.bundle(1, media.path());
    assert!(!relay.data().exists());
    let told = relay.prints(&["bundle", "import", text(&first)]);
    assert!(told.starts_with("Release 1 is imported and published, valid until "), "{told}");
    let fingerprint = bundles::Digest::of(&std::fs::read(origin.root()).unwrap()).to_string();
    assert!(told.contains("  conditions 300418.0.0.0\n") && told.contains(&fingerprint), "{told}");
    nothing_is_staged(&relay);
    serves_the_same(&relay, &origin.site);

    let told = relay.prints(&["bundle", "import", text(&first)]);
    assert_eq!(told, "Already up to date: release 1.\n");

    origin.next();
    origin.next();
    let third = origin.bundle(3, media.path());
    let told: Value = serde_json::from_str(&relay.prints(&["bundle", "import", "--json", text(&third)])).unwrap();
    assert_eq!((&told["result"], &told["serial"]), (&"imported".into(), &3.into()), "a lost one is made up for");
    assert_eq!(told["signer"], fingerprint.as_str());
    assert_eq!(told["versions"]["conditions"], origin.version());
    assert_eq!(told["sha256"], bundles::Digest::of(&std::fs::read(&third).unwrap()).to_string());
    serves_the_same(&relay, &origin.site);

    let (code, error) = relay.fails(&["bundle", "import", text(&first)]);
    assert!(code == 12 && error.contains("(rollback)"), "{error}");
    assert!(error.contains("holds release 1, and release 3 was seen here") && error.contains("carry in"), "{error}");
    let status = status(&relay);
    assert_eq!(status["release"]["serial"], 3);
    assert_eq!(status["update_information"]["last_status"]["status"], "none", "{status}");
    assert_eq!((&status["last_import"]["id"], &status["last_import"]["result"]), (&4.into(), &"rollback".into()));
    nothing_is_staged(&relay);
}

#[tokio::test]
async fn an_upload_is_published_when_it_is_answered() {
    let origin = Origin::new();
    let mut relay = relay(&origin, "");
    relay.serve();
    let token = relay.prints(&["token", "add", "transfer", "--scope", "operate"]).trim().to_owned();
    let bundle = origin.bundle_bytes();
    let url = relay.url("/api/v1/imports?name=posture-bundle-1.zip");
    let post = || plain().post(&url).bearer_auth(&token).body(bundle.clone());
    let (code, view) = answer(post()).await;
    assert_eq!((code, &view["result"], &view["token"]), (200, &"imported".into(), &"transfer".into()), "{view}");
    let served =
        plain().get(relay.url("/offline/metadata/timestamp.json")).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(served, std::fs::read(origin.site.data().join("tree/offline/metadata/timestamp.json")).unwrap());
    let (code, again) = answer(post()).await;
    assert_eq!((code, &again["result"], &again["serial"]), (200, &"up_to_date".into(), &1.into()));
    let (_, one) = answer(plain().get(relay.url("/api/v1/imports/1")).bearer_auth(&token)).await;
    assert_eq!(one, view);
    let metrics = plain().get(relay.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in ["import_total{result=\"imported\"} 1", "import_total{result=\"up_to_date\"} 1", "release_serial 1"] {
        assert!(metrics.contains(&format!("posture_feed_{line}\n")), "{line}: {metrics}");
    }
}

/// The last of it is sent, and the client goes away without waiting.
#[tokio::test]
async fn a_whole_upload_is_imported_whether_or_not_anybody_waits() {
    use std::io::Write as _;
    let origin = Origin::new();
    let mut relay = relay(&origin, "");
    relay.serve();
    let token = relay.prints(&["token", "add", "transfer", "--scope", "operate"]).trim().to_owned();
    let address = relay.listening()["address"].as_str().unwrap().to_owned();
    let bundle = origin.bundle_bytes();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    let head = format!("POST /api/v1/imports HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n", bundle.len()).unwrap();
    stream.write_all(&bundle).unwrap();
    // The server reads what was sent before it sees the end.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while status(&relay)["last_import"]["result"] != "imported" {
        assert!(tokio::time::Instant::now() < deadline, "{}", status(&relay));
    }
    drop(stream);
}
