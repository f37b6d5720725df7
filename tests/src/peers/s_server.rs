//! `openssl s_server` as upstream: presents exactly the certificates that it is given, and speaks HTTP/1.0 without lengths.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::daemon::{Daemon, write};

/// What an `s_server` is to present.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The leaf as PEM.
    pub leaf: &'a str,
    /// What follows it, as PEM, in this order; may be empty.
    pub others: &'a str,
    /// The leaf's key as PEM.
    pub key: &'a str,
    /// `-tls1_2`, `-tls1_3`, or nothing for both.
    pub version: Option<&'a str>,
}

/// The running server.
#[derive(Debug)]
pub struct SServer(Daemon);

impl SServer {
    /// Serves a directory's files (`-WWW`). It takes one connection after the other, and one request on each.
    ///
    /// # Errors
    /// openssl is missing or does not start.
    pub async fn start(root: &Path, presented: Presented<'_>) -> Result<Self> {
        let place = Daemon::place()?;
        let directory = place.1.path();
        let leaf = write(directory, "leaf.pem", presented.leaf)?;
        let key = write(directory, "key.pem", presented.key)?;
        let mut arguments: Vec<OsString> = ["s_server", "-WWW", "-quiet", "-accept"].map(Into::into).to_vec();
        arguments.push(place.0.address().to_string().into());
        arguments.extend(["-cert".into(), leaf.into(), "-key".into(), key.into()]);
        if !presented.others.is_empty() {
            let others = write(directory, "others.pem", presented.others)?;
            arguments.extend(["-cert_chain".into(), others.into()]);
        }
        arguments.extend(presented.version.map(Into::into));
        // It serves what lies where it works.
        Ok(Self(Daemon::start_in(place, root, "openssl", arguments).await?))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}
