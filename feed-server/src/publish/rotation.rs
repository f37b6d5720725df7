//! Other keys: a next root is made, signed by whichever keys are here, and put in place once enough have signed.
//!
//! The order, so that a kill at any point leaves the old state or the new one: new keys in their files; then, in one batch
//! of the catalog, the next root (or that it waits for signatures); then the tree, as with any release; then the files of
//! keys that no root needs any more go.

use std::collections::HashSet;

use jiff::Timestamp;
use tough::schema::{Root, Signed};

use super::change::{Change, ChangeError};
use super::keys::{KeyId, Keys};
use super::pending::{self, Lacking, Pending, Waiting};
use super::request::{Request, RootRequest};
use super::roots::{self, Roots};
use super::signing::SignedRole;
use super::terms::Term;
use super::{PublishError, Repository, Role};
use crate::crash;
use crate::store::{Batch, Store};

/// What became of a repository's next root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Whose root.
    pub repository: Repository,
    /// Its version.
    pub version: u64,
    /// What is lacking before it takes the place of the one before; nothing where it has.
    pub lacking: Vec<Lacking>,
}

/// What it takes to make next roots.
pub(super) struct Rotation<'a> {
    pub(super) store: &'a Store,
    pub(super) keys: &'a Keys,
    pub(super) now: Timestamp,
}

