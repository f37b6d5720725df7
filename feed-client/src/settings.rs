//! What the client works with: the configuration file over what enrolment stored.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::signed::RootFacts;
use bundles::{Reason, Reasoned};
use certs::PinnedVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::{Config, ConfigError, HeadendId};
use crate::data::Paths;
use crate::durable::{self, Readers, StorageError};
use crate::fetch::{FetchError, Http};
use crate::poll::Rhythm;
use crate::proxy::{Proxy, ProxyError};
use crate::refusals::Refusals;
use crate::repository::{Location, Side};

/// The data directory where `--data` does not say otherwise; beside `feed-server`'s `./feed-data`.
pub const DEFAULT_DATA: &str = "./feed-client-data";

/// The configuration's name in the data directory, looked at where `--config` does not say otherwise.
pub const CONFIG_NAME: &str = "feed-client.toml";

/// A chain or a key has some kilobytes.
const MAX_PEM_BYTES: usize = 1 << 20;

/// A token is some tens of characters; a larger file is another file.
const MAX_TOKEN_BYTES: usize = 4 << 10;

/// What `feed-client enroll` stored. Written last: with it, the rest is there too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The server's base URL; absent where releases come by hand alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Url>,
    /// This headend's name, on the server and on receipts.
    pub id: HeadendId,
    /// The repository that the pinned root opens.
    pub repository: Side,
}

impl Enrolment {
    /// Reads it; `None` before enrolment.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn load(paths: &Paths) -> Result<Option<Self>, SettingsError> {
        let path = paths.enrolment();
        let Some(bytes) = durable::read_if_there(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| SettingsError::Enrolment { path, source })
    }

    /// Reads it for whoever is about to replace it: a damaged one counts as none.
    ///
    /// # Errors
    /// The file system's.
    pub fn load_to_replace(paths: &Paths) -> Result<Option<Self>, SettingsError> {
        match Self::load(paths) {
            Err(SettingsError::Enrolment { .. }) => Ok(None),
            loaded => loaded,
        }
    }

    /// Writes it durably.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn save(&self, paths: &Paths) -> Result<(), StorageError> {
        // Strings alone: serde_json has nothing to refuse here.
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        durable::write(&paths.enrolment(), &bytes, Readers::Anyone)
    }
}

/// Where `--config` and `--data` point, and what is there.
#[derive(Debug, Clone)]
pub struct Local {
    /// The configuration.
    pub config: Config,
    /// The file it was read from; `None` where there is none, and defaults are all there is.
    pub config_file: Option<PathBuf>,
    /// The directories.
    pub paths: Paths,
    /// What enrolment stored, if it happened.
    pub enrolment: Option<Enrolment>,
    /// What the proxy refused; absent for whoever makes one attempt and keeps nothing.
    pub refusals: Option<Refusals>,
}

impl Local {
    /// Reads the configuration and the enrolment.
    ///
    /// # Errors
    /// A configuration that was asked for is not there, either has mistakes, or cannot be read.
    pub fn load(config: Option<&Path>, data: &Path) -> Result<Self, SettingsError> {
        Self::load_with(config, data, Enrolment::load)
    }

    /// The same for enrolling, which mends a damaged enrolment.
    ///
    /// # Errors
    /// As [`Local::load`], but for the enrolment's damage.
    pub fn load_to_enroll(config: Option<&Path>, data: &Path) -> Result<Self, SettingsError> {
        Self::load_with(config, data, Enrolment::load_to_replace)
    }

    fn load_with(
        config: Option<&Path>,
        data: &Path,
        enrolment: impl FnOnce(&Paths) -> Result<Option<Enrolment>, SettingsError>,
    ) -> Result<Self, SettingsError> {
        let usual = data.join(CONFIG_NAME);
        let config_file = config.map(Path::to_owned).or_else(|| usual.is_file().then_some(usual));
        let config = config_file.as_deref().map(Config::load).transpose()?.unwrap_or_default();
        let paths = Paths::new(data, config.apply.directory.as_deref());
        let enrolment = enrolment(&paths)?;
        Ok(Self { config, config_file, paths, enrolment, refusals: None })
    }

    /// The root that bundles are believed by: the offline repository's. A headend of the online repository has it from
    /// there, signed.
    ///
    /// # Errors
    /// This headend is not enrolled, has not got it yet, or cannot read it.
    pub fn import_root(&self) -> Result<Vec<u8>, SettingsError> {
        import_root(&self.paths, self.enrolment.as_ref().ok_or(SettingsError::NotEnrolled)?.repository)
    }

    /// What that root says of itself, where there is one.
    #[must_use]
    pub fn import_root_facts(&self) -> Option<RootFacts> {
        RootFacts::of_root(&self.import_root().ok()?).ok()
    }

