//! `feed-server capture`: keeps what upstream answers, verbatim, in one file.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bundles::capture::{self, Body, Capture, Certificate, Chain, Exchange, Header, Part, REMOVED, Redirect};
use bundles::index::Index;
use bundles::report::Failure;
use bundles::{Digest, Reason};
use clap::Args;
use tempfile::TempDir;
use url::Url;

use super::door::cannot_write;
use super::output::bytes as shown_bytes;
use super::{Global, failed, output, upstream_at};
use crate::clock;
use crate::config::Config;
use crate::jobs::update::USER_AGENT;
use crate::upstream::{Raw, Vendor, shown};

/// An archive is in memory while it is captured. The largest that is known of has some megabytes.
const MAX_ARCHIVE: u64 = 512 << 20;

/// By these, as by `Retry-After`, upstream asks to be left alone: a run would begin a cool-down.
const ASKS_FOR_PAUSE: [u16; 2] = [403, 429];

/// Headers whose values tell nothing of the content, and how it was sent: kept where only the shape is.
const KEPT_IN_SHAPE: [&str; 10] = [
    "accept-ranges",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "last-modified",
    "server",
    "transfer-encoding",
];

/// What `capture` takes.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The index [default: upstream.url of the configuration]
    #[arg(value_name = "URL")]
    url: Option<Url>,
    /// The file to write; one that is there already is left alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Keep the index's structure and none of its content: elements, attributes, kinds and lengths of values, hosts
    #[arg(long, conflicts_with = "archives")]
    shape_only: bool,
    /// Keep the archives as well
    #[arg(long)]
    archives: bool,
}

/// Asks upstream, and writes the file.
///
/// # Errors
/// There is no answer, or the file is there already or cannot be written.
pub async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let config = global.config()?;
    let out = &arguments.out;
    if out.exists() {
        let message = format!("{} is there already; name another file with --out, or remove it first", out.display());
        return Err(Failure::new(Reason::BadRequest, message).into());
    }
    let url = arguments.url.clone().unwrap_or_else(|| config.upstream.url.clone());
    let vendor = Vendor::new(&upstream_at(&config.upstream, &url), USER_AGENT).map_err(failed)?;
    let directory = tempfile::tempdir().map_err(|error| cannot_write(&std::env::temp_dir(), &error))?;
    let mut taking = Taking { directory, parts: Vec::new(), shape_only: arguments.shape_only };

    let index = vendor.get_raw(&url, config.limits.index_bytes).await.map_err(failed)?;
    let asked = taking.index(&url, &index)?;
    let (archives, not_kept) =
        if arguments.archives { archives(&vendor, &config, &index, &mut taking).await? } else { (Vec::new(), None) };
    let chains = taking.chains(&vendor)?;
    let capture = Capture {
        format: capture::FORMAT,
        made_by: USER_AGENT.to_owned(),
        at: clock::now(),
        shape_only: arguments.shape_only,
        index: asked,
        archives,
        chains,
    };
    write(out, &capture, &taking.in_order())?;
    if global.json {
        output::print_json(&capture)?;
    } else {
        output::print(&told(out, &capture))?;
    }
    if capture.index.status != 200 {
        let message = format!(
            "{} was answered with status {}, so what is kept is no index; open the URL from this machine",
            shown(&url),
            capture.index.status
        );
        return Err(Failure::new(Reason::HttpStatus, message).into());
    }
    not_kept.map_or(Ok(()), |failure| Err(failure.into()))
}

