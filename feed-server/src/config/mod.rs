//! The configuration: a file per concern is read into these types, all mistakes reported at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bundles::Limits;
use url::Url;

/// The vendor's index (design, domain facts).
pub const DEFAULT_URL: &str = "https://www.cisco.com/web/secure/spa/posture-update.xml";

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
    /// What input may cost.
    pub limits: Limits,
}

/// `[upstream]`
#[derive(Debug, Clone)]
pub struct Upstream {
    /// `kind`
    pub kind: UpstreamKind,
    /// `url` of the index.
    pub url: Url,
    /// `trust_anchors`: names in webpki-roots or PEM files (paths as written; relative to the configuration file).
    pub trust_anchors: Vec<String>,
    /// The directory that relative paths in `trust_anchors` are relative to.
    pub base_dir: PathBuf,
    /// `allowed_hosts` besides the index's own.
    pub allowed_hosts: Vec<String>,
    /// `[upstream.components]`: pattern and component, in the order given; they go before the built-in ones.
    pub components: Vec<(String, String)>,
}

/// `[upstream] kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamKind {
    /// The vendor's feed over HTTPS.
    Vendor,
    /// Nothing is fetched.
    None,
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
}

/// `[bundles]`
#[derive(Debug, Clone)]
pub struct Bundles {
    /// `valid_for`: how long the offline repository's timestamp and snapshot last.
    pub valid_for: Duration,
}
