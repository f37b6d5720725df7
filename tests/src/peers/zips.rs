//! Zip readers, independent of ours and of each other: Info-ZIP, 7-Zip, libarchive, Python's `zipfile`, and Java's two,
//! `ZipFile` from the end and `ZipInputStream` from the front.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bundles::Digest;

use super::{Digests, digests, peer, python, run};

/// What every reader finds in a zip: each must take it without a complaint, and all must find the same names and bytes.
///
/// # Errors
/// One does not read it, or reads it otherwise than the others; the error names it.
pub fn every_zip_reader(zip: &Path) -> Result<Digests> {
    unzip_test(zip)?;
    seven_zip_test(zip)?;
    bsdtar_test(zip)?;
    let first = python_zip(zip).context("Python's zipfile")?;
    let others = [
        ("Java's ZipFile and ZipInputStream", java_zip as fn(&Path) -> Result<Digests>),
        ("unzip", unzip),
        ("7z", seven_zip),
        ("bsdtar, from the front", bsdtar_streamed),
    ];
    for (reader, read) in others {
        let found = read(zip).context(reader)?;
        ensure!(found == first, "{reader} finds {found:#?}, and Python's zipfile {first:#?}");
    }
    Ok(first)
}

/// What Python's zipfile reads from a zip, after testing it.
///
/// # Errors
/// It does not read.
pub fn python_zip(zip: &Path) -> Result<Digests> {
    digests(&run(python()?.arg(peer("zip_list.py")).arg(zip))?)
}

/// What Java reads from a zip: by `ZipInputStream`, front to back as ISE does, and by `ZipFile`, which must find the same.
///
/// # Errors
/// It does not read, or the two differ.
pub fn java_zip(zip: &Path) -> Result<Digests> {
    digests(&run(Command::new("java").arg(peer("ZipList.java")).arg(zip))?)
}

/// `unzip -t`.
///
/// # Errors
/// It finds something wrong.
pub fn unzip_test(zip: &Path) -> Result<()> {
    run(Command::new("unzip").arg("-tq").arg(zip)).map(drop)
}

/// `7z t`, whose warnings are errors here.
///
/// # Errors
/// It finds something wrong.
pub fn seven_zip_test(zip: &Path) -> Result<()> {
    let said = run(Command::new("7z").args(["t", "-bd"]).arg(zip))?;
    ensure!(said.contains("Everything is Ok") && !said.contains("WARNING"), "7z t: {said}");
    Ok(())
}

/// `bsdtar -t`.
///
/// # Errors
/// It finds something wrong.
pub fn bsdtar_test(zip: &Path) -> Result<()> {
    run(Command::new("bsdtar").arg("-tf").arg(zip)).map(drop)
}

fn unzip(zip: &Path) -> Result<Digests> {
    extracted(|into| run(Command::new("unzip").arg("-q").arg(zip).arg("-d").arg(into)))
}

fn seven_zip(zip: &Path) -> Result<Digests> {
    // 7z wants the directory in one word with its flag.
    let output = |into: &Path| [OsStr::new("-o"), into.as_os_str()].into_iter().collect::<OsString>();
    extracted(|into| run(Command::new("7z").args(["x", "-y", "-bd"]).arg(output(into)).arg(zip)))
}

/// Through a pipe, in which libarchive cannot look at the central directory first.
fn bsdtar_streamed(zip: &Path) -> Result<Digests> {
    let feed = |into: &Path| {
        let mut cat = Command::new("cat").arg(zip).stdout(Stdio::piped()).spawn().context("cat")?;
        let pipe = cat.stdout.take().context("no standard output")?;
        let said = run(Command::new("bsdtar").arg("-xf").arg("-").arg("-C").arg(into).stdin(pipe));
        ensure!(cat.wait()?.success() || said.is_err(), "cat fails");
        said
    };
    extracted(feed)
}

/// The files that a reader puts into an empty directory.
fn extracted(read: impl FnOnce(&Path) -> Result<String>) -> Result<Digests> {
    let directory = tempfile::tempdir()?;
    read(directory.path())?;
    files_below(directory.path())
}

/// Every file below a directory, by its path relative to it.
///
/// # Errors
/// One cannot be read.
pub fn files_below(directory: &Path) -> Result<Digests> {
    let mut found = Digests::new();
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            continue;
        }
        let name = entry.path().strip_prefix(directory)?.to_str().context("names are UTF-8")?;
        found.insert(name.to_owned(), Digest::of(&std::fs::read(entry.path())?).to_string());
    }
    Ok(found)
}