    /// With an eye on what the proxy refused, where the way to the server is made for more than a look.
    #[must_use]
    pub fn minding(self, refusals: Refusals) -> Self {
        Self { refusals: Some(refusals), ..self }
    }

    /// The server's URL: the configuration's, else enrolment's.
    #[must_use]
    pub fn server(&self) -> Option<&Url> {
        self.config.server.url.as_ref().or_else(|| self.enrolment.as_ref()?.server.as_ref())
    }

    /// Who decides whether the server is trusted.
    ///
    /// # Errors
    /// The trust anchors cannot be read, or make no verifier.
    pub fn verifier(&self) -> Result<Arc<PinnedVerifier>, SettingsError> {
        let server = &self.config.server;
        let anchors = if server.trust_anchors.is_empty() {
            certs::Anchors::all_public()
        } else {
            certs::Anchors::load(&server.trust_anchors, &server.anchors_directory)?
        };
        Ok(PinnedVerifier::new(anchors)?)
    }

    /// The proxy on the way to the server, by the configuration and the environment.
    ///
    /// # Errors
    /// The environment names one that cannot be used.
    pub fn proxy(&self, server: &Url) -> Result<Option<Proxy>, SettingsError> {
        Ok(Proxy::for_server(&self.config.server.proxy, server, |name| std::env::var(name).ok())?)
    }

    /// A client for the server, by the configured trust and proxy.
    ///
    /// # Errors
    /// As [`Local::verifier`] and [`Local::proxy`], or they make no client.
    pub fn http(&self, server: &Url) -> Result<Http, SettingsError> {
        let tls = match &self.config.headend.certificate {
            Some((certificate, key)) => showing(self.verifier()?, certificate, key)?,
            None => certs::client_config(self.verifier()?),
        };
        Ok(Http::new(tls, self.proxy(server)?, self.refusals.clone(), &self.trust_advice())?)
    }

    /// Most often the configuration that names the root was not read at all, and nobody notices.
    fn trust_advice(&self) -> String {
        match &self.config_file {
            Some(file) => {
                format!("check [server] trust_anchors in {}, and this machine's clock", file.display())
            }
            None => format!(
                "no configuration file was read: write {} with [server] trust_anchors, or give --config; and check this \
                 machine's clock",
                self.paths.data().join(CONFIG_NAME).display()
            ),
        }
    }

    /// Everything that an update needs.
    ///
    /// # Errors
    /// The headend is not enrolled, or what enrolment stored cannot be read.
    pub fn settings(self) -> Result<Settings, SettingsError> {
        let Some(enrolment) = self.enrolment.clone() else { return Err(SettingsError::NotEnrolled) };
        let root_path = self.paths.pinned_root();
        let pinned_root = durable::read_if_there(&root_path)?.ok_or(SettingsError::NotEnrolled)?;
        let remote = match self.server() {
            Some(server) => Some(Remote {
                server: server.clone(),
                location: Location::new(server, enrolment.repository),
                http: self.http(server)?,
            }),
            None => None,
        };
        let token = self.config.headend.token_file.as_deref().map(read_token).transpose()?;
        let token = match token {
            Some(token) => Some(token),
            None if self.paths.token().exists() => Some(read_token(&self.paths.token())?),
            None => None,
        };
        Ok(Settings {
            side: enrolment.repository,
            id: self.config.headend.id.clone().unwrap_or(enrolment.id),
            rhythm: self.config.schedule,
            config: self.config,
            paths: self.paths,
            pinned_root,
            remote,
            token,
        })
    }
}

/// Everything that an update needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration, for what is not below.
    pub config: Config,
    /// The directories.
    pub paths: Paths,
    /// The server that is followed; absent where releases come by hand alone.
    pub remote: Option<Remote>,
    /// Which repository the pinned root opens.
    pub side: Side,
    /// This headend's name, on the server and on receipts.
    pub id: HeadendId,
    /// The token for reports.
    pub token: Option<Token>,
    /// The root that the operator vouched for.
    pub pinned_root: Vec<u8>,
    /// How often to poll.
    pub rhythm: Rhythm,
}

/// The server that is followed.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its base URL.
    pub server: Url,
    /// Where the repository is.
    pub location: Location,
    /// The way there.
    pub http: Http,
}

impl Settings {
    /// Whether there is anything to prove by who this is, so that the server takes its reports.
    #[must_use]
    pub fn may_report(&self) -> bool {
        self.token.is_some() || self.config.headend.certificate.is_some()
    }

    /// The server that is followed.
    ///
    /// # Errors
    /// There is none.
    pub fn remote(&self) -> Result<&Remote, SettingsError> {
        self.remote.as_ref().ok_or(SettingsError::NoServer)
    }

