//! The data directory: whose it is, whether it can be written, how much room there is. Nothing is made or changed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bundles::Reason;
use bundles::report::Failure;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::Serialize;

use crate::store::user_name;
use crate::upstream::doctor::{Check, Line, Mark};

/// Room that a run needs beside the feed itself: sled writes segments of 8 MiB ahead, and metadata is signed anew.
const BESIDE_THE_FEED: u64 = 32 << 20;

/// What a feed is taken to need where none could be looked at. The largest one known has some 100 MB of archives, and
/// their payloads are kept beside them.
const ASSUMED_FEED: u64 = 512 << 20;

/// Files beside those of the feed: metadata, zips with their sheets, the catalog's own.
const FILES_BESIDE_THE_FEED: u64 = 100;

/// Files of a feed where none could be looked at: each of twenty components with archive and payload, in two places.
const ASSUMED_FILES: u64 = 100;

/// Entries of other users that are named: the first ones say enough.
const NAMED_STRANGERS: usize = 3;

/// What a run would have to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Whether a feed was looked at, or this is an assumption.
    pub is_measured: bool,
}

impl Need {
    /// For a feed of so many bytes and files.
    #[must_use]
    pub const fn of(bytes: u64, files: u64) -> Self {
        let (bytes, files) = (bytes.saturating_add(BESIDE_THE_FEED), files.saturating_add(FILES_BESIDE_THE_FEED));
        Self { bytes, files, is_measured: true }
    }

    /// The same, and one file more.
    #[must_use]
    pub const fn and(self, bytes: u64) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), files: self.files.saturating_add(1), ..self }
    }

    /// Where nothing is known of the feed.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { is_measured: false, ..Self::of(ASSUMED_FEED, ASSUMED_FILES) }
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct DiskFacts {
    /// The data directory.
    pub directory: PathBuf,
    /// Whether it is there; the first start makes it.
    pub exists: bool,
    /// What was looked at: the directory, or the one that it would be made in.
    pub looked_at: PathBuf,
    /// Its owner.
    pub owner: Option<String>,
    /// Its mode, as `chmod` takes it.
    pub mode: Option<String>,
    /// Who asks.
    pub user: String,
    /// Whether who asks may write in it.
    pub is_writable: bool,
    /// Bytes that can still be written.
    pub free_bytes: Option<u64>,
    /// Files that can still be made; absent where the file system does not count them.
    pub free_files: Option<u64>,
    /// What a run would need.
    pub needed: Need,
    /// Whether `tls_certificate` and `tls_key` of `[listen]` can be used; absent where there are none.
    pub tls_files: Option<bool>,
}

/// What was found, and what to say of it.
#[derive(Debug)]
pub struct Disk {
    /// What was found.
    pub facts: DiskFacts,
    problems: Vec<Failure>,
    warnings: Vec<String>,
}

impl Disk {
    /// Looks at the data directory. `tls` is what came of opening the files of `[listen]`, where there are any.
    #[must_use]
    pub fn examine(directory: &Path, needed: Need, tls: Option<&Result<(), Failure>>) -> Self {
        let me = rustix::process::geteuid().as_raw();
        let facts = DiskFacts {
            directory: directory.to_owned(),
            exists: false,
            looked_at: directory.to_owned(),
            owner: None,
            mode: None,
            user: user_name(me),
            is_writable: false,
            free_bytes: None,
            free_files: None,
            needed,
            tls_files: tls.map(Result::is_ok),
        };
        let mut disk = Self { facts, problems: Vec::new(), warnings: Vec::new() };
        match existing(directory) {
            Ok((at, metadata)) => disk.look(&at, &metadata, me),
            Err(error) => disk.problem(format!(
                "{} cannot be looked at: {error}; check [data] directory and permissions on the way to it",
                directory.display()
            )),
        }
        if let Some(Err(failure)) = tls {
            disk.problems.push(failure.clone());
        }
        disk
    }

