//! The configuration: every key read into a type that cannot hold a wrong value, all mistakes reported at once.
//!
//! A file per concern: [`error`] what is said of mistakes, `document` walking TOML with lines, `values` what a text can
//! mean (`proxy` and `bypass` what it can mean of proxies, in the environment too), `sections` which keys there are
//! (`upstream` those of `[upstream]`), `origins` where values come from, and `effective` what holds in the end.

mod bypass;
mod document;
mod effective;
pub mod error;
mod origins;
mod proxy;
mod sections;
#[cfg(test)]
mod tests;
mod upstream;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundles::Limits;
pub use bypass::{Bypass, BypassMistake};
pub use effective::{HIDDEN, Setting, listed, masked, masked_proxy, quoted};
pub use error::{ConfigErrors, Mistake};
pub use origins::{Origin, Origins};
pub use proxy::{CredentialMistake, MAX_CREDENTIAL, ProxyUrlMistake};
pub(crate) use proxy::{check_password, check_username, parse_proxy_url};
use url::Url;
pub(crate) use values::parse_duration;

/// The vendor's index (design, domain facts).
pub const DEFAULT_URL: &str = "https://www.cisco.com/web/secure/spa/posture-update.xml";

/// The one root that is to be trusted for it (domain facts: "trust for authenticating Cisco services").
pub const DEFAULT_TRUST_ANCHOR: &str = "IdenTrust Commercial Root CA 1";

/// Reads a configuration file. Relative paths in it are relative to its directory.
///
/// # Errors
/// The file cannot be read, or every mistake in it.
pub fn read(path: &Path) -> Result<Config, ConfigErrors> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigErrors::unreadable(path, &error))?;
    let config = parse(&text, path.parent().unwrap_or(Path::new(""))).map_err(|errors| errors.of_file(path))?;
    Ok(Config { origins: config.origins.in_file(path), ..config })
}

/// Reads a configuration. `base_dir` is what relative paths in it are relative to; no file is opened.
///
/// # Errors
/// Every mistake in it, with its line.
pub fn parse(text: &str, base_dir: &Path) -> Result<Config, ConfigErrors> {
    let mistakes = document::Mistakes::new(text);
    let root = document::Section::root(text, &mistakes);
    let config = sections::config(&root, base_dir);
    mistakes.none_or_all().map(|()| Config { origins: Origins::of_text(text), ..config })
}

/// Everything that can be configured, with defaults for all of it: `feed-server serve` works without a file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the feed comes from.
    pub upstream: Upstream,
    /// When it is fetched.
    pub schedule: Schedule,
    /// Where the server listens.
    pub listen: Listen,
    /// What clients are told about the server.
    pub serve: Serve,
    /// Where data is kept, and how much of it.
    pub data: Data,
    /// Zips.
    pub bundles: Bundles,
    /// What is prepared for those who hold older content.
    pub increments: Increments,
    /// What signing keys need.
    pub signing: Signing,
    /// What input may cost.
    pub limits: Limits,
    /// Where all this comes from.
    pub origins: Origins,
}

/// `[upstream]`
#[derive(Debug, Clone)]
pub struct Upstream {
    /// `kind`
    pub kind: UpstreamKind,
    /// `url` of the index; where a mirror has one, of the feed-server that it follows.
    pub url: Url,
    /// For a mirror: whether it has a `url` to follow, or is fed by hand.
    pub follows: bool,
    /// `root`, of a mirror and there only: the root file of the origin whose releases it takes.
    pub root: Option<PathBuf>,
    /// `fallback_urls`: other URLs of the index, asked in this order where the one before cannot be used.
    pub fallback_urls: Vec<Url>,
    /// `offline_zip_url`: the vendor's own zip, fetched beside the index where it is set.
    pub offline_zip_url: Option<Url>,
    /// `trust_anchors`: names in webpki-roots or PEM files (paths as written; relative to the configuration file).
    pub trust_anchors: Vec<String>,
    /// The directory that relative paths in `trust_anchors` are relative to.
    pub base_dir: PathBuf,
    /// `allowed_hosts` besides the index's own.
    pub allowed_hosts: Vec<AllowedHost>,
    /// `[upstream.proxy]`
    pub proxy: Proxy,
    /// `[upstream.components]`: pattern and component, in the order given; they go before the built-in ones.
    pub components: Vec<(String, String)>,
}

/// One of `[upstream] allowed_hosts`: `"host"`, or `{ host = "host", trust_anchors = ["…"] }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// As URLs write it.
    pub host: String,
    /// Who may vouch for it, instead of `[upstream] trust_anchors`.
    pub trust_anchors: Option<Vec<String>>,
}

/// `[upstream.proxy]`
#[derive(Debug, Clone, Default)]
pub struct Proxy {
    /// `url`
    pub url: ProxyUrl,
    /// `username`
    pub username: Option<String>,
    /// `password_file`, as written: read anew for each run.
    pub password_file: Option<PathBuf>,
    /// `bypass`: hosts that are reached without it, as written.
    pub bypass: Vec<String>,
    /// `trust_anchors` of the proxy itself, where its URL is https: names in webpki-roots or PEM files.
    pub trust_anchors: Vec<String>,
}

/// `[upstream.proxy] url`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxyUrl {
    /// Not set: what `HTTPS_PROXY` and `NO_PROXY` of the environment say.
    #[default]
    FromEnvironment,
    /// `"none"`: no proxy, whatever the environment says.
    None,
    /// `http://host:port` or `https://host:port`.
    Url(Url),
}

/// `[upstream] kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamKind {
    /// The vendor's feed over HTTPS.
    Vendor,
    /// Another feed-server's releases, over HTTPS or carried by hand.
    Mirror,
    /// Nothing is fetched.
    None,
}

