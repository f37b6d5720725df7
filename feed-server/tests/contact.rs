//! First contact with a feed that nobody here has seen: `inspect` and `capture`, by the real binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(dead_code, reason = "the support is for other tests as well")]

mod support;

use std::io::{Cursor, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output};

use bundles::capture;
use bundles::fake::{Dialect, Edition, Feed, Options};
use bundles::{Digest, FileName, Limits, offline_zip};
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use support::server::Reply;
use support::world::{INDEX, World};

/// A directory with a configuration, and an upstream where one is wanted.
struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn trusting(world: &World) -> Self {
        let site = Self::new();
        // Of its own, since a world takes its files along when it ends.
        let root = world.config.base_dir.join(&world.config.trust_anchors[0]);
        std::fs::copy(root, site.path("root.pem")).unwrap();
        let text = format!("[upstream]\nurl = \"{}\"\ntrust_anchors = [\"root.pem\"]\n", world.config.url);
        std::fs::write(site.path("server.toml"), text).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_feed-server"));
        command.args(arguments).current_dir(self.directory.path());
        command.env_remove("POSTURE_FEED_SERVER_DATA").env_remove("RUST_LOG").env("NO_PROXY", "*");
        if self.path("server.toml").exists() {
            command.env("POSTURE_FEED_SERVER_CONFIG", self.path("server.toml"));
        } else {
            command.env_remove("POSTURE_FEED_SERVER_CONFIG");
        }
        let output = command.output().unwrap();
        assert!(!self.path("feed-data").exists(), "looking makes no data directory");
        output
    }

    #[track_caller]
    fn prints(&self, arguments: &[&str]) -> String {
        let (code, text, error) = self.ends(arguments);
        assert_eq!(code, 0, "{error}\n{text}");
        text
    }

    fn ends(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.run(arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn feed(dialect: Dialect) -> Feed {
    Feed::make(&Edition::after(), &Options { dialect, ..Options::small() })
}

/// The versions of the panel's rows, or `-`.
fn versions(inspection: &Value) -> Vec<String> {
    let rows = inspection["update_information"].as_array().unwrap();
    rows.iter().map(|row| row["version"].as_str().unwrap_or("-").to_owned()).collect()
}

const AFTER: [&str; 5] = ["300418.0.0.0", "297.0.0.0", "214.0.0.0", "66.0.0.0", "101.6.3.0"];

#[test]
fn an_index_of_every_dialect_is_shown_as_it_is_read() {
    let site = Site::new();
    for dialect in Dialect::ALL {
        let base = "https://www.cisco.com/web/secure/spa/posture-update.xml".parse().unwrap();
        site.put("index.xml", feed(dialect).index(&base));
        let inspection = site.json(&["inspect", "index.xml"]);
        assert_eq!(inspection["files"].as_array().unwrap().len(), 6, "{dialect:?}");
        let expected = if dialect.gives_versions() { AFTER } else { ["-"; 5] };
        assert_eq!(versions(&inspection), expected, "{dialect:?}");
        let text = site.prints(&["inspect", "index.xml"]);
        assert_eq!(text.contains("UNKNOWN DIALECT"), dialect == Dialect::Listed, "{text}");
        assert!(text.contains("www.cisco.com: 6 files from it; allowed by [upstream] url = "), "{text}");
        assert!(text.contains("osgroupsV2.tar.gz -> supported-os"), "{text}");
    }
}

#[test]
fn what_was_not_used_is_told_and_what_would_mend_a_mapping() {
    let site = Site::new();
    site.put(
        "index.xml",
        "<feed schema='2.0'>\n<c url='https://cdn.example/alpha-7.1.tar.gz' version='300418.0.0.0'/>\n\
         <c url='win.gz' version='1'/><note>old.zip is gone</note></feed>",
    );
    let text = site.prints(&["inspect", "index.xml", "--base", "https://h.example/feed/index.xml"]);
    for line in [
        "alpha-7.1.tar.gz -> other-alpha",
        "decided by  matched nothing",
        "decided by  pattern \"*win*\" (built in) on \"win.gz\"",
        "from        https://h.example/feed/win.gz",
        "cdn.example: 1 file from it; NOT ALLOWED",
        "allowed_hosts = [\"cdn.example\"]",
        "h.example: 1 file from it; allowed by [upstream] url = \"https://h.example/feed/index.xml\"",
        "line 1: version \"2.0\" in feed/@schema",
        "line 3: locator \"old.zip\" in feed/note: it stands among other words",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    // The very lines that it prints, taken over into the configuration.
    let mapping = text.lines().map(str::trim).find(|line| line.starts_with("\"alpha-")).unwrap();
    assert_eq!(mapping, "\"alpha-*.tar.gz\" = \"conditions\"");
    let configuration = format!("[upstream]\nallowed_hosts = [\"cdn.example\"]\n[upstream.components]\n{mapping}\n");
    site.put("server.toml", configuration);
    let text =
        site.prints(&["inspect", "index.xml", "--expect", "conditions=300418", "--expect", "av-as-chart-windows=1.0"]);
    for line in [
        "decided by  pattern \"alpha-*.tar.gz\" ([upstream.components]) on \"alpha-7.1.tar.gz\"",
        "cdn.example: 1 file from it; allowed by [upstream] allowed_hosts = [\"cdn.example\"]",
        "As expected: conditions 300418, av-as-chart-windows 1.0.",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("Matched nothing"), "{text}");
}

#[test]
fn a_difference_from_what_is_expected_ends_with_14_after_the_output() {
    let site = Site::new();
    site.put("index.xml", "<f><c url='conditions.gz' version='1.0'/><c url='win.gz'/></f>");
    let expecting = |expected: &str| site.ends(&["inspect", "index.xml", "--expect", expected]);
    assert_eq!(expecting("conditions=1").0, 0);
    for (expected, told) in [
        ("conditions=2.0", "conditions is 1.0, and --expect says 2.0"),
        ("supported-os=1", "supported-os is not there"),
        ("av-as-chart-windows=1", "the version of av-as-chart-windows is not in the index"),
    ] {
        let (code, text, error) = expecting(expected);
        assert_eq!(code, 14, "{error}");
        assert!(error.contains(told) && error.contains("(expectation)"), "{error}");
        assert!(text.contains("Update Information\nCisco conditions version"), "{text}");
    }
    for wrong in ["conditions", "condition=1", "conditions=one"] {
        assert_eq!(expecting(wrong).0, 2, "{wrong}");
    }
}

#[test]
fn what_is_no_feed_is_refused_with_its_reason() {
    let site = Site::new();
    site.put("login.html", "<!DOCTYPE html><html><body>conditions.tar.gz</body></html>");
    site.put("words", "conditions.tar.gz");
    site.put("archive.tar.gz", support::archives::conditions("1"));
    site.put("cut.zip", b"PK\x03\x04cut");
    for (src, code, reason) in [
        ("login.html", 13, "not_a_feed"),
        ("words", 13, "not_a_feed"),
        ("archive.tar.gz", 13, "not_a_feed"),
        ("cut.zip", 14, "truncated"),
        ("absent", 13, "not_found"),
    ] {
        let (ended, _, error) = site.ends(&["inspect", src]);
        assert_eq!(ended, code, "{src}: {error}");
        assert!(error.contains(&format!("({reason})")), "{src}: {error}");
    }
}

/// The vendor's zip, as far as anybody knows it.
fn zip_of(feed: &Feed, folder: &str, with_index: bool) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut put = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("{folder}{name}"), SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    };
    if with_index {
        put("posture-update.xml", &feed.index(&"https://www.cisco.com/web/secure/spa/".parse().unwrap()));
    }
    for (name, bytes) in &feed.files {
        put(name.as_str(), bytes);
    }
    put("README.txt", b"Offline posture updates\n");
    zip.finish().unwrap().into_inner()
}

#[test]
fn the_vendors_zip_is_read_flat_or_in_a_folder_with_and_without_an_index() {
    let site = Site::new();
    let feed = feed(Dialect::Elements);
    for folder in ["", "posture-offline/"] {
        site.put("with.zip", zip_of(&feed, folder, true));
        let inspection = site.json(&["inspect", "with.zip"]);
        assert_eq!(versions(&inspection)[..5], AFTER, "{folder}");
        let files = inspection["files"].as_array().unwrap();
        let conditions = files.iter().find(|file| file["component"] == "conditions").unwrap();
        let bytes = &feed.files[&FileName::parse("conditions.tar.gz").unwrap()];
        assert_eq!(conditions["archive"]["sha256"], Digest::of(bytes).to_string(), "{folder}");
        assert_eq!(conditions["version_from"], "index");

        site.put("without.zip", zip_of(&feed, folder, false));
        let inspection = site.json(&["inspect", "without.zip"]);
        assert!(inspection["index"].is_null());
        let rows = inspection["update_information"].as_array().unwrap();
        assert_eq!(rows[0]["version_from"], "digest", "{rows:?}");
        assert_eq!(rows[1]["version_from"], "inside", "{rows:?}");
        assert!(rows.iter().any(|row| row["component"] == "other-readme.txt"), "{rows:?}");
        let text = site.prints(&["inspect", "without.zip"]);
        assert!(text.contains("none in it: each file is taken by its name alone"), "{text}");
    }
}

#[test]
fn a_zip_that_would_harm_or_that_lacks_something_is_told() {
    let site = Site::new();
    let feed = feed(Dialect::Attributes);
    let mut incomplete = feed.clone();
    incomplete.files.remove(&FileName::parse("osgroups.tar.gz").unwrap());
    let index = feed.index(&"https://www.cisco.com/web/secure/spa/".parse().unwrap());
    let mut damaged = zip_of(&incomplete, "", false);
    damaged.truncate(damaged.len() / 2);
    let with = |members: &[(&str, &[u8])]| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let zeros = vec![0; 64 << 20];
    let gzip = support::archives::conditions("1");
    for (zip, told) in [
        (damaged, "cut.zip cannot be used"),
        (with(&[("../conditions.tar.gz", &gzip)]), "leads out of the archive"),
        (with(&[("a.xml", b"<a/>"), ("A.XML", b"<a/>")]), "is there twice"),
        (with(&[("zeros.xml", &zeros)]), "would open to more than"),
        (with(&[("posture-update.xml", &index)]), "the zip does not hold it"),
        (with(&[("conditions.tar.gz", b"<html>")]), "web page"),
    ] {
        site.put("cut.zip", zip);
        let (code, _, error) = site.ends(&["inspect", "cut.zip"]);
        assert!((13..=14).contains(&code) && error.contains(told), "{code} {told}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_inspected_with_and_without_its_archives() {
    let world = World::new();
    let site = Site::trusting(&world);
    let url = world.config.url.as_str();
    let inspection = site.json(&["inspect", url]);
    assert_eq!(versions(&inspection), ["300418.0.0.0", "-", "-", "-", "-"]);
    assert_eq!(world.asked(), ["posture-update.xml"], "the index alone is asked for");
    let text = site.prints(&["inspect", url]);
    assert!(text.contains("(not in the index; --archives looks inside)"), "{text}");

    world.server.requests();
    let inspection = site.json(&["inspect", url, "--archives"]);
    let rows = inspection["update_information"].as_array().unwrap();
    let from: Vec<_> = rows.iter().map(|row| row["version_from"].as_str().unwrap_or("-")).collect();
    assert_eq!(from, ["index", "-", "-", "inside", "digest"]);
    assert_eq!(rows[3]["version"], "4.3.3030.6145");
    assert_eq!(world.asked().len(), 5);

    // All archives together may be no larger than a run's.
    let configuration = std::fs::read_to_string(site.path("server.toml")).unwrap();
    site.put("server.toml", format!("{configuration}[limits]\nrun_bytes = \"100B\"\n"));
    let (code, _, error) = site.ends(&["inspect", url, "--archives"]);
    assert!(code == 14 && error.contains("raise run_bytes"), "{code}: {error}");
    let (code, _, error) = site.ends(&["capture", url, "--out", "small.zip", "--archives"]);
    assert!(code == 14 && error.contains("raise run_bytes") && site.path("small.zip").exists(), "{code}: {error}");
    site.put("server.toml", configuration);

    // What every run would fail for is told after everything else.
    world.put("conditions.tar.gz", b"<html>");
    let (code, text, error) = site.ends(&["inspect", url, "--archives"]);
    assert_eq!(code, 13, "{error}");
    assert!(text.contains("PROBLEM") && text.contains("Not used"), "{text}");
    assert!(error.contains("conditions.tar.gz"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_keeps_what_came_and_nothing_secret() {
    let world = World::new();
    let site = Site::trusting(&world);
    let index = support::world::SOUND;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nSet-Cookie: session=S3cret\r\nVia: 1.1 proxy.corp\r\nX-Note: Jane\r\n\
         Content-Type: text/xml\r\nContent-Length: {}\r\n\r\n{index}",
        index.len()
    );
    world.server.put(INDEX, Reply::Raw(answer.into_bytes()));
    let url = world.config.url.as_str();
    let text = site.prints(&["capture", url, "--out", "a.zip", "--archives"]);
    assert!(text.contains("3 certificates, trusted"), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let mut zip = std::fs::File::open(site.path("a.zip")).unwrap();
    let opened = capture::read(&mut zip, directory.path(), &Limits::default()).unwrap();
    let facts = &opened.capture;
    assert_eq!(std::fs::read(opened.path("index/body")).unwrap(), index.as_bytes());
    assert_eq!((facts.index.status, facts.index.header("etag"), facts.archives.len()), (200, Some("\"e1\""), 4));
    assert_eq!(facts.index.header("set-cookie"), Some("(removed)"));
    assert_eq!(facts.chains[0].certificates.len(), 3);
    let head = std::fs::read_to_string(opened.path("index/headers")).unwrap();
    assert!(head.starts_with("HTTP/1.1 200\r\n") && head.contains("x-note: Jane"), "{head}");
    assert_secret(&site, "a.zip", &["S3cret", "proxy.corp"]);

    // It is inspected like what it was made of.
    let captured = site.json(&["inspect", "a.zip"]);
    let live = site.json(&["inspect", url, "--archives"]);
    assert_eq!((&captured["update_information"], &captured["files"]), (&live["update_information"], &live["files"]));
    assert_eq!(captured["kind"], "capture");

    // What is there is left alone.
    let before = std::fs::read(site.path("a.zip")).unwrap();
    let (code, _, error) = site.ends(&["capture", url, "--out", "a.zip"]);
    assert!(code == 2 && error.contains("is there already"), "{error}");
    assert_eq!(std::fs::read(site.path("a.zip")).unwrap(), before);

    let text = site.prints(&["capture", "--out", "shape.zip", "--shape-only"]);
    assert!(text.contains("no content"), "{text}");
    assert_secret(&site, "shape.zip", &["S3cret", "proxy.corp", "Jane", "300418", "\"e1\""]);
    let shape = site.json(&["inspect", "shape.zip"]);
    let components = |inspection: &Value| -> Vec<String> {
        inspection["files"].as_array().unwrap().iter().map(|file| file["component"].to_string()).collect()
    };
    assert_eq!(components(&shape), components(&live));
    assert_eq!(versions(&shape)[0], "999999.9.9.9");
}

#[track_caller]
fn assert_secret(site: &Site, name: &str, words: &[&str]) {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(site.path(name)).unwrap()).unwrap();
    for number in 0..zip.len() {
        let mut bytes = Vec::new();
        std::io::copy(&mut zip.by_index(number).unwrap(), &mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for word in words {
            assert!(!text.contains(word), "{word} is in {name}:\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_do_not_come_are_left_out_of_a_capture_and_upstream_is_left_alone_when_it_asks() {
    let world = World::new();
    let site = Site::trusting(&world);
    let url = world.config.url.as_str();
    let index = "<f><a url=\"https://elsewhere.invalid/a.tar.gz\"/><a url=\"conditions.tar.gz\"/>\
                 <a url=\"b.tar.gz\"/><a url=\"c.tar.gz\"/></f>";
    world.server.put(INDEX, Reply::Raw(ok(index)));
    let no = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n";
    world.server.put("/web/secure/spa/b.tar.gz", Reply::Raw(no.to_vec()));
    let (code, text, error) = site.ends(&["capture", url, "--out", "a.zip", "--archives"]);
    assert!(code == 14 && error.contains("elsewhere.invalid") && error.contains("nothing more"), "{code}: {error}");
    assert!(text.contains("conditions.tar.gz (200") && text.contains("b.tar.gz (429"), "{text}");
    assert_eq!(world.asked(), ["b.tar.gz", "conditions.tar.gz", "posture-update.xml"]);
    let (code, _, error) = site.ends(&["inspect", url, "--archives"]);
    assert_eq!(code, 14, "{error}");
    assert_eq!(world.asked(), ["b.tar.gz", "conditions.tar.gz", "posture-update.xml"]);
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_page_is_captured_and_told() {
    let world = World::new();
    let site = Site::trusting(&world);
    let page = "HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\n<html></html>";
    world.server.put(INDEX, Reply::Raw(page.as_bytes().to_vec()));
    let (code, text, error) = site.ends(&["capture", "--out", "page.zip"]);
    assert_eq!(code, 13, "{error}");
    assert!(text.contains("(403, 13 B)") && error.contains("status 403"), "{text}{error}");
    assert!(site.path("page.zip").exists());
    let (code, _, error) = site.ends(&["inspect", "page.zip"]);
    assert!(code == 13 && error.contains("holds no index"), "{error}");
    // Nothing is left where there was no answer at all.
    drop(world);
    let (code, _, error) = site.ends(&["capture", "--out", "none.zip"]);
    assert_eq!(code, 10, "{error}");
    let left: Vec<_> = std::fs::read_dir(site.path("")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn an_offline_zip_of_ours_is_inspected_as_well() {
    let site = Site::new();
    let feed = feed(Dialect::Attributes);
    let index = feed.index(&"https://www.cisco.com/web/secure/spa/".parse().unwrap());
    let member = |name: &FileName, bytes: &[u8]| {
        let bytes = bytes.to_vec();
        offline_zip::Member {
            name: name.clone().into(),
            length: bytes.len() as u64,
            sha256: None,
            open: Box::new(move || Ok(Box::new(Cursor::new(bytes.clone())))),
        }
    };
    let mut members = vec![member(&feed.index_name, &index)];
    members.extend(feed.files.iter().map(|(name, bytes)| member(name, bytes)));
    let zip = offline_zip::write(Cursor::new(Vec::new()), &members, &mut |_| {}).unwrap().into_inner();
    site.put("posture-offline.zip", zip);
    assert_eq!(versions(&site.json(&["inspect", "posture-offline.zip"])), AFTER);
}