    fn look(&mut self, at: &Path, metadata: &Metadata, me: u32) {
        self.facts.exists = at == self.facts.directory;
        self.facts.owner = Some(user_name(metadata.uid()));
        self.facts.mode = Some(format!("{:04o}", metadata.permissions().mode() & 0o7777));
        at.clone_into(&mut self.facts.looked_at);
        if !metadata.is_dir() {
            self.problem(format!("{} is not a directory; check [data] directory", at.display()));
            return;
        }
        let writable = accessat(CWD, at, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
        self.facts.is_writable = writable.is_ok();
        // Where the directory is to be made, whoever makes it is its owner.
        let is_anothers = self.facts.exists && metadata.uid() != me;
        if is_anothers {
            self.anothers(at, metadata);
        }
        match writable {
            // What only its owner may do is no news to another user.
            Err(rustix::io::Errno::ACCESS) if is_anothers => {}
            Err(error) => self.problem(format!(
                "{} cannot be written by {}: {}; check its mount and permissions",
                at.display(),
                self.facts.user,
                io::Error::from(error)
            )),
            Ok(()) => {}
        }
        if self.facts.exists {
            self.strangers(at, metadata.uid());
        }
        self.room(at);
    }

    fn anothers(&mut self, at: &Path, metadata: &Metadata) {
        let owner = user_name(metadata.uid());
        self.warnings.push(format!(
            "this runs as {}, and the directory is {owner}'s: what files {owner} can read is seen only by sudo -u \
             '{owner}' feed-server doctor",
            self.facts.user
        ));
        if metadata.permissions().mode() & 0o700 != 0o700 {
            self.problem(format!("{} cannot be written by its owner {owner}; chmod u+rwx it", at.display()));
        }
    }

    /// What another user made in here the server may be unable to read or replace: root's above all.
    fn strangers(&mut self, at: &Path, owner: u32) {
        // Root can do everything; who cannot list the directory is told so already.
        let Ok(entries) = std::fs::read_dir(at) else { return };
        if owner == 0 {
            return;
        }
        let strangers: Vec<String> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let user = entry.metadata().ok()?.uid();
                (user != owner).then(|| format!("{} is {}'s", entry.file_name().display(), user_name(user)))
            })
            .take(NAMED_STRANGERS)
            .collect();
        if !strangers.is_empty() {
            let (directory, owner) = (at.display(), user_name(owner));
            self.problem(format!(
                "in {directory}, {}, and the server runs as {owner}; chown -R '{owner}' {directory}",
                strangers.join(", ")
            ));
        }
    }

    fn room(&mut self, at: &Path) {
        let system = match rustix::fs::statvfs(at) {
            Ok(system) => system,
            Err(error) => {
                self.warnings.push(format!("free space is not known: {}", io::Error::from(error)));
                return;
            }
        };
        let free_bytes = system.f_bavail.saturating_mul(system.f_frsize);
        // Zero of zero: btrfs and others have as many files as they have room.
        let free_files = (system.f_files > 0).then_some(system.f_favail);
        (self.facts.free_bytes, self.facts.free_files) = (Some(free_bytes), free_files);
        let needed = self.facts.needed;
        let mut short = Vec::new();
        if free_bytes < needed.bytes {
            short.push(format!("{} of {} bytes", free_bytes, needed.bytes));
        }
        if let Some(files) = free_files.filter(|files| *files < needed.files) {
            short.push(format!("{files} of {} files (inodes)", needed.files));
        }
        if short.is_empty() {
            return;
        }
        let what = format!("room for {} that a run needs", short.join(" and "));
        if needed.is_measured || free_bytes < BESIDE_THE_FEED {
            self.problem(format!(
                "the file system of {} has {what}; make room, or lower [data] retain_releases",
                at.display()
            ));
        } else {
            self.warnings.push(format!("{what}, as far as can be told without the feed"));
        }
    }

    fn problem(&mut self, message: String) {
        self.problems.push(Failure::new(Reason::Storage, message));
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> Line {
        let facts = &self.facts;
        let mut seen = Vec::new();
        match (&facts.owner, &facts.mode) {
            (Some(owner), Some(mode)) if facts.exists => {
                let can = if facts.is_writable { "can" } else { "cannot" };
                seen.push(format!("of {owner}, mode {mode}, {} {can} write", facts.user));
            }
            (Some(owner), Some(mode)) => seen.push(format!(
                "does not exist yet; the first start makes it in {} (of {owner}, mode {mode})",
                facts.looked_at.display()
            )),
            (_, _) => {}
        }
        if let Some(free) = facts.free_bytes {
            let files = facts.free_files.map_or_else(String::new, |files| format!(" and {files} files"));
            let about = if facts.needed.is_measured { "" } else { "about " };
            seen.push(format!("{} free{files}, a run needs {about}{}", bytes(free), bytes(facts.needed.bytes)));
        }
        if facts.tls_files == Some(true) {
            seen.push("[listen] certificate and key can be used".to_owned());
        }
        let seen = seen.join("; ");
        let more = self.problems.iter().skip(1).map(|failure| failure.message.clone());
        let details = more.chain(self.warnings.iter().cloned());
        let line = match self.problems.first() {
            Some(failure) => Line { seen, ..Line::failed(Check::Disk, failure.clone()) },
            None if self.warnings.is_empty() => Line::new(Check::Disk, Mark::Ok, seen),
            None => Line::new(Check::Disk, Mark::Warning, seen),
        };
        line.about(facts.directory.display().to_string()).with(details)
    }
}

/// The directory, or the nearest one above it that is there.
fn existing(directory: &Path) -> io::Result<(PathBuf, Metadata)> {
    let absolute = std::path::absolute(directory)?;
    for at in absolute.ancestors() {
        match std::fs::metadata(at) {
            // As it was written, where it is the one asked for.
            Ok(metadata) if at == absolute => return Ok((directory.to_owned(), metadata)),
            Ok(metadata) => return Ok((at.to_owned(), metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