    /// As [`Local::import_root`].
    ///
    /// # Errors
    /// It was not brought yet, or cannot be read.
    pub fn import_root(&self) -> Result<Vec<u8>, SettingsError> {
        import_root(&self.paths, self.side)
    }
}

fn import_root(paths: &Paths, enrolled_with: Side) -> Result<Vec<u8>, SettingsError> {
    match enrolled_with {
        Side::Offline => durable::read_if_there(&paths.pinned_root())?.ok_or(SettingsError::NotEnrolled),
        Side::Online => durable::read_if_there(&paths.offline_root())?.ok_or(SettingsError::NoOfflineRoot),
    }
}

/// The way to a server that is shown a certificate.
fn showing(
    verifier: Arc<PinnedVerifier>,
    certificate: &Path,
    key: &Path,
) -> Result<rustls::ClientConfig, SettingsError> {
    let unusable = |path: &Path, detail: String| SettingsError::Certificate { path: path.to_owned(), detail };
    let read = |path: &Path| durable::read_given("read", path, MAX_PEM_BYTES).map_err(SettingsError::from);
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unusable(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "there is no certificate in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unusable(key, error.to_string()))?;
    certs::client_config_showing(verifier, chain, private).map_err(|error| unusable(certificate, error.to_string()))
}

/// A bearer token; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes what a token file holds.
    ///
    /// # Errors
    /// It is empty, or not the kind of text that an HTTP header takes.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let token = text.trim();
        let good = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(Self(token.to_owned())) } else { Err(BadToken) }
    }

    /// For the `Authorization` header only.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is empty or holds more than one line of plain characters")]
pub struct BadToken;

/// Reads a token file.
///
/// # Errors
/// It cannot be read, or holds no token.
pub fn read_token(path: &Path) -> Result<Token, SettingsError> {
    let bytes = durable::read_given("read the token file", path, MAX_TOKEN_BYTES)?;
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.len() <= MAX_TOKEN_BYTES).unwrap_or_default();
    Token::parse(text).map_err(|source| SettingsError::Token { path: path.to_owned(), source })
}

/// Why the client has nothing to work with.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Mistakes in the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file system's answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The enrolment is damaged.
    #[error("the enrolment {} is damaged; run `feed-client enroll` again", path.display())]
    Enrolment {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Nobody enrolled this headend.
    #[error("this headend is not enrolled; run `feed-client enroll --server URL --root FILE` first (and mind --data)")]
    NotEnrolled,
    /// Enrolled for imports alone.
    #[error(
        "this headend was enrolled without a server, so releases come with `feed-client import ZIP` alone; to follow a \
         server, run `feed-client enroll --server URL --root FILE`"
    )]
    NoServer,
    /// The server was not asked since this headend was enrolled, or signs no bundles.
    #[error(
        "this headend does not know yet what bundles are signed with: it trusts the online repository, whose signed metadata \
         says so, and has not read it; run `feed-client update` once while the server can be reached, or run `feed-client \
         enroll` with the root of the offline repository (`feed-server keys export-root --offline`)"
    )]
    NoOfflineRoot,
    /// No token in the token file.
    #[error("the token file {} is of no use", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: BadToken,
    },
    /// The certificate that is to be shown, or its key.
    #[error("{} of [headend] certificate and key cannot be used: {detail}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The trust anchors.
    #[error("[server] trust_anchors cannot be used")]
    Anchors(#[from] certs::AnchorError),
    /// The trust anchors make no verifier.
    #[error("[server] trust_anchors cannot be used")]
    Verifier(#[from] certs::VerifierError),
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// No client.
    #[error(transparent)]
    Http(#[from] FetchError),
}

impl Reasoned for SettingsError {
    fn reason(&self) -> Reason {
        match self {
            Self::Config(error) => error.reason(),
            Self::Storage(error) => error.reason(),
            Self::Enrolment { .. } => Reason::Storage,
            Self::NotEnrolled
            | Self::NoServer
            | Self::NoOfflineRoot
            | Self::Token { .. }
            | Self::Certificate { .. }
            | Self::Anchors(_)
            | Self::Verifier(_) => Reason::BadRequest,
            Self::Proxy(error) => error.reason(),
            Self::Http(error) => error.reason(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_one_plain_line_and_never_shown() {
        let token = Token::parse(" pf_abc123\n").unwrap();
        assert_eq!(token.secret(), "pf_abc123");
        assert!(!format!("{token:?}").contains("abc"));
        for text in ["", "\n", "a b", "a\nb", "ä"] {
            assert!(Token::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn before_enrolment_the_sentence_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let error = Local::load(None, directory.path()).unwrap().settings().unwrap_err();
        assert_eq!(error.reason(), Reason::BadRequest);
        assert!(error.to_string().contains("feed-client enroll --server URL --root FILE"));
    }
}
