//! What upstream and the proxy asked not to be asked.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::upstream::manners::{Cooldown, RefusedPassword};

/// A URL of upstream's that is left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CooldownView {
    /// The index's URL, without user info and query.
    pub url: String,
    /// The proxy that it is asked by: scheme, user name, host and port. Absent where it is asked without one.
    pub proxy: Option<String>,
    /// When it is asked again.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// When it asked to be left alone.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The HTTP status that it did so with.
    pub status: u16,
}

impl From<&Cooldown> for CooldownView {
    fn from(cooldown: &Cooldown) -> Self {
        Self {
            url: cooldown.shown_url(),
            proxy: cooldown.proxy.clone(),
            until: cooldown.until,
            since: cooldown.since,
            status: cooldown.status,
        }
    }
}

/// Credentials that the schedule does not try again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasswordRefusedView {
    /// The proxy: scheme, user name, host and port.
    pub proxy: String,
    /// When they were tried last.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl From<&RefusedPassword> for PasswordRefusedView {
    fn from(refused: &RefusedPassword) -> Self {
        Self { proxy: refused.proxy.clone(), since: refused.at }
    }
}
