use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use bundles::release::{FORMAT, FileRef, Source, SourceKind};
use bundles::report::Failure;
use bundles::{Digest, FileName, Manifest, Reason, Reasoned as _, Serial};
use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::records::{HeadendRecord, Outcome, ReleaseRecord, RunRecord, Scope, TokenRecord, Trigger};
use super::*;
use crate::sync::checked::Validator;

fn open(directory: &TempDir) -> Store {
    Store::open(&directory.path().join("data")).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn file(name: &str, bytes: &[u8]) -> FileRef {
    FileRef { name: FileName::parse(name).unwrap(), sha256: Digest::of(bytes), length: bytes.len() as u64 }
}

fn adopt(store: &Store, bytes: &[u8]) -> Digest {
    let file = CheckedFile::check(&store.staging, file("a.tar", bytes), &mut &bytes[..]).unwrap();
    store.blobs.adopt(file).unwrap();
    Digest::of(bytes)
}

fn release(serial: u64) -> ReleaseRecord {
    ReleaseRecord {
        manifest: Manifest {
            format: FORMAT,
            serial: Serial::new(serial).unwrap(),
            created: at(1_700_000_000),
            source: Source { kind: SourceKind::VendorFeed, url: None, sha256: None, vouched_by: None },
            components: Vec::new(),
            index: Some(file("posture-update.xml", &serial.to_be_bytes())),
            offline_zip: None,
        },
        signed: None,
        taken: None,
        content_of: None,
    }
}

fn validator(url: &str) -> Validator {
    let file = file("a.tar", url.as_bytes());
    Validator {
        url: url.to_owned(),
        etag: Some("\"1\"".to_owned()),
        last_modified: None,
        archive: file.clone(),
        payload: file,
        inner_version: None,
    }
}

fn run(id: u64, outcome: Option<Outcome>) -> RunRecord {
    let start = 1_700_000_000 + 100 * i64::try_from(id).unwrap();
    let ended = outcome.is_some().then(|| at(start + 10));
    let started = at(start);
    RunRecord { ended, outcome, received_bytes: 7, ..RunRecord::begun(id, started, Trigger::Schedule) }
}

#[test]
fn one_process_at_a_time_and_the_lock_goes_with_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let clone = store.clone();
    drop(store);
    let error = Store::open(clone.directory()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert_eq!(error.reason(), Reason::Busy);
    drop(clone);
    open(&directory);
}

#[test]
fn a_store_that_was_closed_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(&directory));
    // sled holds a lock on its file for as long as it has it open.
    let file = std::fs::File::open(directory.path().join("data/catalog/db")).unwrap();
    file.try_lock().unwrap();
}

#[test]
fn a_new_data_directory_is_its_owners_alone_and_staging_is_emptied() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let data = store.directory().to_owned();
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    let left = store.staging.file().unwrap().into_temp_path().keep().unwrap();
    std::fs::create_dir(data.join("staging/folder")).unwrap();
    drop(store);
    open(&directory);
    assert!(!left.exists());
    assert_eq!(std::fs::read_dir(data.join("staging")).unwrap().count(), 0);
}

#[test]
fn a_newer_schema_is_refused_and_nothing_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    drop(open(&directory));
    std::fs::write(data.join("schema"), "2\n").unwrap();
    std::fs::write(data.join("staging/precious"), "x").unwrap();
    let error = Store::open(&data).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, known: SCHEMA, .. }), "{error}");
    assert_eq!(error.reason(), Reason::Storage);
    assert!(error.to_string().contains("newer program"), "{error}");
    assert!(data.join("staging/precious").exists());
    assert_eq!(std::fs::read_to_string(data.join("schema")).unwrap(), "2\n");
    // Whoever lost the file is still told by the catalog.
    std::fs::write(data.join("schema"), "1\n").unwrap();
    let store = Store::open(&data).unwrap();
    store.put_state("schema", &3).unwrap();
    drop(store);
    assert!(matches!(Store::open(&data), Err(StoreError::Newer { found: 3, .. })));
}

#[test]
fn what_is_no_data_directory_gives_an_error_that_names_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "x").unwrap();
    for path in [path.clone(), path.join("below")] {
        let error = Store::open(&path).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(error.reason(), Reason::Storage);
    }
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("schema"), "soon").unwrap();
    assert!(Store::open(&data).unwrap_err().to_string().contains("schema"));
}

