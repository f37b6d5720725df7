//! Whatever there is to look at: an index, and archives beside it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bundles::archive;
use bundles::capture;
use bundles::index::{Entry, Index, Patterns};
use bundles::report::Failure;
use bundles::{FileName, Limits, Reason};
use serde::Serialize;
use tempfile::TempDir;
use url::Url;

use crate::commands::{failed, upstream_at};
use crate::config::Config;
use crate::jobs::update::USER_AGENT;
use crate::upstream::{Answer, Piece, UpstreamError, Vendor, shown};

/// The index's name in the vendor's directory, and so in its zip.
const INDEX: &str = "posture-update.xml";

/// What SRC turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// An index in a file.
    File,
    /// An index at a URL.
    Url,
    /// The vendor's zip.
    Zip,
    /// A capture.
    Capture,
}

/// An index and archives.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) kind: Kind,
    /// As given, without secrets.
    pub(super) source: String,
    /// What relative locators are relative to.
    pub(super) base: Url,
    /// Absent in a zip without one.
    pub(super) index: Option<Vec<u8>>,
    /// Archives by URL.
    by_url: HashMap<Url, Result<PathBuf, Failure>>,
    /// Members of a zip by name.
    pub(super) members: Vec<(FileName, PathBuf)>,
    /// Members of a zip that are not looked at, and why.
    pub(super) left: Vec<(String, &'static str)>,
    _directory: Option<TempDir>,
}

impl Material {
    fn new(kind: Kind, source: &str, base: Url) -> Self {
        let source = source.to_owned();
        Self {
            kind,
            source,
            base,
            index: None,
            by_url: HashMap::new(),
            members: vec![],
            left: vec![],
            _directory: None,
        }
    }

    /// Where an entry's archive is; `None` where nobody looked for it.
    pub(super) fn archive(&self, entry: &Entry) -> Option<Result<&Path, Failure>> {
        if self.kind == Kind::Zip {
            let named = |(name, _): &&(FileName, PathBuf)| same_name(name, &entry.name);
            let member = self.members.iter().find(named).map(|(_, path)| path.as_path());
            let missing = || {
                let message =
                    format!("the zip's index names {}, and the zip does not hold it; fetch the zip again", entry.name);
                Failure::new(Reason::BadArchive, message)
            };
            return Some(member.ok_or_else(missing));
        }
        Some(self.by_url.get(&entry.url)?.as_ref().map(PathBuf::as_path).map_err(Clone::clone))
    }
}

pub(super) fn same_name(one: &FileName, other: &FileName) -> bool {
    one.as_str().eq_ignore_ascii_case(other.as_str())
}

/// Opens SRC.
pub(super) async fn open(
    src: &str,
    base: Option<&Url>,
    with_archives: bool,
    config: &Config,
    patterns: &Patterns,
) -> anyhow::Result<Material> {
    if let Some(url) = Url::parse(src).ok().filter(Url::has_host) {
        return at_url(url, with_archives, config, patterns).await;
    }
    let (src, base) = (src.to_owned(), base.unwrap_or(&config.upstream.url).clone());
    let (limits, patterns) = (config.limits.clone(), patterns.clone());
    let opened = tokio::task::spawn_blocking(move || in_file(&src, base, &limits, &patterns)).await?;
    Ok(opened?)
}

