//! Bringing the tree to what the catalog says, and keeping its signatures fresh.

mod keys;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bundles::index::Patterns;
use bundles::report::Failure;
use bundles::{Digest, Manifest};
use jiff::Timestamp;
use url::Url;

use super::bundle_zips;
use super::keys::Keys;
use super::metadata;
use super::published::Published;
use super::roots::Roots;
use super::rotation::Rotation;
use super::set::Set;
use super::signer::Signer;
use super::targets::Wants;
use super::terms::Term;
use super::tree::Tree;
use super::vendor::{self, Rewriting};
use super::zips::{self, Zips};
use super::{PublishError, Repository, Role};
use crate::config::Config;
use crate::crash;
use crate::store::Store;
use crate::store::records::ReleaseRecord;

/// Publishes. One at a time: concurrent calls wait for each other, and a call that nobody waits for any more runs to its
/// end all the same.
#[derive(Debug)]
pub struct Publisher {
    inner: Arc<Inner>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    tree: Tree,
    /// A relay has none: it puts what it received in place, and signs nothing.
    keys: Option<Keys>,
    valid_for: Duration,
    rewriting: Rewriting,
    configured_url: Option<Url>,
    opened: Timestamp,
    listening_url: Mutex<Option<Url>>,
    published: Arc<ArcSwap<Published>>,
    changed: tokio::sync::Notify,
    failure: Mutex<Option<Failure>>,
}

impl Publisher {
    /// Opens `<data_dir>/tree`. What it holds is served at once; an origin's first root is made where there is none. A relay
    /// gives no keys.
    ///
    /// # Errors
    /// The keys are not those of this data directory; or tree or catalog cannot be read or written.
    pub fn open(
        store: Store,
        data_dir: &Path,
        config: &Config,
        keys: impl Into<Option<Keys>>,
        now: Timestamp,
    ) -> Result<Self, PublishError> {
        let patterns = Patterns::with_overrides(config.upstream.components.clone()).map_err(PublishError::Pattern)?;
        let rewriting = Rewriting {
            patterns: config.serve.rewrite_index.then_some(patterns),
            limits: config.limits.clone(),
            upstream: config.upstream.url.clone(),
        };
        let inner = Inner {
            store,
            tree: Tree::open(data_dir)?,
            keys: keys.into(),
            valid_for: config.bundles.valid_for,
            rewriting,
            configured_url: config.serve.public_url.clone(),
            opened: now,
            listening_url: Mutex::new(url_of(config.listen.address, config.listen.tls.is_some())),
            published: Arc::new(ArcSwap::from_pointee(Published::empty())),
            changed: tokio::sync::Notify::new(),
            failure: Mutex::default(),
        };
        let roots = inner.roots_to_serve(now)?;
        inner.refresh(roots.iter().map(|(repository, roots)| (*repository, roots)))?;
        Ok(Self { inner: Arc::new(inner), gate: Arc::default() })
    }

    /// Tells the address that is really listened on; without `[serve] public_url`, locators of the vendor's layout begin
    /// with it. `None`: there is none that others could use. The next [`Publisher::publish`] makes it so.
    pub fn set_public_url(&self, url: impl Into<Option<Url>>) {
        *self.inner.listening_url.lock().unwrap_or_else(PoisonError::into_inner) = url.into();
    }

    /// What the locators of the vendor's layout begin with; its index is not served where there is none.
    #[must_use]
    pub fn public_url(&self) -> Option<Url> {
        self.inner.public_url()
    }

    /// What is served, for the routes.
    #[must_use]
    pub fn published(&self) -> Arc<ArcSwap<Published>> {
        self.inner.published.clone()
    }

    /// Waits until something else is served than at the last call's end; for one waiter.
    pub async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    /// Brings the tree to what the catalog says. Does nothing where it is so already, and signs nothing that is current;
    /// completes what a process that died left half done.
    ///
    /// The order: new files; the online `timestamp.json`; the offline one; the vendor's layout. From here on the release
    /// is visible. Then its zip for ISE is built, and named by the metadata; then its bundle, of that metadata; and what is
    /// no longer retained is removed.
    ///
    /// # Errors
    /// What could not be done. What was published before is served on, or the new release, whole.
    pub async fn publish(&self, now: Timestamp) -> Result<Arc<Published>, PublishError> {
        let result = self.alone(move |inner| inner.publish(now)).await;
        self.note(result.as_ref().err());
        result
    }