#[test]
fn blobs_are_taken_once_placed_listed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let digest = adopt(&store, b"content");
    assert_eq!(adopt(&store, b"content"), digest, "again is no error");
    assert!(store.blobs.contains(&digest).unwrap());
    let mut read = String::new();
    store.blobs.open(&digest).unwrap().read_to_string(&mut read).unwrap();
    assert_eq!(read, "content");

    let name = digest.to_string();
    let blob = store.directory().join("blobs").join(&name[..2]).join(&name);
    assert_eq!(blob.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    let placed = directory.path().join("placed");
    store.blobs.place(&digest, &placed).unwrap();
    assert_eq!(placed.metadata().unwrap().ino(), blob.metadata().unwrap().ino(), "the bytes are shared");
    assert!(matches!(store.blobs.place(&digest, &placed), Err(StoreError::Io { .. })), "it exists");
    let nowhere = directory.path().join("no/where");
    assert!(matches!(store.blobs.place(&digest, &nowhere), Err(StoreError::Io { .. })));

    std::fs::write(blob.with_file_name("README"), "not ours").unwrap();
    assert_eq!(store.blobs.list().unwrap(), [digest]);
    let before = store.usage().unwrap();
    assert!(before.store_bytes > 0 && before.free_bytes > 0, "{before:?}");
    store.blobs.remove(&digest).unwrap();
    store.blobs.remove(&digest).unwrap();
    assert!(!store.blobs.contains(&digest).unwrap());
    assert!(matches!(store.blobs.open(&digest), Err(StoreError::Missing { .. })));
    assert!(matches!(store.blobs.place(&digest, &nowhere), Err(StoreError::Missing { .. })));
    assert_eq!(std::fs::read(&placed).unwrap(), b"content", "what was placed stays");
    assert_eq!(std::fs::read_dir(store.directory().join("staging")).unwrap().count(), 0);
}

#[test]
fn a_blob_is_copied_where_it_cannot_be_linked() {
    let elsewhere = Path::new("/dev/shm");
    let directory = tempfile::tempdir().unwrap();
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    if device(elsewhere).is_none() || device(elsewhere) == device(directory.path()) {
        println!("skipped: /dev/shm is not another file system here");
        return;
    }
    let store = open(&directory);
    let digest = adopt(&store, b"content");
    let other = tempfile::tempdir_in(elsewhere).unwrap();
    store.blobs.place(&digest, &other.path().join("placed")).unwrap();
    assert_eq!(std::fs::read(other.path().join("placed")).unwrap(), b"content");
}

#[test]
fn other_bytes_than_expected_are_not_checked_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    for bytes in [&b"contenT"[..], b"conten", b"content and more"] {
        let error = CheckedFile::check(&store.staging, file("a", b"content"), &mut &bytes[..]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }
    assert_eq!(std::fs::read_dir(store.directory().join("staging")).unwrap().count(), 0);
}

#[test]
fn releases_come_newest_first_and_their_numbers_stay_used() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    assert_eq!(store.newest_release().unwrap(), None);
    assert_eq!(store.highest_serial().unwrap(), None);
    // 256 shows that the order is by number.
    for serial in [1, 2, 256] {
        let batch = store.release_batch(&release(serial), &[validator(&format!("https://h/{serial}"))]).unwrap();
        store.commit(batch).unwrap();
    }
    drop(store);
    let store = open(&directory);
    let serials = |limit| -> Vec<u64> {
        store.releases(limit).unwrap().iter().map(|release| release.manifest.serial.get()).collect()
    };
    assert_eq!(serials(2), [256, 2]);
    assert_eq!(
        store.validators().unwrap(),
        [validator("https://h/256")],
        "each release's take the place of the last's"
    );
    for urls in [&["https://h/a", "https://h/b"][..], &["https://h/b"], &["https://h/256"]] {
        let validators: Vec<_> = urls.iter().map(|url| validator(url)).collect();
        store.put_validators(&validators).unwrap();
        assert_eq!(store.validators().unwrap(), validators);
    }
    let mut batch = Batch::new();
    batch.remove_release(Serial::new(256).unwrap());
    store.commit(batch).unwrap();
    assert_eq!(serials(9), [2, 1]);
    assert_eq!(store.highest_serial().unwrap(), Serial::new(256));
    assert_eq!(store.newest_release().unwrap(), Some(release(2)));
    assert_eq!(store.release(Serial::FIRST).unwrap(), Some(release(1)));
    assert_eq!(store.release(Serial::new(3).unwrap()).unwrap(), None);
}

#[test]
fn what_runs_taught_outlives_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    assert_eq!((store.next_run_id().unwrap(), store.run_facts().unwrap()), (1, RunFacts::default()));
    let released = Outcome::Released { serial: Serial::FIRST };
    store.put_run(&run(1, None)).unwrap();
    assert_eq!(store.run_facts().unwrap(), RunFacts { last_attempt: Some(at(1_700_000_100)), ..RunFacts::default() });
    store.put_run(&run(1, Some(released))).unwrap();
    store.put_run(&run(2, Some(Outcome::Unchanged))).unwrap();
    let failed = Outcome::Failed { failure: Failure::new(Reason::Dns, "no such host") };
    let last = u64::try_from(KEPT_RUNS).unwrap() + 5;
    // Straight into the catalog what put_run would write one by one.
    let mut batch = Batch::new();
    for id in 3..last {
        batch.put(Table::Runs, id.to_be_bytes(), &run(id, Some(failed.clone()))).unwrap();
    }
    store.commit(batch).unwrap();
    store.put_run(&run(last, Some(failed.clone()))).unwrap();
    drop(store);

    let store = open(&directory);
    assert_eq!(store.runs(usize::MAX).unwrap().len(), KEPT_RUNS);
    assert_eq!(store.runs(1).unwrap(), [run(last, Some(failed.clone()))]);
    assert_eq!((store.run(5).unwrap(), store.next_run_id().unwrap()), (None, last + 1));
    let facts = RunFacts {
        last_attempt: Some(run(last, None).started),
        last_outcome: Some(failed),
        last_success: Some(at(1_700_000_210)),
        content_changed_at: Some(at(1_700_000_110)),
        ..RunFacts::default()
    };
    assert_eq!(store.run_facts().unwrap(), facts);
}