async fn at_url(url: Url, with_archives: bool, config: &Config, patterns: &Patterns) -> anyhow::Result<Material> {
    let vendor = Vendor::new(&upstream_at(&config.upstream, &url), USER_AGENT).map_err(failed)?;
    let limits = &config.limits;
    let mut content = match vendor.get(&url, None, limits.index_bytes, "index_bytes").await.map_err(failed)? {
        Answer::Content(content) => content,
        Answer::NotModified { .. } => {
            return Err(Failure::new(Reason::HttpStatus, "upstream answered 304 to no condition").into());
        }
    };
    let bytes = content.whole().await.map_err(failed)?;
    let mut material = Material::new(Kind::Url, &shown(&url), content.url.clone());
    if with_archives {
        let directory = temporary()?;
        // What cannot be read is told when it is read for the output.
        let entries =
            Index::read(&bytes, &content.url, patterns, limits).map(|index| index.entries).unwrap_or_default();
        let mut left = limits.run_bytes;
        for (number, entry) in entries.iter().enumerate() {
            if material.by_url.contains_key(&entry.url) {
                continue;
            }
            let path = directory.path().join(format!("{number}-{}", entry.name));
            let fetched = fetch(&vendor, &entry.url, &path, limits, &mut left).await;
            let is_last = fetched.as_ref().is_err_and(|not_fetched| not_fetched.is_last);
            let fetched = fetched.map(|()| path).map_err(|not_fetched| not_fetched.failure);
            material.by_url.insert(entry.url.clone(), fetched);
            if is_last {
                break;
            }
        }
        material._directory = Some(directory);
    }
    material.index = Some(bytes);
    Ok(material)
}

/// Why an archive did not come.
struct NotFetched {
    failure: Failure,
    /// Upstream asks to be left alone: nothing more is asked.
    is_last: bool,
}

impl From<Failure> for NotFetched {
    fn from(failure: Failure) -> Self {
        Self { failure, is_last: false }
    }
}

impl From<UpstreamError> for NotFetched {
    fn from(error: UpstreamError) -> Self {
        Self { failure: Failure::of(&error), is_last: error.asks_for_pause().is_some() }
    }
}

/// Fetches one archive; all of them together within `left`.
async fn fetch(vendor: &Vendor, url: &Url, path: &Path, limits: &Limits, left: &mut u64) -> Result<(), NotFetched> {
    let storage = |error: std::io::Error| unreadable(&path.display().to_string(), &error);
    let (limit, setting) =
        if *left < limits.archive_bytes { (*left, "run_bytes") } else { (limits.archive_bytes, "archive_bytes") };
    let Answer::Content(mut content) = vendor.get(url, None, limit, setting).await? else {
        return Err(Failure::new(Reason::HttpStatus, "upstream answered 304 to no condition").into());
    };
    let mut file = File::create(path).map_err(storage)?;
    while let Some(piece) = content.next().await? {
        match piece {
            Piece::Bytes(bytes) => {
                *left = left.saturating_sub(bytes.len() as u64);
                file.write_all(&bytes).map_err(storage)?;
            }
            Piece::Anew => file = File::create(path).map_err(storage)?,
        }
    }
    Ok(())
}

fn in_file(src: &str, base: Url, limits: &Limits, patterns: &Patterns) -> Result<Material, Failure> {
    let unreadable = |error: std::io::Error| unreadable(src, &error);
    let mut file = File::open(src).map_err(unreadable)?;
    let mut start = Vec::new();
    (&mut file).take(64).read_to_end(&mut start).map_err(unreadable)?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    if start.starts_with(b"PK") {
        if file.metadata().map_err(unreadable)?.len() > limits.archive_bytes {
            let message = format!(
                "{src} has more than {} bytes; if it is genuine, raise archive_bytes in [limits]",
                limits.archive_bytes
            );
            return Err(Failure::new(Reason::TooLarge, message));
        }
        return if capture::is_capture(&start) {
            in_capture(src, &mut file, limits)
        } else {
            in_zip(src, &mut file, base, limits, patterns)
        };
    }
    if start.starts_with(&[0x1f, 0x8b]) {
        let message =
            format!("{src} is compressed by gzip: neither an index nor a zip nor a capture; is it an archive?");
        return Err(Failure::new(Reason::NotAFeed, message));
    }
    let index = start_of(file, limits.index_bytes).map_err(unreadable)?;
    Ok(Material { index: Some(index), ..Material::new(Kind::File, src, base) })
}

