//! `feed-server release …`

use bundles::release::{Source, SourceKind};
use bundles::{Manifest, Serial};
use clap::Subcommand;

use super::Global;
use super::door::Door;
use super::output::{bytes, local_time, print, print_json, print_table};
use crate::http::api::views::ReleaseSummary;

/// What there is to run.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Verb {
    /// List the retained releases, newest first
    List,
    /// Show a release's components and files
    Show {
        /// Its number [default: the newest]
        serial: Option<Serial>,
    },
}

/// Lists releases, or shows one.
///
/// # Errors
/// There is no such release, or no way to the data.
pub async fn run(global: &Global, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List => {
            let releases: Vec<ReleaseSummary> =
                Door::with(global, async |door| door.get("/api/v1/releases").await).await?;
            if global.json { print_json(&releases) } else { list(&releases) }
        }
        Verb::Show { serial } => {
            let manifest: Manifest = Door::with(global, async |door| {
                let serial = match serial {
                    Some(serial) => serial,
                    None => door.newest().await?,
                };
                door.get(&format!("/api/v1/releases/{serial}")).await
            })
            .await?;
            if global.json { print_json(&manifest) } else { show(&manifest) }
        }
    }
}

fn list(releases: &[ReleaseSummary]) -> anyhow::Result<()> {
    let mut rows = vec![["RELEASE", "MADE", "SIZE", "VERSIONS"].map(str::to_owned)];
    for release in releases {
        let versions: Vec<_> =
            release.components.iter().map(|c| format!("{} {}", c.component, short(&c.version))).collect();
        rows.push([
            release.serial.to_string(),
            local_time(release.created),
            bytes(release.archive_bytes),
            versions.join(", "),
        ]);
    }
    print_table(&rows)
}

fn show(manifest: &Manifest) -> anyhow::Result<()> {
    let mut rows = vec![["COMPONENT", "VERSION", "FILE", "SIZE", "SHA-256"].map(str::to_owned)];
    for released in &manifest.components {
        for file in &released.files {
            rows.push([
                released.component.to_string(),
                released.version.short(),
                file.archive.name.to_string(),
                bytes(file.archive.length),
                file.archive.sha256.to_string(),
            ]);
        }
    }
    print_table(&rows)?;
    let mut lines = format!("\n{:<13} {}\n", "Source", source_line(&manifest.source));
    if let Some(sha256) = &manifest.source.sha256 {
        lines.push_str(&format!("{:<13} {sha256}\n", "SHA-256"));
    }
    if let Some(zip) = &manifest.offline_zip {
        lines.push_str(&format!(
            "{:<13} the vendor's own, {}, SHA-256 {}\n",
            "Offline zip",
            bytes(zip.length),
            zip.sha256
        ));
    }
    print(&lines)
}

/// Where a release came from, and who vouched for it.
pub(super) fn source_line(source: &Source) -> String {
    let what = match source.kind {
        SourceKind::VendorFeed => "the vendor's feed",
        SourceKind::VendorZip => "the vendor's zip",
    };
    let from = source.url.as_ref().map_or_else(String::new, |url| format!(", {url}"));
    let vouched = source.vouched_by.as_ref().map_or_else(String::new, |who| format!("; vouched for by {}", plain(who)));
    format!("{what}{from}{vouched}")
}

/// Certificates and people write these, and terminals obey control characters.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn short(version: &str) -> String {
    version.parse::<bundles::Version>().map_or_else(|_| version.to_owned(), |version| version.short())
}
