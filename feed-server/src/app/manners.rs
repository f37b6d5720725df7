//! What upstream and the proxy asked not to be asked, in memory and in the store.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bundles::Reasoned as _;

use super::{App, if_readable};
use crate::config;
use crate::store::{Store, StoreError};
use crate::upstream::manners::{Cooldown, Ending, Manners, PasswordState, RefusedPassword, Source};
use crate::upstream::proxy::{Environment, Proxies};

/// In the catalog: a restart ends no cool-down, and does not try a refused password again.
pub(super) const STATE: &str = "manners";

/// The state, and the sources that it is about now.
#[derive(Debug, Default)]
pub struct KeptManners(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    manners: Manners,
    sources: Vec<Source>,
}

impl KeptManners {
    // What a panic elsewhere left is whole: it is replaced in one step.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// What is known.
    #[must_use]
    pub fn manners(&self) -> Manners {
        self.manners.lock().manners.clone()
    }

    /// The cool-downs that are in effect.
    #[must_use]
    pub fn cooling(&self) -> Vec<Cooldown> {
        let now = self.now();
        let inner = self.manners.lock();
        inner.sources.iter().filter_map(|source| inner.manners.cooldown(source, now)).cloned().collect()
    }

    /// The credentials that are not tried again, where any source is reached through their proxy. While a run tries some,
    /// nothing is known of them yet.
    #[must_use]
    pub fn password_refused(&self) -> Option<RefusedPassword> {
        let inner = self.manners.lock();
        let refused = inner.manners.password()?;
        let refused = inner
            .sources
            .iter()
            .any(|source| source.proxy.as_ref() == Some(&refused.proxy))
            .then(|| refused.clone())?;
        drop(inner);
        match refused.state {
            PasswordState::Refused => Some(refused),
            PasswordState::Tried => Some(refused).filter(|_| self.runs.progress().is_none()),
        }
    }

    /// Where every source cools down: the cool-down that is over first.
    #[must_use]
    pub fn all_cooling(&self) -> Option<Cooldown> {
        let now = self.now();
        let inner = self.manners.lock();
        inner.manners.all_cooling(&inner.sources, now).cloned()
    }

    /// Changes what is known and keeps it. It is on disk when this returns; where that fails, it is known until the next
    /// restart all the same.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn change_manners<T>(&self, change: impl FnOnce(&mut Manners) -> T) -> Result<T, StoreError> {
        let mut inner = self.manners.lock();
        let before = inner.manners.clone();
        let changed = change(&mut inner.manners);
        // Kept under the lock, so that what is kept last is what is known last.
        if inner.manners != before {
            self.store.put_state(STATE, &inner.manners)?;
        }
        Ok(changed)
    }

    /// Learns which sources there are now, and forgets what no longer holds. What ended, and why.
    ///
    /// # Errors
    /// As [`Self::change_manners`].
    pub fn settle_manners(&self, sources: &[Source]) -> Result<Vec<(Cooldown, Ending)>, StoreError> {
        self.manners.lock().sources = sources.to_vec();
        let now = self.now();
        self.change_manners(|manners| manners.settle(sources, now))
    }
}

/// What is kept, about the sources of now.
pub(super) fn open(store: &Store, config: &config::Upstream) -> KeptManners {
    // Nothing is forgotten here, but by the next run: a look at the status, from a shell with another proxy in its
    // environment, changes nothing.
    let manners = if_readable(store.state(STATE)).unwrap_or_default();
    let sources = sources(config);
    KeptManners(Mutex::new(Inner { manners, sources }))
}

/// The sources that a configuration leads to.
fn sources(config: &config::Upstream) -> Vec<Source> {
    if !config.fetches() {
        return Vec::new();
    }
    let proxies = Proxies::resolve(config, &Environment::of_process()).unwrap_or_else(|error| {
        // The next run says so loudly, and asks nobody.
        tracing::debug!(error = error.whole_message(), "the way to upstream is not known");
        Proxies::default()
    });
    std::iter::once(&config.url).chain(&config.fallback_urls).map(|url| Source::new(url, &proxies)).collect()
}
