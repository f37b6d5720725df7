//! A data directory that is full or read-only. Root ignores `chmod`, so these need file systems of their own: each test
//! runs itself once more in a mount namespace, on a small tmpfs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use bundles::release::FileRef;
use bundles::{Digest, FileName, Reason, Reasoned as _};
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
