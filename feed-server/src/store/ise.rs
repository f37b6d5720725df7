//! ISE deployments: those that were named, what was seen of each, and addresses that ask like one and belong to none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bundles::{Digest, Serial};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::typed::get;
use super::{Batch, Store, StoreError, Table};

const STRANGERS: &str = "ise.strangers";

/// Paths that are remembered of what a deployment asked for in vain: a dozen are enough to see what it looks for.
const MOST_MISSING: usize = 16;

/// Of each such path, which a client makes up.
const MOST_PATH: usize = 200;

/// A deployment that an administrator named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IseRecord {
    /// Its name.
    pub name: String,
    /// When it was added.
    pub added: Timestamp,
    /// Where its requests come from; IPv4 addresses as such, however they came.
    pub addresses: Vec<IpAddr>,
    /// Hours between its updates, as they are set there.
    pub every_hours: u32,
}

/// What was seen of a deployment. ISE never reports: this is all that there is to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IseSeen {
    /// When it last got the index.
    pub polled: Option<Timestamp>,
    /// From which of its addresses.
    pub polled_from: Option<IpAddr>,
    /// Which release's index that was, and when it got it for the first time.
    pub given: Option<(Serial, Timestamp)>,
    /// Archives that it got from here, or is said to have.
    pub has: Vec<Digest>,
    /// How many TLS handshakes it broke off.
    pub alerts: u64,
    /// The last of them.
    pub last_alert: Option<TlsAlert>,
    /// What it asked for in vain, the newest last.
    pub missing: Vec<String>,
}

/// A TLS handshake that the other side broke off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TlsAlert {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// From where.
    #[schema(value_type = String)]
    pub from: IpAddr,
    /// Its name in RFC 8446, such as `unknown_ca`; `closed` where the connection was closed without one, as Java does.
    pub alert: String,
}

/// An address that asked for the index, and belongs to no deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stranger {
    /// Which.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// When it first did.
    #[schema(value_type = String, format = DateTime)]
    pub first: Timestamp,
    /// When it last did.
    #[schema(value_type = String, format = DateTime)]
    pub last: Timestamp,
    /// How often.
    pub polls: u64,
}

impl IseSeen {
    /// It got the index of a release.
    pub fn polled(&mut self, serial: Serial, from: IpAddr, at: Timestamp) {
        (self.polled, self.polled_from) = (Some(at), Some(from));
        if self.given.is_none_or(|(given, _)| given != serial) {
            self.given = Some((serial, at));
        }
    }

    /// It got an archive, or has it; whether that is new.
    pub fn got(&mut self, archive: Digest) -> bool {
        let is_new = !self.has.contains(&archive);
        if is_new {
            self.has.push(archive);
        }
        is_new
    }

    /// It broke off a handshake.
    pub fn refused(&mut self, alert: TlsAlert) {
        self.alerts = self.alerts.saturating_add(1);
        self.last_alert = Some(alert);
    }

    /// It asked for something that is not here.
    pub fn missed(&mut self, path: &str) {
        let path: String = path.chars().filter(|c| !c.is_control()).take(MOST_PATH).collect();
        self.missing.retain(|known| *known != path);
        self.missing.push(path);
        let beyond = self.missing.len().saturating_sub(MOST_MISSING);
        self.missing.drain(..beyond);
    }
}

impl Store {
    /// All deployments, by name.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn ise(&self) -> Result<Vec<IseRecord>, StoreError> {
        self.all(Table::Ise)
    }

    /// What was seen of a deployment.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn ise_seen(&self, name: &str) -> Result<Option<IseSeen>, StoreError> {
        get(&*self.catalog, Table::IseSeen, name.as_bytes())
    }

    /// Addresses that belong to none.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn ise_strangers(&self) -> Result<BTreeMap<IpAddr, Stranger>, StoreError> {
        let all: Vec<Stranger> = self.state(STRANGERS)?.unwrap_or_default();
        Ok(all.into_iter().map(|stranger| (stranger.address, stranger)).collect())
    }
}

impl Batch {
    /// Puts a deployment.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_ise(&mut self, record: &IseRecord) -> Result<(), StoreError> {
        self.put(Table::Ise, &record.name, record)
    }

    /// Puts what was seen of one.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_ise_seen(&mut self, name: &str, seen: &IseSeen) -> Result<(), StoreError> {
        self.put(Table::IseSeen, name, seen)
    }

    /// Removes a deployment, and what was seen of it.
    pub fn remove_ise(&mut self, name: &str) {
        self.remove(Table::Ise, name);
        self.remove(Table::IseSeen, name);
    }

    /// Puts the addresses that belong to none.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_ise_strangers<'a>(&mut self, all: impl IntoIterator<Item = &'a Stranger>) -> Result<(), StoreError> {
        self.put_state(STRANGERS, &all.into_iter().collect::<Vec<_>>())
    }
}
