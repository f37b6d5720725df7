//! A watched folder on disk: what is in it, whether a file of it is whole, and where a bad one goes.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bundles::report::Failure;
use bundles::{Digest, Reason};
use jiff::Timestamp;
use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};

use super::quarantine::{DIGEST, Quarantine, suffixed};
use super::watch::{Found, Identity};

/// Names that are looked at at all: zips, and what is mistaken for them.
const LOOKED_AT: [&str; 4] = [".zip", ".gz", ".tgz", ".tar"];

/// Names that programs give to files that are still coming.
const UNFINISHED: [&str; 3] = [".part", ".tmp", ".crdownload"];

/// Entries that one look goes through: a folder with more is nobody's way to hand over zips, and must not hold up anything.
const MAX_ENTRIES: usize = 10_000;

/// A `.sha256` is one line; a longer file is something else.
const MAX_DIGEST_BYTES: u64 = 4 << 10;

/// The end of a zip's directory, and its comment at most (APPNOTE.TXT, section 4.3.16).
const END_BYTES: usize = 22;
const MAX_COMMENT_BYTES: u64 = 0xffff;

/// Whether a file is ready to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// It is.
    Yes,
    /// Its end is not that of a zip: a copy may be going on.
    NotYet,
    /// It is not what the `.sha256` beside it says, though it ends as a zip ends.
    Differs {
        /// What it is.
        found: Digest,
        /// What it should be.
        expected: Digest,
    },
}

