//! Headends and tokens: who may report, and who may do what.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::headends::HeadendState;
use crate::store::Who;
use crate::store::records::{ReportRecord, Scope, TokenRecord};

/// A headend and what is known of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HeadendView {
    /// Its id.
    pub id: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub added: Timestamp,
    /// Whether it has a token; without one it shows a certificate.
    #[serde(default)]
    pub has_token: bool,
    /// How it is.
    pub state: HeadendState,
    /// When its last report came, and what it said; absent where it never reported.
    #[schema(value_type = Option<Object>)]
    pub report: Option<ReportRecord>,
}

/// A headend to add.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHeadend {
    /// Its id: 1 to 253 of `A-Z a-z 0-9 . _ -`, beginning with a letter or a digit.
    pub id: String,
    /// It gets no token, and shows a certificate that names its id.
    #[serde(default)]
    pub certificate: bool,
}

/// A token, shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct IssuedToken {
    /// The headend's id, or the token's name.
    pub name: String,
    /// The token. It is not kept: who loses it gets a new one. Absent for a headend that shows a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When it ends; absent where it does not, as a headend's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Timestamp>,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An administrator's token to make.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What to call it: as a headend's id.
    pub name: String,
    /// `read`, `operate` or `admin`; each includes those before it.
    pub scope: Scope,
    /// When it ends: `90d`, a date (`2027-01-31`, in UTC), a time, or `never`. In a year, where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// An administrator's token in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Who made it; absent where that was not recorded.
    #[serde(default)]
    pub made_by: Option<Who>,
    /// When it ends, or ended; absent where it does not.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Timestamp>,
    /// The hour in which it was last used; absent where it never was.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Timestamp>,
}

impl TokenView {
    /// Of a token that was last used then.
    #[must_use]
    pub fn new(token: TokenRecord, last_used: Option<Timestamp>) -> Self {
        let TokenRecord { name, scope, created, made_by, expires, token: _ } = token;
        Self { name, scope, created, made_by, expires, last_used }
    }
}
