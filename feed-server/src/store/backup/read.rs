//! Reading a backup: nothing of it is taken that is not what its contents say.

use std::io::{self, BufReader, Read};

use bundles::{Digest, DigestWriter};

use super::lines::{self, Line};
use super::{
    BackupError, CONTENTS, CONTENTS_DIGEST, Contents, DIGEST_LINE, FORMAT, MOST_CONTENTS, MOST_FILES, MOST_KEY, Member,
    MemberName,
};
use crate::store::SCHEMA;

/// What a backup's parts are handed to. What it is handed is known to be right only when [`read`] has returned.
pub trait Checked {
    /// A record of the catalog.
    ///
    /// # Errors
    /// It cannot be taken.
    fn line(&mut self, line: Line) -> Result<(), BackupError>;

    /// A file other than the catalog, to be read to its end.
    ///
    /// # Errors
    /// It cannot be taken.
    fn file(&mut self, file: &Member, bytes: &mut dyn Read) -> Result<(), BackupError>;
}

/// Reads a backup of `length` bytes from its beginning to its end, and checks all of it.
///
/// # Errors
/// It is none, of a newer program, damaged or cut short; or what `to` says.
pub fn read(source: impl Read, length: u64, to: &mut impl Checked) -> Result<Contents, BackupError> {
    let mut archive = tar::Archive::new(source);
    // As they stand there: no long names, no sparse files, nothing that a header could make this program do.
    let mut entries = archive.entries().map_err(no_tar)?.raw(true);
    let contents = contents(&mut entries, Some(length))?;
    for file in &contents.files {
        let mut entry = next(&mut entries, &file.name.to_string())?;
        if entry.size() != file.length {
            return Err(BackupError::misses(&file.name));
        }
        let mut hashed = Hashed { inner: &mut entry, digest: DigestWriter::new(io::sink()) };
        let taken = match &file.name {
            MemberName::Catalog => lines::read(BufReader::new(&mut hashed), |line| to.line(line)),
            MemberName::Key(_) | MemberName::Blob(_) => to.file(file, &mut hashed),
        };
        // Damage explains what could not be taken for it.
        let rest = io::copy(&mut hashed, &mut io::sink()).map_err(BackupError::Unreadable);
        let (sha256, found, _) = hashed.digest.finish();
        if rest.is_ok() && (sha256 != file.sha256 || found != file.length) {
            return Err(BackupError::Damaged { name: file.name.to_string() });
        }
        taken?;
        rest?;
    }
    match entries.next() {
        None => Ok(contents),
        Some(_) => Err(BackupError::not_a_backup("there is more in it than its contents say")),
    }
}

/// What is in a backup, by its first bytes; nothing else of it is looked at.
///
/// # Errors
/// As [`read`].
pub fn peek(source: impl Read) -> Result<Contents, BackupError> {
    let mut archive = tar::Archive::new(source);
    contents(&mut archive.entries().map_err(no_tar)?.raw(true), None)
}

// By value, as `map_err` hands it over.
#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn no_tar(error: io::Error) -> BackupError {
    // The tar reader has no other way to say that a header is none.
    BackupError::not_a_backup(error.to_string())
}

fn next<'a, R: Read>(entries: &mut tar::Entries<'a, R>, name: &str) -> Result<tar::Entry<'a, R>, BackupError> {
    let missing = || BackupError::not_a_backup(format!("{name} does not stand where it should"));
    let entry = entries.next().ok_or_else(missing)?.map_err(no_tar)?;
    let is_it = entry.header().entry_type() == tar::EntryType::Regular && *entry.path_bytes() == *name.as_bytes();
    if is_it { Ok(entry) } else { Err(missing()) }
}

fn small<R: Read>(entries: &mut tar::Entries<'_, R>, name: &str, most: u64) -> Result<Vec<u8>, BackupError> {
    let mut entry = next(entries, name)?;
    if entry.size() > most {
        return Err(BackupError::TooLarge { name: name.to_owned(), most });
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(BackupError::Unreadable)?;
    if bytes.len() as u64 == entry.size() {
        Ok(bytes)
    } else {
        Err(BackupError::Truncated { found: bytes.len() as u64, expected: entry.size() })
    }
}

fn contents<R: Read>(entries: &mut tar::Entries<'_, R>, length: Option<u64>) -> Result<Contents, BackupError> {
    #[derive(serde::Deserialize)]
    struct Form {
        format: u64,
    }
    let json = small(entries, CONTENTS, MOST_CONTENTS)?;
    let no_contents = |error: serde_json::Error| BackupError::not_a_backup(format!("{CONTENTS}: {error}"));
    // Before anything else of it: a newer form may be another one altogether.
    let Form { format } = serde_json::from_slice(&json).map_err(no_contents)?;
    if format != FORMAT {
        return Err(BackupError::Format { found: format });
    }
    let digest = small(entries, CONTENTS_DIGEST, DIGEST_LINE)?;
    if digest != format!("{}\n", Digest::of(&json)).into_bytes() {
        return Err(BackupError::Damaged { name: CONTENTS.to_owned() });
    }
    let contents: Contents = serde_json::from_slice(&json).map_err(no_contents)?;
    check(&contents)?;
    if let Some(found) = length {
        let expected = contents.total(json.len() as u64);
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => return Err(BackupError::Truncated { found, expected }),
            std::cmp::Ordering::Greater => {
                return Err(BackupError::not_a_backup(format!("it has {found} bytes instead of {expected}")));
            }
            std::cmp::Ordering::Equal => {}
        }
    }
    Ok(contents)
}

/// What its files say of each other.
fn check(contents: &Contents) -> Result<(), BackupError> {
    if contents.schema > SCHEMA {
        return Err(BackupError::Newer { found: contents.schema });
    }
    if contents.files.len() > MOST_FILES {
        return Err(BackupError::TooLarge { name: "the list of files".to_owned(), most: MOST_FILES as u64 });
    }
    // In this order, and each once.
    if !contents.files.is_sorted_by(|one, next| one.name < next.name) {
        return Err(BackupError::not_a_backup("its files are not in order"));
    }
    if contents.files.first().is_none_or(|first| first.name != MemberName::Catalog) {
        return Err(BackupError::misses(&MemberName::Catalog));
    }
    for file in &contents.files {
        match &file.name {
            MemberName::Key(_) if !contents.with_keys => return Err(BackupError::misses(&file.name)),
            MemberName::Key(_) if file.length > MOST_KEY => {
                return Err(BackupError::TooLarge { name: file.name.to_string(), most: MOST_KEY });
            }
            MemberName::Blob(digest) if *digest != file.sha256 => return Err(BackupError::misses(&file.name)),
            MemberName::Catalog | MemberName::Key(_) | MemberName::Blob(_) => {}
        }
    }
    Ok(())
}

/// What is read, hashed.
struct Hashed<'r, R> {
    inner: &'r mut R,
    digest: DigestWriter<io::Sink>,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        io::Write::write_all(&mut self.digest, &buffer[..count])?;
        Ok(count)
    }
}
