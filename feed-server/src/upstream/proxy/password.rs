//! The password file: found, looked at, and read anew for each run.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::error::{PasswordMistake, SecretFileError};
use super::secret::{Credentials, Part};
use super::{Environment, ProxyError};
use crate::config::{self, CredentialMistake, MAX_CREDENTIAL};

/// User name and password of `[upstream.proxy]`, where they are set.
pub(super) fn configured(
    config: &config::Upstream,
    environment: &Environment,
) -> Result<Option<Credentials>, ProxyError> {
    let settings = &config.proxy;
    let Some((username, as_written)) = settings.username.as_ref().zip(settings.password_file.as_ref()) else {
        return Ok(None);
    };
    let (path, password) = read_secret(as_written, &config.base_dir, environment).map_err(|error| match error {
        SecretFileError::Open { path, also, source } => ProxyError::OpenPassword { path, also, source },
        SecretFileError::Content { path, mistake } => ProxyError::Password { path, mistake },
    })?;
    let credentials = Credentials::new(username.clone(), password).map_err(|(part, mistake)| match part {
        Part::Username => ProxyError::Username(mistake),
        Part::Password => ProxyError::Password { path, mistake: PasswordMistake::Content(mistake) },
    })?;
    Ok(Some(credentials))
}

/// The one line of a file that others cannot read. A relative path is looked for among the service's credentials first, then
/// beside the configuration file.
///
/// # Errors
/// It is not there, open to others, or something else.
pub(crate) fn read_secret(
    as_written: &Path,
    base_dir: &Path,
    environment: &Environment,
) -> Result<(PathBuf, Zeroizing<String>), SecretFileError> {
    let (path, file, guard) = open(as_written, base_dir, environment)?;
    match read(file, guard) {
        Ok(secret) => Ok((path, secret)),
        Err(mistake) => Err(SecretFileError::Content { path, mistake }),
    }
}

/// Who keeps others from reading the file.
#[derive(Clone, Copy)]
enum Guard {
    /// Its own mode.
    Mode,
    /// The directory that systemd made for this service alone. Files there may show a mode for a group, which is how an
    /// access control list looks to `stat`.
    CredentialsDirectory,
}

fn open(
    as_written: &Path,
    base_dir: &Path,
    environment: &Environment,
) -> Result<(PathBuf, File, Guard), SecretFileError> {
    let is_plain = as_written.components().all(|part| matches!(part, Component::Normal(_)));
    let credential = environment.credentials_directory().filter(|_| is_plain).map(|dir| dir.join(as_written));
    if let Some(path) = &credential {
        match open_file(path) {
            Ok(file) => return Ok((path.clone(), file, Guard::CredentialsDirectory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(SecretFileError::Open { path: path.clone(), also: None, source }),
        }
    }
    let path = base_dir.join(as_written);
    match open_file(&path) {
        Ok(file) => Ok((path, file, Guard::Mode)),
        Err(source) => Err(SecretFileError::Open { path, also: credential, source }),
    }
}

/// Without waiting for a writer, should somebody have put a pipe there.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn read(file: File, guard: Guard) -> Result<Zeroizing<String>, PasswordMistake> {
    let metadata = file.metadata().map_err(PasswordMistake::Read)?;
    if !metadata.is_file() {
        return Err(PasswordMistake::NotAFile);
    }
    match guard {
        Guard::Mode => check_mode(&metadata)?,
        Guard::CredentialsDirectory => {}
    }
    // The line's end may have two bytes; a byte more shows that there is more. All room is made at once, since a buffer
    // that grows leaves copies behind.
    let most = MAX_CREDENTIAL + 2;
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * most));
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(PasswordMistake::Read)?;
    if bytes.len() > most {
        return Err(PasswordMistake::Content(CredentialMistake::Long));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| PasswordMistake::Content(CredentialMistake::Encoding))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(PasswordMistake::Content(CredentialMistake::Empty));
    }
    if line.contains(['\n', '\r']) {
        return Err(PasswordMistake::Lines);
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Whoever owns the file needs nobody else to read it. A file of root's may be readable by a group: that is how it is
/// given to a service that shall not change it.
fn check_mode(metadata: &Metadata) -> Result<(), PasswordMistake> {
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    let (others, mode) = if is_ours { (0o077, "0400") } else { (0o027, "0640") };
    if metadata.mode() & others != 0 {
        return Err(PasswordMistake::Mode { found: metadata.mode() & 0o7777, mode });
    }
    Ok(())
}
