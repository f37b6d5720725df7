//! The password that the proxy refused (design, promise 8): accounts get locked by those who try again and again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Credentials that are not to be sent again, by a mark that does not tell them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPassword {
    /// The proxy's identity: scheme, user name, host and port.
    pub proxy: String,
    /// A salted mark of the credentials.
    pub mark: String,
    /// Whether there were any: a proxy may ask for them where none are configured.
    pub had_credentials: bool,
    /// What the mark was made with: drawn anew each time, so that marks cannot be compared with those of other machines.
    pub salt: String,
    /// When they were sent.
    pub at: Timestamp,
    /// What is known.
    pub state: PasswordState,
}

/// What is known of credentials that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordState {
    /// They were about to be sent. Where that is all that is known, the process died before the answer was: it may have
    /// been a refusal.
    Tried,
    /// The proxy answered 407.
    Refused,
}
