//! File systems of a test's own: small ones, read-only ones, and one on a medium that fails. Needs root, since it mounts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A mount that goes when this is dropped.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// `mount <arguments> <at>`; the directory is made.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn new(arguments: &[&str], at: &Path) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let status = Command::new("mount").args(arguments).arg(at).status().context("mount")?;
        ensure!(status.success(), "mount {arguments:?} {}: {status}; these tests need root", at.display());
        Ok(Self(at.to_owned()))
    }

    /// `mount -o <options>`, such as `remount,ro`.
    ///
    /// # Errors
    /// It cannot be.
    pub fn remount(&self, options: &str) -> Result<()> {
        let status = Command::new("mount").args(["-o", options]).arg(&self.0).status()?;
        ensure!(status.success(), "mount -o {options}: {status}");
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that is just ending may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes a file until the disk is full.
///
/// # Errors
/// It cannot be written for another reason.
pub fn fill(path: &Path) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    let block = [0; 4096];
    loop {
        match std::io::Write::write_all(&mut file, &block) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Room on a stick beside what lies on it: ext4 needs some.
const STICK_SLACK: u64 = 8 << 20;

/// A stick with one file on it: an image on a loop device. Once it is [`Stick::torn`], the kernel answers with an
/// input/output error to whoever reads on behind half of the file, as it does for a bad sector or a stick pulled out.
#[derive(Debug)]
pub struct Stick {
    // In this order: what is mounted goes before the device, and the device before its image.
    mount: Mount,
    _device: Loop,
    directory: TempDir,
    name: String,
    /// Where the second half of the file begins in the image, in bytes.
    middle: u64,
}

impl Stick {
    /// Puts a file on a stick, mounted read-only.
    ///
    /// # Errors
    /// There is no loop device to be had.
    pub fn with(file: &Path) -> Result<Self> {
        let name = file.file_name().and_then(|name| name.to_str()).context("a file has a name")?.to_owned();
        let directory = tempfile::tempdir()?;
        let (image, at) = (directory.path().join("image"), directory.path().join("stick"));
        let length = std::fs::metadata(file)?.len();
        File::create(&image)?.set_len(length + STICK_SLACK)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "1024", "-O", "^has_journal"]).arg(&image))?;
        let device = Loop::new(&image)?;
        let mount = Mount::new(&[&device.0], &at)?;
        let copy = at.join(&name);
        std::fs::copy(file, &copy)?;
        File::open(&copy)?.sync_all()?;
        let middle = physical(&copy, length / 2)?;
        // Mounted anew, so that nothing of it is in memory.
        drop(mount);
        let mount = Mount::new(&["-o", "ro", &device.0], &at)?;
        Ok(Self { mount, _device: device, directory, name, middle })
    }

    /// The file on it.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.mount.path().join(&self.name)
    }

    /// Tears the second half of the file off.
    ///
    /// # Errors
    /// The image cannot be cut.
    pub fn torn(self) -> Result<Self> {
        File::options().write(true).open(self.directory.path().join("image"))?.set_len(self.middle)?;
        Ok(self)
    }
}

/// Where a byte of a file lies on its file system, in bytes from its beginning.
fn physical(file: &Path, offset: u64) -> Result<u64> {
    let said = run(Command::new("filefrag").args(["-b1024", "-v"]).arg(file))?;
    let block = offset / 1024;
    let found = said.lines().find_map(|line| {
        // "   0:        0..    4095:      10241..     14336:   4096:   last,eof"
        let mut fields = line.split(':').map(str::trim);
        let (_, logical, physical) = (fields.next()?, fields.next()?, fields.next()?);
        let (first, last) = logical.split_once("..")?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let begins: u64 = physical.split_once("..")?.0.trim().parse().ok()?;
        (first..=last).contains(&block).then(|| (begins + block - first) * 1024)
    });
    found.with_context(|| format!("filefrag does not say where byte {offset} of {} lies: {said}", file.display()))
}

/// A loop device that goes when this is dropped. It reads past the page cache, so that what its image does not have is an
/// error, and not zeros.
#[derive(Debug)]
struct Loop(String);

impl Loop {
    fn new(image: &Path) -> Result<Self> {
        let arguments = ["--direct-io=on", "--find", "--show"];
        Ok(Self(run(Command::new("losetup").args(arguments).arg(image))?.trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} is missing; run tests/run, which installs it"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {error}; these tests need root");
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};

    use super::*;

    #[test]
    fn a_torn_stick_gives_an_error_in_the_middle_and_not_before() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("file.zip");
        let content: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&file, &content)?;
        let stick = Stick::with(&file)?;
        let mut begun = File::open(stick.file())?;
        let mut start = vec![0; 10_000];
        begun.read_exact(&mut start)?;
        ensure!(start == content[..10_000]);
        let stick = stick.torn()?;
        let mut read = Vec::new();
        let error = File::open(stick.file())?.read_to_end(&mut read).expect_err("half of it is gone");
        ensure!(error.kind() != ErrorKind::UnexpectedEof, "{error:?}");
        ensure!(error.raw_os_error() == Some(5), "an input/output error, not {error:?}");
        ensure!(!read.is_empty() && content.starts_with(&read), "{} bytes", read.len());
        Ok(())
    }
}