    /// Signs anew what is due, which is mostly the online `timestamp.json` alone; `None` where nothing is, and on a relay.
    ///
    /// # Errors
    /// What could not be done; what was published before is served on.
    pub async fn resign(&self, now: Timestamp) -> Result<Option<Arc<Published>>, PublishError> {
        let result = self.alone(move |inner| inner.resign(now)).await;
        if let Err(error) = &result {
            self.note(Some(error));
        }
        result
    }

    /// Why publishing did not come to its end, as long as it has not since: zips may be missing.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.inner.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, error: Option<&PublishError>) {
        let failure = error.map(|error| Failure::of(error));
        *self.inner.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// When [`Publisher::resign`] has something to do, `now` where it has already; never on a relay.
    #[must_use]
    pub fn next_resign(&self, now: Timestamp) -> Option<Timestamp> {
        self.inner.keys.as_ref()?;
        Some(self.inner.published.load().next_due().map_or(now, |due| due.max(now)))
    }

    /// What was to be signed anew before `now` and was not: since when, and when it ends.
    #[must_use]
    pub fn overdue(&self, now: Timestamp) -> Vec<(Repository, Role, Timestamp, Timestamp)> {
        if self.inner.keys.is_none() {
            return Vec::new();
        }
        let with_due = self.metadata_expiries().into_iter().map(|(repository, role, expires)| {
            (repository, role, Term::of(repository, role, self.inner.valid_for).due_at(expires), expires)
        });
        with_due.filter(|(.., due, _)| *due <= now).collect()
    }

    /// The newest root of a repository, as headends enroll with it; `None` where a relay does not have that repository.
    #[must_use]
    pub fn root_json(&self, repository: Repository) -> Option<Vec<u8>> {
        self.inner.published.load().root(repository).map(|root| root.bytes.clone())
    }

    /// SHA-256 of [`Publisher::root_json`], to compare over the telephone.
    #[must_use]
    pub fn root_fingerprint(&self, repository: Repository) -> Option<Digest> {
        self.root_json(repository).map(|root| Digest::of(&root))
    }

    /// When each role's metadata ends.
    #[must_use]
    pub fn metadata_expiries(&self) -> Vec<(Repository, Role, Timestamp)> {
        self.inner.published.load().expiries().to_vec()
    }

    /// Content that is served, whether or not a release still names it.
    #[must_use]
    pub fn in_use(&self) -> HashSet<Digest> {
        self.inner.published.load().digests()
    }

    /// Does something while nothing is published and no key changes.
    ///
    /// # Errors
    /// It was cut off inside this process.
    pub async fn paused<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PublishError> {
        self.alone(move |_| Ok(work())).await
    }

    /// Runs on a thread that may block, when no other call does.
    async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, PublishError> + Send + 'static,
    ) -> Result<T, PublishError> {
        let turn = self.gate.clone().lock_owned().await;
        let inner = self.inner.clone();
        let run = move || {
            let result = work(&inner);
            drop(turn);
            result
        };
        tokio::task::spawn_blocking(run).await.map_err(PublishError::CutOff)?
    }
}