impl Rotation<'_> {
    /// Makes the next root of each of these; the caller publishes.
    pub(super) fn change(
        &self,
        of: &[(Repository, Roots, Term)],
        all: &[(Repository, Roots)],
        change: &Change,
    ) -> Result<Vec<Rotated>, PublishError> {
        let used: HashSet<KeyId> = every_id(all.iter().map(|(_, roots)| roots));
        let mut plans = Vec::new();
        for (repository, roots, term) in of {
            if let Some(waiting) = Pending::read(self.store, *repository)? {
                let version = waiting.root.signed.version.get();
                return Err(ChangeError::Waiting { repository: *repository, version }.into());
            }
            let plan = change.plan(&roots.latest().signed, &used, term.expires(self.now)?)?;
            plans.push((*repository, roots, plan));
        }
        if of.len() > 1 && !change.public.is_empty() {
            // A root does not name its repository: with one key for both, one could stand in for the other.
            let key_id = change.public[0].key_id().map(|id| hex::encode(&*id)).unwrap_or_default();
            return Err(ChangeError::Used { key_id }.into());
        }
        let mut next = Vec::new();
        for (repository, roots, plan) in plans {
            let mut made = Vec::new();
            for (role, count) in plan.make.clone() {
                for _ in 0..count {
                    made.push((role, self.keys.add(repository, role)?));
                }
            }
            let mut root = Signed { signed: plan.with(made), signatures: Vec::new() };
            pending::sign_here(repository, &roots.latest().signed, &mut root, self.keys)?;
            let pending = Pending { root, what: change.words(), created: self.now };
            next.push((repository, roots, pending));
        }
        crash::point("keys.made");
        self.take(next)
    }

    /// Adds signatures that were made elsewhere; the caller publishes.
    pub(super) fn import(&self, all: &[(Repository, Roots)], signed: &Request) -> Result<Vec<Rotated>, PublishError> {
        let mut next = Vec::new();
        for RootRequest { repository, previous, root, .. } in &signed.roots {
            let (repository, roots) = all
                .iter()
                .find(|(of, _)| of == repository)
                .ok_or(ChangeError::NoneWaits)
                .map(|(of, roots)| (*of, roots))?;
            let latest = &roots.latest().signed;
            // Brought twice, or by two people: what it asked for is there.
            if *latest == root.signed {
                continue;
            }
            let mut waiting = Pending::read(self.store, repository)?.ok_or(ChangeError::NoneWaits)?;
            // Also the one before, since whoever signed looked at what is different.
            if waiting.root.signed != root.signed || previous != latest {
                return Err(ChangeError::OtherRoot { repository }.into());
            }
            if let Some(bad) = root.signatures.iter().find(|one| !pending::counts(latest, &root.signed, one)) {
                return Err(ChangeError::BadSignature { repository, key_id: hex::encode(&*bad.keyid) }.into());
            }
            pending::merge(&mut waiting.root, root.signatures.clone());
            pending::sign_here(repository, latest, &mut waiting.root, self.keys)?;
            next.push((repository, roots, waiting));
        }
        self.take(next)
    }

    /// All in one batch: what enough keys have signed is a root, the rest waits.
    fn take(&self, next: Vec<(Repository, &Roots, Pending)>) -> Result<Vec<Rotated>, PublishError> {
        let mut batch = Batch::new();
        let mut rotated = Vec::new();
        for (repository, roots, pending) in next {
            let version = pending.root.signed.version.get();
            let lacking = pending::lacking(&roots.latest().signed, &pending.root);
            if lacking.is_empty() {
                roots::append(&mut batch, repository, roots, &assembled(repository, pending.root)?)?;
                Pending::put(None, repository, &mut batch)?;
            } else {
                Pending::put(Some(&pending), repository, &mut batch)?;
            }
            rotated.push(Rotated { repository, version, lacking });
        }
        self.store.commit(batch)?;
        crash::point("keys.committed");
        Ok(rotated)
    }

    /// What waits for signatures.
    pub(super) fn request(&self, all: &[(Repository, Roots)]) -> Result<Request, PublishError> {
        let mut roots = Vec::new();
        for (repository, of_it) in all {
            let Some(Pending { root, what, .. }) = Pending::read(self.store, *repository)? else { continue };
            roots.push(RootRequest { repository: *repository, what, previous: of_it.latest().signed.clone(), root });
        }
        if roots.is_empty() {
            return Err(ChangeError::NoneWaits.into());
        }
        Ok(Request::new(roots))
    }

    /// Gives up what waits for signatures, and the keys that were made for it.
    pub(super) fn cancel(&self, all: &[(Repository, Roots)]) -> Result<Vec<Waiting>, PublishError> {
        let mut batch = Batch::new();
        let (mut given_up, mut made) = (Vec::new(), Vec::new());
        for (repository, roots) in all {
            let Some(pending) = Pending::read(self.store, *repository)? else { continue };
            given_up.push(pending.waiting(*repository, &roots.latest().signed));
            made.extend(ids(&pending.root.signed).cloned());
            Pending::put(None, *repository, &mut batch)?;
        }
        if given_up.is_empty() {
            return Err(ChangeError::NoneWaits.into());
        }
        self.store.commit(batch)?;
        let used = every_id(all.iter().map(|(_, roots)| roots));
        for id in made.iter().filter(|id| !used.contains(*id)) {
            self.keys.remove(id)?;
        }
        Ok(given_up)
    }

    /// Removes the files of keys that a root named and no root names any more.
    pub(super) fn retire(&self, all: &[(Repository, Roots)]) -> Result<(), PublishError> {
        let mut needed: HashSet<KeyId> = HashSet::new();
        for (repository, roots) in all {
            needed.extend(ids(&roots.latest().signed).cloned());
            if let Some(pending) = Pending::read(self.store, *repository)? {
                needed.extend(ids(&pending.root.signed).cloned());
            }
        }
        let retired: Vec<KeyId> =
            every_id(all.iter().map(|(_, roots)| roots)).into_iter().filter(|id| !needed.contains(id)).collect();
        if retired.iter().any(|id| !self.keys.own_files_of(id).is_empty()) {
            crash::point("keys.before_removal");
        }
        for id in retired {
            for path in self.keys.remove(&id)? {
                tracing::info!(path = %path.display(), "removed a signing key that is no longer used");
            }
        }
        Ok(())
    }
}

/// What waits for signatures.
pub(super) fn waiting(store: &Store, roots: &[(Repository, Root)]) -> Result<Vec<Waiting>, PublishError> {
    let mut waiting = Vec::new();
    for (repository, root) in roots {
        waiting.extend(Pending::read(store, *repository)?.map(|pending| pending.waiting(*repository, root)));
    }
    Ok(waiting)
}

fn assembled(repository: Repository, root: Signed<Root>) -> Result<SignedRole<Root>, PublishError> {
    let failed = |source: serde_json::Error| PublishError::Sign { repository, role: Role::Root, source: source.into() };
    SignedRole::assemble(root).map_err(failed)
}

fn ids(root: &Root) -> impl Iterator<Item = &KeyId> {
    root.roles.values().flat_map(|keys| &keys.keyids)
}

fn every_id<'r>(roots: impl Iterator<Item = &'r Roots>) -> HashSet<KeyId> {
    roots.flat_map(Roots::all).flat_map(|root| ids(&root.signed)).cloned().collect()
}
