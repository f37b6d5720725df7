//! `feed-server bundle build`

use std::fs::File;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use bundles::bundle::{self, Bundle, SCANNERS_STOP_AT};
use bundles::release::FileRef;
use bundles::report::Failure;
use bundles::{Digest, FileName, Limits, Manifest, Reason, Serial};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;

use crate::clock;
use crate::commands::Global;
use crate::commands::door::{Door, cannot_write};
use crate::commands::output::{bytes, print, print_json};
use crate::http::api::views::StatusView;

/// What to build.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The release's number [default: the newest]
    serial: Option<Serial>,
    /// The zip that ISE takes as an offline update, in place of the bundle
    #[arg(long)]
    ise: bool,
    /// Directory to write it to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// What was written, and what to know of it.
#[derive(Debug, Serialize)]
struct Built {
    path: PathBuf,
    length: u64,
    sha256: Digest,
    serial: Serial,
    /// When a bundle's signatures end.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Timestamp>,
    /// Whether they have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_ended: Option<bool>,
    /// Files that virus scanners do not look into by themselves.
    large_files: Vec<FileRef>,
}

/// Builds a zip.
///
/// # Errors
/// There is no such release, no way to the data, the zip cannot be made of what is on disk, or the files cannot be written.
pub(super) async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { serial, ise, out } = arguments;
    let built = Door::with_published(global, async |door| {
        let serial = match serial {
            Some(serial) => serial,
            None => door.newest().await?,
        };
        let name = if ise { format!("posture-offline-{serial}.zip") } else { bundle::file_name(serial) };
        let manifest: Manifest = door.get(&format!("/api/v1/releases/{serial}")).await?;
        std::fs::create_dir_all(&out).map_err(|error| cannot_write(&out, &error))?;
        let (path, sha256, length) = match fetch(door, &name, &out).await {
            Ok(fetched) => fetched,
            Err(error) => return Err(why_missing(door, error).await),
        };
        let valid_until = if ise { None } else { Some(valid_until(&path)?) };
        Ok(Built {
            length,
            sha256,
            serial,
            valid_until,
            has_ended: valid_until.map(|ended| ended <= clock::now()),
            large_files: large_files(FileRef { name: FileName::parse(&name)?, sha256, length }, &manifest),
            path,
        })
    })
    .await?;
    tell(&built);
    if global.json {
        return print_json(&built);
    }
    print(&format!("{} ({})\nSHA-256 {}\n", built.path.display(), bytes(built.length), built.sha256))
}

/// The zip and what stands beside it, whole or not at all: they are put together in a directory of their own, and the zip
/// comes out last.
async fn fetch(door: &Door, name: &str, out: &Path) -> anyhow::Result<(PathBuf, Digest, u64)> {
    let unwritten = |error: std::io::Error| cannot_write(out, &error);
    let staging = tempfile::Builder::new().prefix(".posture-").tempdir_in(out).map_err(unwritten)?;
    let zip = staging.path().join(name);
    let bar = bar();
    let progress = |written, length: Option<u64>| {
        bar.set_length(length.unwrap_or(written));
        bar.set_position(written);
    };
    let fetched = door.download(&format!("/offline/{name}"), &zip, progress).await;
    bar.finish_and_clear();
    fetched?;
    let beside = [format!("{name}.sha256"), format!("{name}.sheet.txt")];
    for name in &beside {
        door.download(&format!("/offline/{name}"), &staging.path().join(name), |_, _| {}).await?;
    }
    let (sha256, length) = File::open(&zip).and_then(|mut file| Digest::of_reader(&mut file)).map_err(unwritten)?;
    // Signed anew between two requests, the bundle is another one than the digest is of.
    let line = std::fs::read_to_string(staging.path().join(&beside[0])).map_err(unwritten)?;
    if !line.starts_with(&sha256.to_string()) {
        let message = format!("{name} was made anew while it was fetched, or is damaged on disk; run this again");
        return Err(Failure::new(Reason::DigestMismatch, message).into());
    }
    for name in beside.iter().map(String::as_str).chain([name]) {
        let path = out.join(name);
        std::fs::rename(staging.path().join(name), &path).map_err(|error| cannot_write(&path, &error))?;
    }
    File::open(out).and_then(|directory| directory.sync_all()).map_err(unwritten)?;
    Ok((out.join(name), sha256, length))
}

/// A zip that should be there and could not be made is missing for that.
async fn why_missing(door: &Door, error: anyhow::Error) -> anyhow::Error {
    let is_missing = error.downcast_ref::<Failure>().is_some_and(|failure| failure.reason == Reason::NotFound);
    let status = if is_missing { door.get::<StatusView>("/api/v1/status").await.ok() } else { None };
    status.and_then(|status| status.cannot_publish).map_or(error, Into::into)
}

/// The zip itself, what is in it, and what a scanner makes of that.
fn large_files(zip: FileRef, manifest: &Manifest) -> Vec<FileRef> {
    let files = manifest.files().into_iter().cloned();
    std::iter::once(zip).chain(files).filter(|file| file.length > SCANNERS_STOP_AT).collect()
}

fn valid_until(path: &Path) -> anyhow::Result<Timestamp> {
    let file = File::open(path).map_err(|error| cannot_write(path, &error))?;
    let bundle = Bundle::open(file, &Limits::default()).map_err(crate::commands::failed)?;
    Ok(bundle.facts().valid_until)
}

/// What whoever carries it should know before walking.
fn tell(built: &Built) {
    let name = built.path.file_name().unwrap_or_default().to_string_lossy();
    if let (Some(true), Some(ended)) = (built.has_ended, built.valid_until) {
        eprintln!(
            "warning: {name} ended on {ended} and will be refused; a bundle of an older release is kept as it was when \
             that was the newest: carry the newest"
        );
    }
    for file in &built.large_files {
        eprintln!(
            "note: {} has {}; virus scanners stop at {} unless told to go on (clamscan: --max-filesize, --max-scansize)",
            file.name,
            bytes(file.length),
            bytes(SCANNERS_STOP_AT),
        );
    }
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {bytes}/{total_bytes}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
