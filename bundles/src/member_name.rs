//! Members' names, of tars and of zips: what may become a path.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// What file systems take for one part of a path.
const MAX_PART_BYTES: usize = 255;
/// Longer paths are not the vendor's either; each name is kept to find the next one that takes its place.
pub(crate) const MAX_PATH_BYTES: usize = 1024;
/// Deeper trees are not the vendor's, and every level is a directory to sync.
const MAX_DEPTH: usize = 32;

/// A file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Directory,
}

/// Why a name was not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameError {
    /// More names than allowed, directories that are only implied among them.
    TooMany { limit: usize },
    /// A name that must not become a path, as it may be shown, and why not.
    Refused { name: String, why: &'static str },
}

/// What two names have in common that some file system takes for one: letter case does not count on Windows and macOS, nor
/// does on macOS whether an accent is a character of its own. Compatibility forms are one too, so that a full-width letter
/// hides nothing.
fn fold(part: &str) -> String {
    // By way of upper case, which makes one of `ß` and `ss`, and of the three sigmas. Letter by letter on the way back,
    // since lower case of whole words depends on where they end.
    let upper = part.nfkc().collect::<String>().to_uppercase();
    upper.chars().flat_map(char::to_lowercase).nfkc().collect()
}

/// Every name seen so far, so that no member takes another's place: not even where letter case or Unicode's form does not
/// count.
///
/// Directories that are only implied count as members, since they too are kept here and made on every headend: else an
/// archive of a megabyte could ask for 300,000 of them.
#[derive(Debug)]
pub(crate) struct Names {
    files: HashSet<String>,
    /// By what they have in common with others, as they are written.
    directories: HashMap<String, String>,
    limit: usize,
}

impl Names {
    /// No name yet, and room for `limit` of them.
    pub(crate) fn new(limit: usize) -> Self {
        Self { files: HashSet::new(), directories: HashMap::new(), limit }
    }

    /// The relative path for a member; `None` for the archive's own top directory (`./`).
    pub(crate) fn admit(&mut self, raw: &[u8], kind: MemberKind) -> Result<Option<PathBuf>, NameError> {
        let refused = |why| NameError::Refused { name: shown(raw), why };
        let name = std::str::from_utf8(raw).map_err(|_| refused("is not UTF-8"))?;
        if name.len() > MAX_PATH_BYTES {
            return Err(refused("is too long"));
        }
        if name.starts_with('/') {
            return Err(refused("is an absolute path"));
        }
        let mut parts = Vec::new();
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
            parts.push(part);
            folded.push(fold(part));
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
            self.directory(parent, parts[..depth].join("/")).map_err(refused)?;
            self.check()?;
        }
        let (whole, exact) = (folded.join("/"), parts.join("/"));
        let is_file = kind == MemberKind::File;
        if self.files.contains(&whole) || (is_file && self.directories.contains_key(&whole)) {
            return Err(refused("is there twice"));
        }
        if is_file {
            self.files.insert(whole);
        } else {
            // A directory may be named again, as tar does after appending.
            self.directory(whole, exact.clone()).map_err(refused)?;
        }
        self.check()?;
        Ok(Some(PathBuf::from(exact)))
    }

    /// Two directories that some file system takes for one would have their members side by side there.
    fn directory(&mut self, folded: String, exact: String) -> Result<(), &'static str> {
        match self.directories.entry(folded) {
            Entry::Occupied(known) if *known.get() != exact => {
                Err("differs from another in letter case or Unicode form only")
            }
            Entry::Occupied(_) => Ok(()),
            Entry::Vacant(free) => {
                free.insert(exact);
                Ok(())
            }
        }
    }

    fn check(&self) -> Result<(), NameError> {
        if self.files.len() + self.directories.len() > self.limit {
            return Err(NameError::TooMany { limit: self.limit });
        }
        Ok(())
    }
}

/// A name as it may stand in a message.
pub(crate) fn shown(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).chars().take(100).collect()
}

/// Whether a path is made of plain parts only; what [`Names::admit`] gives always is.
pub(crate) fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}
