//! What the environment says of proxies, read as curl reads it.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Url;
use zeroize::Zeroizing;

use super::secret::{Credentials, Part};
use super::{Bypass, Origin, ProxyError};
use crate::config::{CredentialMistake, masked_proxy, parse_proxy_url};

/// Upstream is asked by https alone. Lower case goes before upper case, and what is empty is not set.
const PROXY: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Where systemd puts what `LoadCredential=` names.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The variables of a process, or what a test puts in their place. Its `Debug` shows none: a password may be among them.
#[derive(Clone)]
pub struct Environment(Arc<Lookup>);

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

impl Environment {
    /// What `lookup` says of a variable.
    pub fn new(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// That of this process, as it is whenever it is asked.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(|variable| std::env::var_os(variable))
    }

    /// Nothing is set.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(|_| None)
    }

    /// These are set.
    pub fn from_pairs<V: Into<OsString>>(pairs: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        let pairs: Vec<(&str, OsString)> =
            pairs.into_iter().map(|(variable, value)| (variable, value.into())).collect();
        Self::new(move |wanted| pairs.iter().find(|(variable, _)| *variable == wanted).map(|(_, value)| value.clone()))
    }

    /// The first of these that is set.
    fn first(&self, variables: &[&'static str]) -> Result<Option<(&'static str, Zeroizing<String>)>, ProxyError> {
        let mut set = variables.iter().filter_map(|variable| {
            let value = (self.0)(variable).filter(|value| !value.is_empty())?;
            Some((*variable, value))
        });
        let Some((variable, value)) = set.next() else { return Ok(None) };
        let text = value.into_string().map_err(|_| ProxyError::VariableEncoding { variable })?;
        Ok(Some((variable, Zeroizing::new(text))))
    }

    /// Where credentials of the service are, where it has any.
    #[must_use]
    pub fn credentials_directory(&self) -> Option<PathBuf> {
        (self.0)(CREDENTIALS_DIRECTORY).map(PathBuf::from).filter(|directory| directory.is_absolute())
    }
}

/// What a variable says of the proxy, for people to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownProxy {
    /// Which variable.
    pub variable: &'static str,
    /// Its value without user name and password; absent where it means nothing.
    pub url: Option<String>,
    /// Whether there is a user name or password in it.
    pub has_login: bool,
}

impl Environment {
    /// What it says of the proxy; `None` where it says nothing.
    #[must_use]
    pub fn shown_proxy(&self) -> Option<ShownProxy> {
        match proxy(self) {
            Ok(None) => None,
            Ok(Some((url, Origin::Environment { variable }))) => {
                let has_login = !url.username().is_empty() || url.password().is_some();
                Some(ShownProxy { variable, url: Some(masked_proxy(&url)), has_login })
            }
            Ok(Some((_, Origin::Configuration))) | Err(_) => {
                let is_set = |variable: &&&'static str| (self.0)(variable).is_some_and(|value| !value.is_empty());
                let variable = PROXY.iter().find(is_set).copied().unwrap_or_default();
                Some(ShownProxy { variable, url: None, has_login: false })
            }
        }
    }

    /// The variable that says what is reached without the proxy, and its entries as they are understood.
    #[must_use]
    pub fn shown_bypass(&self) -> Option<(&'static str, String)> {
        let (variable, text) = self.first(&NO_PROXY).ok().flatten()?;
        Some((variable, Bypass::of_variable(&text).0.to_string()))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(…)")
    }
}

/// The proxy's URL, which may hold a user name and password.
pub(super) fn proxy(environment: &Environment) -> Result<Option<(Url, Origin)>, ProxyError> {
    let Some((variable, text)) = environment.first(&PROXY)? else { return Ok(None) };
    let origin = Origin::Environment { variable };
    let text = text.trim();
    let whole =
        if text.contains("://") { Zeroizing::new(text.to_owned()) } else { Zeroizing::new(format!("http://{text}")) };
    let url = parse_proxy_url(&whole).map_err(|mistake| ProxyError::Url { origin, mistake })?;
    Ok(Some((url, origin)))
}

/// What is reached without it.
pub(super) fn bypass(environment: &Environment) -> Result<Bypass, ProxyError> {
    let Some((variable, text)) = environment.first(&NO_PROXY)? else { return Ok(Bypass::default()) };
    let (bypass, not_understood) = Bypass::of_variable(&text);
    if not_understood > 0 {
        tracing::warn!(variable, entries = not_understood, "entries are not understood, and passed over");
    }
    Ok(bypass)
}

/// User name and password of a proxy's URL, percent-decoded.
pub(super) fn credentials(url: &Url, origin: Origin) -> Result<Option<Credentials>, ProxyError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let failed = |(part, mistake)| ProxyError::UrlCredential { origin, part, mistake };
    let decoded = |part, text: &str| {
        let bytes = Zeroizing::new(percent_decode_str(text).collect::<Vec<u8>>());
        let text = std::str::from_utf8(&bytes).map_err(|_| failed((part, CredentialMistake::Encoding)))?;
        Ok::<_, ProxyError>(Zeroizing::new(text.to_owned()))
    };
    let username = decoded(Part::Username, url.username())?;
    let password = decoded(Part::Password, url.password().unwrap_or_default())?;
    Credentials::new(username.to_string(), password).map(Some).map_err(failed)
}
