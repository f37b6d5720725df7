//! Members' names: what may become a path on a headend.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::ArchiveError;

/// What file systems take for one part of a path.
const MAX_PART_BYTES: usize = 255;
/// Longer paths are not the vendor's either; each name is kept to find the next one that takes its place.
const MAX_PATH_BYTES: usize = 1024;
/// Deeper trees are not the vendor's, and every level is a directory to sync.
const MAX_DEPTH: usize = 32;

/// A file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Directory,
}

/// Every name seen so far, so that no member takes another's place: not even where letter case does not count.
///
/// Directories that are only implied count as members, since they too are kept here and made on every headend: else an
/// archive of a megabyte could ask for 300,000 of them.
#[derive(Debug)]
pub(super) struct Names {
    files: HashSet<String>,
    directories: HashSet<String>,
    limit: usize,
}

impl Names {
    /// No name yet, and room for `limit` of them.
    pub(super) fn new(limit: usize) -> Self {
        Self { files: HashSet::new(), directories: HashSet::new(), limit }
    }

    /// The relative path for a member; `None` for the archive's own top directory (`./`).
    pub(super) fn admit(&mut self, raw: &[u8], kind: MemberKind) -> Result<Option<PathBuf>, ArchiveError> {
        let refused = |why| ArchiveError::MemberName { name: shown(raw), why };
        let name = std::str::from_utf8(raw).map_err(|_| refused("is not UTF-8"))?;
        if name.len() > MAX_PATH_BYTES {
            return Err(refused("is too long"));
        }
        if name.starts_with('/') {
            return Err(refused("is an absolute path"));
        }
        let mut path = PathBuf::new();
        let mut folded: Vec<String> = Vec::new();
        for part in name.split('/') {
            match part {
                "" | "." => continue,
                ".." => return Err(refused("leads out of the archive")),
                _ => {}
            }
            if part.contains('\\') || part.chars().any(char::is_control) {
                return Err(refused("holds a backslash or a control character"));
            }
            if part.as_bytes().get(1) == Some(&b':') {
                return Err(refused("begins like a drive"));
            }
            if part.len() > MAX_PART_BYTES {
                return Err(refused("is too long"));
            }
            path.push(part);
            folded.push(part.to_lowercase());
        }
        if folded.len() > MAX_DEPTH {
            return Err(refused("is nested too deeply"));
        }
        if folded.is_empty() {
            return if kind == MemberKind::Directory { Ok(None) } else { Err(refused("is no file name")) };
        }
        for depth in 1..folded.len() {
            let parent = folded[..depth].join("/");
            if self.files.contains(&parent) {
                return Err(refused("lies inside a member that is a file"));
            }
            self.directories.insert(parent);
            self.check()?;
        }
        let whole = folded.join("/");
        let free = match kind {
            MemberKind::File => !self.directories.contains(&whole) && self.files.insert(whole),
            MemberKind::Directory => {
                // A directory may be named again, as tar does after appending.
                let free = !self.files.contains(&whole);
                self.directories.insert(whole);
                free
            }
        };
        if !free {
            return Err(refused("is there twice"));
        }
        self.check()?;
        Ok(Some(path))
    }

    fn check(&self) -> Result<(), ArchiveError> {
        if self.files.len() + self.directories.len() > self.limit {
            return Err(ArchiveError::TooManyMembers { limit: self.limit });
        }
        Ok(())
    }
}

/// A name as it may stand in a message.
pub(super) fn shown(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).chars().take(100).collect()
}

/// Whether a path is made of plain parts only; what [`Names::admit`] gives always is.
pub(super) fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}
