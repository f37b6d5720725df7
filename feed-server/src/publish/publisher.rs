//! Bringing the tree to what the catalog says, and keeping its signatures fresh.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bundles::index::Patterns;
use bundles::report::Failure;
use bundles::{Digest, Manifest, Reasoned as _};
use jiff::Timestamp;
use tough::schema::{Root, Signed};
use url::Url;

use super::bundle_zips;
use super::change::{Change, ChangeError};
use super::key::fingerprint;
use super::keys::{KeyFact, Keys};
use super::metadata;
use super::pending::Waiting;
use super::published::Published;
use super::request::Request;
use super::roots::Roots;
use super::rotation::{self, Rotated, Rotation};
use super::set::Set;
use super::signer::Signer;
use super::signing::role_type;
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

    /// Makes the next root of these repositories, which says differently what `change` says, and publishes it where enough
    /// of the keys that have to sign it are here; else it waits for signatures.
    ///
    /// # Errors
    /// There can be no such root, one waits already, or this is a relay; then nothing changed. What is there is published by
    /// the next run where that alone failed, as [`Self::failure`] says.
    pub async fn change_keys(
        &self,
        repositories: Vec<Repository>,
        change: Change,
        now: Timestamp,
    ) -> Result<Vec<Rotated>, PublishError> {
        self.rotating(now, move |inner| inner.change_keys(&repositories, &change, now)).await
    }

    /// What waits for signatures, to be carried to where root keys are.
    ///
    /// # Errors
    /// Nothing does; or the catalog cannot be read.
    pub async fn signing_request(&self, now: Timestamp) -> Result<Request, PublishError> {
        self.alone(move |inner| inner.rotation(now)?.request(&inner.kept_roots(now)?)).await
    }

    /// Takes signatures that were made elsewhere.
    ///
    /// # Errors
    /// As [`Self::change_keys`]; or one of them is not right.
    pub async fn import_signatures(&self, signed: Request, now: Timestamp) -> Result<Vec<Rotated>, PublishError> {
        self.rotating(now, move |inner| inner.rotation(now)?.import(&inner.kept_roots(now)?, &signed)).await
    }

    /// Gives up what waits for signatures.
    ///
    /// # Errors
    /// Nothing does; or the catalog cannot be written.
    pub async fn cancel_keys(&self, now: Timestamp) -> Result<Vec<Waiting>, PublishError> {
        self.alone(move |inner| inner.rotation(now)?.cancel(&inner.kept_roots(now)?)).await
    }

    async fn rotating(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Inner) -> Result<Vec<Rotated>, PublishError> + Send + 'static,
    ) -> Result<Vec<Rotated>, PublishError> {
        let work = move |inner: &Inner| {
            let rotated = change(inner)?;
            let published = match rotated.iter().any(|one| one.lacking.is_empty()) {
                true => inner.publish(now).map(drop),
                false => Ok(()),
            };
            Ok((rotated, published))
        };
        let (rotated, published) = self.alone(work).await?;
        if let Err(error) = &published {
            let (reason, message) = (error.reason().as_str(), error.whole_message());
            tracing::error!(
                reason,
                error = message,
                "the new root cannot be published yet; the next try is in a minute"
            );
            self.note(Some(error));
        }
        Ok(rotated)
    }

    /// Every key that the newest roots name; none on a relay.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyFact> {
        self.inner.key_facts()
    }

    /// What waits for signatures.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn waiting_roots(&self) -> Result<Vec<Waiting>, PublishError> {
        let roots: Vec<_> = self.inner.published_roots().collect();
        rotation::waiting(&self.inner.store, &roots)
    }

    /// Since when roles lack keys here to sign them with, and which; other than root, whose keys may well be elsewhere.
    #[must_use]
    pub fn lacking_keys(&self) -> Vec<(Repository, Role, Timestamp)> {
        let facts = self.inner.key_facts().into_iter();
        let lacking = facts.filter(|key| key.role != Role::Root && key.path.is_none());
        lacking.map(|key| (key.repository, key.role, self.inner.opened)).collect()
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
        self.inner.published.load().root(repository).map(|root| root.to_vec())
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

    fn rotation(&self, now: Timestamp) -> Result<Rotation<'_>, PublishError> {
        let keys = self.keys.as_ref().ok_or(ChangeError::Relay)?;
        keys.reload()?;
        Ok(Rotation { store: &self.store, keys, now })
    }

    /// An origin's roots.
    fn kept_roots(&self, now: Timestamp) -> Result<Vec<(Repository, Roots)>, PublishError> {
        let signers = Repository::ALL.into_iter().filter_map(|repository| self.signer(repository, now));
        signers.map(|signer| Ok((signer.repository, signer.roots()?))).collect()
    }

    fn change_keys(
        &self,
        repositories: &[Repository],
        change: &Change,
        now: Timestamp,
    ) -> Result<Vec<Rotated>, PublishError> {
        let rotation = self.rotation(now)?;
        let all = self.kept_roots(now)?;
        let changed = all.iter().filter(|(repository, _)| repositories.contains(repository));
        let term = |repository| Term::of(repository, Role::Root, self.valid_for);
        let changed: Vec<_> =
            changed.map(|(repository, roots)| (*repository, roots.clone(), term(*repository))).collect();
        rotation.change(&changed, &all, change)
    }

    /// The newest roots that are served.
    fn published_roots(&self) -> impl Iterator<Item = (Repository, Root)> {
        let published = self.published.load();
        Repository::ALL.into_iter().filter_map(move |repository| {
            let signed: Signed<Root> = serde_json::from_slice(&published.root(repository)?).ok()?;
            Some((repository, signed.signed))
        })
    }

    fn key_facts(&self) -> Vec<KeyFact> {
        let Some(keys) = &self.keys else { return Vec::new() };
        let mut facts = Vec::new();
        for (repository, root) in self.published_roots() {
            for role in Role::ALL {
                let Some(named) = root.roles.get(&role_type(role)) else { continue };
                let public = named.keyids.iter().filter_map(|id| Some((id, root.keys.get(id)?)));
                facts.extend(public.map(|(id, public)| KeyFact {
                    repository,
                    role,
                    key_id: hex::encode(&**id),
                    fingerprint: fingerprint(public),
                    path: keys.files_of(id).into_iter().next(),
                }));
            }
        }
        facts
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
        if self.keys.is_some() {
            let roots: Vec<_> = sets.iter().map(|set| (set.repository, set.roots.clone())).collect();
            self.rotation(now)?.retire(&roots)?;
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
            let kept = self.published.load().root(repository);
            let root = signer.roots()?;
            if kept.is_none_or(|kept| root.latest().bytes != kept) {
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
