//! The keys of `[upstream]`: where the feed comes from, whom to trust for it, and the way there.

use std::path::{Path, PathBuf};

use bundles::index::Patterns;
use bundles::{Component, Reasoned as _};
use url::Url;

use super::document::{Entry, Section};
use super::proxy::{check_username, parse_proxy_url};
use super::values::{host, string, strings, url};
use super::{AllowedHost, Bypass, DEFAULT_URL, Proxy, ProxyUrl, Upstream, UpstreamKind};

/// What people copy.
const MIRROR_EXAMPLE: &str = "https://feed.example.net:8443";

/// As above.
const PROXY_EXAMPLE: &str = "http://proxy.example.com:3128";

/// What people copy. Where the zip itself is, the vendor's page `…/web/secure/spa/posture-offline.html` says (domain facts).
const ZIP_EXAMPLE: &str = "https://www.cisco.com/web/secure/spa/posture-offline.zip";

pub(super) fn upstream(section: &Section<'_, '_>, base_dir: &Path) -> Upstream {
    let default = Upstream::default();
    let read = section.get("kind", kind);
    let kind = read.unwrap_or(default.kind);
    let trust_anchors = section.get("trust_anchors", |entry| {
        let anchors = strings(entry, "root certificates' names or PEM files")?;
        if anchors.is_empty() {
            entry.wrong("is empty, so no upstream could be trusted; name a root certificate or a PEM file");
            return None;
        }
        Some(anchors)
    });
    // https alone: http has nobody to trust.
    let example = if kind == UpstreamKind::Mirror { MIRROR_EXAMPLE } else { DEFAULT_URL };
    let index = section.get("url", |entry| url(entry, &["https"], example));
    let follows = kind == UpstreamKind::Mirror && section.entry("url").is_some();
    let index = index.unwrap_or(default.url);
    let fallback_urls = section.get("fallback_urls", |entry| Some(fallback_urls(entry, &index, example)));
    let allowed_hosts = section.get("allowed_hosts", |entry| Some(allowed_hosts(entry)));
    let fallback_urls = fallback_urls.unwrap_or_default();
    let indexes = [std::slice::from_ref(&index), &fallback_urls].concat();
    let offline_zip_url = section.get("offline_zip_url", |entry| offline_zip_url(entry, &indexes));
    let root = section.get("root", |entry| string(entry, "the path of a root file"));
    let upstream = Upstream {
        kind,
        url: index,
        follows,
        root: root.map(|path| base_dir.join(path)),
        fallback_urls,
        offline_zip_url,
        trust_anchors: trust_anchors.unwrap_or(default.trust_anchors),
        base_dir: base_dir.to_owned(),
        allowed_hosts: allowed_hosts.unwrap_or_default(),
        proxy: proxy(&section.section("proxy")),
        components: components(&section.section("components")),
    };
    // What would fit a kind that is none nobody knows.
    if read.is_some() || section.entry("kind").is_none() {
        fits(section, &upstream);
    }
    section.finish();
    upstream
}

fn kind(entry: &Entry<'_, '_>) -> Option<UpstreamKind> {
    const WANTED: &str = "\"vendor\", \"mirror\" or \"none\"";
    let text = string(entry, WANTED)?;
    let known = [UpstreamKind::Vendor, UpstreamKind::Mirror, UpstreamKind::None];
    let kind = known.into_iter().find(|kind| kind.as_str() == text);
    if kind.is_none() {
        entry.wrong(format!("{text:?} is no kind of upstream; write {WANTED}"));
    }
    kind
}

