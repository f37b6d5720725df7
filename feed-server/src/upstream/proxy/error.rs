//! Why it cannot be said which proxy is to be used, and how. Nothing here holds a value that may be a password.

use std::io;
use std::path::PathBuf;

use bundles::{Reason, Reasoned};

use super::Origin;
use super::secret::Part;
use crate::config::{BypassMistake, CredentialMistake, ProxyUrlMistake};

/// Why there is no telling which proxy is to be used, and how.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// What stands there is no proxy.
    #[error("{origin} {mistake}")]
    Url {
        /// Where it stands.
        origin: Origin,
        /// What it is.
        mistake: ProxyUrlMistake,
    },
    /// A variable that is no text.
    #[error("the environment variable {variable} is not UTF-8; set it anew, or set [upstream.proxy] url")]
    VariableEncoding {
        /// Which one.
        variable: &'static str,
    },
    /// A user name or password in a URL cannot be sent.
    #[error(
        "{origin}: the {part} in it {mistake}; percent-encode it anew, or set [upstream.proxy] username and password_file"
    )]
    UrlCredential {
        /// Where the URL stands.
        origin: Origin,
        /// Which of the two.
        part: Part,
        /// What is wrong.
        mistake: CredentialMistake,
    },
    /// The user name of the configuration cannot be sent.
    #[error("[upstream.proxy] username {0}; write it as the proxy knows it")]
    Username(CredentialMistake),
    /// An entry of the configuration means nothing.
    #[error("[upstream.proxy] bypass cannot be used")]
    Bypass(#[source] BypassMistake),
    /// The password file cannot be opened.
    #[error(
        "[upstream.proxy] password_file {} cannot be opened{}; check the path, and that this program's user may read it",
        .path.display(), looked(.also.as_ref())
    )]
    OpenPassword {
        /// Where it is looked for.
        path: PathBuf,
        /// Where else it is not.
        also: Option<PathBuf>,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The password file is none.
    #[error("[upstream.proxy] password_file {} {mistake}", .path.display())]
    Password {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        mistake: PasswordMistake,
    },
    /// `trust_anchors` cannot be used.
    #[error("[upstream.proxy] trust_anchors cannot be used")]
    Anchors(#[source] certs::AnchorError),
    /// The verifier cannot be made of them.
    #[error("[upstream.proxy] trust_anchors cannot be used")]
    Verifier(#[source] certs::VerifierError),
    /// Nobody may vouch for the proxy.
    #[error(
        "{origin} names a proxy that is spoken to by TLS, and nobody is trusted to vouch for it; set [upstream.proxy] \
         trust_anchors to the root of its certificate, by name or as a PEM file"
    )]
    NoAnchors {
        /// Where it stands.
        origin: Origin,
    },
}

/// Why a file with one secret line cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be opened.
    #[error("{} cannot be opened{}; check the path, and that this program's user may read it", .path.display(), looked(.also.as_ref()))]
    Open {
        /// Where it is looked for.
        path: PathBuf,
        /// Where else it is not.
        also: Option<PathBuf>,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is none.
    #[error("{} {mistake}", .path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        mistake: PasswordMistake,
    },
}

fn looked(also: Option<&PathBuf>) -> String {
    also.map_or_else(String::new, |also| format!(", and there is no {} either", also.display()))
}

/// What is wrong with a password file. The sentences follow upon its name.
#[derive(Debug, thiserror::Error)]
pub enum PasswordMistake {
    /// A directory, a pipe, a device.
    #[error("is not a regular file; put the password into one, since it is read anew for each run")]
    NotAFile,
    /// Others may read or change it.
    #[error(
        "has mode {found:04o}, so others can read or change it; chmod {mode} it, and change the password if others may have read it"
    )]
    Mode {
        /// Its mode.
        found: u32,
        /// What it should be at most.
        mode: &'static str,
    },
    /// It was opened, but not read.
    #[error("cannot be read ({0}); check the disk that it is on")]
    Read(io::Error),
    /// More than the password.
    #[error("has more than one line; leave the password in it, and nothing else")]
    Lines,
    /// What is in it cannot be sent.
    #[error("{0}; write the password into it, on one line")]
    Content(CredentialMistake),
}

impl Reasoned for ProxyError {
    fn reason(&self) -> Reason {
        match self {
            Self::Url { .. }
            | Self::VariableEncoding { .. }
            | Self::UrlCredential { .. }
            | Self::Username(_)
            | Self::Bypass(_)
            | Self::OpenPassword { .. }
            | Self::Password { .. }
            | Self::Anchors(_)
            | Self::Verifier(_)
            | Self::NoAnchors { .. } => Reason::BadRequest,
        }
    }
}
