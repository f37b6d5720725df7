//! A data directory that is full or read-only. Root ignores `chmod`, so these need file systems of their own: each test
//! runs itself once more in a mount namespace, on a small tmpfs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bundles::release::{FORMAT, FileRef, ReleasedComponent, ReleasedFile, Source, SourceKind};
use bundles::signed::{self, Metadata, peek};
use bundles::{Component, Digest, FileName, Manifest, Reason, Reasoned as _, Serial, TargetName};
use feed_server::config::{Config, UpstreamKind};
use feed_server::increments::Preparer;
use feed_server::publish::{Keys, Publisher, Repository};
use feed_server::release::relay::{self, Received};
use feed_server::store::records::ReleaseRecord;
use feed_server::store::{Batch, Store, StoreError, Table, free_bytes};
use feed_server::sync::CheckedFile;

/// In this variable the inner process finds its file system.
const INSIDE: &str = "POSTURE_FEED_TEST_DISK";

/// Where the test is to go on: `None` in the outer process, which has run the inner one by then.
fn small_disk(test: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(INSIDE) {
        return Some(path.into());
    }
    let unshare = |command: &str, directory: &Path| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-ec", command]).env(INSIDE, directory);
        unshare
    };
    let directory = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=24m none \"${INSIDE}\"");
    if !unshare(&mount, directory.path()).status().is_ok_and(|status| status.success()) {
        println!("skipped: this machine gives no mount namespaces");
        return None;
    }
    let this = std::env::current_exe().unwrap();
    let run = format!("{mount}; exec \"$0\" --exact \"$1\" --nocapture");
    let status = unshare(&run, directory.path()).arg(this).arg(test).status().unwrap();
    assert!(status.success(), "the inner process failed: {status}");
    None
}

