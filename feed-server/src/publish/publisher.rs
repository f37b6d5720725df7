//! Bringing the tree to what the catalog says, and keeping its signatures fresh.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bundles::index::Patterns;
use bundles::{Digest, Manifest, Serial};
use jiff::Timestamp;
use url::Url;

use super::keys::Keys;
use super::metadata::{self, Signer};
use super::published::Published;
use super::roots::Roots;
use super::targets::Wants;
use super::terms::Term;
use super::tree::Tree;
use super::vendor::{self, Rewriting};
use super::zips::{self, BuiltZip, Zips};
use super::{PublishError, Repository, Role};
use crate::config::Config;
use crate::crash;
use crate::store::Store;

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
    keys: Keys,
    valid_for: Duration,
    rewriting: Rewriting,
    configured_url: Option<Url>,
    listening_url: Mutex<Option<Url>>,
    published: Arc<ArcSwap<Published>>,
}

impl Publisher {
    /// Opens `<data_dir>/tree`. What it holds is served at once; a first root is made where there is none.
    ///
    /// # Errors
    /// The keys are not those of this data directory; or tree or catalog cannot be read or written.
    pub fn open(
        store: Store,
        data_dir: &Path,
        config: &Config,
        keys: Keys,
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
            keys,
            valid_for: config.bundles.valid_for,
            rewriting,
            configured_url: config.serve.public_url.clone(),
            listening_url: Mutex::new(url_of(config.listen.address, config.listen.tls.is_some())),
            published: Arc::new(ArcSwap::from_pointee(Published::empty())),
        };
        inner.refresh(&inner.roots_to_serve(now)?)?;
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

    /// Brings the tree to what the catalog says. Does nothing where it is so already, and signs nothing that is current;
    /// completes what a process that died left half done.
    ///
    /// The order: new files; the online `timestamp.json`; the offline one; the vendor's layout. From here on the release
    /// is visible. Then its zip is built, and named by the metadata, and what is no longer retained is removed.
    ///
    /// # Errors
    /// What could not be done. What was published before is served on, or the new release, whole.
    pub async fn publish(&self, now: Timestamp) -> Result<Arc<Published>, PublishError> {
        self.alone(move |inner| inner.publish(now)).await
    }

    /// Signs anew what is due, which is mostly the online `timestamp.json` alone; `None` where nothing is.
    ///
    /// # Errors
    /// What could not be done; what was published before is served on.
    pub async fn resign(&self, now: Timestamp) -> Result<Option<Arc<Published>>, PublishError> {
        self.alone(move |inner| inner.resign(now)).await
    }

    /// When [`Publisher::resign`] has something to do; `now` where it has already.
    #[must_use]
    pub fn next_resign(&self, now: Timestamp) -> Timestamp {
        self.inner.published.load().next_due().map_or(now, |due| due.max(now))
    }

    /// The newest root of a repository, as headends enroll with it.
    #[must_use]
    pub fn root_json(&self, repository: Repository) -> Vec<u8> {
        self.inner.published.load().root(repository).to_vec()
    }

    /// SHA-256 of [`Publisher::root_json`], to compare over the telephone.
    #[must_use]
    pub fn root_fingerprint(&self, repository: Repository) -> Digest {
        Digest::of(&self.root_json(repository))
    }

    /// When each role's metadata ends.
    #[must_use]
    pub fn metadata_expiries(&self) -> Vec<(Repository, Role, Timestamp)> {
        self.inner.published.load().expiries().to_vec()
    }

