//! Which keys there are, what each may hold, and what must hold between them. Only keys that do something are known.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bundles::Limits;

use super::document::Section;
use super::upstream::upstream;
use super::values::{address, boolean, count, duration, number, size, string, url};
use super::{Bundles, Config, Data, Increments, Listen, Origins, Schedule, Serve, Signing, Tls};

const MINUTE: Duration = Duration::from_mins(1);
/// Four times the default; readers of `dcz` need as much memory.
const MOST_PAYLOAD: u64 = 64 << 20;

const MOST_AUDIT_DAYS: u32 = 3_650;

/// Fewer connections lock out whoever comes second.
const FEWEST_CONNECTIONS: usize = 64;

const DAY: Duration = Duration::from_hours(24);

/// The whole document. Where a value is wrong it was reported, and the default stands in so that reading goes on.
pub(super) fn config(root: &Section<'_, '_>, base_dir: &Path) -> Config {
    let mut config = Config {
        upstream: upstream(&root.section("upstream"), base_dir),
        schedule: schedule(&root.section("schedule")),
        listen: listen(&root.section("listen"), base_dir),
        serve: serve(&root.section("serve")),
        data: data(&root.section("data"), base_dir),
        bundles: bundles(&root.section("bundles"), base_dir),
        increments: increments(&root.section("increments")),
        signing: signing(&root.section("signing"), base_dir),
        limits: Limits::default(),
        origins: Origins::default(),
    };
    (config.limits, config.listen.connections) = limits(&root.section("limits"));
    root.finish();
    config
}

fn schedule(section: &Section<'_, '_>) -> Schedule {
    let default = Schedule::default();
    // A week of delay is longer than anybody spreads first runs over.
    let initial_delay = section.get("initial_delay", |entry| duration(entry, Duration::ZERO, 7 * DAY));
    // Under a minute is an attack on upstream; over a month is no mirror of a feed that moves many times a week.
    let every = section.get("every", |entry| duration(entry, MINUTE, 30 * DAY));
    section.finish();
    Schedule { initial_delay: initial_delay.unwrap_or(default.initial_delay), every: every.unwrap_or(default.every) }
}

