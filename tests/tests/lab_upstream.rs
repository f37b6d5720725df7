//! The lab upstream by what a client sees of it: it plays the vendor, and each accident is what its name says.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bundles::fake::{Dialect, Options};
use bundles::index::{Index, IndexError, Patterns};
use bundles::{FileName, Limits};
use certs::{PinnedVerifier, TlsFailure, client_config, failure_in};
use futures_util::StreamExt;
use reqwest::{Client, Response, StatusCode};
use tests::lab::{DIRECTORY, Fault, INDEX, LabUpstream, Raw, Target};
use tokio::io::AsyncBufReadExt;

/// Far longer than anything here takes: it ends a hanging test, it decides nothing.
const DEADLINE: Duration = Duration::from_secs(30);

fn lab() -> LabUpstream {
    LabUpstream::builder().options(Options::small()).start().unwrap()
}

fn client_for(lab: &LabUpstream) -> Client {
    let verifier = PinnedVerifier::new(lab.chain().anchors().unwrap()).unwrap();
    client_with(client_config(verifier))
}

fn client_with(tls: rustls::ClientConfig) -> Client {
    Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(DEADLINE).build().unwrap()
}

fn read(index: &[u8], lab: &LabUpstream) -> Index {
    try_read(index, lab).unwrap()
}

/// What the mirror's own reader makes of an index.
fn try_read(index: &[u8], lab: &LabUpstream) -> Result<Index, IndexError> {
    Index::read(index, &lab.url(), &Patterns::default(), &Limits::default())
}

async fn get(lab: &LabUpstream, name: &str) -> Response {
    client_for(lab).get(lab.url_of(name)).send().await.unwrap()
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).unwrap().to_str().unwrap().to_owned()
}

/// The name of the feed's largest archive, and its bytes.
fn largest(lab: &LabUpstream) -> (String, Vec<u8>) {
    let feed = lab.feed().unwrap();
    let (name, bytes) = feed.files.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    (name.to_string(), bytes.clone())
}

