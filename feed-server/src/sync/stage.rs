//! From the network into staging: hashed while it streams, never whole in memory.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bundles::index::Entry;
use bundles::{Checksum, Digest, DigestWriter, FileName};
use bytes::Bytes;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::SyncError;
use super::checked::Staging;
use super::look::Run;
use crate::crash;
use crate::upstream::Content;

/// Pieces between the network and the disk. The HTTP library makes them of some hundred KiB at most, so this bounds
/// memory at a few MiB while it keeps both sides busy.
const PIECES: usize = 8;

/// An archive's bytes as they came, in staging.
pub(super) struct Staged {
    pub(super) file: NamedTempFile,
    pub(super) sha256: Digest,
}

/// Takes a body into staging and holds it to what the index promises.
pub(super) async fn stage(run: &Run<'_>, entry: &Entry, content: &mut Content) -> Result<Staged, SyncError> {
    if let (Some(promised), Some(found)) = (entry.size, content.length)
        && promised != found
    {
        return Err(SyncError::Size { name: entry.name.clone(), promised, found });
    }
    let (pieces, receiver) = mpsc::channel(PIECES);
    let (staging, checksum) = (run.staging.clone(), entry.checksum.clone());
    let writer = tokio::task::spawn_blocking(move || write(&staging, checksum.as_ref(), receiver));
    let pumped = pump(run, &entry.name, content, pieces).await;
    // The writer first: where both failed, it is the disk that stopped the network.
    let written = writer.await.map_err(SyncError::Task)?.map_err(SyncError::Staging)?;
    pumped?;
    let Written { file, sha256, length, checksum } = written;
    if let Some(promised) = entry.size.filter(|promised| *promised != length) {
        return Err(SyncError::Size { name: entry.name.clone(), promised, found: length });
    }
    if let (Some(promised), Err(found)) = (entry.checksum.clone(), checksum) {
        let (promised, found) = (Box::new(promised), Box::new(found));
        return Err(SyncError::Checksum { name: entry.name.clone(), promised, found });
    }
    crash::point("download.done");
    Ok(Staged { file, sha256 })
}

async fn pump(
    run: &Run<'_>,
    name: &FileName,
    content: &mut Content,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), SyncError> {
    let mut is_first = true;
    while let Some(bytes) = content.next().await? {
        run.stop.check()?;
        run.receive(bytes.len() as u64)?;
        if is_first && is_html(&bytes) {
            return Err(SyncError::Html { name: name.clone() });
        }
        is_first = false;
        if pieces.send(bytes).await.is_err() {
            // The writer has gone, and says itself why.
            return Ok(());
        }
        crash::point("download.partial");
    }
    Ok(())
}

/// Login pages and error pages with status 200. No archive begins like this, nor any chart.
fn is_html(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    begins(b"<!doctype html") || begins(b"<html")
}

struct Written {
    file: NamedTempFile,
    sha256: Digest,
    length: u64,
    checksum: Result<(), Checksum>,
}

fn write(staging: &Staging, checksum: Option<&Checksum>, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<Written> {
    let mut file = DigestWriter::new(staging.file()?);
    let mut verifier = checksum.map(Checksum::verifier);
    while let Some(bytes) = pieces.blocking_recv() {
        file.write_all(&bytes)?;
        if let Some(verifier) = &mut verifier {
            verifier.update(&bytes);
        }
    }
    file.flush()?;
    let (sha256, length, file) = file.finish();
    let checksum = verifier.map_or(Ok(()), bundles::digest::ChecksumVerifier::finish);
    Ok(Written { file, sha256, length, checksum })
}

/// Told to every part of a run when one fails, or when nobody waits for it any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn check(&self) -> Result<(), SyncError> {
        if self.0.load(Ordering::Relaxed) { Err(SyncError::Stopped) } else { Ok(()) }
    }
}

/// A file that is written by code which cannot be stopped otherwise.
pub(super) struct Stoppable {
    file: NamedTempFile,
    stop: Stop,
}

impl Stoppable {
    pub(super) fn new(file: NamedTempFile, stop: Stop) -> Self {
        Self { file, stop }
    }

    /// The file, unless writing was stopped.
    pub(super) fn finish(self) -> Result<NamedTempFile, SyncError> {
        self.stop.check().map(|()| self.file)
    }
}

impl Write for Stoppable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check().map_err(io::Error::other)?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
