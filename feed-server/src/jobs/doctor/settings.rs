//! What is configured, without secrets.

use std::path::{Path, PathBuf};

use certs::{Anchor, DEFAULT_ANCHOR};
use serde::Serialize;

use crate::config::{Config, Role};
use crate::upstream::doctor::Route;
use crate::upstream::proxy::{Origin, Proxy};
use crate::upstream::{Vendor, shown};

pub(super) const HTTPS: u16 = 443;

/// SHA-256 of [`DEFAULT_ANCHOR`]'s certificate, as browsers and the vendor's documents show it. Of a root in webpki-roots
/// there is only the key, which [`certs`] pins.
const DEFAULT_ANCHOR_CERTIFICATE: &str = "5d56499be4d2e08bcfcad08a3e38723d50503bde706948e42f55603019e528ae";

/// The origin of roots of Mozilla's list, as [`certs`] says it.
const PUBLIC_ROOTS: &str = "webpki-roots";

/// What is configured.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Where it was read from; absent where every key has its default.
    pub file: Option<PathBuf>,
    /// `origin` or `relay`.
    pub role: &'static str,
    /// Whether anything is fetched, and from whom.
    pub upstream: &'static str,
    /// The root file that a relay trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// The index's URL, then others in order.
    pub sources: Vec<String>,
    /// Where the vendor's own zip is fetched from, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offline_zip: Option<String>,
    /// Who may vouch for upstream.
    pub trust_anchors: Vec<AnchorFacts>,
    /// Other hosts that archives may come from.
    pub allowed_hosts: Vec<String>,
    /// The proxy, where there is one.
    pub proxy: Option<ProxyFacts>,
    /// Seconds between runs.
    pub every_seconds: u64,
    /// Where data is.
    pub data_directory: PathBuf,
}

/// A root that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnchorFacts {
    /// Its name.
    pub name: String,
    /// Where it came from.
    pub origin: String,
    /// SHA-256 of its public key.
    pub key_sha256: String,
    /// SHA-256 of its certificate, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<&'static str>,
}

/// A proxy. Its password is never read into here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProxyFacts {
    /// `scheme://user@host:port`
    pub url: String,
    /// Who says so.
    pub origin: String,
    /// The user name, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Where the password is read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_from: Option<String>,
    /// What is reached without it.
    pub bypass: Vec<String>,
}

impl Settings {
    pub(super) fn of(config: &Config, file: Option<&Path>) -> Self {
        let upstream = &config.upstream;
        let sources = std::iter::once(&upstream.url).chain(&upstream.fallback_urls).map(shown).collect();
        // What a relay that is fed by hand would ask nobody has to know.
        let has_sources = upstream.role() == Role::Origin || upstream.fetches();
        Self {
            file: file.map(Path::to_owned),
            role: upstream.role().as_str(),
            upstream: upstream.kind.as_str(),
            root: upstream.root.clone(),
            sources: if has_sources { sources } else { Vec::new() },
            offline_zip: upstream.offline_zip_url.as_ref().map(shown),
            trust_anchors: Vec::new(),
            allowed_hosts: upstream.allowed_hosts.iter().map(|allowed| allowed.host.clone()).collect(),
            proxy: None,
            every_seconds: config.schedule.every.as_secs(),
            data_directory: config.data.directory.clone(),
        }
    }

    /// What the files say that the configuration names.
    pub(super) fn learn(&mut self, vendor: &Vendor, config: &Config) {
        self.trust_anchors = vendor.verifier().anchors().iter().map(AnchorFacts::of).collect();
        self.proxy = vendor.proxies().proxy().map(|proxy| ProxyFacts::of(proxy, config));
    }

    pub(super) fn seen(&self) -> String {
        let file = self.file.as_ref().map_or_else(
            || "no configuration file, so that every key has its default".to_owned(),
            |file| file.display().to_string(),
        );
        let names: Vec<String> = self.trust_anchors.iter().map(AnchorFacts::shown).collect();
        if names.is_empty() { file } else { format!("{file}; trusts {}", names.join(", ")) }
    }
}

impl AnchorFacts {
    /// A name, and where it is from: a file may call its root as it likes.
    pub(super) fn shown(&self) -> String {
        if self.origin == PUBLIC_ROOTS {
            format!("{} (of Mozilla's list)", self.name)
        } else {
            format!("{} (from {})", self.name, self.origin)
        }
    }

    pub(in crate::jobs) fn of(anchor: &Anchor) -> Self {
        let sha256 =
            (anchor.name() == DEFAULT_ANCHOR && anchor.origin() == PUBLIC_ROOTS).then_some(DEFAULT_ANCHOR_CERTIFICATE);
        Self {
            name: anchor.name().to_owned(),
            origin: anchor.origin().to_owned(),
            key_sha256: anchor.key_sha256(),
            sha256,
        }
    }
}

impl ProxyFacts {
    fn of(proxy: &Proxy, config: &Config) -> Self {
        let settings = &config.upstream.proxy;
        let password_from = proxy.credentials().map(|_| match (&settings.username, &settings.password_file) {
            (Some(_), Some(file)) => file.display().to_string(),
            (_, _) => proxy.origin().to_string(),
        });
        Self {
            url: proxy.identity(),
            origin: proxy.origin().to_string(),
            username: proxy.credentials().map(|credentials| credentials.username.clone()),
            password_from,
            bypass: settings.bypass.clone(),
        }
    }

    fn shown(&self) -> String {
        let user = match (&self.username, &self.password_from) {
            (Some(name), Some(from)) => format!(", user name {name}, password from {from}"),
            (_, _) => ", no user name".to_owned(),
        };
        format!("{} (from {}){user}", self.url, self.origin)
    }
}

/// How the index's host is reached.
pub(super) fn route(vendor: &Vendor, settings: &Settings) -> Route {
    let url = vendor.index_url();
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(HTTPS));
    let proxies = vendor.proxies();
    let proxy = proxies.route(host, port).and(settings.proxy.as_ref()).map(ProxyFacts::shown);
    let direct = match proxies.proxy().map(Proxy::origin) {
        None => String::new(),
        Some(Origin::Configuration) => format!("bypassed for {host} by [upstream.proxy] bypass"),
        Some(Origin::Environment { .. }) => {
            format!("bypassed for {host} by NO_PROXY or [upstream.proxy] bypass")
        }
    };
    Route { proxy, direct }
}
