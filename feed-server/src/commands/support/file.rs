//! The file: whole, its owner's alone, and under a name that nothing else has.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bundles::Reason;
use bundles::report::Failure;

use crate::commands::door::cannot_write;

pub(super) fn refuse_existing(path: &Path) -> anyhow::Result<()> {
    if path.try_exists().map_err(|error| cannot_write(path, &error))? { Err(exists(path)) } else { Ok(()) }
}

pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let unwritten = |error: io::Error| cannot_write(path, &error);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".posture-support-").permissions(Permissions::from_mode(0o600));
    let mut file = builder.tempfile_in(directory).map_err(unwritten)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(unwritten)?;
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => unwritten(error.error),
    })?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(unwritten)
}

fn exists(path: &Path) -> anyhow::Error {
    let message = format!("{} is there already; give another name, or remove it", path.display());
    Failure::new(Reason::BadRequest, message).into()
}
