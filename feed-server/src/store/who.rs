//! Who does something.

use serde::{Deserialize, Serialize};

/// Who did something, or was refused it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Who {
    /// The holder of an administrator's token.
    Token {
        /// The token's name.
        name: String,
    },
    /// A user of this machine, who opened the control socket, as the kernel says.
    User {
        /// The user's name, or `#` and the number where there is no name.
        name: String,
    },
    /// A headend, by its own token.
    Headend {
        /// Its id.
        id: String,
    },
    /// Somebody who did not prove to be anyone.
    Nobody,
    /// The program itself.
    Program,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token { name } => write!(f, "token {name}"),
            Self::User { name } => write!(f, "user {name}"),
            Self::Headend { id } => write!(f, "headend {id}"),
            Self::Nobody => f.write_str("nobody"),
            Self::Program => f.write_str("feed-server"),
        }
    }
}
