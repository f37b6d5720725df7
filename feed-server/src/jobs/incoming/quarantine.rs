//! Where bad files of a watched folder go: each beside the reason why, the oldest ones removed in time.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// In the watched folder.
const QUARANTINE: &str = "quarantine";

/// Behind a file's name: the digest that it was to have, and why it is here.
pub(super) const DIGEST: &str = ".sha256";
const REASON: &str = ".reason.txt";

/// Bad files that are kept: more than anybody looks through, and few enough that a medium with a fault, or somebody who copies
/// rubbish into the folder again and again, does not fill the disk with small ones. Their bytes are bounded apart.
const MAX_FILES: usize = 100;

/// Numbers that are tried for a name that is taken.
const MAX_NAMESAKES: usize = 1_000;

/// The folder of bad files.
#[derive(Debug)]
pub(super) struct Quarantine(PathBuf);

/// What lies here of one bad file.
#[derive(Debug)]
struct Kept {
    /// The reason's time: the file itself keeps that of whoever made it.
    since: SystemTime,
    bytes: u64,
    place: PathBuf,
}

impl Quarantine {
    /// That of a watched folder, which is made where it is missing.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(QUARANTINE);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if !fs::symlink_metadata(&path)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "quarantine is no folder"));
        }
        Ok(Self(path))
    }

    /// A place for a file of this name, beside which the reason is already: `name`, or where that is taken, `name.2` and so on.
    pub(super) fn place(&self, name: &OsStr, reason: &str) -> io::Result<PathBuf> {
        let place = self.free(name)?;
        // Whoever may write here might have put a link in its place, to a file of ours: it is not followed.
        let mut file = OpenOptions::new().write(true).create_new(true).open(suffixed(&place, REASON))?;
        file.write_all(reason.as_bytes())?;
        file.sync_all()?;
        Ok(place)
    }

    fn free(&self, name: &OsStr) -> io::Result<PathBuf> {
        let place = self.0.join(name);
        let numbered = (2..=MAX_NAMESAKES).map(|number| suffixed(&place, &format!(".{number}")));
        let is_free =
            |path: &Path| fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        for place in std::iter::once(place.clone()).chain(numbered) {
            if is_free(&place) && is_free(&suffixed(&place, REASON)) {
                return Ok(place);
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "quarantine is full of files of this name"))
    }

    /// Removes the oldest files until at most [`MAX_FILES`] are left and they have no more than `max_bytes`; how many those
    /// were. The newest one stays, however large it is, and so does what was put here by others.
    pub(super) fn tidy(&self, max_bytes: u64) -> io::Result<usize> {
        let mut kept = self.kept()?;
        kept.sort_by(|one, other| (other.since, &other.place).cmp(&(one.since, &one.place)));
        let mut bytes = 0_u64;
        let mut removed = 0;
        for (newer, file) in kept.iter().enumerate() {
            bytes = bytes.saturating_add(file.bytes);
            if newer > 0 && (newer >= MAX_FILES || bytes > max_bytes) {
                // The reason last: it is what tells that the others are ours to remove.
                for path in [file.place.clone(), suffixed(&file.place, DIGEST), suffixed(&file.place, REASON)] {
                    match fs::remove_file(path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        Ok(()) | Err(_) => {}
                    }
                }
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut lengths = BTreeMap::new();
        let mut reasons = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            // Of a link itself, and not of what it points at.
            let metadata = entry.metadata()?;
            if !metadata.is_file() {
                continue;
            }
            let name = entry.file_name();
            if let Some(of) = name.as_bytes().strip_suffix(REASON.as_bytes()) {
                reasons.push((OsString::from_vec(of.to_vec()), metadata.modified()?));
            }
            lengths.insert(name, metadata.len());
        }
        let kept = reasons.into_iter().map(|(name, since)| {
            let place = self.0.join(&name);
            let length = |suffix: &str| {
                let path = suffixed(Path::new(&name), suffix);
                lengths.get(path.as_os_str()).copied().unwrap_or_default()
            };
            Kept { since, bytes: length("") + length(DIGEST) + length(REASON), place }
        });
        Ok(kept.collect())
    }
}

pub(super) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut text = OsString::from(path);
    text.push(suffix);
    text.into()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    /// Puts a file of that many bytes there, as one that came `second` seconds after the first.
    fn put(quarantine: &Quarantine, length: u64, second: u64) -> PathBuf {
        let place = quarantine.place(OsStr::new("a.zip"), "bad").unwrap();
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000 + second);
        File::options().write(true).open(suffixed(&place, REASON)).unwrap().set_modified(since).unwrap();
        File::create(&place).unwrap().set_len(length).unwrap();
        fs::write(suffixed(&place, DIGEST), "x").unwrap();
        place
    }

    fn names(quarantine: &Quarantine) -> Vec<String> {
        let entries = fs::read_dir(&quarantine.0).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_go_until_the_others_are_few_enough() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::of(folder.path()).unwrap();
        // Newest first, so that neither names nor the order in the folder decide.
        let places: Vec<_> = (0..MAX_FILES as u64 + 3).rev().map(|second| put(&quarantine, 1, second)).collect();
        let (kept, gone) = places.split_at(MAX_FILES);
        assert_eq!(quarantine.tidy(u64::MAX).unwrap(), 3);
        assert!(kept.iter().all(|place| place.exists() && suffixed(place, REASON).exists()));
        assert!(gone.iter().all(|place| !place.exists()));
        assert_eq!(names(&quarantine).len(), MAX_FILES * 3, "with what lies beside them");
        assert_eq!(quarantine.tidy(u64::MAX).unwrap(), 0);
    }

    #[test]
    fn the_oldest_go_until_the_others_are_small_enough_and_the_newest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::of(folder.path()).unwrap();
        put(&quarantine, 1_000, 0);
        let newer = put(&quarantine, 600, 1);
        let newest = put(&quarantine, 300, 2);
        assert_eq!(quarantine.tidy(1_000).unwrap(), 1);
        assert!(newer.exists() && newest.exists());
        let large = put(&quarantine, 5_000, 3);
        assert_eq!(quarantine.tidy(1_000).unwrap(), 2);
        assert_eq!(names(&quarantine).len(), 3);
        assert!(large.exists(), "people are to see why it is not imported");
    }

    #[test]
    fn what_others_put_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::of(folder.path()).unwrap();
        fs::create_dir(folder.path().join("quarantine/x.reason.txt")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("quarantine/y.reason.txt")).unwrap();
        fs::write(folder.path().join("quarantine/notes.txt"), [0; 100]).unwrap();
        put(&quarantine, 10, 0);
        put(&quarantine, 10, 1);
        assert_eq!(quarantine.tidy(20).unwrap(), 1);
        let left = names(&quarantine);
        for other in ["x.reason.txt", "y.reason.txt", "notes.txt"] {
            assert!(left.iter().any(|name| name == other), "{left:?}");
        }
    }

    #[test]
    fn a_link_in_a_reasons_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::of(folder.path()).unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "a key").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join("quarantine/a.zip.reason.txt")).unwrap();
        let place = quarantine.place(OsStr::new("a.zip"), "bad").unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "a key");
        assert_eq!(fs::read_to_string(suffixed(&place, REASON)).unwrap(), "bad");
        assert!(place.ends_with("a.zip.2"));
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("quarantine")).unwrap();
        assert_eq!(Quarantine::of(folder.path()).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
