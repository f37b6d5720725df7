//! ISE deployments.

use std::net::IpAddr;

use bundles::Serial;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::ise::{Deployment, IseState};
use crate::store::ise::{Stranger, TlsAlert};

/// ISE's own default.
const DEFAULT_HOURS: u32 = 2;

/// All deployments, and who asks like one.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IseListView {
    /// By name.
    pub deployments: Vec<IseView>,
    /// Addresses that asked for the index and belong to none of them, the newest first.
    pub strangers: Vec<Stranger>,
}

/// A deployment, and what was seen of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IseView {
    /// Its name.
    pub name: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub added: Timestamp,
    /// Where its requests come from.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Hours between its updates.
    pub every_hours: u32,
    /// How it is; never that it is current, which nobody can see.
    pub state: IseState,
    /// When it last got the index; absent where it never did.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub polled: Option<Timestamp>,
    /// From which address.
    #[schema(value_type = Option<String>)]
    pub polled_from: Option<IpAddr>,
    /// The release whose index that was.
    #[schema(value_type = Option<u64>)]
    pub release: Option<Serial>,
    /// When it got the index of that release for the first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub release_since: Option<Timestamp>,
    /// That release's archives that it got from here, in this update or an earlier one, or is said to have.
    pub fetched: Vec<String>,
    /// Those that it did not.
    pub lacking: Vec<String>,
    /// TLS handshakes that it broke off.
    pub alerts: u64,
    /// The last of them.
    pub last_alert: Option<TlsAlert>,
    /// Paths of the vendor's layout that it asked for in vain, the newest last.
    pub missing: Vec<String>,
}

impl From<Deployment> for IseView {
    fn from(Deployment { record, seen, state, fetched, lacking }: Deployment) -> Self {
        Self {
            name: record.name,
            added: record.added,
            addresses: record.addresses,
            every_hours: record.every_hours,
            state,
            polled: seen.polled,
            polled_from: seen.polled_from,
            release: seen.given.map(|(serial, _)| serial),
            release_since: seen.given.map(|(_, since)| since),
            fetched,
            lacking,
            alerts: seen.alerts,
            last_alert: seen.last_alert,
            missing: seen.missing,
        }
    }
}

/// A deployment to add.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIse {
    /// Its name: 1 to 253 of `A-Z a-z 0-9 . _ -`, beginning with a letter or a digit.
    pub name: String,
    /// Where its requests come from, IPv4 or IPv6.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Hours between its updates, as they are set there: 1 to 744.
    #[serde(default = "default_hours")]
    pub every_hours: u32,
    /// The release that it has already, as after *Offline*; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub release: Option<Serial>,
}

const fn default_hours() -> u32 {
    DEFAULT_HOURS
}
