//! Into staging, from the network or from a zip: hashed while it streams, never whole in memory.

use std::io::{self, Read, Seek as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bundles::digest::ChecksumVerifier;
use bundles::index::Entry;
use bundles::{Checksum, Digest, DigestWriter, FileName};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::SyncError;
use super::checked::Staging;
use super::look::Run;
use crate::crash;
use crate::upstream::{Content, Piece};

/// Pieces between the network and the disk. The HTTP library makes them of some hundred KiB at most, so this bounds
/// memory at a few MiB while it keeps both sides busy.
const PIECES: usize = 8;

/// Bytes of a zip's member between two looks at whether the run was stopped.
const MEMBER_PIECE: usize = 256 << 10;

/// A file's bytes as they came, in staging.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) file: NamedTempFile,
    pub(super) sha256: Digest,
    pub(super) length: u64,
}

/// What an index promises of a file. A signed release promises more, and whoever stages for one holds the file to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise<'a> {
    pub(super) name: &'a FileName,
    pub(super) size: Option<u64>,
    pub(super) checksum: Option<&'a Checksum>,
}

impl<'a> From<&'a Entry> for Promise<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self { name: &entry.name, size: entry.size, checksum: entry.checksum.as_ref() }
    }
}

impl<'a> Promise<'a> {
    /// A file of which nothing is promised.
    pub(super) fn named(name: &'a FileName) -> Self {
        Self { name, size: None, checksum: None }
    }

    pub(super) fn has_size(&self, found: u64) -> Result<(), SyncError> {
        match self.size {
            Some(promised) if promised != found => Err(SyncError::Size { name: self.name.clone(), promised, found }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether as many bytes are announced as are promised.
    fn is_announced_by(&self, content: &Content) -> Result<(), SyncError> {
        content.length.map_or(Ok(()), |announced| self.has_size(announced))
    }

    /// Whether what came is what was promised.
    fn take(&self, written: Written) -> Result<Staged, SyncError> {
        let Written { file, sha256, length, checksum } = written;
        self.has_size(length)?;
        if let (Some(promised), Err(found)) = (self.checksum.cloned(), checksum) {
            let (promised, found) = (Box::new(promised), Box::new(found));
            return Err(SyncError::Checksum { name: self.name.clone(), promised, found });
        }
        Ok(Staged { file, sha256, length })
    }
}

/// Takes a body into staging and holds it to what is promised.
pub(super) async fn stage(run: &Run<'_>, promise: &Promise<'_>, content: &mut Content) -> Result<Staged, SyncError> {
    promise.is_announced_by(content)?;
    let (pieces, receiver) = mpsc::channel(PIECES);
    let (staging, checksum) = (run.staging.clone(), promise.checksum.cloned());
    let writer = tokio::task::spawn_blocking(move || write(&staging, checksum.as_ref(), receiver));
    let pumped = pump(run, promise, content, pieces).await;
    // The writer first: where both failed, it is the disk that stopped the network.
    let written = writer.await.map_err(SyncError::Task)?.map_err(SyncError::Staging)?;
    pumped?;
    let staged = promise.take(written)?;
    crash::point("download.done");
    Ok(staged)
}

/// Takes a member of a zip into staging and holds it to what is promised. Blocks.
pub(super) fn stage_member(
    staging: &Staging,
    promise: &Promise<'_>,
    content: &mut impl Read,
    stop: &Stop,
) -> Result<Staged, SyncError> {
    let mut writing = Writing::new(staging, promise.checksum).map_err(SyncError::Staging)?;
    let mut buffer = vec![0; MEMBER_PIECE];
    loop {
        stop.check()?;
        let count = content.read(&mut buffer).map_err(SyncError::member)?;
        if count == 0 {
            break;
        }
        writing.add(&buffer[..count]).map_err(SyncError::Staging)?;
    }
    promise.take(writing.finish().map_err(SyncError::Staging)?)
}

async fn pump(
    run: &Run<'_>,
    promise: &Promise<'_>,
    content: &mut Content,
    pieces: mpsc::Sender<Piece>,
) -> Result<(), SyncError> {
    let mut is_first = true;
    while let Some(piece) = content.next().await? {
        run.stop.check()?;
        match &piece {
            Piece::Anew => {
                tracing::info!(name = %promise.name, length = content.length, "the download begins anew");
                promise.is_announced_by(content)?;
                run.progress.file_started(promise.name, content.length);
                is_first = true;
            }
            Piece::Bytes(bytes) => {
                run.receive(bytes.len() as u64)?;
                if is_first && is_html(bytes) {
                    return Err(SyncError::Html { name: promise.name.clone() });
                }
                is_first = false;
            }
        }
        if pieces.send(piece).await.is_err() {
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

/// A file that is being written, and what is being learnt of it.
struct Writing {
    file: DigestWriter<NamedTempFile>,
    verifier: Option<ChecksumVerifier>,
}

impl Writing {
    fn new(staging: &Staging, checksum: Option<&Checksum>) -> io::Result<Self> {
        Ok(Self { file: DigestWriter::new(staging.file()?), verifier: checksum.map(Checksum::verifier) })
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        if let Some(verifier) = &mut self.verifier {
            verifier.update(bytes);
        }
        Ok(())
    }

    /// The same file, empty again.
    fn anew(self, checksum: Option<&Checksum>) -> io::Result<Self> {
        let (_, _, mut emptied) = self.file.finish();
        emptied.as_file().set_len(0)?;
        emptied.rewind()?;
        Ok(Self { file: DigestWriter::new(emptied), verifier: checksum.map(Checksum::verifier) })
    }

    fn finish(mut self) -> io::Result<Written> {
        self.file.flush()?;
        let (sha256, length, file) = self.file.finish();
        let checksum = self.verifier.map_or(Ok(()), ChecksumVerifier::finish);
        Ok(Written { file, sha256, length, checksum })
    }
}

fn write(staging: &Staging, checksum: Option<&Checksum>, mut pieces: mpsc::Receiver<Piece>) -> io::Result<Written> {
    let mut writing = Writing::new(staging, checksum)?;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => writing.add(&bytes)?,
            Piece::Anew => writing = writing.anew(checksum)?,
        }
    }
    writing.finish()
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