/// What stands there does something for this kind of upstream, and what it needs stands there.
fn fits(section: &Section<'_, '_>, upstream: &Upstream) {
    let refuse = |keys: &[&'static str], why: &str| {
        for entry in keys.iter().filter_map(|key| section.entry(key)).filter(|entry| !entry.is_empty()) {
            entry.wrong(why);
        }
    };
    match (upstream.kind, section.entry("kind")) {
        (kind @ (UpstreamKind::Vendor | UpstreamKind::None), _) => {
            refuse(&["root"], "does nothing where upstream.kind is not \"mirror\"; leave it out");
            if kind == UpstreamKind::None {
                refuse(
                    &["offline_zip_url"],
                    "does nothing where upstream.kind is \"none\"; leave it out: `feed-server bundle import ZIP --vendor` \
                     takes a zip that was fetched in another way",
                );
            }
        }
        (UpstreamKind::Mirror, entry) => {
            refuse(
                &["offline_zip_url"],
                "does nothing where upstream.kind is \"mirror\": releases carry the vendor's zip where their origin does; \
                 leave it out",
            );
            if let Some(entry) = entry.filter(|_| section.entry("root").is_none()) {
                entry.wrong(
                    "is \"mirror\", and nothing says whose releases to take; set upstream.root to the root file that \
                     `feed-server keys export-root` writes on the origin (with --offline where bundles are carried here)",
                );
            }
            refuse(
                &["components"],
                "does nothing where upstream.kind is \"mirror\": releases are taken as their origin made them; leave it out",
            );
            if let Some(entry) = section.entry("url").filter(|_| section.entry("trust_anchors").is_none()) {
                entry.wrong(
                    "is a feed-server's, and nobody is trusted to vouch for its certificate; set upstream.trust_anchors to \
                     the root of the authority that issued it, as a PEM file or by name",
                );
            }
            if !upstream.follows {
                refuse(
                    &["fallback_urls", "allowed_hosts", "trust_anchors", "proxy"],
                    "does nothing for a mirror without upstream.url, which is fed by hand; leave it out, or set upstream.url \
                     to the feed-server to follow",
                );
            }
        }
    }
}

fn fallback_urls(entry: &Entry<'_, '_>, index: &Url, example: &str) -> Vec<Url> {
    let mut urls: Vec<Url> = Vec::new();
    for item in entry.items("URLs of the index") {
        match url(&item, &["https"], example) {
            Some(url) if url == *index => item.wrong("is upstream.url itself; write another one, or leave it out"),
            Some(url) if urls.contains(&url) => item.wrong("stands here twice; leave one of them out"),
            Some(url) => urls.push(url),
            None => {}
        }
    }
    urls
}

fn offline_zip_url(entry: &Entry<'_, '_>, indexes: &[Url]) -> Option<Url> {
    let zip = url(entry, &["https"], ZIP_EXAMPLE)?;
    if indexes.contains(&zip) {
        entry.wrong("is a URL of the index, and not of the vendor's zip; write that one, or leave the key out");
        return None;
    }
    Some(zip)
}

fn allowed_hosts(entry: &Entry<'_, '_>) -> Vec<AllowedHost> {
    let mut hosts: Vec<AllowedHost> = Vec::new();
    for item in entry.items("host names") {
        match allowed_host(&item) {
            Some(allowed) if hosts.iter().any(|known| known.host == allowed.host) => {
                item.wrong(format!("names {} twice; leave one of them out", allowed.host));
            }
            Some(allowed) => hosts.push(allowed),
            None => {}
        }
    }
    hosts
}

fn allowed_host(item: &Entry<'_, '_>) -> Option<AllowedHost> {
    const WANTED: &str =
        "host names, each in quotes, or { host = \"iseservice.cisco.com\", trust_anchors = [\"its-root.pem\"] }";
    if let Some(text) = item.value.as_str() {
        return Some(AllowedHost { host: host(item, text)?, trust_anchors: None });
    }
    let Some(table) = item.table() else {
        item.wrong_type(WANTED);
        return None;
    };
    let name = table.get("host", |entry| host(entry, &string(entry, "a host name")?));
    if table.entry("host").is_none() {
        item.wrong(format!("has no host; write {WANTED}"));
    }
    let trust_anchors = table.get("trust_anchors", |entry| {
        let anchors = anchors(entry)?;
        if anchors.is_empty() {
            entry.wrong("is empty, so the host could not be trusted; name a root certificate or a PEM file, or leave the key out");
        }
        Some(anchors)
    });
    table.finish();
    Some(AllowedHost { host: name?, trust_anchors })
}

fn anchors(entry: &Entry<'_, '_>) -> Option<Vec<String>> {
    strings(entry, "root certificates' names or PEM files")
}