fn listen(section: &Section<'_, '_>, base_dir: &Path) -> Listen {
    let default = Listen::default();
    let listening = section.get("address", address).unwrap_or(default.address);
    let metrics_address = section.get("metrics_address", |entry| {
        let metrics = address(entry)?;
        if metrics == listening && metrics.port() != 0 {
            entry.wrong("is the same as listen.address; write another port, or leave the key out");
        }
        Some(metrics)
    });
    let path = |key| section.get(key, |entry| string(entry, "the path of a PEM file").map(|path| base_dir.join(path)));
    let (certificate, key): (Option<PathBuf>, Option<PathBuf>) = (path("tls_certificate"), path("tls_key"));
    match (section.entry("tls_certificate"), section.entry("tls_key")) {
        (Some(entry), None) => entry.wrong("stands without listen.tls_key; write both, or neither"),
        (None, Some(entry)) => entry.wrong("stands without listen.tls_certificate; write both, or neither"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let client_ca = path("client_ca");
    if let Some(entry) = section.entry("client_ca")
        && certificate.is_none()
    {
        entry.wrong("stands without listen.tls_certificate; certificates are shown over TLS alone");
    }
    section.finish();
    let tls = certificate.zip(key).map(|(certificate, key)| Tls { certificate, key });
    Listen { address: listening, metrics_address, tls, client_ca, ..default }
}

fn serve(section: &Section<'_, '_>) -> Serve {
    let public_url = section.get("public_url", |entry| {
        // http too: headends verify signatures, and a TLS listener may not be had in every closed network.
        let url = url(entry, &["https", "http"], "https://posture.example.com")?;
        if url.query().is_some() {
            entry.wrong("has a query (?…), and locators are made by adding to its path; leave it out");
        }
        Some(url)
    });
    let rewrite_index = section.get("rewrite_index", boolean).unwrap_or(true);
    section.finish();
    Serve { public_url, rewrite_index }
}

fn data(section: &Section<'_, '_>, base_dir: &Path) -> Data {
    let default = Config::default().data;
    let directory = section.get("directory", |entry| string(entry, "the path of a directory"));
    let retain_releases = section.get("retain_releases", count);
    // Ten years is what a typing error looks like; what may be kept is bounded by number as well.
    let audit_days = section.get("audit_days", |entry| {
        let days: u32 = count(entry)?;
        if days > MOST_AUDIT_DAYS {
            entry.wrong(format!("is out of range; write a whole number of days from 1 to {MOST_AUDIT_DAYS}"));
        }
        Some(days)
    });
    section.finish();
    Data {
        directory: directory.map_or(default.directory, |path| base_dir.join(path)),
        audit_days: audit_days.unwrap_or(default.audit_days),
        retain_releases: retain_releases.unwrap_or(default.retain_releases),
    }
}

fn bundles(section: &Section<'_, '_>, base_dir: &Path) -> Bundles {
    let default = Config::default().bundles;
    // Media take a day to be carried; ten years is what a typing error looks like.
    let valid_for = section.get("valid_for", |entry| duration(entry, DAY, 3_650 * DAY));
    let max_upload = section.get("max_upload", size);
    let watched_folder = section.get("watched_folder", |entry| string(entry, "the path of a directory"));
    section.finish();
    Bundles {
        valid_for: valid_for.unwrap_or(default.valid_for),
        max_upload: max_upload.unwrap_or(default.max_upload),
        watched_folder: watched_folder.map(|path| base_dir.join(path)),
    }
}

fn increments(section: &Section<'_, '_>) -> Increments {
    let default = Config::default().increments;
    let from_last = section.get("from_last", number);
    let max_payload = section.get("max_payload", |entry| {
        let bytes = size(entry)?;
        if bytes > MOST_PAYLOAD {
            entry
                .wrong("is more than 64MiB: old and new content are held in memory, and as much again to compare them");
        }
        Some(bytes)
    });
    section.finish();
    Increments {
        from_last: from_last.unwrap_or(default.from_last),
        max_payload: max_payload.unwrap_or(default.max_payload),
    }
}

fn signing(section: &Section<'_, '_>, base_dir: &Path) -> Signing {
    let passphrase_file = section.get("passphrase_file", |entry| string(entry, "the path of a file"));
    section.finish();
    Signing { passphrase_file: passphrase_file.map(PathBuf::from), base_dir: base_dir.to_owned() }
}

/// Those of input, and how many connections there may be.
fn limits(section: &Section<'_, '_>) -> (Limits, usize) {
    let default = Limits::default();
    let limits = Limits {
        index_bytes: section.get("index_bytes", size).unwrap_or(default.index_bytes),
        index_entries: section.get("index_entries", count).unwrap_or(default.index_entries),
        index_depth: section.get("index_depth", count).unwrap_or(default.index_depth),
        archive_bytes: section.get("archive_bytes", size).unwrap_or(default.archive_bytes),
        payload_bytes: section.get("payload_bytes", size).unwrap_or(default.payload_bytes),
        expansion_ratio: section.get("expansion_ratio", count).unwrap_or(default.expansion_ratio),
        offline_zip_bytes: section.get("offline_zip_bytes", size).unwrap_or(default.offline_zip_bytes),
        archive_members: section.get("archive_members", count).unwrap_or(default.archive_members),
        run_bytes: section.get("run_bytes", size).unwrap_or(default.run_bytes),
    };
    let connections = section.get("connections", |entry| {
        let connections = count(entry)?;
        if connections < FEWEST_CONNECTIONS {
            entry.wrong(format!(
                "is less than {FEWEST_CONNECTIONS}: a browser alone opens six, and a proxy keeps dozens"
            ));
        }
        Some(connections)
    });
    section.finish();
    (limits, connections.unwrap_or(Listen::default().connections))
}
