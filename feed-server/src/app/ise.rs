//! ISE deployments, as far as they can be seen: by where requests for the vendor's layout come from, and by handshakes that are
//! broken off there. Nothing is written for a request: what was seen is kept in memory, and written down every few seconds.

mod guide;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bundles::{Digest, Serial};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use guide::{Guide, GuideCertificate, VersionRow};

use super::{App, if_readable};
use crate::store::ise::{IseRecord, IseSeen, Stranger, TlsAlert};
use crate::store::{Batch, Store, StoreError};

/// An update of ISE takes up to half an hour; after twice that it has stopped.
pub const FAIR_WHILE: SignedDuration = SignedDuration::from_hours(1);

/// What stands in an alert's place where the connection was closed in the midst of the handshake without one.
pub const CLOSED: &str = "closed";

/// Addresses that are offered: more are an attack or a scan, and not what an operator forgot.
const MOST_STRANGERS: usize = 32;

/// Archives of more releases than are retained anywhere; beyond, those of releases that are not retained here are forgotten.
const MOST_ARCHIVES: usize = 512;

/// The state of a deployment is the first of these that fits. Never "current": what ISE did with what it fetched, nobody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IseState {
    /// It broke off a TLS handshake since it last got the index.
    Refused,
    /// It has not asked for the index for two and a half of its intervals, or never.
    Silent,
    /// It got the index a fair while ago, and has not fetched every archive that it lacks.
    Partial,
    /// None of these.
    Fetched,
}

impl IseState {
    /// Every state, so that each metric label exists at 0 from the start.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Silent, Self::Partial, Self::Fetched];

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Partial => "partial",
            Self::Fetched => "fetched",
        }
    }
}

/// How a deployment is. `lacks` says whether archives of the release whose index it got are lacking.
#[must_use]
pub fn state(now: Timestamp, every_hours: u32, seen: &IseSeen, lacks: bool) -> IseState {
    // In halves, for two and a half has no integer.
    let patience = SignedDuration::from_hours(i64::from(every_hours)).saturating_mul(5) / 2;
    let is_recent = |at: Timestamp| now.duration_since(at) <= patience;
    if seen.last_alert.as_ref().is_some_and(|alert| is_recent(alert.at) && seen.polled < Some(alert.at)) {
        return IseState::Refused;
    }
    match (seen.polled, seen.given) {
        (Some(polled), Some((_, given))) if is_recent(polled) => {
            if lacks && now.duration_since(given) > FAIR_WHILE {
                IseState::Partial
            } else {
                IseState::Fetched
            }
        }
        _ => IseState::Silent,
    }
}

/// A deployment, and what was seen of it.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// As it was added.
    pub record: IseRecord,
    /// What was seen.
    pub seen: IseSeen,
    /// How it is.
    pub state: IseState,
    /// Archives of the release whose index it got that it got as well, by name.
    pub fetched: Vec<String>,
    /// Those that it has not got.
    pub lacking: Vec<String>,
}

/// What a request of the vendor's layout came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// The index of a release.
    Index(Serial),
    /// An archive, whole.
    Archive(Digest),
    /// Something that is not here.
    Missing(&'a str),
}

/// Sees what deployments do.
#[derive(Debug, Default)]
pub struct Observer(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    deployments: HashMap<IpAddr, String>,
    seen: BTreeMap<String, IseSeen>,
    strangers: BTreeMap<IpAddr, Stranger>,
    /// Whose are to be written down.
    changed: BTreeSet<String>,
    strangers_changed: bool,
}

impl Observer {
    /// As it was written down last.
    pub(super) fn open(store: &Store) -> Self {
        let observer = Self::default();
        let records = if_readable(store.ise());
        {
            let mut state = observer.lock();
            for record in &records {
                if let Some(seen) = if_readable(store.ise_seen(&record.name)) {
                    state.seen.insert(record.name.clone(), seen);
                }
            }
            state.strangers = if_readable(store.ise_strangers());
        }
        observer.register(&records);
        observer
    }

