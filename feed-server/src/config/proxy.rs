//! What the URL and the user name of a proxy may be, wherever they come from: the configuration, or the environment.
//!
//! Mistakes here hold nothing of the text that is wrong, since that may be a password.

use url::Url;

#[cfg(test)]
mod tests;

/// The longest user name and the longest password: with both of them, base64 and the header's name, the line stays within
/// the 8 KiB that servers commonly take for a header.
pub const MAX_CREDENTIAL: usize = 2_048;

/// SOCKS in all its names.
const SOCKS: [&str; 5] = ["socks", "socks4", "socks4a", "socks5", "socks5h"];

/// Why a text is not the URL of a proxy. The sentences follow upon the name of the key or variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlMistake {
    /// Not a URL at all.
    #[error("is no URL of a proxy; write one such as \"http://proxy.example.com:3128\"")]
    NotAUrl,
    /// Another protocol.
    #[error(
        "names a SOCKS proxy, and only HTTP proxies are spoken to (CONNECT); write one such as \
         \"http://proxy.example.com:3128\""
    )]
    Socks,
    /// Another scheme.
    #[error("begins with neither http:// nor https://; write one such as \"http://proxy.example.com:3128\"")]
    Scheme,
    /// Programs do not agree on the port then: curl takes 1080, most others 80.
    #[error(
        "names no port, and there is none that all proxies use; write it out, as in \"http://proxy.example.com:3128\""
    )]
    Port,
    /// A path, query or fragment: a slash in a password would be the beginning of one.
    #[error(
        "has more than scheme, host and port; write one such as \"http://proxy.example.com:3128\" (in a user name or \
         password of an environment variable, write %2F for /, %3F for ?, %23 for # and %40 for @)"
    )]
    More,
}

/// Reads `http://host:port` or `https://host:port`. User name and password may stand in it, for the caller to take or refuse.
///
/// # Errors
/// What it is instead.
pub(crate) fn parse_proxy_url(text: &str) -> Result<Url, ProxyUrlMistake> {
    let (scheme, rest) = text.split_once("://").ok_or(ProxyUrlMistake::NotAUrl)?;
    let scheme = scheme.to_ascii_lowercase();
    if SOCKS.contains(&scheme.as_str()) {
        return Err(ProxyUrlMistake::Socks);
    }
    if scheme != "http" && scheme != "https" {
        return Err(ProxyUrlMistake::Scheme);
    }
    // A backslash is a slash to those who read URLs as browsers do.
    let (authority, path) = rest.split_at(rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len()));
    if !matches!(path, "" | "/") {
        return Err(ProxyUrlMistake::More);
    }
    let url = Url::parse(text).map_err(|_| ProxyUrlMistake::NotAUrl)?;
    // A parsed URL has forgotten whether its scheme's own port was written out.
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let port = address.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.is_empty());
    if !port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) || url.port() == Some(0) {
        return Err(ProxyUrlMistake::Port);
    }
    Ok(url)
}

/// Why a text is no user name or password for Basic authentication (RFC 7617, section 2). The sentences follow upon the
/// name of what holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialMistake {
    /// Nothing.
    #[error("is empty")]
    Empty,
    /// See [`MAX_CREDENTIAL`].
    #[error("is longer than {MAX_CREDENTIAL} bytes")]
    Long,
    /// The rest of it would be taken for the password.
    #[error("has a colon in it, which Basic authentication cannot carry in a user name")]
    Colon,
    /// Line ends among them.
    #[error("has a control character in it, such as a tab or the end of a line")]
    Control,
    /// Written at the beginning of files by some editors, and invisible.
    #[error("begins with a byte order mark, which is no part of it; save the file as UTF-8 without one")]
    Mark,
    /// Bytes.
    #[error("is not UTF-8")]
    Encoding,
}

/// Whether a user name can be sent.
///
/// # Errors
/// Why it cannot.
pub(crate) fn check_username(text: &str) -> Result<(), CredentialMistake> {
    if text.is_empty() {
        return Err(CredentialMistake::Empty);
    }
    if text.contains(':') {
        return Err(CredentialMistake::Colon);
    }
    check_text(text)
}

/// Whether a password can be sent. An empty one can.
///
/// # Errors
/// Why it cannot.
pub(crate) fn check_password(text: &str) -> Result<(), CredentialMistake> {
    if text.starts_with('\u{feff}') {
        return Err(CredentialMistake::Mark);
    }
    check_text(text)
}

fn check_text(text: &str) -> Result<(), CredentialMistake> {
    if text.len() > MAX_CREDENTIAL {
        return Err(CredentialMistake::Long);
    }
    if text.contains(|c: char| c.is_control()) {
        return Err(CredentialMistake::Control);
    }
    Ok(())
}
