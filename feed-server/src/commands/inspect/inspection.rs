//! What was understood, and what was not, as facts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bundles::archive::{self, Opened};
use bundles::index::{Decision, Entry, Hints, Index, Patterns, Reading, UnusedKind, stem};
use bundles::report::Failure;
use bundles::{Checksum, Component, Digest, FileName, Limits, Reason, Reasoned as _, Version};
use serde::Serialize;
use url::Url;

use super::source::{Kind, Material, same_name};
use crate::config::Upstream;
use crate::sync::versions::{FileVersion, VersionFrom, of_component};

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Inspection {
    pub(super) kind: Kind,
    pub(super) source: String,
    /// Absent for a zip without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<IndexFacts>,
    pub(super) files: Vec<FileFacts>,
    pub(super) update_information: Vec<Row>,
    pub(super) hosts: Vec<HostFacts>,
    /// Lines for `[upstream.components]`.
    pub(super) unmapped: Vec<Unmapped>,
    pub(super) not_used: Vec<NotUsed>,
    /// How many more there were.
    pub(super) not_used_left_out: usize,
    /// Members of a zip that were not looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) members_left: Vec<MemberLeft>,
}

/// The index as a whole.
#[derive(Debug, Serialize)]
pub(super) struct IndexFacts {
    pub(super) base: Url,
    pub(super) length: u64,
    pub(super) sha256: Digest,
    pub(super) encoding: &'static str,
    pub(super) root: String,
    pub(super) reading: Reading,
}

/// One file.
#[derive(Debug, Serialize)]
pub(super) struct FileFacts {
    pub(super) component: Component,
    pub(super) name: FileName,
    /// What decided the component; absent where nothing matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decided: Option<Decided>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_from: Option<VersionFrom>,
    /// What the index says of it; absent where it does not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) named: Option<Named>,
    /// What is in it; absent where it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) archive: Option<ArchiveFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<Failure>,
}

#[derive(Debug, Serialize)]
pub(super) struct Decided {
    pub(super) pattern: String,
    /// Of `[upstream.components]`, and not built in.
    pub(super) own: bool,
    /// The text that it matched.
    pub(super) text: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Named {
    pub(super) url: Url,
    pub(super) locator: String,
    pub(super) element: String,
    pub(super) line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct ArchiveFacts {
    pub(super) length: u64,
    pub(super) sha256: Digest,
    pub(super) payload_length: u64,
    pub(super) payload_sha256: Digest,
    pub(super) members: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Version>,
}

/// One row of Update Information, or a component beyond its five.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) component: Component,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<&'static str>,
    pub(super) files: usize,
    pub(super) version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_from: Option<VersionFrom>,
}

/// A host that is named anywhere.
#[derive(Debug, Serialize)]
pub(super) struct HostFacts {
    pub(super) host: String,
    /// How many files would be fetched from it.
    pub(super) files: usize,
    pub(super) allowed: bool,
    /// The line of configuration that allows it, or would.
    pub(super) line: String,
}

/// A file that no pattern matched.
#[derive(Debug, Serialize)]
pub(super) struct Unmapped {
    pub(super) name: FileName,
    pub(super) component: Component,
    /// To be added to `[upstream.components]`.
    pub(super) line: String,
    /// What else the line could name.
    pub(super) or: Vec<Component>,
}

#[derive(Debug, Serialize)]
pub(super) struct NotUsed {
    pub(super) kind: &'static str,
    pub(super) value: String,
    pub(super) element: String,
    pub(super) line: usize,
    pub(super) why: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct MemberLeft {
    pub(super) name: String,
    pub(super) why: &'static str,
}

impl Inspection {
    /// Reads the material; takes as long as opening its archives does.
    pub(super) fn of(
        material: &Material,
        patterns: &Patterns,
        limits: &Limits,
        upstream: &Upstream,
    ) -> Result<Self, Failure> {
        let index = match &material.index {
            None => None,
            Some(bytes) => Some(Index::read(bytes, &material.base, patterns, limits).map_err(|error| {
                let message = format!("{} cannot be used as an index: {}", material.source, error.whole_message());
                Failure::new(error.reason(), message)
            })?),
        };
        let entries = index.as_ref().map(|index| index.entries.as_slice()).unwrap_or_default();
        let mut files: Vec<FileFacts> =
            entries.iter().map(|entry| FileFacts::of_entry(entry, material, limits)).collect();
        for (name, path) in &material.members {
            if !entries.iter().any(|entry| same_name(&entry.name, name)) {
                files.push(FileFacts::of_member(name, path, patterns, limits));
            }
        }
        let update_information = rows(&files);
        Ok(Self {
            kind: material.kind,
            source: material.source.clone(),
            unmapped: unmapped(&files, &update_information),
            hosts: hosts(index.as_ref(), &material.base, upstream),
            update_information,
            files,
            not_used: index.iter().flat_map(|index| &index.unused).map(NotUsed::of).collect(),
            not_used_left_out: index.as_ref().map_or(0, |index| index.unused_left_out),
            members_left: material.left.iter().map(|(name, why)| MemberLeft { name: name.clone(), why }).collect(),
            index: index.zip(material.index.as_ref()).map(|(index, bytes)| IndexFacts {
                base: material.base.clone(),
                length: bytes.len() as u64,
                sha256: Digest::of(bytes),
                encoding: index.encoding,
                root: index.root,
                reading: index.reading,
            }),
        })
    }