impl Inner {
    /// `None` on a relay.
    fn signer(&self, repository: Repository, now: Timestamp) -> Option<Signer<'_>> {
        let (store, tree, keys) = (&self.store, &self.tree, self.keys.as_ref()?);
        let published = &*self.published;
        Some(Signer { store, tree, keys, valid_for: self.valid_for, repository, now, published })
    }

    /// The repositories that there are.
    fn sets(&self, now: Timestamp) -> Result<Vec<Set<'_>>, PublishError> {
        let mut sets = Vec::new();
        for repository in Repository::ALL {
            match self.signer(repository, now) {
                Some(signer) => sets.push(Set::signed(signer)?),
                None => sets.extend(Set::received(&self.store, repository)?),
            }
        }
        Ok(sets)
    }

    /// What was published is served also where the catalog cannot be opened or written for want of room.
    fn roots_to_serve(&self, now: Timestamp) -> Result<Vec<(Repository, Roots)>, PublishError> {
        let lacking = match self.sets(now) {
            Err(PublishError::Store(error)) if error.lacks_room() => error,
            sets => return Ok(sets?.into_iter().map(|set| (set.repository, set.roots)).collect()),
        };
        let mut served = Vec::new();
        for repository in Repository::ALL {
            let roots = Roots::served(&self.tree, repository, self.keys.as_ref())?;
            served.extend(roots.map(|roots| (repository, roots)));
        }
        // An origin has both from its first start on; a relay may have one, or none yet.
        if self.keys.is_some() && served.len() < Repository::ALL.len() {
            return Err(lacking.into());
        }
        Ok(served)
    }

    fn public_url(&self) -> Option<Url> {
        let listening = || self.listening_url.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.configured_url.clone().or_else(listening)
    }

    fn publish(&self, now: Timestamp) -> Result<Arc<Published>, PublishError> {
        // What is wrong with a key's file is told before anything is visible, and not in the midst of it.
        self.keys.as_ref().map_or(Ok(()), Keys::reload)?;
        let releases = self.store.releases(usize::MAX)?;
        let manifests: Vec<Manifest> = releases.iter().map(|release| release.manifest.clone()).collect();
        let mut zips = Zips::read(&self.store, &self.tree, &manifests)?;
        let sets = self.sets(now)?;

        self.switch(&sets, &self.wants(&sets, &releases, &manifests, &zips)?)?;
        // The first has the files of the others; where there is none, there is no release either.
        let first = sets.first().map_or(Repository::Online, |set| set.repository);
        let public_url = self.public_url();
        let vendor = vendor::publish(&self.store, &self.tree, first, &manifests, &self.rewriting, public_url.as_ref());
        // What was switched is served, even where the vendor's layout had to stay as it was.
        self.refresh(sets.iter().map(Set::roots))?;
        vendor?;

        if zips.complete(&self.store, &self.tree, first, &manifests)? {
            self.switch(&sets, &self.wants(&sets, &releases, &manifests, &zips)?)?;
            self.refresh(sets.iter().map(Set::roots))?;
        }

        // From what readers see now: a bundle is of the metadata that was switched last.
        let bundled = bundle_zips::complete(&self.store, &self.tree, &manifests);
        if matches!(bundled, Ok(true)) {
            self.refresh(sets.iter().map(Set::roots))?;
        }

        // Also where a bundle could not be made: for want of room, most likely.
        crash::point("tree.before_cleanup");
        self.wants(&sets, &releases, &manifests, &zips)?.clean(&self.tree)?;
        vendor::clean(&self.tree, &manifests)?;
        zips::clean(&self.tree, &manifests)?;
        bundle_zips::clean(&self.store, &self.tree, &manifests)?;
        for repository in Repository::ALL {
            metadata::clean(&self.tree, repository)?;
        }
        self.tree.settle()?;
        let published = self.refresh(sets.iter().map(Set::roots))?;
        if let Some(keys) = &self.keys {
            let roots: Vec<_> = sets.iter().map(|set| (set.repository, set.roots.clone())).collect();
            Rotation { store: &self.store, keys, now }.retire(&roots)?;
        }
        bundled.map(|_| published)
    }

    fn wants(
        &self,
        sets: &[Set<'_>],
        releases: &[ReleaseRecord],
        manifests: &[Manifest],
        zips: &Zips,
    ) -> Result<Wants, PublishError> {
        let repositories = sets.iter().map(|set| set.repository).collect();
        let mut wants = Wants::of_releases(&self.store, releases, repositories)?;
        for (name, zip, path) in zips.built(manifests) {
            wants.add_zip(name, zip, path);
        }
        if sets.iter().any(|set| set.repository == Repository::Online) {
            let offline = sets.iter().filter(|set| set.repository == Repository::Offline);
            wants.add_offline_roots(offline.flat_map(|set| set.roots.all()).map(|root| root.bytes.as_slice()));
        }
        Ok(wants)
    }

    /// Puts these targets in place and lets the metadata name them.
    fn switch(&self, sets: &[Set<'_>], wants: &Wants) -> Result<(), PublishError> {
        wants.place(&self.store, &self.tree)?;
        self.tree.settle()?;
        crash::point("tree.targets");
        let mut chains = Vec::new();
        for set in sets {
            if let Some(chain) = set.chain(wants)? {
                chain.write_versioned(&self.tree, set.repository, &set.roots)?;
                chains.push((set.repository, chain));
            }
        }
        self.tree.settle()?;
        crash::point("tree.metadata");
        for (repository, chain) in chains {
            chain.switch(&self.tree, repository)?;
            crash::point(match repository {
                Repository::Online => "tree.online_switched",
                Repository::Offline => "tree.offline_switched",
            });
        }
        Ok(())
    }

    fn resign(&self, now: Timestamp) -> Result<Option<Arc<Published>>, PublishError> {
        if self.published.load().next_due().is_some_and(|due| now < due) {
            return Ok(None);
        }
        let mut roots = Vec::new();
        for repository in Repository::ALL {
            let Some(signer) = self.signer(repository, now) else { return Ok(None) };
            let root = signer.roots()?;
            if self.published.load().root(repository).is_none_or(|kept| root.latest().bytes != kept.bytes) {
                // A new root is a target and a file of its own.
                return self.publish(now).map(Some);
            }
            let Some((chain, is_new)) = signer.chain(&root.latest().signed, None)? else {
                return self.publish(now).map(Some);
            };
            if is_new {
                chain.write_versioned(&self.tree, repository, &root)?;
                self.tree.settle()?;
                chain.switch(&self.tree, repository)?;
                metadata::clean(&self.tree, repository)?;
            }
            roots.push((repository, root));
        }
        self.tree.settle()?;
        let roots = || roots.iter().map(|(repository, roots)| (*repository, roots));
        let published = self.refresh(roots())?;
        // A bundle lasts as long as the signatures in it, so it is made anew with them.
        let releases = self.store.releases(usize::MAX)?;
        let manifests: Vec<Manifest> = releases.into_iter().map(|release| release.manifest).collect();
        if !bundle_zips::complete(&self.store, &self.tree, &manifests)? {
            return Ok(Some(published));
        }
        let published = self.refresh(roots())?;
        bundle_zips::clean(&self.store, &self.tree, &manifests)?;
        self.tree.settle()?;
        Ok(Some(published))
    }

    /// Serves what the tree holds.
    fn refresh<'r>(
        &self,
        roots: impl IntoIterator<Item = (Repository, &'r Roots)>,
    ) -> Result<Arc<Published>, PublishError> {
        let roots: Vec<_> = roots.into_iter().collect();
        // A root that cannot be signed here is no reason to wake for: it is looked at again whenever something is signed.
        let is_due_here = |repository, role| match &self.keys {
            Some(keys) if role == Role::Root => {
                roots.iter().any(|(of, roots)| *of == repository && roots.can_be_renewed(keys))
            }
            Some(_) => true,
            None => false,
        };
        let term = |repository, role| is_due_here(repository, role).then(|| Term::of(repository, role, self.valid_for));
        let published = Arc::new(Published::of_tree(&self.tree, &self.published.load(), roots.iter().copied(), term)?);
        self.published.store(published.clone());
        self.changed.notify_one();
        Ok(published)
    }
}

/// A configured address as a URL; `None` where it is no address that a client could use.
fn url_of(address: SocketAddr, tls: bool) -> Option<Url> {
    if address.ip().is_unspecified() || address.port() == 0 {
        return None;
    }
    Url::parse(&format!("{}://{address}/", if tls { "https" } else { "http" })).ok()
}
