//! What the client works with: the configuration file over what enrolment stored.

use std::path::{Path, PathBuf};

use bundles::{Reason, Reasoned};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::{Config, ConfigError, HeadendId};
use crate::data::Paths;
use crate::durable::{self, Readers, StorageError};
use crate::fetch::{FetchError, Http};
use crate::poll::Rhythm;
use crate::repository::{Location, Side};

/// The data directory where `--data` does not say otherwise; beside `feed-server`'s `./feed-data`.
pub const DEFAULT_DATA: &str = "./feed-client-data";

/// The configuration's name in the data directory, looked at where `--config` does not say otherwise.
pub const CONFIG_NAME: &str = "feed-client.toml";

/// A token is some tens of characters; a larger file is another file.
const MAX_TOKEN_BYTES: usize = 4 << 10;

/// What `feed-client enroll` stored. Written last: with it, the rest is there too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The server's base URL.
    pub server: Url,
    /// This headend's name there.
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
        // Three strings: serde_json has nothing to refuse here.
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
        Ok(Self { config, config_file, paths, enrolment })
    }

    /// The server's URL: the configuration's, else enrolment's.
    #[must_use]
    pub fn server(&self) -> Option<&Url> {
        self.config.server.url.as_ref().or(self.enrolment.as_ref().map(|enrolment| &enrolment.server))
    }

    /// A client for the configured trust.
    ///
    /// # Errors
    /// The trust anchors cannot be read, or make no client.
    pub fn http(&self) -> Result<Http, SettingsError> {
        let server = &self.config.server;
        let tls = if server.trust_anchors.is_empty() {
            let roots: rustls::RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
            rustls::ClientConfig::builder_with_provider(certs::provider())
                .with_safe_default_protocol_versions()
                .map_err(SettingsError::Tls)?
                .with_root_certificates(roots)
                .with_no_client_auth()
        } else {
            let anchors = certs::Anchors::load(&server.trust_anchors, &server.anchors_directory)?;
            certs::client_config(certs::PinnedVerifier::new(anchors)?)
        };
        Ok(Http::new(tls, &self.trust_advice())?)
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
        let server = self.config.server.url.clone().unwrap_or(enrolment.server);
        let http = self.http()?;
        let token = self.config.headend.token_file.as_deref().map(read_token).transpose()?;
        let token = match token {
            Some(token) => Some(token),
            None if self.paths.token().exists() => Some(read_token(&self.paths.token())?),
            None => None,
        };
        Ok(Settings {
            side: enrolment.repository,
            location: Location::new(&server, enrolment.repository),
            id: self.config.headend.id.clone().unwrap_or(enrolment.id),
            rhythm: self.config.schedule,
            config: self.config,
            paths: self.paths,
            pinned_root,
            server,
            token,
            http,
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
    /// The server's base URL.
    pub server: Url,
    /// Which of its repositories.
    pub side: Side,
    /// Where that is.
    pub location: Location,
    /// This headend's name there.
    pub id: HeadendId,
    /// The token for reports.
    pub token: Option<Token>,
    /// The root that the operator vouched for.
    pub pinned_root: Vec<u8>,
    /// How often to poll.
    pub rhythm: Rhythm,
    /// The way there.
    pub http: Http,
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
    /// No token in the token file.
    #[error("the token file {} is of no use", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: BadToken,
    },
    /// The trust anchors.
    #[error("[server] trust_anchors cannot be used")]
    Anchors(#[from] certs::AnchorError),
    /// The trust anchors make no verifier.
    #[error("[server] trust_anchors cannot be used")]
    Verifier(#[from] certs::VerifierError),
    /// No TLS.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
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
            Self::NotEnrolled | Self::Token { .. } | Self::Anchors(_) | Self::Verifier(_) => Reason::BadRequest,
            Self::Tls(_) => Reason::Internal,
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
