//! Writing a payload's members into a directory.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::ArchiveError;
use super::flow;
use super::walk::{self, Kind, Visitor};
use crate::member_name::is_plain;
use crate::{FileName, Limits};

/// Opens a payload into a directory: members of a tar or zip, or the file itself under its own name.
///
/// Members become files of mode 0644 and directories of mode 0755, owned by whoever runs this, whatever the archive says;
/// each is on disk when this returns. The paths come back relative to `into`, in the archive's order.
///
/// # Errors
/// As [`super::open`], and where `into` is not an empty directory. Then `into` holds an unfinished part and is to be removed.
pub fn unpack<P: Read + Seek>(
    payload: &mut P,
    name: &FileName,
    into: &Path,
    limits: &Limits,
) -> Result<Vec<PathBuf>, ArchiveError> {
    payload.seek(SeekFrom::Start(0)).map_err(ArchiveError::Read)?;
    let start = flow::start_of(payload).map_err(ArchiveError::Read)?;
    payload.seek(SeekFrom::Start(0)).map_err(ArchiveError::Read)?;
    let mut source = BufReader::with_capacity(64 << 10, payload);
    let mut writer =
        Writer { into, files: Vec::new(), directories: BTreeSet::new(), left: limits.payload_bytes, limits };
    writer.directories.insert(into.to_owned());
    match Kind::of(name, &start)? {
        Kind::Tar => drop(walk::walk_tar(&mut source, limits, &mut writer).map_err(early_end)?),
        Kind::Zip => drop(walk::walk_zip(source.get_mut(), limits, &mut writer)?),
        Kind::Gzip | Kind::Other => writer.file(Path::new(name.as_str()), &mut source)?,
    }
    // Children before parents: a directory's entries are durable once the directory itself is synced.
    for directory in writer.directories.iter().rev() {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(ArchiveError::Write)?;
    }
    Ok(writer.files)
}

fn early_end(error: ArchiveError) -> ArchiveError {
    match error {
        ArchiveError::Damaged(error) if error.kind() == io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
        other => other,
    }
}

struct Writer<'a> {
    into: &'a Path,
    files: Vec<PathBuf>,
    directories: BTreeSet<PathBuf>,
    left: u64,
    limits: &'a Limits,
}

impl Writer<'_> {
    fn make_directories(&mut self, relative: &Path) -> Result<(), ArchiveError> {
        let mut directory = self.into.to_owned();
        for part in relative.components() {
            directory.push(part);
            if self.directories.insert(directory.clone()) {
                DirBuilder::new().mode(0o755).create(&directory).map_err(ArchiveError::Write)?;
                fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).map_err(ArchiveError::Write)?;
            }
        }
        Ok(())
    }
}

impl Visitor for Writer<'_> {
    fn directory(&mut self, path: &Path) -> Result<(), ArchiveError> {
        debug_assert!(is_plain(path));
        self.make_directories(path)
    }

    fn file(&mut self, path: &Path, content: &mut dyn Read) -> Result<(), ArchiveError> {
        debug_assert!(is_plain(path));
        if let Some(parent) = path.parent() {
            self.make_directories(parent)?;
        }
        // `create_new` follows no link and overwrites nothing, whatever is in the directory.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(self.into.join(path))
            .map_err(ArchiveError::Write)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ArchiveError::Damaged(error)),
            };
            let Some(left) = self.left.checked_sub(count as u64) else {
                return Err(ArchiveError::TooLarge { what: "the payload", limit: self.limits.payload_bytes });
            };
            self.left = left;
            io::Write::write_all(&mut file, &buffer[..count]).map_err(ArchiveError::Write)?;
        }
        file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(ArchiveError::Write)?;
        file.sync_all().map_err(ArchiveError::Write)?;
        self.files.push(path.to_owned());
        Ok(())
    }
}
