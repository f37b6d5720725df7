//! `feed-server backup FILE`

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bundles::report::Failure;
use bundles::{Digest, Reason, Serial};
use jiff::Timestamp;
use serde::Serialize;

use super::door::{Door, cannot_write};
use super::output::{bytes, print, print_json};
use super::{Global, failed};
use crate::config::Role;
use crate::crash;
use crate::store::backup::peek;

/// Where to.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to write it (mode 0600); must not be there yet. `-`: standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave private keys out, where they are backed up elsewhere
    #[arg(long)]
    without_keys: bool,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Taken {
    path: PathBuf,
    length: u64,
    sha256: Digest,
    created: Timestamp,
    role: Role,
    highest_serial: Option<Serial>,
    private_keys: usize,
}

/// Takes a backup, of the server that runs or of a directory that none runs on.
///
/// # Errors
/// There is no way to the data, it has rotted, or the file cannot be written.
pub async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { file, without_keys } = arguments;
    let path = if without_keys { "/api/v1/backup?keys=false" } else { "/api/v1/backup" };
    if file.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            let message = "a backup is not for a terminal; redirect it, or give a file's name";
            return Err(Failure::new(Reason::BadRequest, message).into());
        }
        let unwritten = |error: io::Error| cannot_write(Path::new("standard output"), &error);
        Door::with(global, async |door| {
            door.stream(path, |piece| io::stdout().lock().write_all(piece).map_err(unwritten)).await
        })
        .await?;
        io::stdout().lock().flush().map_err(unwritten)?;
        warn(!without_keys);
        return Ok(());
    }
    let taken = Door::with(global, async |door| write(door, path, &file).await).await?;
    warn(taken.private_keys > 0);
    if taken.role == Role::Origin && taken.private_keys == 0 {
        eprintln!("No private key is in it: what is restored from it signs nothing before its keys are put there.");
    }
    if global.json {
        return print_json(&taken);
    }
    print(&format!("{} ({})\nSHA-256 {}\n", taken.path.display(), bytes(taken.length), taken.sha256))
}

/// The file appears whole, under a name that nothing else has.
async fn write(door: &Door, path: &str, target: &Path) -> anyhow::Result<Taken> {
    let unwritten = |error: io::Error| cannot_write(target, &error);
    if target.try_exists().map_err(unwritten)? {
        return Err(exists(target));
    }
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Its owner's alone from the first byte on.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".posture-backup-").permissions(std::fs::Permissions::from_mode(0o600));
    let mut file = builder.tempfile_in(directory).map_err(unwritten)?;
    door.stream(path, |piece| file.write_all(piece).map_err(unwritten)).await?;
    file.as_file().sync_all().map_err(unwritten)?;
    crash::point("backup.written");
    let (sha256, length) =
        File::open(file.path()).and_then(|mut file| Digest::of_reader(&mut file)).map_err(unwritten)?;
    let contents = peek(File::open(file.path()).map_err(unwritten)?).map_err(failed)?;
    file.persist_noclobber(target).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(target),
        _ => unwritten(error.error),
    })?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(unwritten)?;
    Ok(Taken {
        path: target.to_owned(),
        length,
        sha256,
        created: contents.created,
        role: contents.role,
        highest_serial: contents.highest_serial,
        private_keys: contents.keys(),
    })
}

/// One backup is not made by losing another.
fn exists(path: &Path) -> anyhow::Error {
    Failure::new(Reason::BadRequest, format!("{} is there already; give another name, or remove it", path.display()))
        .into()
}

fn warn(has_keys: bool) {
    if has_keys {
        eprintln!("The backup holds private signing keys: whoever can read it can sign. Keep it as the keys are kept.");
    }
}