#[test]
fn headends_go_with_their_reports_and_tokens_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let headend = HeadendRecord { id: "asa-1".to_owned(), added: at(1), token: Some(Digest::of(b"secret")) };
    let add = |store: &Store| {
        let mut batch = Batch::new();
        batch.add_headend(&headend).unwrap();
        store.commit(batch).unwrap();
    };
    add(&store);
    let json = r#"{"received":"2026-01-01T00:00:00Z","report":{"client_version":"1","last_attempt":"2026-01-01T00:00:00Z","interval_seconds":7200}}"#;
    let report: records::ReportRecord = serde_json::from_str(json).unwrap();
    store.put_reports([("asa-1", &report)]).unwrap();
    assert_eq!(store.headend("asa-1").unwrap(), Some(headend.clone()));
    assert_eq!(store.headends().unwrap(), std::slice::from_ref(&headend));
    assert_eq!(store.reports().unwrap(), [("asa-1".to_owned(), report.clone())]);
    assert_eq!(store.report("asa-1").unwrap(), Some(report.clone()));
    let mut batch = Batch::new();
    batch.put_headend(&headend).unwrap();
    store.commit(batch).unwrap();
    assert_eq!(store.report("asa-1").unwrap(), Some(report.clone()));
    let mut batch = Batch::new();
    batch.remove_headend("asa-1");
    store.commit(batch).unwrap();
    assert_eq!(store.headend("asa-1").unwrap(), None);
    assert_eq!(store.report("asa-1").unwrap(), None);
    // A report that was under way while its headend was removed is not that of the next one with its id.
    store.put_reports([("asa-1", &report)]).unwrap();
    add(&store);
    assert_eq!(store.report("asa-1").unwrap(), None);

    let token = TokenRecord {
        name: "ops".to_owned(),
        scope: Scope::Operate,
        created: at(1),
        token: Digest::of(b"t"),
        expires: None,
        made_by: None,
    };
    let mut batch = Batch::new();
    batch.put_token(&token).unwrap();
    store.commit(batch).unwrap();
    assert_eq!(store.tokens().unwrap(), std::slice::from_ref(&token));
    // As they were written before tokens ended.
    let old = r#"{"name":"ops","scope":"operate","created":"1970-01-01T00:00:01Z","token":"DIGEST"}"#;
    let old = old.replace("DIGEST", &Digest::of(b"t").to_string());
    assert_eq!(serde_json::from_str::<TokenRecord>(&old).unwrap(), token);
    let mut batch = Batch::new();
    batch.remove_token("ops");
    store.commit(batch).unwrap();
    assert!(store.tokens().unwrap().is_empty());
}

#[test]
fn a_record_that_cannot_be_read_names_its_table() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.put_state("x", "text").unwrap();
    let error = store.state::<u64>("x").unwrap_err();
    assert!(error.to_string().contains("state"), "{error}");
    assert_eq!(store.state::<u64>("y").unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_catalog_is_an_ordered_map_for_each_table_and_survives_reopening(
        changes in prop::collection::vec(
            (prop::sample::select(Table::ALL.to_vec()), prop::collection::vec(0_u8..3, 0..3), any::<Option<u8>>()),
            0..24,
        ),
        limit in 0_usize..6,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut expected = std::collections::BTreeMap::<Table, std::collections::BTreeMap<Vec<u8>, Vec<u8>>>::new();
        let catalog = sled_catalog::SledCatalog::open(directory.path().to_owned()).unwrap();
        for some in changes.chunks(3) {
            let changes: Vec<_> = some.iter().map(|(t, k, v)| (*t, k.clone(), v.map(|v| vec![v]))).collect();
            for (table, key, value) in &changes {
                let table = expected.entry(*table).or_default();
                match value {
                    Some(value) => { table.insert(key.clone(), value.clone()); }
                    None => { table.remove(key); }
                }
            }
            catalog.commit(Batch { changes }).unwrap();
        }
        drop(catalog);
        let catalog = sled_catalog::SledCatalog::open(directory.path().to_owned()).unwrap();
        for table in Table::ALL {
            let pairs: Vec<Pair> = expected.remove(&table).unwrap_or_default().into_iter().collect();
            prop_assert_eq!(catalog.scan(table, false, limit).unwrap(), pairs.iter().take(limit).cloned().collect::<Vec<_>>());
            let newest: Vec<_> = pairs.iter().rev().take(limit).cloned().collect();
            prop_assert_eq!(catalog.scan(table, true, limit).unwrap(), newest);
            for (key, value) in &pairs {
                prop_assert_eq!(catalog.get(table, key).unwrap(), Some(value.clone()));
            }
        }
    }
}
