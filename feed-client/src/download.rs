//! Brings payloads here: told by an earlier one, packed, or whole, and checked against signed length and digest; or taken
//! over from an earlier release and checked just the same.

mod partials;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use bundles::release::FileRef;
use bundles::report::Failure;
use bundles::{Digest, DigestWriter, Reason, Reasoned, TargetName};
use url::Url;

pub use partials::Partials;

use crate::crash;
use crate::durable::{self, StorageError};
use crate::fetch::{Ask, Coding, Codings, Dictionary, FetchError, Http, Incoming, Watched};
use crate::progress::Progress;

/// Lines that break come back within seconds or not so soon: then the next attempt goes on.
const WAITS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// Servers tell nothing by more than this (`[increments] max_payload`), and it is held in memory.
const MAX_BASE_BYTES: u64 = 16 << 20;

/// A payload to be fetched, and what helps.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The way to the server.
    pub http: &'a Http,
    /// Where it is.
    pub url: Url,
    /// Its path in the signed metadata, for whoever reads what went wrong.
    pub name: &'a str,
    /// The digest that is signed.
    pub sha256: Digest,
    /// The length in bytes that is signed.
    pub length: u64,
    /// An earlier payload to tell it by.
    pub base: Option<&'a Dictionary>,
    /// Where downloads that broke off are.
    pub partials: &'a Partials,
    /// Who watches.
    pub progress: &'a Progress,
}

/// How a payload came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// In the end.
    pub coding: Coding,
    /// Why what came first, packed, was refused.
    pub refused: Option<Failure>,
}

