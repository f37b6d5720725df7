//! `feed-server release …`

mod evidence;
mod holding;

use bundles::Serial;
use bundles::release::{Source, SourceKind};
use clap::Subcommand;

use super::Global;
use super::door::Door;
use super::output::{bytes, local_time, print, print_json, print_table};
use crate::http::api::views::{ReleaseDetails, ReleaseSummary};

pub(super) use holding::held;

/// What there is to run.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the retained releases, newest first
    List,
    /// Show a release's components and files
    Show {
        /// Its number [default: the newest]
        serial: Option<Serial>,
    },
    /// Show where a release came from, with chains, digests and who asked, and who runs it: plain text to be filed
    Evidence {
        /// Its number
        serial: Serial,
    },
    /// Make or follow no new release until `resume`: headends and ISE stay on what they run
    Hold {
        /// Why, for whoever is woken next
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End a hold; where there is none, let what was withdrawn come back
    Resume {
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Release the content of an earlier release under the next number; what it takes the place of does not come back
    Republish {
        /// The release whose content is wanted
        serial: Serial,
        /// Why, for whoever is woken next
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Lists releases, shows one, holds them, or releases one again.
///
/// # Errors
/// There is no such release, it cannot be held or released again, or there is no way to the data.
pub async fn run(global: &Global, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List => {
            let releases: Vec<ReleaseSummary> =
                Door::with(global, async |door| door.get("/api/v1/releases").await).await?;
            if global.json { print_json(&releases) } else { list(&releases) }
        }
        Verb::Show { serial } => {
            let release: ReleaseDetails = Door::with(global, async |door| {
                let serial = match serial {
                    Some(serial) => serial,
                    None => door.newest().await?,
                };
                door.get(&format!("/api/v1/releases/{serial}")).await
            })
            .await?;
            if global.json { print_json(&release) } else { show(&release) }
        }
        Verb::Evidence { serial } => evidence::run(global, serial).await,
        Verb::Hold { reason } => holding::hold(global, reason).await,
        Verb::Resume { reason } => holding::resume(global, reason).await,
        Verb::Republish { serial, reason } => holding::republish(global, serial, reason).await,
    }
}

fn list(releases: &[ReleaseSummary]) -> anyhow::Result<()> {
    let mut rows = vec![["RELEASE", "MADE", "SIZE", "VERSIONS"].map(str::to_owned)];
    for release in releases {
        let again = release.content_of.map_or_else(String::new, |of| format!("; content of {of} again"));
        let versions: Vec<_> =
            release.components.iter().map(|c| format!("{} {}", c.component, short(&c.version))).collect();
        rows.push([
            release.serial.to_string(),
            local_time(release.created),
            bytes(release.archive_bytes),
            versions.join(", ") + &again,
        ]);
    }
    print_table(&rows)
}

fn show(ReleaseDetails { manifest, content_of }: &ReleaseDetails) -> anyhow::Result<()> {
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
    if let Some(of) = content_of {
        lines.push_str(&format!("{:<13} the content of release {of} again\n", "Again"));
    }
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