    /// What is wrong with the first file with which anything is.
    pub(super) fn first_problem(&self) -> Option<&Failure> {
        self.files.iter().find_map(|file| file.problem.as_ref())
    }
}

impl FileFacts {
    fn of_entry(entry: &Entry, material: &Material, limits: &Limits) -> Self {
        let looked = match material.archive(entry) {
            None => Ok(None),
            Some(path) => path.and_then(|path| look(path, &entry.name, Some(entry), limits)).map(Some),
        };
        let named = Named {
            url: entry.url.clone(),
            locator: entry.locator.clone(),
            element: entry.element.clone(),
            line: entry.line,
            version: entry.version.clone(),
            checksum: entry.checksum.as_ref().map(ToString::to_string),
            size: entry.size,
        };
        Self::new(entry.component.clone(), &entry.name, entry.decided.clone(), Some(named), looked)
    }

    fn of_member(name: &FileName, path: &Path, patterns: &Patterns, limits: &Limits) -> Self {
        let (component, decided) = patterns.decide(name, &Hints::default());
        Self::new(component, name, decided, None, look(path, name, None, limits).map(Some))
    }

    fn new(
        component: Component,
        name: &FileName,
        decided: Option<Decision>,
        named: Option<Named>,
        looked: Result<Option<Opened>, Failure>,
    ) -> Self {
        let (opened, problem) = match looked {
            Ok(opened) => (opened, None),
            Err(failure) => (None, Some(failure)),
        };
        let version = FileVersion {
            index: named.as_ref().and_then(|named| named.version.as_ref()),
            inner: opened.as_ref().and_then(|opened| opened.version.as_ref()),
            payload: opened.as_ref().map(|opened| opened.payload.sha256),
        };
        let (version, version_from) = of_component(&component, &[version]).unzip();
        let decided = decided.map(|Decision { pattern, is_own, text }| Decided { pattern, own: is_own, text });
        let archive = opened.map(|opened| ArchiveFacts {
            length: opened.archive.length,
            sha256: opened.archive.sha256,
            payload_length: opened.payload.length,
            payload_sha256: opened.payload.sha256,
            members: opened.members,
            version: opened.version,
        });
        Self { component, name: name.clone(), decided, version, version_from, named, archive, problem }
    }
}

/// Opens an archive, and holds it to what the index promises.
fn look(path: &Path, name: &FileName, entry: Option<&Entry>, limits: &Limits) -> Result<Opened, Failure> {
    let failure =
        |reason: Reason, why: String| Failure::new(reason, format!("the archive {name} cannot be used: {why}"));
    let unreadable =
        |error: io::Error| failure(Reason::Storage, format!("it cannot be read ({error}); check the disk"));
    let mut file = File::open(path).map_err(unreadable)?;
    let opened = archive::open(&mut file, name, limits, &mut io::sink())
        .map_err(|error| failure(error.reason(), error.whole_message()))?;
    if let Some(size) = entry.and_then(|entry| entry.size).filter(|size| *size != opened.archive.length) {
        let reason = if opened.archive.length < size { Reason::Truncated } else { Reason::DigestMismatch };
        return Err(failure(reason, format!("it has {} bytes, and the index promises {size}", opened.archive.length)));
    }
    if let Some(checksum) = entry.and_then(|entry| entry.checksum.as_ref()) {
        let found = checksum_of(path, checksum).map_err(unreadable)?;
        if let Err(found) = found {
            return Err(failure(Reason::DigestMismatch, format!("it has {found}, and the index promises {checksum}")));
        }
    }
    Ok(opened)
}

fn checksum_of(path: &Path, promised: &Checksum) -> io::Result<Result<(), Checksum>> {
    let mut verifier = promised.verifier();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(verifier.finish()),
            count => verifier.update(&buffer[..count]),
        }
    }
}

fn rows(files: &[FileFacts]) -> Vec<Row> {
    let mut of: BTreeMap<&Component, Vec<FileVersion<'_>>> = BTreeMap::new();
    for file in files {
        let version = FileVersion {
            index: file.named.as_ref().and_then(|named| named.version.as_ref()),
            inner: file.archive.as_ref().and_then(|archive| archive.version.as_ref()),
            payload: file.archive.as_ref().map(|archive| archive.payload_sha256),
        };
        of.entry(&file.component).or_default().push(version);
    }
    let row = |component: &Component, versions: &[FileVersion<'_>]| {
        let (version, version_from) =
            if versions.is_empty() { (None, None) } else { of_component(component, versions).unzip() };
        let (component, label) = (component.clone(), component.label());
        Row { component, label, files: versions.len(), version, version_from }
    };
    let mut rows: Vec<Row> =
        Component::KNOWN.iter().map(|known| row(known, of.get(known).map(Vec::as_slice).unwrap_or_default())).collect();
    rows.extend(of.iter().filter(|(component, _)| component.label().is_none()).map(|(component, v)| row(component, v)));
    rows
}