impl Wanted<'_> {
    /// Fetches it into a new file, which is complete and durable, or gone. Never more than the signed length is written. What
    /// breaks off is gone on with, now and by the next attempt.
    ///
    /// # Errors
    /// The bytes do not come, or are not the signed ones.
    pub async fn fetch(&self, into: &Path) -> Result<Fetched, DownloadError> {
        let url = &self.url;
        let mut refused = None;
        // What was begun whole is ended whole: it was, because nothing packed was to be had, or of use.
        let mut may_break = partials::length(&self.partials.path(&self.sha256)) == 0;
        let mut packed = may_break;
        while packed {
            match self.packed(url, into).await {
                Ok(Packed::Opened(coding)) => return Ok(Fetched { coding, refused: None }),
                Ok(Packed::Whole(incoming)) => {
                    self.whole(url, Some(*incoming), into).await?;
                    return Ok(Fetched { coding: Coding::Identity, refused: None });
                }
                Err(error) if error.broke_off() && may_break => {
                    may_break = false;
                    tokio::time::sleep(WAITS[0]).await;
                }
                // A line that breaks twice at something packed might be a proxy that does not know what to do with it.
                Err(error) if error.broke_off() || error.blames_packing() => {
                    packed = false;
                    self.http.fall_back(self.name, &error);
                    refused = Some(Failure::of(&error));
                }
                Err(error) => return Err(error),
            }
        }
        self.whole(url, None, into).await?;
        Ok(Fetched { coding: Coding::Identity, refused })
    }

    /// Asks for it packed. A server that has nothing packed answers with the whole.
    async fn packed(&self, url: &Url, into: &Path) -> Result<Packed<'_>, DownloadError> {
        let incoming = self.http.open(url, self.length, Codings::all(self.base)).await?;
        let coding = incoming.coding;
        if coding == Coding::Identity {
            return Ok(Packed::Whole(Box::new(incoming)));
        }
        let opened = self.open(incoming, into).await;
        if opened.is_err() {
            // Bytes that nobody vouches for are not left lying about.
            let _ = fs::remove_file(into);
        }
        opened.map(|()| Packed::Opened(coding))
    }

    async fn open(&self, incoming: Incoming<'_>, into: &Path) -> Result<(), DownloadError> {
        let file = File::create_new(into).map_err(StorageError::at("create", into))?;
        let mut writer = DigestWriter::new(BufWriter::new(file));
        let read = incoming.read(self.watched(&mut writer)).await;
        let (digest, length, file) = writer.finish();
        let checked = read.map_err(|error| stored(error, into)).and_then(|()| self.check(digest, length));
        if checked.is_err() {
            self.progress.back(length);
        }
        checked?;
        let file = file.into_inner().map_err(|error| StorageError::at("write", into)(error.into_error()))?;
        file.sync_all().map_err(StorageError::at("sync", into))?;
        Ok(())
    }

    /// Brings all of it, from where an earlier try came to: once more from the beginning, where that was of no use.
    async fn whole(&self, url: &Url, mut first: Option<Incoming<'_>>, into: &Path) -> Result<(), DownloadError> {
        let path = self.partials.path(&self.sha256);
        let mut waits = WAITS.iter();
        let mut may_begin_anew = true;
        loop {
            let held = partials::length(&path);
            let error = match self.rest(url, first.take(), &path, held).await {
                Ok(from) => match self.accept(&path, into).await {
                    Err(DownloadError::OtherBytes { .. }) if from > 0 && may_begin_anew => {
                        may_begin_anew = false;
                        tracing::warn!(
                            target = self.name,
                            "what earlier tries left of it is not its beginning; it is fetched anew"
                        );
                        self.progress.back(self.length);
                        durable::remove_file(&path)?;
                        continue;
                    }
                    accepted => return accepted.inspect_err(|_| drop(fs::remove_file(&path))),
                },
                Err(error) => error,
            };
            if !error.is_of_the_way() {
                // A full disk, or bytes that were never its own.
                let _ = fs::remove_file(&path);
                return Err(error);
            }
            let came_further = partials::length(&path) > held;
            self.progress.back(partials::length(&path));
            match waits.next().filter(|_| error.broke_off() && came_further) {
                Some(wait) => tokio::time::sleep(*wait).await,
                None => return Err(error),
            }
        }
    }

    /// Brings what is lacking behind the `held` bytes at `path`, or all of it where the server does not answer with parts:
    /// whichever, the first byte that was brought.
    async fn rest(&self, url: &Url, first: Option<Incoming<'_>>, path: &Path, held: u64) -> Result<u64, DownloadError> {
        let signed = self.length;
        if held == signed && held > 0 {
            self.progress.advance(held);
            return Ok(held);
        }
        let ask = Ask { from: if held < signed { held } else { 0 }, ..Ask::whole(signed) };
        let incoming = match first {
            Some(incoming) => incoming,
            // A 304 is no answer to it, and refused as such.
            None => match self.http.ask(url, &ask).await? {
                Some(incoming) => incoming,
                None => return Ok(0),
            },
        };
        let from = incoming.from;
        if from > 0 {
            tracing::info!(target = self.name, from, of = signed, "going on with a download that broke off");
        }
        self.progress.advance(from);
        let mut file = self.partials.open(path, from)?;
        incoming.read(self.watched(&mut file)).await.map_err(|error| stored(error, path))?;
        let length = partials::length(path);
        if length < signed { Err(self.short(length)) } else { Ok(from) }
    }

    /// Makes it the payload if it is the signed one.
    async fn accept(&self, path: &Path, into: &Path) -> Result<(), DownloadError> {
        let hash = {
            let path = path.to_owned();
            move || {
                let mut file = File::open(&path).map_err(StorageError::at("open", &path))?;
                let found = Digest::of_reader(&mut file).map_err(StorageError::at("read", &path))?;
                file.sync_all().map_err(StorageError::at("sync", &path))?;
                Ok::<_, StorageError>(found)
            }
        };
        let (digest, length) = tokio::task::spawn_blocking(hash)
            .await
            .map_err(|error| StorageError::at("read", path)(std::io::Error::other(error)))??;
        self.check(digest, length)?;
        crash::point("client.download.whole");
        Ok(fs::rename(path, into).map_err(StorageError::at("rename to", into))?)
    }

    fn check(&self, digest: Digest, length: u64) -> Result<(), DownloadError> {
        if length < self.length {
            return Err(self.short(length));
        }
        if digest != self.sha256 {
            return Err(DownloadError::OtherBytes { name: self.name.into(), found: digest });
        }
        Ok(())
    }

    fn short(&self, length: u64) -> DownloadError {
        DownloadError::Short { name: self.name.into(), length, signed: self.length }
    }

    fn watched<W>(&self, into: W) -> Watched<W, impl FnMut(usize)> {
        let told = |bytes| {
            self.progress.advance(bytes as u64);
            crash::point("client.download.partial");
        };
        Watched { into, told }
    }
}

/// What asking for something packed came to.
enum Packed<'a> {
    /// It was, and is here.
    Opened(Coding),
    /// The content as it is comes in.
    Whole(Box<Incoming<'a>>),
}

/// A file that cannot be written is the disk's fault, and has a name.
fn stored(error: FetchError, path: &Path) -> DownloadError {
    match error {
        FetchError::Take(source) => StorageError { act: "write", path: path.to_owned(), source }.into(),
        error => error.into(),
    }
}