/// A watched folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The files that may be zips to import, by name. Links, devices and folders are none.
    pub(super) fn look(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)?.take(MAX_ENTRIES) {
            let entry = entry?;
            let name = entry.file_name();
            if !is_looked_at(&name) {
                continue;
            }
            match fs::symlink_metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => found.push(Found { name, identity: identity(&metadata) }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Opens a file, unless it is another one by now.
    pub(super) fn open(&self, found: &Found) -> io::Result<File> {
        // Not to follow a link that took the file's place, nor to wait for what is at the other end of a pipe.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.0.join(&found.name))?;
        if identity(&file.metadata()?) != found.identity {
            return Err(changed());
        }
        Ok(file)
    }

    /// Whether a file that has stopped changing is whole: as the `.sha256` beside it says, else by its end.
    pub(super) fn whole(&self, found: &Found) -> io::Result<Whole> {
        let mut file = self.open(found)?;
        let ends = ends_as_zip(&mut file, found.identity.length)?;
        if let Some(expected) = self.digest_beside(&found.name)? {
            file.rewind()?;
            let (digest, _) = Digest::of_reader(&mut file)?;
            return Ok(if digest == expected {
                Whole::Yes
            } else if ends {
                Whole::Differs { found: digest, expected }
            } else {
                Whole::NotYet
            });
        }
        // What begins as no zip does will not become one.
        Ok(if ends || !may_become_a_zip(&mut file)? { Whole::Yes } else { Whole::NotYet })
    }

    /// Whether files can be taken out of it. A read-only medium is so to root, too.
    pub(super) fn is_writable(&self) -> bool {
        accessat(CWD, &self.0, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    }

    /// Removes a file that was imported, with the `.sha256` beside it.
    pub(super) fn remove(&self, found: &Found) -> io::Result<()> {
        let path = self.0.join(&found.name);
        // Another one may have been put in its place meanwhile.
        if identity(&fs::symlink_metadata(&path)?) != found.identity {
            return Err(changed());
        }
        fs::remove_file(path)?;
        self.beside(&found.name, |beside| fs::remove_file(beside))
    }

    /// Moves a bad file away, with the `.sha256` beside it, and says beside it why. Gives its new place.
    pub(super) fn quarantine(
        &self,
        found: &Found,
        failure: &Failure,
        sha256: Option<Digest>,
        now: Timestamp,
    ) -> io::Result<PathBuf> {
        let quarantine = Quarantine::of(&self.0)?;
        let path = self.0.join(&found.name);
        if identity(&fs::symlink_metadata(&path)?) != found.identity {
            return Err(changed());
        }
        // First the reason: a file without one would be a riddle, a reason without its file is none.
        let place = quarantine.place(&found.name, &reason_text(&found.name, failure, sha256, now))?;
        fs::rename(path, &place)?;
        self.beside(&found.name, |beside| fs::rename(beside, suffixed(&place, DIGEST)))?;
        Ok(place)
    }

    /// Removes the oldest bad files from quarantine until the others are within its bounds; how many those were.
    pub(super) fn tidy_quarantine(&self, max_bytes: u64) -> io::Result<usize> {
        Quarantine::of(&self.0)?.tidy(max_bytes)
    }

    fn beside(&self, name: &OsStr, act: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        match act(&suffixed(&self.0.join(name), DIGEST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The digest in `<name>.sha256`, as `sha256sum` writes it; `None` where there is none that can be read.
    fn digest_beside(&self, name: &OsStr) -> io::Result<Option<Digest>> {
        let path = suffixed(&self.0.join(name), DIGEST);
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) if file.metadata()?.is_file() => file,
            // A link in its place is nothing to go by.
            Ok(_) | Err(_) => return Ok(None),
        };
        let mut line = Vec::new();
        file.take(MAX_DIGEST_BYTES).read_to_end(&mut line)?;
        let line = String::from_utf8_lossy(&line);
        Ok(line.split_whitespace().next().and_then(|digest| digest.to_ascii_lowercase().parse().ok()))
    }
}

fn identity(metadata: &fs::Metadata) -> Identity {
    Identity {
        length: metadata.len(),
        device: metadata.dev(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Whether a file is the one that a look found, still as it was.
pub(super) fn is_still(file: &File, found: &Found) -> io::Result<bool> {
    Ok(identity(&file.metadata()?) == found.identity)
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "the file changed meanwhile")
}

fn is_looked_at(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    !name.starts_with('.')
        && LOOKED_AT.iter().any(|suffix| name.ends_with(suffix))
        && !UNFINISHED.iter().any(|suffix| name.ends_with(suffix))
}

/// Whether the last bytes are the end of a zip's directory, whose comment reaches to the file's end.
fn ends_as_zip(file: &mut File, length: u64) -> io::Result<bool> {
    let from = length.saturating_sub(MAX_COMMENT_BYTES + END_BYTES as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(length - from).read_to_end(&mut end)?;
    Ok(end.windows(END_BYTES).enumerate().any(|(at, record)| {
        let comment = usize::from(u16::from_le_bytes([record[20], record[21]]));
        record.starts_with(b"PK\x05\x06") && at + END_BYTES + comment == end.len()
    }))
}

/// Copies that make room first hold zeros where nothing came yet.
fn may_become_a_zip(file: &mut File) -> io::Result<bool> {
    let mut start = [0; 2];
    file.rewind()?;
    let read = file.read(&mut start)?;
    let start = &start[..read];
    Ok(b"PK".starts_with(start) || start.iter().all(|byte| *byte == 0))
}

fn reason_text(name: &OsStr, failure: &Failure, sha256: Option<Digest>, now: Timestamp) -> String {
    let sha256 = sha256.map_or_else(|| "not known: it was not read whole".to_owned(), |sha256| sha256.to_string());
    let name: String = name.to_string_lossy().chars().filter(|c| !c.is_control()).collect();
    let (reason, message) = (failure.reason, &failure.message);
    format!("{name} was not imported.\n\nReason   {reason}\n         {message}\nWhen     {now}\nSHA-256  {sha256}\n")
}

/// Whether a failed import is tried again, for nothing is wrong with the file.
pub(super) fn worth_another_try(reason: Reason) -> bool {
    match reason {
        Reason::Busy | Reason::Storage | Reason::Internal | Reason::Timeout => true,
        Reason::Dns
        | Reason::Connect
        | Reason::ProxyConnect
        | Reason::ProxyAuth
        | Reason::ProxyRefused
        | Reason::TlsUntrusted
        | Reason::TlsExpired
        | Reason::TlsName
        | Reason::TlsIntercepted
        | Reason::HttpStatus
        | Reason::RateLimited
        | Reason::Cooldown
        | Reason::NotAFeed
        | Reason::HostNotAllowed
        | Reason::Truncated
        | Reason::TooLarge
        | Reason::DigestMismatch
        | Reason::BadArchive
        | Reason::VersionRollback
        | Reason::Expectation
        | Reason::Signature
        | Reason::Expired
        | Reason::Clock
        | Reason::Rollback
        | Reason::Freeze
        | Reason::HookFailed
        | Reason::BadRequest
        | Reason::Unauthorized
        | Reason::NotFound => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    fn folder() -> (tempfile::TempDir, Folder) {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::new(directory.path().to_owned());
        (directory, folder)
    }

    fn names(folder: &Folder) -> Vec<String> {
        folder.look().unwrap().into_iter().map(|found| found.name.into_string().unwrap()).collect()
    }

    fn the_one(folder: &Folder) -> Found {
        let [found] = folder.look().unwrap().try_into().unwrap();
        found
    }

    #[test]
    fn only_finished_files_of_their_own_are_looked_at() {
        let (directory, folder) = folder();
        for name in [
            "b.zip",
            "A.ZIP",
            "c.tar.gz",
            ".d.zip",
            "e.zip.part",
            "f.zip.tmp",
            "g.zip.crdownload",
            "h.txt",
            "b.zip.sha256",
        ] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        fs::create_dir(directory.path().join("i.zip")).unwrap();
        symlink(directory.path().join("b.zip"), directory.path().join("j.zip")).unwrap();
        rustix::fs::mkfifoat(CWD, directory.path().join("k.zip"), rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(names(&folder), ["A.ZIP", "b.zip", "c.tar.gz"]);
    }

    #[test]
    fn a_file_is_whole_by_its_end_or_by_its_digest() {
        let (directory, folder) = folder();
        let path = directory.path().join("a.zip");
        let digest = directory.path().join("a.zip.sha256");
        let whole = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            folder.whole(&the_one(&folder)).unwrap()
        };
        assert_eq!(whole(b""), Whole::NotYet);
        assert_eq!(whole(b"PK\x03\x04 half of it"), Whole::NotYet);
        assert_eq!(whole(&[0; 100]), Whole::NotYet, "room that was made for a copy");
        assert_eq!(whole(EMPTY_ZIP), Whole::Yes);
        let mut commented = EMPTY_ZIP.to_vec();
        commented[20] = 3;
        assert_eq!(whole(&commented), Whole::NotYet);
        commented.extend(b"hey");
        assert_eq!(whole(&commented), Whole::Yes);
        assert_eq!(whole(b"\x1f\x8b\x08"), Whole::Yes, "it is refused, and never becomes a zip");

        fs::write(&digest, format!("{}  a.zip\n", Digest::of(b"PK\x03\x04"))).unwrap();
        assert_eq!(whole(b"PK\x03"), Whole::NotYet);
        assert_eq!(whole(b"PK\x03\x04"), Whole::Yes);
        let differs = whole(EMPTY_ZIP);
        assert_eq!(differs, Whole::Differs { found: Digest::of(EMPTY_ZIP), expected: Digest::of(b"PK\x03\x04") });
    }

    #[test]
    fn another_file_of_the_same_name_is_neither_read_nor_moved() {
        let (directory, folder) = folder();
        let path = directory.path().join("a.zip");
        fs::write(&path, EMPTY_ZIP).unwrap();
        let found = the_one(&folder);
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(folder.open(&found).is_err());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        let failure = Failure::new(Reason::Signature, "x");
        for refused in [
            folder.open(&found).map(drop),
            folder.remove(&found),
            folder.quarantine(&found, &failure, None, Timestamp::UNIX_EPOCH).map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        }
        assert_eq!(fs::read(&path).unwrap(), b"another");
    }

    #[test]
    fn a_bad_file_goes_to_quarantine_with_its_reason() {
        let (directory, folder) = folder();
        let failure = Failure::new(Reason::Expired, "it ended");
        for round in ["a.zip", "a.zip.2"] {
            fs::write(directory.path().join("a.zip"), EMPTY_ZIP).unwrap();
            fs::write(directory.path().join("a.zip.sha256"), "x").unwrap();
            let digest = Digest::of(EMPTY_ZIP);
            let place = folder.quarantine(&the_one(&folder), &failure, Some(digest), Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(place, directory.path().join("quarantine").join(round));
            let reason = fs::read_to_string(suffixed(&place, ".reason.txt")).unwrap();
            for part in ["a.zip was not imported", "expired", "it ended", "1970-01-01T00:00:00Z", &digest.to_string()] {
                assert!(reason.contains(part), "{reason}");
            }
            assert!(suffixed(&place, ".sha256").exists());
        }
        assert_eq!(names(&folder), [""; 0]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_imported_file_goes_with_its_digest() {
        let (directory, folder) = folder();
        for sidecar in [true, false] {
            fs::write(directory.path().join("a.zip"), EMPTY_ZIP).unwrap();
            if sidecar {
                fs::write(directory.path().join("a.zip.sha256"), "x").unwrap();
            }
            folder.remove(&the_one(&folder)).unwrap();
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }
}