    /// Whose requests come from where, from now on.
    pub(super) fn register(&self, records: &[IseRecord]) {
        let mut state = self.lock();
        let of = |record: &IseRecord| record.addresses.iter().map(|ip| (*ip, record.name.clone())).collect::<Vec<_>>();
        state.deployments = records.iter().flat_map(of).collect();
        let names: HashSet<&str> = records.iter().map(|record| record.name.as_str()).collect();
        state.seen.retain(|name, _| names.contains(name.as_str()));
        state.changed.retain(|name| names.contains(name.as_str()));
        let State { deployments, strangers, .. } = &mut *state;
        let before = strangers.len();
        strangers.retain(|address, _| !deployments.contains_key(address));
        state.strangers_changed |= state.strangers.len() != before;
    }

    /// What a deployment is said to have.
    pub(super) fn has(&self, name: &str, archives: impl IntoIterator<Item = Digest>) {
        let mut state = self.lock();
        let seen = state.seen.entry(name.to_owned()).or_default();
        for archive in archives {
            seen.got(archive);
        }
        state.changed.insert(name.to_owned());
    }

    /// Somebody asked for something of the vendor's layout.
    pub fn asked(&self, from: IpAddr, asked: Asked<'_>, at: Timestamp) {
        let from = from.to_canonical();
        let mut state = self.lock();
        let Some(name) = state.deployments.get(&from).cloned() else {
            if matches!(asked, Asked::Index(_)) {
                state.stranger(from, at);
            }
            return;
        };
        let seen = state.seen.entry(name.clone()).or_default();
        let changed = match asked {
            Asked::Index(serial) => {
                seen.polled(serial, from, at);
                true
            }
            Asked::Archive(archive) => seen.got(archive),
            Asked::Missing(path) => {
                seen.missed(path);
                true
            }
        };
        if changed {
            state.changed.insert(name);
        }
    }

    /// Somebody broke off a handshake. Of those who belong to no deployment nothing is kept: scanners do so all day.
    pub fn alerted(&self, from: IpAddr, alert: &str, at: Timestamp) {
        let from = from.to_canonical();
        let mut state = self.lock();
        let Some(name) = state.deployments.get(&from).cloned() else { return };
        state.seen.entry(name.clone()).or_default().refused(TlsAlert { at, from, alert: alert.to_owned() });
        state.changed.insert(name);
    }

    fn of(&self, name: &str) -> IseSeen {
        self.lock().seen.get(name).cloned().unwrap_or_default()
    }

    fn strangers(&self) -> Vec<Stranger> {
        let mut all: Vec<_> = self.lock().strangers.values().cloned().collect();
        all.sort_by_key(|stranger| std::cmp::Reverse(stranger.last));
        all
    }

    /// What is to be written down; it counts as written from here on.
    fn take(&self) -> (Vec<(String, IseSeen)>, Option<Vec<Stranger>>) {
        let mut state = self.lock();
        let changed = std::mem::take(&mut state.changed);
        let seen =
            changed.into_iter().filter_map(|name| Some((name.clone(), state.seen.get(&name)?.clone()))).collect();
        let strangers =
            std::mem::take(&mut state.strangers_changed).then(|| state.strangers.values().cloned().collect());
        (seen, strangers)
    }

    /// It could not be written down.
    fn put_back(&self, seen: &[(String, IseSeen)], strangers: bool) {
        let mut state = self.lock();
        for (name, _) in seen {
            if state.seen.contains_key(name) {
                state.changed.insert(name.clone());
            }
        }
        state.strangers_changed |= strangers;
    }