/// Asks for every archive that the index names. What does not come is left out, and the first such failure handed back:
/// a feed of which one archive is on a host that is not allowed yet is worth keeping.
async fn archives(
    vendor: &Vendor,
    config: &Config,
    index: &Raw,
    taking: &mut Taking,
) -> anyhow::Result<(Vec<Exchange>, Option<Failure>)> {
    let entries = match Index::read(&index.body, &index.url, vendor.patterns(), &config.limits) {
        Ok(index) => index.entries,
        Err(error) => {
            eprintln!("no archive is asked for: the index cannot be read ({error})");
            return Ok((Vec::new(), None));
        }
    };
    let (mut exchanges, mut asked, mut not_kept) = (Vec::new(), BTreeSet::new(), None);
    let mut left = config.limits.run_bytes;
    for entry in entries {
        if !asked.insert(entry.url.clone()) {
            continue;
        }
        let limit = config.limits.archive_bytes.min(MAX_ARCHIVE).min(left);
        let raw = match vendor.get_raw(&entry.url, limit).await {
            Ok(raw) => raw,
            Err(error) => {
                let failure = Failure::of(&error);
                eprintln!("{} is not kept: {failure}", shown(&entry.url));
                not_kept.get_or_insert(failure);
                continue;
            }
        };
        eprintln!("{}", shown(&entry.url));
        left -= raw.body.len() as u64;
        let path = format!("archives/{}-{}", exchanges.len(), entry.name);
        let body = taking.keep(&path, &raw.body, raw.is_whole)?;
        exchanges.push(taking.exchange(&entry.url, &raw, Some(body)));
        let rest = if left == 0 {
            let message =
                "the archives have more bytes than a run may; if they are genuine, raise run_bytes in [limits]";
            Some(Failure::new(Reason::TooLarge, message))
        } else if ASKS_FOR_PAUSE.contains(&raw.status) || raw.header("retry-after").is_some() {
            let message = format!("{} was answered with status {}; try again later", shown(&entry.url), raw.status);
            Some(Failure::new(Reason::RateLimited, message))
        } else {
            None
        };
        if let Some(failure) = rest {
            eprintln!("nothing more is asked for: {failure}");
            not_kept.get_or_insert(failure);
            break;
        }
    }
    Ok((exchanges, not_kept))
}

/// Parts that wait to be written.
struct Taking {
    directory: TempDir,
    parts: Vec<Part>,
    shape_only: bool,
}

impl Taking {
    fn index(&mut self, url: &Url, raw: &Raw) -> anyhow::Result<Exchange> {
        let kept = if self.shape_only { capture::shape(&raw.body) } else { Some(raw.body.clone()) };
        if kept.is_none() {
            eprintln!(
                "what came is no XML, so there is no structure to keep; without --shape-only it is kept as it is"
            );
        }
        let body = kept.map(|bytes| self.keep("index/body", &bytes, raw.is_whole)).transpose()?;
        let exchange = self.exchange(url, raw, body);
        self.keep("index/headers", exchange.head().as_bytes(), true)?;
        Ok(exchange)
    }

    fn keep(&mut self, path: &str, bytes: &[u8], is_whole: bool) -> anyhow::Result<Body> {
        let file = self.directory.path().join(self.parts.len().to_string());
        std::fs::write(&file, bytes).map_err(|error| cannot_write(&file, &error))?;
        self.parts.push(Part { path: path.to_owned(), file });
        Ok(Body { path: path.to_owned(), length: bytes.len() as u64, sha256: Digest::of(bytes), is_whole })
    }

    fn exchange(&self, url: &Url, raw: &Raw, body: Option<Body>) -> Exchange {
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        let redirect = |redirect: &crate::upstream::Redirect| Redirect {
            from: without_query(&redirect.from),
            status: redirect.status,
            to: without_query(&redirect.to),
        };
        Exchange {
            url: if self.shape_only { without_query(url) } else { url.clone() },
            redirects: raw.redirects.iter().map(redirect).collect(),
            // What was asked for stays as it was; where a redirect leads may be signed for us alone.
            found: if raw.redirects.is_empty() && !self.shape_only { url.clone() } else { without_query(&raw.url) },
            request: vec![
                header("host", &host(raw.redirects.last().map_or(url, |redirect| &redirect.to))),
                header("user-agent", USER_AGENT),
                header("accept-encoding", "identity"),
            ],
            status: raw.status,
            headers: raw.headers.iter().map(|(name, value)| self.header(name, value)).collect(),
            body,
        }
    }