    /// Writes a release's zip for ISE to `out`, a file or a directory, with its `.sha256` beside it. `progress` is told of
    /// each piece of input, in bytes. Blocks.
    ///
    /// # Errors
    /// There is no such release, or its zip cannot be written.
    pub fn build_ise_zip(
        &self,
        serial: Serial,
        out: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<BuiltZip, PublishError> {
        let release = self.inner.store.release(serial)?.ok_or(PublishError::NoRelease { serial })?;
        zips::build_at(&self.inner.store, &release.manifest, out, progress)
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
    fn signer(&self, repository: Repository, now: Timestamp) -> Signer<'_> {
        let (store, tree, keys) = (&self.store, &self.tree, &self.keys);
        Signer { store, tree, keys, valid_for: self.valid_for, repository, now }
    }

    fn roots(&self, now: Timestamp) -> Result<[(Repository, Roots); 2], PublishError> {
        let [online, offline] = Repository::ALL;
        Ok([(online, self.signer(online, now).roots()?), (offline, self.signer(offline, now).roots()?)])
    }

    /// What was published is served also where the catalog cannot be opened or written for want of room.
    fn roots_to_serve(&self, now: Timestamp) -> Result<[(Repository, Roots); 2], PublishError> {
        let lacking = match self.roots(now) {
            Err(PublishError::Store(error)) if error.lacks_room() => error,
            roots => return roots,
        };
        let [online, offline] = Repository::ALL;
        let served = |repository| Roots::served(&self.tree, repository, &self.keys);
        match (served(online)?, served(offline)?) {
            (Some(of_online), Some(of_offline)) => Ok([(online, of_online), (offline, of_offline)]),
            (None, _) | (_, None) => Err(lacking.into()),
        }
    }

    fn public_url(&self) -> Option<Url> {
        let listening = || self.listening_url.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.configured_url.clone().or_else(listening)
    }

    fn publish(&self, now: Timestamp) -> Result<Arc<Published>, PublishError> {
        let releases = self.store.releases(usize::MAX)?;
        let manifests: Vec<Manifest> = releases.into_iter().map(|release| release.manifest).collect();
        let mut zips = Zips::read(&self.store, &self.tree, &manifests)?;
        let roots = self.roots(now)?;

        self.switch(&roots, &self.wants(&roots, &manifests, &zips)?, now)?;
        let vendor = vendor::publish(&self.store, &self.tree, &manifests, &self.rewriting, self.public_url().as_ref());
        // What was switched is served, even where the vendor's layout had to stay as it was.
        self.refresh(&roots)?;
        vendor?;

        if zips.complete(&self.store, &self.tree, &manifests)? {
            self.switch(&roots, &self.wants(&roots, &manifests, &zips)?, now)?;
            self.refresh(&roots)?;
        }

        crash::point("tree.before_cleanup");
        self.wants(&roots, &manifests, &zips)?.clean(&self.tree)?;
        vendor::clean(&self.tree, &manifests)?;
        zips::clean(&self.tree, &manifests)?;
        for repository in Repository::ALL {
            metadata::clean(&self.tree, repository)?;
        }
        self.tree.settle()?;
        self.refresh(&roots)
    }

    fn wants(&self, roots: &[(Repository, Roots)], manifests: &[Manifest], zips: &Zips) -> Result<Wants, PublishError> {
        let mut wants = Wants::of_releases(manifests)?;
        for (name, zip, path) in zips.built(manifests) {
            wants.add_zip(name, zip, path);
        }
        let offline = roots.iter().filter(|(repository, _)| *repository == Repository::Offline);
        wants.add_offline_roots(offline.flat_map(|(_, roots)| roots.all()).map(|root| root.bytes.as_slice()));
        Ok(wants)
    }

    /// Puts these targets in place and lets the metadata name them.
    fn switch(&self, roots: &[(Repository, Roots); 2], wants: &Wants, now: Timestamp) -> Result<(), PublishError> {
        wants.place(&self.store, &self.tree)?;
        self.tree.settle()?;
        crash::point("tree.targets");
        let mut signed = Vec::new();
        for (repository, roots) in roots {
            let signer = self.signer(*repository, now);
            if let Some((chain, _)) = signer.chain(&roots.latest().signed, Some(wants.signed(*repository)))? {
                signer.write_versioned(roots, &chain)?;
                signed.push((signer, chain));
            }
        }
        self.tree.settle()?;
        crash::point("tree.metadata");
        for (signer, chain) in signed {
            signer.switch(&chain)?;
            crash::point(match signer.repository {
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
            let signer = self.signer(repository, now);
            let kept = self.published.load().root(repository);
            let root = signer.roots()?;
            if root.latest().bytes != kept {
                // A new root is a target and a file of its own.
                return self.publish(now).map(Some);
            }
            let Some((chain, is_new)) = signer.chain(&root.latest().signed, None)? else {
                return self.publish(now).map(Some);
            };
            if is_new {
                signer.write_versioned(&root, &chain)?;
                self.tree.settle()?;
                signer.switch(&chain)?;
                metadata::clean(&self.tree, repository)?;
            }
            roots.push((repository, root));
        }
        self.tree.settle()?;
        self.refresh(&roots).map(Some)
    }

    /// Serves what the tree holds.
    fn refresh(&self, roots: &[(Repository, Roots)]) -> Result<Arc<Published>, PublishError> {
        let term = |repository, role| Term::of(repository, role, self.valid_for);
        let published = Arc::new(Published::of_tree(&self.tree, roots, term)?);
        self.published.store(published.clone());
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