#[tokio::test]
async fn index_and_archives_are_served_in_every_dialect() {
    for dialect in Dialect::ALL {
        let lab = LabUpstream::builder().options(Options::small()).dialect(dialect).start().unwrap();
        let feed = lab.feed().unwrap();
        let index = get(&lab, INDEX).await.bytes().await.unwrap();
        assert_eq!(index, feed.index(&lab.url_of("")), "{dialect:?}");
        let read = read(&index, &lab);
        assert_eq!(read.entries.len(), feed.files.len());
        for entry in &read.entries {
            let given = feed.edition.versions.get(&entry.component).filter(|_| dialect.gives_versions());
            assert_eq!(entry.version.as_ref(), given, "{dialect:?} {}", entry.name);
            assert_eq!(entry.url, lab.url_of(entry.name.as_str()));
        }
        for (name, bytes) in &feed.files {
            assert_eq!(get(&lab, name.as_str()).await.bytes().await.unwrap(), *bytes, "{name}");
        }
        assert_eq!(get(&lab, "no-such.tar.gz").await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_chain_has_three_certificates_and_tls_is_1_2_only() {
    let lab = lab();
    let verifier = PinnedVerifier::new(lab.chain().anchors().unwrap()).unwrap();
    let trusting = client_with(client_config(Arc::clone(&verifier)));
    assert_eq!(trusting.get(lab.url()).send().await.unwrap().status(), StatusCode::OK);
    let presented = verifier.presented("localhost").unwrap();
    assert_eq!(presented.certificates, lab.chain().presented());
    assert_eq!(presented.outcome, Ok(()));

    let modern = rustls::ClientConfig::builder_with_provider(certs::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let refused = client_with(modern).get(lab.url()).send().await.unwrap_err();
    assert!(matches!(failure_in(&refused), Some(TlsFailure::Other { .. })), "{refused:?}");

    let vendor = certs::Anchors::named(certs::DEFAULT_ANCHOR).unwrap();
    let wary = client_with(client_config(PinnedVerifier::new(vec![vendor].into()).unwrap()));
    let refused = wary.get(lab.url()).send().await.unwrap_err();
    assert!(failure_in(&refused).is_some_and(|failure| failure.is_untrusted_issuer()), "{refused:?}");
}

#[tokio::test]
async fn unchanged_content_is_not_sent_again_and_the_next_edition_is() {
    let lab = lab();
    let client = client_for(&lab);
    let first = client.get(lab.url()).send().await.unwrap();
    let (etag, modified) = (header(&first, "etag"), header(&first, "last-modified"));

    let by_tag = || client.get(lab.url()).header("if-none-match", &etag);
    let by_date = || client.get(lab.url()).header("if-modified-since", &modified);
    assert_eq!(by_tag().send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(by_date().send().await.unwrap().status(), StatusCode::NOT_MODIFIED);

    lab.publish_next().unwrap();
    assert_eq!(by_tag().send().await.unwrap().status(), StatusCode::OK);
    let changed = by_date().send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(header(&changed, "etag"), etag);
    assert_ne!(header(&changed, "last-modified"), modified);
}

#[tokio::test]
async fn head_range_and_other_methods() {
    let lab = lab();
    let client = client_for(&lab);
    let (name, bytes) = largest(&lab);
    let url = lab.url_of(&name);

    let head = client.head(url.clone()).send().await.unwrap();
    assert_eq!(header(&head, "content-length"), bytes.len().to_string());
    assert!(head.bytes().await.unwrap().is_empty());

    let part = client.get(url.clone()).header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&part, "content-range"), format!("bytes 10-19/{}", bytes.len()));
    assert_eq!(part.bytes().await.unwrap(), bytes[10..20]);

    let beyond = client.get(url.clone()).header("range", format!("bytes={}-", bytes.len())).send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(client.post(url).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn requests_are_logged_with_their_conditions_and_answers() {
    let lab = lab();
    let client = client_for(&lab);
    client.get(lab.url()).send().await.unwrap();
    client.head(lab.url_of("no-such.zip")).header("if-none-match", "\"x\"").send().await.unwrap();
    let log = lab.requests();
    let seen: Vec<_> = log.iter().map(|r| (r.method.as_str(), r.path.as_str(), r.status, r.is_conditional())).collect();
    let missing = format!("{DIRECTORY}no-such.zip");
    assert_eq!(
        seen,
        [("GET", "/web/secure/spa/posture-update.xml", 200, false), ("HEAD", missing.as_str(), 404, true)]
    );
    assert_eq!(log[1].if_none_match.as_deref(), Some("\"x\""));
    lab.clear_requests();
    assert!(lab.requests().is_empty());
}

#[tokio::test]
async fn a_gate_stops_a_download_in_its_middle_until_released() {
    let lab = lab();
    let (name, bytes) = largest(&lab);
    let gate = lab.gate(&format!("{DIRECTORY}{name}"), 100);
    let mut body = get(&lab, &name).await.bytes_stream();
    gate.reached(DEADLINE).await.unwrap();
    assert_eq!(body.next().await.unwrap().unwrap(), bytes[..100]);

    // Other downloads go on meanwhile.
    assert_eq!(get(&lab, INDEX).await.status(), StatusCode::OK);

    gate.release();
    let mut rest = Vec::new();
    while let Some(piece) = body.next().await {
        rest.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(rest, bytes[100..]);
    assert_eq!(get(&lab, &name).await.bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn a_gate_that_nobody_comes_to_says_so() {
    let lab = lab();
    let gate = lab.gate("/nobody", 0);
    let refused = gate.reached(Duration::ZERO).await.unwrap_err();
    assert!(refused.to_string().contains("/nobody"), "{refused}");
}

#[tokio::test]
async fn the_server_ends_though_a_download_stands_at_a_gate() {
    let lab = lab();
    let (name, _) = largest(&lab);
    let gate = lab.gate(&format!("{DIRECTORY}{name}"), 1);
    let mut body = get(&lab, &name).await.bytes_stream();
    gate.reached(DEADLINE).await.unwrap();
    drop(lab);
    let mut ended = Ok(());
    while let Some(piece) = body.next().await {
        ended = piece.map(drop);
    }
    assert!(ended.is_err());
}

#[tokio::test]
async fn given_answers_stand_in_for_content() {
    let lab = lab();
    let index = format!("{DIRECTORY}{INDEX}");
    let headers = vec![("x-cache".to_owned(), "HIT".to_owned()), ("location".to_owned(), "/elsewhere".to_owned())];
    lab.answer(&index, Raw { status: 418, headers, body: b"short".to_vec() });
    let answer = get(&lab, INDEX).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-cache")), (418, "HIT".to_owned()));
    assert_eq!(answer.bytes().await.unwrap(), "short");

    // More announced than there is: the connection ends early.
    let headers = vec![("content-length".to_owned(), "100".to_owned())];
    lab.answer(&index, Raw { status: 200, headers, body: b"short".to_vec() });
    assert!(get(&lab, INDEX).await.bytes().await.is_err());

    lab.restore(&index);
    assert_eq!(get(&lab, INDEX).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_directory_is_served_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let big = vec![7; 300_000];
    std::fs::write(folder.path().join(INDEX), "<feed/>").unwrap();
    std::fs::write(folder.path().join("a.tar.gz"), &big).unwrap();
    let lab = LabUpstream::builder().directory(folder.path()).start().unwrap();
    assert_eq!(get(&lab, INDEX).await.text().await.unwrap(), "<feed/>");
    let archive = get(&lab, "a.tar.gz").await;
    let etag = header(&archive, "etag");
    assert_eq!(archive.bytes().await.unwrap(), big);
    let part = client_for(&lab).get(lab.url_of("a.tar.gz")).header("range", "bytes=-3").send().await.unwrap();
    assert_eq!(part.bytes().await.unwrap(), big[..3]);
    let again = client_for(&lab).get(lab.url_of("a.tar.gz")).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(get(&lab, "b.tar.gz").await.status(), StatusCode::NOT_FOUND);
    assert!(lab.publish_next().is_err());
}

#[tokio::test]
async fn while_it_is_away_nothing_listens_and_then_it_is_back() {
    let lab = lab();
    let (name, _) = largest(&lab);
    let gate = lab.gate(&format!("{DIRECTORY}{name}"), 1);
    let body = get(&lab, &name).await.bytes_stream();
    gate.reached(DEADLINE).await.unwrap();
    lab.break_with(Fault::Away).unwrap();
    // What was open is cut, and nothing new is accepted.
    assert!(body.any(async |piece| piece.is_err()).await);
    for _ in 0..3 {
        assert!(client_for(&lab).get(lab.url()).send().await.unwrap_err().is_connect());
    }
    lab.mend().unwrap();
    assert_eq!(get(&lab, INDEX).await.status(), StatusCode::OK);
}

/// What a client notices of a fault in an archive.
#[derive(Debug, PartialEq)]
enum Seen {
    Status(u16),
    Html,
    CutAfter(u64),
    Bytes(Vec<u8>),
}

async fn see(lab: &LabUpstream, name: &str) -> Seen {
    let response = get(lab, name).await;
    if response.status() != StatusCode::OK {
        return Seen::Status(response.status().as_u16());
    }
    if header(&response, "content-type").starts_with("text/html") {
        return Seen::Html;
    }
    let mut body = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(_) => return Seen::CutAfter(bytes.len() as u64),
        }
    }
    Seen::Bytes(bytes)
}

#[tokio::test]
async fn faults_of_the_server_strike_what_they_are_aimed_at() {
    let lab = lab();
    let (name, bytes) = largest(&lab);
    for (fault, seen) in [
        (Fault::NotFound, Seen::Status(404)),
        (Fault::ServerError, Seen::Status(500)),
        (Fault::RateLimited, Seen::Status(429)),
        (Fault::HtmlPage, Seen::Html),
    ] {
        lab.break_at(fault, Target::Archives).unwrap();
        assert_eq!(see(&lab, &name).await, seen, "{fault}");
        assert!(matches!(see(&lab, INDEX).await, Seen::Bytes(_)), "{fault}");
        lab.mend().unwrap();
        lab.break_with(fault).unwrap();
        assert_eq!(see(&lab, INDEX).await, seen, "{fault}");
        lab.mend().unwrap();
        assert_eq!(see(&lab, &name).await, Seen::Bytes(bytes.clone()), "{fault}");
    }
}

#[tokio::test]
async fn faults_of_archives_leave_the_index_alone() {
    let lab = lab();
    let (name, bytes) = largest(&lab);
    let half = bytes.len() / 2;
    let index = see(&lab, INDEX).await;

    lab.break_with(Fault::Truncated).unwrap();
    // How much of what was sent before the cut arrives is up to the kernel; it is never all of it.
    let Seen::CutAfter(received) = see(&lab, &name).await else { panic!("the archive came whole") };
    assert!(received <= half as u64);
    lab.mend().unwrap();

    lab.break_with(Fault::WrongChecksum).unwrap();
    let Seen::Bytes(altered) = see(&lab, &name).await else { panic!("the archive did not come") };
    let differing: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != altered[*at]).collect();
    assert_eq!((altered.len(), differing), (bytes.len(), vec![half]));
    assert_eq!(see(&lab, INDEX).await, index);
    lab.mend().unwrap();

    lab.break_with(Fault::Slow).unwrap();
    assert_eq!(see(&lab, &name).await, Seen::Bytes(bytes.clone()));
    lab.mend().unwrap();

    lab.break_with(Fault::TenGigabytes).unwrap();
    let endless = get(&lab, &name).await;
    assert_eq!(header(&endless, "content-length"), "10000000000");
    let mut body = endless.bytes_stream();
    let mut received = Vec::new();
    while received.len() < bytes.len() + 1000 {
        received.extend_from_slice(&body.next().await.unwrap().unwrap());
    }
    assert_eq!(received[..bytes.len()], bytes);
    assert!(received[bytes.len()..].iter().all(|byte| *byte == 0));
    lab.mend().unwrap();

    assert_eq!(see(&lab, &name).await, Seen::Bytes(bytes));
}

#[tokio::test]
async fn a_stalled_download_goes_on_when_the_fault_is_taken_away() {
    let lab = lab();
    let (name, bytes) = largest(&lab);
    lab.break_with(Fault::Stalled).unwrap();
    let mut body = get(&lab, &name).await.bytes_stream();
    let mut received = Vec::new();
    while received.len() < bytes.len() / 2 {
        received.extend_from_slice(&body.next().await.unwrap().unwrap());
    }
    assert_eq!(received.len(), bytes.len() / 2);
    lab.mend().unwrap();
    while let Some(piece) = body.next().await {
        received.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(received, bytes);
}

#[tokio::test]
async fn who_says_nothing_speaks_when_the_fault_is_taken_away() {
    let lab = lab();
    let (name, bytes) = largest(&lab);
    lab.break_with(Fault::Unanswered).unwrap();
    let mut asked = std::pin::pin!(get(&lab, &name));
    let read = async {
        while lab.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = &mut asked => panic!("it was answered"),
        () = read => {}
    }
    lab.mend().unwrap();
    assert_eq!(asked.await.bytes().await.unwrap(), bytes);

    lab.break_with(Fault::Mute).unwrap();
    let spoken = tokio::time::timeout(Duration::from_millis(500), get(&lab, &name)).await;
    assert!(spoken.is_err(), "not a byte was to come");
    lab.mend().unwrap();
    assert_eq!(see(&lab, &name).await, Seen::Bytes(bytes));
}

#[tokio::test]
async fn a_bomb_fits_its_checksum_and_opens_to_a_quarter_gigabyte() {
    let lab = lab();
    let (name, _) = largest(&lab);
    lab.break_with(Fault::GzipBomb).unwrap();
    let Seen::Bytes(bomb) = see(&lab, &name).await else { panic!("the bomb did not come") };
    let index = read(&get(&lab, INDEX).await.bytes().await.unwrap(), &lab);
    let entry = index.entries.iter().find(|entry| entry.name.as_str() == name).unwrap();
    assert_eq!(entry.size, Some(bomb.len() as u64));
    assert!(entry.checksum.as_ref().unwrap().to_string().ends_with(&bundles::Digest::of(&bomb).to_string()));
    let mut opened = flate2::read::GzDecoder::new(bomb.as_slice());
    let length = std::io::copy(&mut opened.by_ref(), &mut std::io::sink()).unwrap();
    assert!(length > 256 << 20 && length / (bomb.len() as u64) > 500, "{length} from {}", bomb.len());
}

#[tokio::test]
async fn faults_of_the_index_are_what_the_reader_takes_them_for() {
    for dialect in [Dialect::Attributes, Dialect::Elements] {
        let lab = LabUpstream::builder().options(Options::small()).dialect(dialect).start().unwrap();
        let (name, bytes) = largest(&lab);
        let whole = get(&lab, INDEX).await;
        let (etag, whole) = (header(&whole, "etag"), whole.bytes().await.unwrap());
        for fault in Fault::ALL.iter().filter(|fault| fault.usual_target() == Target::Index) {
            lab.break_with(*fault).unwrap();
            let broken = get(&lab, INDEX).await;
            assert_ne!(header(&broken, "etag"), etag, "{fault}");
            let outcome = try_read(&broken.bytes().await.unwrap(), &lab);
            let fits = match (fault, &outcome) {
                (Fault::TenThousandEntries, outcome) => {
                    matches!(outcome, Err(IndexError::TooLarge { .. }))
                        || outcome.as_ref().is_ok_and(|index| index.entries.len() == 10_000)
                }
                (Fault::UndefinedEntity, Err(IndexError::Entity { name, .. })) => name == "undefined",
                (Fault::BillionLaughs, Err(IndexError::Entity { name, .. })) => name == "l9",
                (Fault::TraversalLocator, Ok(index)) => {
                    index.entries.iter().any(|entry| entry.url.path().starts_with("/etc/"))
                }
                (Fault::GzipEncoded, outcome) => matches!(outcome, Err(IndexError::Compressed)),
                (Fault::ForeignHost, Ok(index)) => index.hosts().contains("elsewhere.example"),
                (_, Ok(_) | Err(_)) => false,
            };
            assert!(fits, "{fault} in {dialect:?}: {outcome:?}");
            assert_eq!(see(&lab, &name).await, Seen::Bytes(bytes.clone()), "{fault}");
            lab.mend().unwrap();
        }
        assert_eq!(get(&lab, INDEX).await.bytes().await.unwrap(), whole);
    }
}

#[tokio::test]
async fn a_locator_that_climbs_leads_to_its_archive_all_the_same() {
    let lab = lab();
    lab.break_with(Fault::TraversalLocator).unwrap();
    let index = read(&get(&lab, INDEX).await.bytes().await.unwrap(), &lab);
    let astray = index.entries.iter().find(|entry| entry.url.path().starts_with("/etc/")).unwrap();
    let archive = client_for(&lab).get(astray.url.clone()).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(archive, lab.feed().unwrap().files[&astray.name]);
    lab.mend().unwrap();
    assert_eq!(client_for(&lab).get(astray.url.clone()).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn real_charts_are_served_where_the_data_is_present() {
    let charts = match tests::shared::charts() {
        Ok(charts) => charts,
        Err(absent) => return eprintln!("skipped: {absent}"),
    };
    assert_eq!(charts.len(), 6, "three kinds for each of macOS and Linux");
    let lab = LabUpstream::builder().options(Options { charts, ..Options::small() }).start().unwrap();
    let mac = FileName::parse("avchart-macosx.tar.gz").unwrap();
    let opened = |archive: &[u8]| {
        let mut text = String::new();
        flate2::read::GzDecoder::new(archive).read_to_string(&mut text).unwrap();
        text
    };
    let before = opened(&lab.feed().unwrap().files[&mac]);
    assert!(before.contains("SDKVersion=\"4.3.4314.0\""));
    lab.publish_next().unwrap();
    let after = get(&lab, mac.as_str()).await.bytes().await.unwrap();
    assert!(opened(&after).contains("SDKVersion=\"4.3.4325.0\""));
}

#[tokio::test]
async fn the_control_endpoint_does_what_rust_can_do() {
    let lab = LabUpstream::builder().options(Options::small()).control(([127, 0, 0, 1], 0).into()).start().unwrap();
    let control = format!("http://{}", lab.control().unwrap());
    let client = client_for(&lab);
    let post = |path: &str| client.post(format!("{control}{path}")).send();
    let before = lab.edition();

    let status: serde_json::Value = client.get(format!("{control}/")).send().await.unwrap().json().await.unwrap();
    assert_eq!(status["index"], lab.url().as_str());
    assert_eq!(post("/publish-next").await.unwrap().status(), StatusCode::OK);
    assert_ne!(lab.edition(), before);

    let broken: serde_json::Value = post("/fault?name=not-found&at=index").await.unwrap().json().await.unwrap();
    assert_eq!(broken["faults"], serde_json::json!(["not-found"]));
    assert_eq!(see(&lab, INDEX).await, Seen::Status(404));
    assert_eq!(post("/fault?name=away").await.unwrap().status(), StatusCode::OK);
    assert!(client.get(lab.url()).send().await.is_err());
    let mended = client.delete(format!("{control}/fault")).send().await.unwrap();
    assert_eq!(mended.json::<serde_json::Value>().await.unwrap()["faults"], serde_json::json!([]));
    assert!(matches!(see(&lab, INDEX).await, Seen::Bytes(_)));

    let log: Vec<serde_json::Value> = client.get(format!("{control}/log")).send().await.unwrap().json().await.unwrap();
    let statuses: Vec<u64> = log.iter().map(|request| request["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [404, 200]);

    let refused = post("/fault?name=no-such").await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().contains("lab-upstream --help"));
    assert_eq!(post("/no-such").await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[test]
fn every_fault_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    assert_eq!(names.len(), Fault::ALL.len());
}

#[tokio::test]
async fn the_program_says_where_it_is_and_ends_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_lab-upstream"))
        .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--rows", "20", "--no-real-charts"])
        .args(["--edition", "after", "--dialect", "elements", "--write-ca"])
        .arg(&ca)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = BTreeMap::new();
    while said.len() < 3 {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let (what, value) = line.split_once(':').unwrap();
        said.insert(what.to_owned(), value.trim().to_owned());
    }
    let anchors = certs::Anchors::load(&[said["ca"].clone()], folder.path()).unwrap();
    let client = client_with(client_config(PinnedVerifier::new(anchors).unwrap()));
    let index = client.get(&said["index"]).send().await.unwrap().text().await.unwrap();
    assert!(index.contains("300418.0.0.0"), "{index}");
    let status: serde_json::Value = client.get(&said["control"]).send().await.unwrap().json().await.unwrap();
    assert_eq!(status["versions"]["conditions"], "300418.0.0.0");

    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(tokio::time::timeout(DEADLINE, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn connections_end_as_their_faults_say() {
    let lab = lab();
    let (name, bytes) = largest(&lab);
    for (fault, said) in [
        (Fault::Truncated, "UnexpectedEof"),
        (Fault::HalfClosed, "UnexpectedEof"),
        (Fault::Reset, "reset"),
        (Fault::CutOnce, "UnexpectedEof"),
    ] {
        lab.break_with(fault).unwrap();
        let mut response = get(&lab, &name).await;
        let mut received = 0;
        let error = loop {
            match response.chunk().await {
                Ok(Some(piece)) => received += piece.len(),
                Ok(None) => panic!("{fault}: {received} bytes are whole"),
                Err(error) => break format!("{error:?}"),
            }
        };
        assert!(error.to_lowercase().contains(&said.to_lowercase()), "{fault}: {error}");
        // A reset may overtake what was sent before it.
        assert!(received <= bytes.len() / 2 && (received > 0 || fault == Fault::Reset), "{fault}: {received}");
        lab.mend().unwrap();
    }
}

#[tokio::test]
async fn what_was_cut_once_is_there_for_those_who_ask_for_the_rest() {
    let lab = lab();
    let (name, bytes) = largest(&lab);
    let rest = async |etag: &str| {
        let request = client_for(&lab).get(lab.url_of(&name)).header("Range", "bytes=100-").header("If-Range", etag);
        let response = request.send().await.unwrap();
        (response.status(), response.bytes().await.unwrap())
    };
    for (fault, status, from) in
        [(Fault::CutOnce, StatusCode::PARTIAL_CONTENT, 100), (Fault::ChangedMeanwhile, StatusCode::OK, 0)]
    {
        lab.break_with(fault).unwrap();
        let cut = get(&lab, &name).await;
        let etag = header(&cut, "etag");
        cut.bytes().await.unwrap_err();
        assert_eq!(rest(&etag).await, (status, bytes[from..].to_vec().into()), "{fault}");
        lab.mend().unwrap();
    }
}

#[tokio::test]
async fn lengths_and_redirects_are_what_their_faults_say() {
    let lab = lab();
    let (name, bytes) = largest(&lab);
    lab.break_with(Fault::Chunked).unwrap();
    let chunked = get(&lab, &name).await;
    assert_eq!((chunked.content_length(), chunked.bytes().await.unwrap()), (None, bytes.clone().into()));
    lab.mend().unwrap();
    lab.break_with(Fault::LengthTooLong).unwrap();
    let long = get(&lab, &name).await;
    assert!(long.content_length().is_some_and(|length| length > bytes.len() as u64));
    long.bytes().await.unwrap_err();
    lab.mend().unwrap();
    lab.break_with(Fault::LengthTooShort).unwrap();
    let short = get(&lab, &name).await.bytes().await.unwrap();
    assert!(short.len() < bytes.len() && bytes.starts_with(&short));
    lab.mend().unwrap();
    let verifier = PinnedVerifier::new(lab.chain().anchors().unwrap()).unwrap();
    let client = Client::builder().tls_backend_preconfigured(client_config(verifier)).no_proxy();
    let client = client.redirect(reqwest::redirect::Policy::none()).timeout(DEADLINE).build().unwrap();
    for (fault, begins) in [
        (Fault::RedirectLoop, lab.url().to_string()),
        (Fault::RedirectToHttp, lab.url().to_string().replacen("https", "http", 1)),
        (Fault::RedirectElsewhere, "https://elsewhere.example:".to_owned()),
    ] {
        lab.break_with(fault).unwrap();
        let moved = client.get(lab.url()).send().await.unwrap();
        assert_eq!(moved.status(), StatusCode::FOUND);
        assert!(header(&moved, "location").starts_with(&begins), "{fault}: {moved:?}");
        lab.mend().unwrap();
    }
}