fn proxy(section: &Section<'_, '_>) -> Proxy {
    let url = section.get("url", proxy_url).unwrap_or_default();
    let username = section.get("username", |entry| {
        let text = string(entry, "the user name that the proxy asks for")?;
        if let Err(mistake) = check_username(&text) {
            entry.wrong(format!("{mistake}; write it as the proxy knows it"));
        }
        Some(text)
    });
    let password_file = section.get("password_file", |entry| string(entry, "the path of a file that holds a password"));
    let bypass = section.get("bypass", |entry| {
        let entries = strings(entry, "hosts")?;
        for one in &entries {
            if let Err(mistake) = Bypass::parse([one.as_str()]) {
                entry.wrong(mistake.to_string());
            }
        }
        Some(entries)
    });
    let trust_anchors = section.get("trust_anchors", anchors).unwrap_or_default();
    match (section.entry("username"), section.entry("password_file")) {
        (Some(entry), None) => entry.wrong("stands without upstream.proxy.password_file; write both, or neither"),
        (None, Some(entry)) => entry.wrong("stands without upstream.proxy.username; write both, or neither"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    match &url {
        ProxyUrl::FromEnvironment => {}
        ProxyUrl::None => {
            for key in ["username", "password_file", "bypass", "trust_anchors"] {
                if let Some(entry) = section.entry(key).filter(|entry| !entry.is_empty()) {
                    entry.wrong("does nothing where upstream.proxy.url is \"none\"; leave it out, or name a proxy");
                }
            }
        }
        ProxyUrl::Url(url) => match (url.scheme() == "https", section.entry("trust_anchors")) {
            (false, Some(entry)) if !trust_anchors.is_empty() => entry.wrong(
                "is for a proxy that is spoken to by TLS, and upstream.proxy.url begins with http://; leave it out, or \
                 write https:// there",
            ),
            (true, _) if trust_anchors.is_empty() => {
                if let Some(entry) = section.entry("url") {
                    entry.wrong(
                        "begins with https://, so the proxy shows a certificate, and nobody is trusted to vouch for it; \
                         set upstream.proxy.trust_anchors to its root, by name or as a PEM file",
                    );
                }
            }
            (false | true, _) => {}
        },
    }
    section.finish();
    Proxy {
        url,
        username,
        password_file: password_file.map(PathBuf::from),
        bypass: bypass.unwrap_or_default(),
        trust_anchors,
    }
}

fn proxy_url(entry: &Entry<'_, '_>) -> Option<ProxyUrl> {
    let text = string(entry, &format!("\"none\", or a URL such as \"{PROXY_EXAMPLE}\""))?;
    if text == "none" {
        return Some(ProxyUrl::None);
    }
    match parse_proxy_url(&text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            // The text itself is not repeated: it may hold a password.
            entry.wrong(
                "holds a user name or password, which would end up in logs; set upstream.proxy.username and \
                 upstream.proxy.password_file instead",
            );
            None
        }
        Ok(url) => Some(ProxyUrl::Url(url)),
        Err(mistake) => {
            entry.wrong(mistake.to_string());
            None
        }
    }
}

fn components(section: &Section<'_, '_>) -> Vec<(String, String)> {
    let component = |entry: &Entry<'_, '_>| -> Option<String> {
        let text = string(entry, "a component such as \"conditions\"")?;
        match text.parse::<Component>() {
            Ok(component) => Some(component.to_string()),
            Err(error) => {
                let known: Vec<String> = Component::KNOWN.iter().map(ToString::to_string).collect();
                let known = known.join(", ");
                entry.wrong(format!("{error}; write one of {known}, compliance-module-<name> or other-<name>"));
                None
            }
        }
    };
    let pair = |(pattern, entry): &(&str, Entry<'_, '_>)| {
        let pair = ((*pattern).to_owned(), component(entry)?);
        if let Err(error) = Patterns::with_overrides([pair.clone()]) {
            entry.wrong(format!("{}; write a file name with * and ?, in quotes", error.whole_message()));
        }
        Some(pair)
    };
    section.free().iter().filter_map(pair).collect()
}