/// Leaves that many bytes free.
fn fill(disk: &Path, leave: u64) -> PathBuf {
    let path = disk.join("ballast");
    let bytes = free_bytes(disk).unwrap() - leave;
    std::fs::write(&path, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
    path
}

fn file(bytes: &[u8]) -> FileRef {
    FileRef { name: FileName::parse("a").unwrap(), sha256: Digest::of(bytes), length: bytes.len() as u64 }
}

fn storage(error: &StoreError) {
    assert_eq!(error.reason(), Reason::Storage, "{}", error.whole_message());
    assert!(error.to_string().contains("check free space"), "{error}");
}

#[test]
fn a_full_disk_refuses_what_is_new_and_keeps_what_there_is() {
    let Some(disk) = small_disk("a_full_disk_refuses_what_is_new_and_keeps_what_there_is") else { return };
    let store = Store::open(&disk.join("data")).unwrap();
    let blob = CheckedFile::check(&store.staging, file(b"blob"), &mut &b"blob"[..]).unwrap();
    store.blobs.adopt(blob).unwrap();
    store.put_state("kept", &1).unwrap();

    let ballast = fill(&disk, 0);
    // Some more fits into what was reserved, so that a failed run can still be recorded.
    store.put_state("kept", &2).unwrap();
    let mut kept = 2;
    let refused = loop {
        let mut batch = Batch::new();
        batch.put_state("kept", &(kept + 1)).unwrap();
        batch.changes.push((Table::Runs, vec![0], Some(vec![0; 64 << 10])));
        match store.commit(batch) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    storage(&refused);
    let large = vec![1; 2 << 20];
    let staged = CheckedFile::check(&store.staging, file(&large), &mut large.as_slice());
    assert_eq!(staged.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(std::fs::read_dir(disk.join("data/staging")).unwrap().count(), 0);
    assert_eq!(store.state("kept").unwrap(), Some(kept));
    assert!(store.blobs.open(&Digest::of(b"blob")).is_ok());
    drop(store);
    storage(&Store::open(&disk.join("data")).unwrap_err());

    std::fs::remove_file(ballast).unwrap();
    let store = Store::open(&disk.join("data")).unwrap();
    assert_eq!(store.state("kept").unwrap(), Some(kept));
    store.put_state("kept", &0).unwrap();
    assert!(store.blobs.contains(&Digest::of(b"blob")).unwrap());
}

#[test]
fn a_batch_that_does_not_fit_changes_nothing() {
    let Some(disk) = small_disk("a_batch_that_does_not_fit_changes_nothing") else {
        return;
    };
    let store = Store::open(&disk.join("data")).unwrap();
    store.put_state("kept", &1).unwrap();
    let ballast = fill(&disk, 5 << 20);
    let mut batch = Batch::new();
    batch.put_state("kept", &2).unwrap();
    for number in 0..8_u8 {
        batch.changes.push((Table::State, vec![number], Some(vec![number; 1 << 20])));
    }
    storage(&store.commit(batch).unwrap_err());
    std::fs::remove_file(ballast).unwrap();
    // Without opening the store again: a server goes on.
    assert_eq!(store.state("kept").unwrap(), Some(1));
    store.put_state("kept", &3).unwrap();
    assert_eq!(store.state("kept").unwrap(), Some(3));
    drop(store);
    assert_eq!(Store::open(&disk.join("data")).unwrap().state("kept").unwrap(), Some(3));
}

#[test]
fn a_read_only_disk_is_named() {
    let Some(disk) = small_disk("a_read_only_disk_is_named") else { return };
    drop(Store::open(&disk.join("data")).unwrap());
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk).status().unwrap();
    assert!(remounted.success());
    for path in [disk.join("data"), disk.join("other")] {
        let error = Store::open(&path).unwrap_err();
        assert_eq!(error.reason(), Reason::Storage);
        let message = error.whole_message();
        assert!(message.contains(path.to_str().unwrap()) && message.contains("Read-only"), "{message}");
    }
}

/// A data directory with one published release.
fn published(data: &Path) {
    let store = Store::open(data).unwrap();
    let archive = file(b"archive");
    let manifest = Manifest {
        format: FORMAT,
        serial: Serial::FIRST,
        created: jiff::Timestamp::UNIX_EPOCH,
        source: Source { kind: SourceKind::VendorFeed, url: None, sha256: None, vouched_by: None },
        components: vec![ReleasedComponent {
            component: Component::Conditions,
            version: "1.0".parse().unwrap(),
            files: vec![ReleasedFile { archive: archive.clone(), payload: archive.clone() }],
        }],
        index: None,
        offline_zip: None,
    };
    store.blobs.adopt(CheckedFile::check(&store.staging, archive, &mut &b"archive"[..]).unwrap()).unwrap();
    store
        .commit(
            store.release_batch(&ReleaseRecord { manifest, signed: None, taken: None, content_of: None }, &[]).unwrap(),
        )
        .unwrap();
    let mut config = Config::default();
    config.data.directory = data.to_owned();
    let (keys, _) = Keys::open_or_create(&data.join("keys")).unwrap();
    let now = feed_server::clock::now();
    let publisher = Publisher::open(store, data, &config, keys, now).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(publisher.publish(now)).unwrap();
}

#[test]
fn a_full_disk_keeps_nothing_from_being_served_as_it_is() {
    let Some(disk) = small_disk("a_full_disk_keeps_nothing_from_being_served_as_it_is") else { return };
    let data = disk.join("data");
    published(&data);
    let mut config = Config::default();
    config.data.directory = data.clone();
    let store = Store::open(&data).unwrap();
    let (keys, _) = Keys::open_or_create(&data.join("keys")).unwrap();
    let publisher = Publisher::open(store.clone(), &data, &config, keys, feed_server::clock::now()).unwrap();
    let served = publisher.published().load_full();
    let preparer = Preparer::open(store.clone(), config.increments, &served);

    let ballast = fill(&disk, 1 << 20);
    let refused = preparer.prepare(&served, || false).unwrap_err();
    assert_eq!(refused.reason(), Reason::Storage, "{}", refused.whole_message());
    assert_eq!(store.prepared.list().unwrap(), []);
    assert_eq!(free_bytes(&disk).unwrap(), 1 << 20, "the rest is left to runs");
    assert_eq!(preparer.prepared().load().count(), 0);

    std::fs::remove_file(ballast).unwrap();
    let summary = preparer.prepare(&served, || false).unwrap();
    assert!(summary.complete && summary.made > 0 && summary.failed == 0, "{summary:?}");
}

/// A relay's data directory, to which what an origin has in its tree was brought as a bundle brings it.
fn brought(origin: &Path, data: &Path) {
    let tree = origin.join("tree/offline");
    let text = |name: &str| std::fs::read_to_string(tree.join("metadata").join(name)).unwrap();
    let timestamp = text("timestamp.json");
    let snapshot = text(&format!("{}.snapshot.json", peek::snapshot_version(&timestamp).unwrap()));
    let targets = text(&format!("{}.targets.json", peek::targets_version(&snapshot).unwrap()));
    let metadata = Metadata { roots: vec![text("1.root.json")], timestamp, snapshot, targets };
    let verified = signed::authenticate(metadata.roots[0].as_bytes(), &metadata, None).unwrap();
    let target = |name: &TargetName| {
        let sha256 = verified.target(name).unwrap().sha256();
        std::fs::read(tree.join("targets").join(name.served_as(&sha256))).unwrap()
    };
    let stable = TargetName::of_channel_stable();
    let manifest = verified.manifest(&stable, target(&stable)).unwrap();
    let (store, now) = (Store::open(data).unwrap(), feed_server::clock::now());
    let check = |file: &FileRef| {
        let bytes = target(&file.target_name().unwrap());
        CheckedFile::check(&store.staging, file.clone(), &mut &bytes[..]).unwrap()
    };
    let files = manifest.manifest().files().into_iter().map(check).collect();
    let received = Received { manifest, files, metadata: vec![(Repository::Offline, metadata)], now };
    relay::take(&store, received).unwrap();
    let mut config = Config::default();
    (config.data.directory, config.upstream.kind) = (data.to_owned(), UpstreamKind::Mirror);
    let publisher = Publisher::open(store, data, &config, None::<Keys>, now).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(publisher.publish(now)).unwrap();
}

/// The real server; killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(configuration: &Path, data: &Path) -> Self {
        let mut child = program(configuration, data).arg("serve").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}"));
        Self { address: address.to_owned(), child }
    }

    /// Status line, headers and body.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(configuration: &Path, data: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_feed-server"));
    program.arg("--config").arg(configuration).arg("--data").arg(data).env_remove("RUST_LOG");
    program
}