impl UpstreamKind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vendor => "vendor",
            Self::Mirror => "mirror",
            Self::None => "none",
        }
    }
}

/// What a feed-server is, by its configuration. A data directory is of one role for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Makes releases and signs them; holds keys.
    Origin,
    /// Serves the bytes that an origin signed; holds none.
    Relay,
}

impl Role {
    /// For labels, files and people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Relay => "relay",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Upstream {
    /// What a feed-server with this upstream is.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self.kind {
            UpstreamKind::Vendor | UpstreamKind::None => Role::Origin,
            UpstreamKind::Mirror => Role::Relay,
        }
    }

    /// Whether anything is fetched over the network.
    #[must_use]
    pub const fn fetches(&self) -> bool {
        match self.kind {
            UpstreamKind::Vendor => true,
            UpstreamKind::Mirror => self.follows,
            UpstreamKind::None => false,
        }
    }
}

/// `[schedule]`
#[derive(Debug, Clone)]
pub struct Schedule {
    /// `initial_delay = "HH:MM:SS"`, on the first start only.
    pub initial_delay: Duration,
    /// `every = "2h"`
    pub every: Duration,
}

/// `[listen]`
#[derive(Debug, Clone)]
pub struct Listen {
    /// `address`; port 0 picks a free one.
    pub address: SocketAddr,
    /// `metrics_address`: a listener of its own for `/metrics`, `/healthz`, `/readyz`.
    pub metrics_address: Option<SocketAddr>,
    /// `tls_certificate` and `tls_key`, PEM files.
    pub tls: Option<Tls>,
    /// `client_ca`: who vouches for certificates that headends show instead of tokens, a PEM file.
    pub client_ca: Option<PathBuf>,
    /// `[limits] connections`: open at once on `address`.
    pub connections: usize,
}

/// `[listen] tls_*`
#[derive(Debug, Clone)]
pub struct Tls {
    /// Chain, leaf first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// `[serve]`
#[derive(Debug, Clone)]
pub struct Serve {
    /// `public_url`: what rewritten locators begin with. Without it: the listening address, where that is one that
    /// others can use.
    pub public_url: Option<Url>,
    /// `rewrite_index`
    pub rewrite_index: bool,
}

/// `[data]`
#[derive(Debug, Clone)]
pub struct Data {
    /// `directory`
    pub directory: PathBuf,
    /// `retain_releases`, at least 1.
    pub retain_releases: usize,
    /// `audit_days`: how long the audit trail's records are kept, days; at least 1.
    pub audit_days: u32,
}

/// `[bundles]`
#[derive(Debug, Clone)]
pub struct Bundles {
    /// `valid_for`: how long the offline repository's timestamp and snapshot last.
    pub valid_for: Duration,
    /// `max_upload`: bytes of a zip that is imported.
    pub max_upload: u64,
    /// `watched_folder`, where it is not the data directory's own.
    pub watched_folder: Option<PathBuf>,
}

/// `[increments]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Increments {
    /// `from_last`: for holders of how many earlier releases; 0 is none.
    pub from_last: usize,
    /// `max_payload`: larger content is prepared in no other form, bytes.
    pub max_payload: u64,
}

/// `[signing]`
#[derive(Debug, Clone, Default)]
pub struct Signing {
    /// `passphrase_file` of encrypted keys, as written.
    pub passphrase_file: Option<PathBuf>,
    /// The directory that it is relative to.
    pub base_dir: PathBuf,
}

/// The watched folder's name in the data directory.
const INCOMING: &str = "incoming";

impl Config {
    /// Where zips that are to be imported are put.
    #[must_use]
    pub fn watched_folder(&self) -> PathBuf {
        self.bundles.watched_folder.clone().unwrap_or_else(|| self.data.directory.join(INCOMING))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upstream: Upstream::default(),
            schedule: Schedule::default(),
            listen: Listen::default(),
            serve: Serve { public_url: None, rewrite_index: true },
            // Two days of updates at two-hour intervals, were every one of them to bring something new.
            // A year, and as long as it takes until somebody looks back on it.
            data: Data { directory: PathBuf::from("feed-data"), retain_releases: 24, audit_days: 400 },
            bundles: Bundles {
                // A quarter: long enough for media to be carried in, short enough that a forgotten enclave is noticed.
                valid_for: Duration::from_hours(90 * 24),
                // A bundle carries the archives of one run and little else, so it is no larger than those may be.
                max_upload: Limits::default().run_bytes,
                watched_folder: None,
            },
            // A day of two-hourly changes.
            increments: Increments { from_last: 12, max_payload: 16 << 20 },
            signing: Signing::default(),
            limits: Limits::default(),
            origins: Origins::default(),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            kind: UpstreamKind::Vendor,
            // A constant that a test parses.
            url: Url::parse(DEFAULT_URL).unwrap_or_else(|_| unreachable!("{DEFAULT_URL} is a URL")),
            follows: false,
            root: None,
            fallback_urls: Vec::new(),
            offline_zip_url: None,
            trust_anchors: vec![DEFAULT_TRUST_ANCHOR.to_owned()],
            base_dir: PathBuf::new(),
            allowed_hosts: Vec::new(),
            proxy: Proxy::default(),
            components: Vec::new(),
        }
    }
}

impl Default for Schedule {
    /// Every two hours as ISE does. No initial delay: ISE spreads its nodes with one, but a mirror that was just
    /// installed has nothing to serve until its first run.
    fn default() -> Self {
        Self { initial_delay: Duration::ZERO, every: Duration::from_hours(2) }
    }
}

impl Default for Listen {
    /// This machine only: who opens a port to others says so.
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            metrics_address: None,
            tls: None,
            client_ca: None,
            // Ten thousand headends in one moment, and half as many that are slow.
            connections: 16_384,
        }
    }
}