    // A panic elsewhere leaves nothing half-written in here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stranger(&mut self, address: IpAddr, at: Timestamp) {
        self.strangers_changed = true;
        if let Some(known) = self.strangers.get_mut(&address) {
            known.last = at;
            known.polls = known.polls.saturating_add(1);
            return;
        }
        if self.strangers.len() >= MOST_STRANGERS {
            let oldest = self.strangers.values().min_by_key(|stranger| stranger.last).map(|stranger| stranger.address);
            if let Some(oldest) = oldest {
                self.strangers.remove(&oldest);
            }
        }
        self.strangers.insert(address, Stranger { address, first: at, last: at, polls: 1 });
    }
}

impl App {
    /// All deployments, and how they are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn ise_deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        let now = self.now();
        let mut archives: HashMap<Serial, Vec<(String, Digest)>> = HashMap::new();
        let mut deployments = Vec::new();
        for record in self.store.ise()? {
            let seen = self.ise.of(&record.name);
            if let Some((serial, _)) = seen.given
                && !archives.contains_key(&serial)
            {
                archives.insert(serial, archives_of(&self.store, serial)?);
            }
            let wanted = seen.given.and_then(|(serial, _)| archives.get(&serial)).cloned().unwrap_or_default();
            let (fetched, lacking): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|(_, digest)| seen.has.contains(digest));
            let names = |files: Vec<(String, Digest)>| files.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
            let state = state(now, record.every_hours, &seen, !lacking.is_empty());
            deployments.push(Deployment { record, seen, state, fetched: names(fetched), lacking: names(lacking) });
        }
        Ok(deployments)
    }

    /// Addresses that asked for the index and belong to no deployment, the newest first.
    #[must_use]
    pub fn ise_strangers(&self) -> Vec<Stranger> {
        self.ise.strangers()
    }

    /// After deployments were added or removed. `has` are the archives that a new one is said to have.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn ise_changed(&self, new: Option<(&str, Vec<Digest>)>) -> Result<(), StoreError> {
        self.ise.register(&self.store.ise()?);
        if let Some((name, has)) = new {
            self.ise.has(name, has);
        }
        self.keep_ise()
    }

    /// Writes down what was seen since the last time.
    ///
    /// # Errors
    /// The store cannot be read or written; then it is tried again the next time.
    pub fn keep_ise(&self) -> Result<(), StoreError> {
        // Nobody removes a deployment in between.
        let _only = self.lock_changes();
        let (mut seen, strangers) = self.ise.take();
        if seen.is_empty() && strangers.is_none() {
            return Ok(());
        }
        let kept = self.put_ise(&mut seen, strangers.as_deref());
        if kept.is_err() {
            self.ise.put_back(&seen, strangers.is_some());
        }
        kept
    }

    fn put_ise(&self, seen: &mut [(String, IseSeen)], strangers: Option<&[Stranger]>) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (name, seen) in seen {
            if seen.has.len() > MOST_ARCHIVES {
                let mut retained = HashSet::new();
                for release in self.store.releases(usize::MAX)? {
                    retained.extend(release.manifest.files().iter().map(|file| file.sha256));
                }
                seen.has.retain(|digest| retained.contains(digest));
                if let Some(here) = self.ise.lock().seen.get_mut(name) {
                    here.has.retain(|digest| retained.contains(digest));
                }
            }
            batch.put_ise_seen(name, seen)?;
        }
        if let Some(strangers) = strangers {
            batch.put_ise_strangers(strangers)?;
        }
        self.store.commit(batch)
    }
}

/// The archives of a release; none where it is no longer retained.
///
/// # Errors
/// The store cannot be read.
pub fn archives_of(store: &Store, serial: Serial) -> Result<Vec<(String, Digest)>, StoreError> {
    let Some(release) = store.release(serial)? else { return Ok(Vec::new()) };
    let files = release.manifest.components.iter().flat_map(|released| &released.files);
    Ok(files.map(|file| (file.archive.name.to_string(), file.archive.sha256)).collect())
}

#[cfg(test)]
mod tests;