#[test]
fn a_server_that_starts_on_a_full_disk_serves_what_was_published_and_heals() {
    let Some(disk) = small_disk("a_server_that_starts_on_a_full_disk_serves_what_was_published_and_heals") else {
        return;
    };
    let data = disk.join("data");
    published(&data);
    let elsewhere = tempfile::tempdir().unwrap();
    let configuration = elsewhere.path().join("server.toml");
    // Nothing listens on that port (RFC 863): runs fail at once, without a network.
    let upstream = "[upstream]\nurl = \"https://127.0.0.1:9/x.xml\"\n[listen]\naddress = \"127.0.0.1:0\"\n";
    std::fs::write(&configuration, upstream).unwrap();
    // What a download left that was killed; it is not to keep the disk full.
    std::fs::write(data.join("staging/left"), b"x").unwrap();
    let ballast = fill(&disk, 0);

    for start in ["the first", "after a crash"] {
        let server = Server::start(&configuration, &data);
        let timestamp = server.get("/repo/metadata/timestamp.json");
        assert!(timestamp.starts_with("HTTP/1.1 200 "), "{start}: {timestamp}");
        assert!(server.get("/readyz").starts_with("HTTP/1.1 200 "), "{start}");
        let deadline = Instant::now() + Duration::from_secs(30);
        let metrics = loop {
            let metrics = server.get("/metrics");
            if metrics.contains("posture_feed_last_attempt_result{result=\"storage\"} 1\n") {
                break metrics;
            }
            assert!(Instant::now() < deadline, "{start}: {metrics}");
        };
        // Once, and not at every tick of a timer.
        assert!(metrics.contains("posture_feed_sync_total{result=\"storage\"} 1\n"), "{start}: {metrics}");
        assert!(metrics.contains("posture_feed_release_serial 1\n"), "{start}: {metrics}");
    }

    let server = Server::start(&configuration, &data);
    let verb = |arguments: &[&str]| {
        let output = program(&configuration, &data).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, status) = verb(&["status"]);
    assert!(code == Some(0) && status.contains("nothing new can be stored"), "{status}");
    assert_eq!(verb(&["headend", "add", "one"]).0, Some(15));
    std::fs::remove_file(ballast).unwrap();
    assert_eq!(verb(&["headend", "add", "one"]).0, Some(0));
    let (code, status) = verb(&["status"]);
    assert!(code == Some(0) && !status.contains("nothing new can be stored"), "{status}");
    // The run is there, and so is what came before.
    assert_eq!(verb(&["sync"]).0, Some(10));
    assert!(verb(&["release", "list"]).1.contains('1'));
    assert!(server.get("/repo/metadata/timestamp.json").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_relay_that_starts_on_a_full_disk_serves_what_was_brought_to_it() {
    let Some(disk) = small_disk("a_relay_that_starts_on_a_full_disk_serves_what_was_brought_to_it") else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let (origin, data) = (elsewhere.path().join("origin"), disk.join("data"));
    published(&origin);
    brought(&origin, &data);
    let configuration = elsewhere.path().join("server.toml");
    let upstream = "[upstream]\nkind = \"mirror\"\nroot = \"root.json\"\n[listen]\naddress = \"127.0.0.1:0\"\n";
    std::fs::write(&configuration, upstream).unwrap();
    std::fs::copy(origin.join("tree/offline/metadata/1.root.json"), elsewhere.path().join("root.json")).unwrap();
    // The first start says what the directory is.
    drop(Server::start(&configuration, &data));
    let ballast = fill(&disk, 0);
    for _ in ["full", "full again"] {
        let server = Server::start(&configuration, &data);
        for path in
            ["/offline/metadata/timestamp.json", "/offline/metadata/1.root.json", "/offline/posture-offline.zip.sha256"]
        {
            let answer = server.get(path);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        }
        assert!(server.get("/metrics").contains("posture_feed_release_serial 1\n"));
    }
    assert!(!data.join("keys").exists());
    std::fs::remove_file(ballast).unwrap();
    let server = Server::start(&configuration, &data);
    assert!(server.get("/offline/metadata/timestamp.json").starts_with("HTTP/1.1 200 "));
}