/// The line that would map each file that nothing matched: to a row of the panel that is still empty, as far as there is
/// one.
fn unmapped(files: &[FileFacts], rows: &[Row]) -> Vec<Unmapped> {
    let empty = rows.iter().filter(|row| row.label.is_some() && row.files == 0).map(|row| row.component.clone());
    let mut candidates: Vec<Component> = empty.collect();
    candidates
        .extend(Component::KNOWN.into_iter().filter(|known| rows.iter().any(|r| r.component == *known && r.files > 0)));
    let of = |file: &FileFacts| {
        let (first, or) = candidates.split_first()?;
        Some(Unmapped {
            name: file.name.clone(),
            component: file.component.clone(),
            line: format!("\"{}\" = \"{first}\"", pattern_for(&file.name)),
            or: or.to_vec(),
        })
    };
    files.iter().filter(|file| file.decided.is_none()).filter_map(of).collect()
}

/// The name, with a version at the end of its stem left open.
fn pattern_for(name: &FileName) -> String {
    let stem = stem(name.as_str());
    let rest = &name.as_str()[stem.len()..];
    let numbered =
        rest.trim_start_matches(['-', '_', 'v', 'V', '.']).trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let between = &rest[..rest.len() - numbered.len()];
    if between.chars().any(|c| c.is_ascii_digit()) {
        // As far as the separator, then anything, then the ending: `x-1.2.tar.gz` gives `x-*.tar.gz`.
        let separator = &between[..between.len().min(1)];
        return format!("{stem}{separator}*.{}", numbered.trim_start_matches('.'));
    }
    name.to_string()
}

fn hosts(index: Option<&Index>, base: &Url, upstream: &Upstream) -> Vec<HostFacts> {
    let Some(index) = index else { return Vec::new() };
    let mut files: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    let mut see = |url: &Url, count: usize| {
        if let Some(host) = url.host_str() {
            let (known, insecure) = files.entry(host.to_owned()).or_default();
            *known += count;
            *insecure |= url.scheme() != "https" && count > 0;
        }
    };
    for entry in &index.entries {
        see(&entry.url, 1);
    }
    for unused in index.unused.iter().filter(|unused| unused.kind == UnusedKind::Locator) {
        if let Ok(url) = Url::parse(&unused.value) {
            see(&url, 0);
        }
    }
    see(base, 0);
    let of = |(host, (files, insecure)): (String, (usize, bool))| {
        let allowed_by = allowed_by(&host, base, upstream);
        let allowed = allowed_by.is_some() && !insecure;
        let line = match allowed_by {
            Some(_) if insecure => "no line does: it is named with http, and only https is fetched".to_owned(),
            Some(line) => line,
            None => format!("allowed_hosts = [{}]", with_host(&host, upstream)),
        };
        HostFacts { host, files, allowed, line }
    };
    files.into_iter().map(of).collect()
}

fn allowed_by(host: &str, base: &Url, upstream: &Upstream) -> Option<String> {
    let is = |url: &&Url| url.host_str() == Some(host);
    if let Some(url) = Some(&upstream.url).filter(is) {
        return Some(format!("url = \"{url}\""));
    }
    if let Some(url) = upstream.fallback_urls.iter().find(is) {
        return Some(format!("fallback_urls = [\"{url}\"]"));
    }
    if let Some(url) = upstream.offline_zip_url.as_ref().filter(is) {
        return Some(format!("offline_zip_url = \"{url}\""));
    }
    if upstream.allowed_hosts.iter().any(|allowed| allowed.host == host) {
        return Some(format!("allowed_hosts = [\"{host}\"]"));
    }
    // The index's own host, whatever the configuration says of another index.
    Some(base).filter(is).map(|base| format!("url = \"{base}\""))
}

/// The hosts that are allowed already, and this one.
fn with_host(host: &str, upstream: &Upstream) -> String {
    let known = upstream.allowed_hosts.iter().map(|allowed| match &allowed.trust_anchors {
        None => format!("{:?}", allowed.host),
        Some(anchors) => format!("{{ host = {:?}, trust_anchors = {anchors:?} }}", allowed.host),
    });
    known.chain([format!("{host:?}")]).collect::<Vec<_>>().join(", ")
}

impl NotUsed {
    fn of(unused: &bundles::index::Unused) -> Self {
        Self {
            kind: unused.kind.as_str(),
            value: unused.value.clone(),
            element: unused.element.clone(),
            line: unused.line,
            why: unused.why.unwrap_or("nothing that is known stands there"),
        }
    }
}