/// A payload that is here, for the server to tell another one by. `None` where it is too large for that, or is not what it
/// was: disks rot.
#[must_use]
pub fn dictionary(base: &FileRef, path: &Path) -> Option<Dictionary> {
    if base.length > MAX_BASE_BYTES {
        return None;
    }
    let dictionary = durable::read_given("read", path, MAX_BASE_BYTES as usize).ok().map(Dictionary::new)?;
    if dictionary.sha256() != base.sha256 {
        tracing::warn!(payload = %base.name, "a kept payload is damaged, so that no other can be told by it");
        return None;
    }
    Some(dictionary)
}

/// Takes over a payload that is here already: a hard link, or a copy where the file system has none. `false` if what is
/// there is not the file (any more): then it has to be fetched.
///
/// # Errors
/// The new name cannot be made.
pub fn take_over(file: &FileRef, from: &Path, into: &Path) -> Result<bool, StorageError> {
    let intact = File::open(from)
        .and_then(|mut kept| Digest::of_reader(&mut kept))
        .is_ok_and(|(digest, length)| digest == file.sha256 && length == file.length);
    if !intact {
        return Ok(false);
    }
    if fs::hard_link(from, into).is_ok() {
        return Ok(true);
    }
    // A new file in any case: copying onto another name of the same file would empty both.
    let mut copy = File::create_new(into).map_err(StorageError::at("create", into))?;
    let copied =
        File::open(from).and_then(|mut kept| std::io::copy(&mut kept, &mut copy)).and_then(|_| copy.sync_all());
    copied.map(|()| true).map_err(StorageError::at("copy to", into))
}

/// Why a payload is not here.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server or the way to it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Fewer bytes than signed.
    #[error(
        "{name} ended after {length} of {signed} signed bytes; try again, and check the server's store if it stays so"
    )]
    Short {
        /// Which target.
        name: Box<str>,
        /// Bytes that came.
        length: u64,
        /// Bytes that were signed.
        signed: u64,
    },
    /// Other bytes than signed.
    #[error(
        "the bytes of {name} are not the signed ones (SHA-256 {found}); the server's store is damaged, or they were \
         changed on the way"
    )]
    OtherBytes {
        /// Which target.
        name: Box<str>,
        /// What the bytes' digest is.
        found: Digest,
    },
    /// The manifest and the metadata disagree.
    #[error("the manifest and the signed metadata disagree about {name}; the origin has to publish again")]
    Disagree {
        /// Which target.
        name: TargetName,
    },
}

impl DownloadError {
    fn broke_off(&self) -> bool {
        matches!(self, Self::Fetch(error) if error.broke_off())
    }

    /// What something packed opens to may be too short or other bytes as well.
    fn blames_packing(&self) -> bool {
        match self {
            Self::Fetch(error) => error.blames_packing(),
            Self::Short { .. } | Self::OtherBytes { .. } => true,
            Self::Storage(_) | Self::Disagree { .. } => false,
        }
    }

    /// Whether what came so far is as good as ever.
    fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Fetch(error) if !matches!(error, FetchError::TooLarge { .. } | FetchError::Coding { .. }))
    }
}

impl Reasoned for DownloadError {
    fn reason(&self) -> Reason {
        match self {
            Self::Fetch(error) => error.reason(),
            Self::Storage(error) => error.reason(),
            Self::Short { .. } => Reason::Truncated,
            Self::OtherBytes { .. } | Self::Disagree { .. } => Reason::DigestMismatch,
        }
    }
}

#[cfg(test)]
mod tests {
    use bundles::FileName;

    use super::*;

    #[test]
    fn a_kept_payload_is_taken_over_only_if_it_still_is_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (from, into) = (directory.path().join("from"), directory.path().join("into"));
        let name = FileName::parse("a.tar").unwrap();
        let file = FileRef { name, sha256: Digest::of(b"good"), length: 4 };
        assert!(!take_over(&file, &from, &into).unwrap(), "nothing there");
        fs::write(&from, b"rotten").unwrap();
        assert!(!take_over(&file, &from, &into).unwrap());
        assert!(!into.exists());
        fs::write(&from, b"good").unwrap();
        assert!(take_over(&file, &from, &into).unwrap());
        assert_eq!(fs::read(&into).unwrap(), b"good");
        assert_eq!(take_over(&file, &from, &into).unwrap_err().reason(), Reason::Storage);
    }
}