    fn header(&self, name: &str, value: &[u8]) -> Header {
        let value = if capture::is_secret_header(name) || name == "location" {
            REMOVED.to_owned()
        } else if self.shape_only && !KEPT_IN_SHAPE.contains(&name) {
            format!("({} bytes)", value.len())
        } else {
            String::from_utf8_lossy(value).into_owned()
        };
        Header { name: name.to_owned(), value }
    }

    fn chains(&mut self, vendor: &Vendor) -> anyhow::Result<Vec<Chain>> {
        let mut number = 0;
        let mut chains = Vec::new();
        for (host, presented) in vendor.verifier().all_presented() {
            let mut certificates = Vec::new();
            for (der, facts) in presented.certificates.iter().zip(presented.facts()) {
                let path = format!("chain/{number}.der");
                number += 1;
                self.keep(&path, der, true)?;
                let facts = facts.ok().and_then(|facts| serde_json::to_value(facts).ok()).unwrap_or_default();
                certificates.push(Certificate { path, facts });
            }
            let refused = presented.outcome.err().map(|failure| failure.to_string());
            chains.push(Chain { host, refused, certificates });
        }
        Ok(chains)
    }

    /// The index first, then the chain, then the archives, as the layout says.
    fn in_order(&self) -> Vec<Part> {
        let place =
            |part: &Part| ["index/", "chain/", "archives/"].iter().position(|folder| part.path.starts_with(folder));
        let mut parts = self.parts.clone();
        parts.sort_by_key(place);
        parts
    }
}

/// As `Host` has it: with the port where that is not https's own.
fn host(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Writes beside the file and renames, so that nobody finds half a capture, and never over another.
fn write(out: &Path, capture: &Capture, parts: &[Part]) -> anyhow::Result<()> {
    let cannot = |error: &std::io::Error| cannot_write(out, error);
    let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(directory).map_err(|error| cannot(&error))?;
    let mut file = capture::write(file, capture, parts).map_err(failed)?;
    file.flush().and_then(|()| file.as_file().sync_all()).map_err(|error| cannot(&error))?;
    file.persist_noclobber(out).map_err(|error| cannot(&error.error))?;
    Ok(())
}

fn told(out: &Path, capture: &Capture) -> String {
    let index = &capture.index;
    let length = index.body.as_ref().map_or_else(|| "not kept".to_owned(), kept);
    let mut text = format!("{}\n  index     {} ({}, {length})\n", out.display(), shown(&index.url), index.status);
    for redirect in &index.redirects {
        text.push_str(&format!("  redirect  {} to {}\n", redirect.status, shown(&redirect.to)));
    }
    for chain in &capture.chains {
        let trusted = if chain.refused.is_some() { "refused" } else { "trusted" };
        text.push_str(&format!("  chain     {}: {} certificates, {trusted}\n", chain.host, chain.certificates.len()));
    }
    for archive in &capture.archives {
        let length = archive.body.as_ref().map_or_else(|| "not kept".to_owned(), kept);
        text.push_str(&format!("  archive   {} ({}, {length})\n", shown(&archive.url), archive.status));
    }
    text.push_str(if capture.shape_only {
        "It holds the index's structure, kinds and lengths of its values, host names and the chain; no content, and no \
         passwords, proxies or cookies. Look through it before you share it: it is a zip of plain files.\n"
    } else {
        "It holds upstream's bytes as they came; no passwords, proxies or cookies. Share the content only where the \
         vendor's terms allow it, and else make one with --shape-only.\n"
    });
    text
}

fn kept(body: &Body) -> String {
    let cut = if body.is_whole { "" } else { ", CUT OFF there by [limits]" };
    format!("{}{cut}", shown_bytes(body.length))
}
