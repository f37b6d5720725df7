//! A password in memory: what can be done with it, and that it cannot be shown.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use zeroize::Zeroizing;

use crate::config::{CredentialMistake, check_password, check_username};

/// A password. It has no `Display`, cannot be serialized, its `Debug` says nothing, and its memory is wiped when it goes.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// User name and password for a proxy.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user name: without a colon, without control characters.
    pub username: String,
    /// The password, which is not shown.
    pub password: Secret,
}

impl Credentials {
    /// A user name and a password that can be sent. Which of the two is wrong stands beside the mistake.
    pub(super) fn new(username: String, password: Zeroizing<String>) -> Result<Self, (Part, CredentialMistake)> {
        check_username(&username).map_err(|mistake| (Part::Username, mistake))?;
        check_password(&password).map_err(|mistake| (Part::Password, mistake))?;
        Ok(Self { username, password: Secret(password) })
    }

    /// `Basic` with UTF-8 (RFC 7617).
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let pair = Zeroizing::new(format!("{}:{}", self.username, self.password.0.as_str()));
        let value = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        // Base64 is always a header's value.
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// What a mark is made of.
    pub(super) fn mark_input(&self, identity: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([identity.as_bytes(), b"\0", self.password.0.as_bytes()].concat())
    }
}

/// Of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The user name.
    Username,
    /// The password.
    Password,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "user name",
            Self::Password => "password",
        })
    }
}
