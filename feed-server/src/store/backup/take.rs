//! Taking a backup: first what there is at one moment, then, while the server goes on, its bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::Path;

use bundles::{Digest, FileName};
use jiff::Timestamp;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::error::failed;
use super::lines::{self, TABLES};
use super::{BackupError, CONTENTS, CONTENTS_DIGEST, Contents, FORMAT, MOST_KEY, Member, MemberName};
use crate::config::Role;
use crate::store::records::ReleaseRecord;
use crate::store::{Store, StoreError, Table};

/// What a data directory held at one moment. Content is linked, so that it stays until this is dropped.
#[derive(Debug)]
pub struct Snapshot {
    contents: Contents,
    catalog: Vec<u8>,
    keys: Vec<Zeroizing<Vec<u8>>>,
    content: TempDir,
    created: Timestamp,
}

impl Store {
    /// Notes what there is, with the private keys in `keys` where that is given. Nobody may publish or change keys meanwhile:
    /// the caller sees to that.
    ///
    /// # Errors
    /// Something cannot be read; or content is missing.
    pub fn snapshot(&self, role: Role, keys: Option<&Path>, now: Timestamp) -> Result<Snapshot, BackupError> {
        let pairs = self.catalog.snapshot(&TABLES)?;
        let keys = keys.map(private_keys).transpose()?;
        let content = tempfile::Builder::new().prefix("backup-").tempdir_in(self.staging.directory());
        let content = content.map_err(failed("write", self.staging.directory()))?;
        let mut files = Vec::new();
        for (digest, length) in named(&pairs)? {
            let path = content.path().join(digest.to_string());
            self.blobs.place(&digest, &path)?;
            let length = match length {
                Some(length) => length,
                None => fs::metadata(&path).map_err(failed("look at", &path))?.len(),
            };
            files.push(Member { name: MemberName::Blob(digest), sha256: digest, length });
        }
        let catalog = lines::write(&pairs);
        let with_keys = keys.is_some();
        let mut first = vec![member(MemberName::Catalog, &catalog)];
        let mut bytes = Vec::new();
        for (name, key) in keys.unwrap_or_default() {
            first.push(member(MemberName::Key(name), &key));
            bytes.push(key);
        }
        files.splice(..0, first);
        let contents = Contents {
            format: FORMAT,
            program: crate::VERSION.to_owned(),
            created: now,
            schema: self.schema()?,
            role,
            highest_serial: self.highest_serial()?,
            with_keys,
            files,
        };
        Ok(Snapshot { contents, catalog, keys: bytes, content, created: now })
    }
}

fn member(name: MemberName, bytes: &[u8]) -> Member {
    Member { name, sha256: Digest::of(bytes), length: bytes.len() as u64 }
}

/// The content that releases name, with its length where the release says it.
fn named(pairs: &[(Table, Vec<u8>, Vec<u8>)]) -> Result<BTreeMap<Digest, Option<u64>>, StoreError> {
    let mut named = BTreeMap::new();
    for (table, _, value) in pairs.iter().filter(|(table, ..)| *table == Table::Releases) {
        let release: ReleaseRecord =
            serde_json::from_slice(value).map_err(|source| StoreError::Record { table: table.name(), source })?;
        named.extend(release.signed.map(|digest| (digest, None)));
        named.extend(release.manifest.files().into_iter().map(|file| (file.sha256, Some(file.length))));
    }
    Ok(named)
}

/// A private key's file, and what is in it.
type PrivateKey = (FileName, Zeroizing<Vec<u8>>);

/// Every file in the directory of keys, but for what a process that died was writing.
fn private_keys(directory: &Path) -> Result<Vec<PrivateKey>, BackupError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().map_err(failed("list", directory))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed("list", directory)(error)),
    };
    let mut paths: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.is_file() && path.extension().is_none_or(|suffix| suffix != "new"));
    paths.sort();
    let mut keys = Vec::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let bad = || BackupError::KeyName { path: path.clone() };
        let MemberName::Key(name) = format!("{}/{name}", super::KEYS).parse().map_err(|_| bad())? else {
            return Err(bad());
        };
        let file = File::open(&path).map_err(failed("read", &path))?;
        // All room at once: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_KEY as usize + 1));
        file.take(MOST_KEY + 1).read_to_end(&mut bytes).map_err(failed("read", &path))?;
        if bytes.len() as u64 > MOST_KEY {
            return Err(BackupError::TooLarge { name: path.display().to_string(), most: MOST_KEY });
        }
        keys.push((name, bytes));
    }
    Ok(keys)
}

impl Snapshot {
    /// What is in it.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Reads all content once, so that what has rotted is known before anything is written.
    ///
    /// # Errors
    /// Content is damaged or cannot be read.
    pub fn check(&self) -> Result<(), BackupError> {
        for file in &self.contents.files {
            let MemberName::Blob(digest) = file.name else { continue };
            let path = self.content.path().join(digest.to_string());
            let read = File::open(&path).and_then(|mut file| Digest::of_reader(&mut file));
            let (found, _) = read.map_err(failed("read", &path))?;
            if found != digest {
                return Err(BackupError::Rotten { digest, found });
            }
        }
        Ok(())
    }

    /// Its bytes, written out.
    ///
    /// # Errors
    /// The contents cannot be written as JSON, which they always can.
    pub fn length(&self) -> Result<u64, BackupError> {
        Ok(self.contents.total(self.json()?.len() as u64))
    }

    fn json(&self) -> Result<Vec<u8>, BackupError> {
        let json = serde_json::to_vec_pretty(&self.contents);
        json.map_err(|source| StoreError::Record { table: CONTENTS, source }.into())
    }

    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written, or content not be read.
    pub fn write(&self, target: impl Write) -> Result<(), BackupError> {
        let json = self.json()?;
        let unwritten = failed("write", Path::new("the backup"));
        self.write_members(target, &json).map_err(unwritten)
    }

    fn write_members(&self, target: impl Write, json: &[u8]) -> io::Result<()> {
        let mut tar = tar::Builder::new(target);
        let mut append = |name: &str, length: u64, bytes: &mut dyn io::Read| {
            let mut header = tar::Header::new_gnu();
            header.set_path(name)?;
            header.set_mode(0o600);
            header.set_mtime(u64::try_from(self.created.as_second()).unwrap_or_default());
            header.set_size(length);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_cksum();
            let mut whole = bytes.take(length);
            tar.append(&header, &mut whole)?;
            match whole.limit() {
                0 => Ok(()),
                _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} became shorter"))),
            }
        };
        append(CONTENTS, json.len() as u64, &mut &json[..])?;
        let digest = format!("{}\n", Digest::of(json));
        append(CONTENTS_DIGEST, digest.len() as u64, &mut digest.as_bytes())?;
        let mut keys = self.keys.iter();
        for Member { name, length, .. } in &self.contents.files {
            match name {
                MemberName::Catalog => append(&name.to_string(), *length, &mut &self.catalog[..])?,
                MemberName::Key(_) => {
                    append(&name.to_string(), *length, &mut keys.next().map_or(&[][..], |key| &key[..]))?;
                }
                MemberName::Blob(digest) => {
                    let mut file = File::open(self.content.path().join(digest.to_string()))?;
                    append(&name.to_string(), *length, &mut file)?;
                }
            }
        }
        tar.into_inner()?.flush()
    }
}