fn in_capture(src: &str, file: &mut File, limits: &Limits) -> Result<Material, Failure> {
    let directory = temporary()?;
    let opened = capture::read(file, directory.path(), limits).map_err(|error| Failure::of(&error))?;
    let exchange = &opened.capture.index;
    let Some(body) = exchange.body.as_ref().filter(|_| exchange.status == 200) else {
        let message = format!(
            "the capture holds no index: {} was answered with status {}, and the body is not kept or is none",
            shown(&exchange.url),
            exchange.status
        );
        return Err(Failure::new(Reason::NotAFeed, message));
    };
    let mut material = Material::new(Kind::Capture, src, exchange.found.clone());
    let unreadable = |error: std::io::Error| unreadable(src, &error);
    let index = opened.body(body).and_then(|body| start_of(body, limits.index_bytes)).map_err(unreadable)?;
    for archive in &opened.capture.archives {
        if let Some(body) = archive.body.as_ref().filter(|_| archive.status == 200) {
            material.by_url.insert(archive.url.clone(), Ok(opened.path(&body.path)));
        }
    }
    Ok(Material { index: Some(index), _directory: Some(directory), ..material })
}

fn in_zip(src: &str, file: &mut File, base: Url, limits: &Limits, patterns: &Patterns) -> Result<Material, Failure> {
    let directory = temporary()?;
    let name =
        FileName::parse("posture-offline.zip").map_err(|error| Failure::new(Reason::Internal, error.to_string()))?;
    let paths = archive::unpack(file, &name, directory.path(), limits).map_err(|error| {
        let failure = Failure::of(&error);
        Failure::new(failure.reason, format!("{src} cannot be used: {}", failure.message))
    })?;
    let mut material = Material::new(Kind::Zip, src, base);
    // Flat, or everything in one folder.
    let folder = paths.first().and_then(|path| path.parent()).map(Path::to_owned).unwrap_or_default();
    let one_folder = folder.components().count() <= 1 && paths.iter().all(|path| path.starts_with(&folder));
    for path in paths {
        let last = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let here = if one_folder { path.parent() == Some(&folder) } else { path.components().count() == 1 };
        match FileName::parse(last) {
            _ if !here => material.left.push((path.display().to_string(), "it lies in a folder of the zip")),
            Ok(name) if material.members.iter().any(|(known, _)| same_name(known, &name)) => {
                material.left.push((path.display().to_string(), "another member has the same name"));
            }
            Ok(name) => material.members.push((name, directory.path().join(&path))),
            Err(_) => material.left.push((path.display().to_string(), "its name cannot be published")),
        }
    }
    if let Some(number) = index_among(&material, limits, patterns) {
        let (_, path) = material.members.remove(number);
        material.index = Some(
            File::open(&path)
                .and_then(|file| start_of(file, limits.index_bytes))
                .map_err(|error| unreadable(src, &error))?,
        );
    }
    Ok(Material { _directory: Some(directory), ..material })
}

/// Which member is the index: the one of its name, else one that reads as an index and names other members.
fn index_among(material: &Material, limits: &Limits, patterns: &Patterns) -> Option<usize> {
    let by_name = material.members.iter().position(|(name, _)| name.as_str().eq_ignore_ascii_case(INDEX));
    by_name.or_else(|| {
        material.members.iter().position(|(name, path)| {
            let is_small = std::fs::metadata(path).is_ok_and(|file| file.len() <= limits.index_bytes);
            let is_xml = name.as_str().to_ascii_lowercase().ends_with(".xml");
            let bytes = if is_xml && is_small { std::fs::read(path).ok() } else { None };
            let index = bytes.and_then(|bytes| Index::read(&bytes, &material.base, patterns, limits).ok());
            index.is_some_and(|index| {
                let is_here = |entry: &Entry| material.members.iter().any(|(name, _)| same_name(name, &entry.name));
                index.entries.iter().any(is_here)
            })
        })
    })
}

/// As much of an index as may be, and one byte more where there is more: the reader says so.
fn start_of(file: File, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn temporary() -> Result<TempDir, Failure> {
    tempfile::tempdir().map_err(|error| unreadable("a temporary directory (TMPDIR)", &error))
}

fn unreadable(what: &str, error: &std::io::Error) -> Failure {
    let reason = if error.kind() == std::io::ErrorKind::NotFound { Reason::NotFound } else { Reason::Storage };
    Failure::new(
        reason,
        format!("{what} cannot be read or written ({error}); check the path, permissions and free space"),
    )
}

#[cfg(test)]
mod tests;
