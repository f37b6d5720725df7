//! The roots: what headends hold. Every version is kept in the catalog, since it can never be made again.

use std::collections::HashMap;
use std::num::NonZeroU64;

use jiff::Timestamp;
use tough::schema::{RoleKeys, Root, Signed};

use super::keys::Keys;
use super::pending::{self, Pending};
use super::signing::{SPEC_VERSION, SignedRole, role_type};
use super::terms::Term;
use super::tree::Tree;
use super::{PublishError, Repository, Role, metadata};
use crate::store::{Batch, Store, StoreError};

/// All versions of a repository's root; an origin's from 1, a relay's from the first that it knows. At least one.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    versions: Vec<SignedRole<Root>>,
    latest: SignedRole<Root>,
}

impl Roots {
    /// Reads them; makes the first where there is none, and the next where the latest is due for renewal and enough of its
    /// keys are here.
    ///
    /// Where the catalog has none and the tree has, those of the tree are taken: a headend may hold them.
    pub(super) fn current(
        store: &Store,
        tree: &Tree,
        repository: Repository,
        keys: &Keys,
        term: Term,
        now: Timestamp,
    ) -> Result<Self, PublishError> {
        let kept: Vec<String> = match store.state(&state(repository))? {
            Some(kept) => kept,
            None => in_tree(tree, repository)?,
        };
        let pending = Pending::read(store, repository)?;
        let Some(roots) = Self::received(repository, &kept)? else {
            let root = first(repository, term.expires(now)?, keys)?;
            return Self { versions: Vec::new(), latest: root.clone() }.keeping(store, repository, root);
        };
        let latest = &roots.latest.signed;
        if !are_of(latest, pending.as_ref(), keys) {
            return Err(PublishError::OtherKeys { repository, path: keys.directory().to_owned() });
        }
        // What waits is the next one, and ends later as well.
        if !term.is_due(latest.expires, now) || pending.is_some() {
            return Ok(roots);
        }
        if !roots.can_be_renewed(keys) {
            // They may have been brought for just this.
            keys.reload()?;
        }
        if !roots.can_be_renewed(keys) {
            return Ok(roots);
        }
        let mut next = Signed { signed: latest.clone(), signatures: Vec::new() };
        next.signed.version = latest.version.checked_add(1).unwrap_or(NonZeroU64::MAX);
        next.signed.expires = term.expires(now)?;
        pending::sign_here(repository, latest, &mut next, keys)?;
        let next =
            SignedRole::assemble(next).map_err(|source| PublishError::Root { repository, source: source.into() })?;
        roots.keeping(store, repository, next)
    }

    /// Kept before anyone can see it.
    fn keeping(self, store: &Store, repository: Repository, root: SignedRole<Root>) -> Result<Self, PublishError> {
        let mut batch = Batch::new();
        append(&mut batch, repository, &self, &root)?;
        store.commit(batch)?;
        let mut versions = self.versions;
        versions.push(root.clone());
        Ok(Self { versions, latest: root })
    }

    /// Whether enough of the latest root's keys are here to sign the next one.
    pub(super) fn can_be_renewed(&self, keys: &Keys) -> bool {
        let named = self.latest.signed.roles.get(&role_type(Role::Root));
        named.is_some_and(|named| keys.among(&named.keyids).len() as u64 >= named.threshold.get())
    }

    /// Those that were received, verified before they were kept; `None` where there are none.
    pub(super) fn received(repository: Repository, kept: &[String]) -> Result<Option<Self>, PublishError> {
        let versions = kept.iter().map(|text| read(repository, text)).collect::<Result<Vec<_>, _>>()?;
        Ok(versions.last().cloned().map(|latest| Self { versions, latest }))
    }

    /// Those of the tree, as they are: what was published can be served without the catalog. `None` where there are none,
    /// or the latest is not of these keys.
    pub(super) fn served(
        tree: &Tree,
        repository: Repository,
        keys: Option<&Keys>,
    ) -> Result<Option<Self>, PublishError> {
        let roots = Self::received(repository, &in_tree(tree, repository)?)?;
        Ok(roots.filter(|roots| keys.is_none_or(|keys| are_of(&roots.latest.signed, None, keys))))
    }

    pub(super) fn latest(&self) -> &SignedRole<Root> {
        &self.latest
    }

    pub(super) fn all(&self) -> &[SignedRole<Root>] {
        &self.versions
    }
}

/// Up to the newest, without a gap.
fn in_tree(tree: &Tree, repository: Repository) -> Result<Vec<String>, PublishError> {
    let folder = metadata::folder(repository);
    let mut found = Vec::new();
    let mut next = None;
    for version in metadata::numbered(&tree.list(&folder)?, Role::Root).into_iter().rev() {
        if next.is_some_and(|next: u64| next != version) {
            break;
        }
        let Some(bytes) = tree.read(&format!("{folder}/{version}.root.json"))? else { break };
        let text =
            String::from_utf8(bytes).map_err(|source| PublishError::Root { repository, source: source.into() })?;
        found.push(text);
        next = version.checked_sub(1);
    }
    found.reverse();
    Ok(found)
}

fn read(repository: Repository, text: &str) -> Result<SignedRole<Root>, PublishError> {
    let signed: Signed<Root> =
        serde_json::from_str(text).map_err(|source| PublishError::Root { repository, source: source.into() })?;
    Ok(SignedRole { signed: signed.signed, bytes: text.as_bytes().to_vec() })
}

/// Whether any of these keys is of that root, or of the one that is to follow; where there are no keys, they are elsewhere.
fn are_of(root: &Root, pending: Option<&Pending>, keys: &Keys) -> bool {
    let next = pending.map(|pending| &pending.root.signed);
    let named = std::iter::once(root).chain(next).flat_map(|root| root.roles.values()).flat_map(|named| &named.keyids);
    keys.is_empty() || !keys.among(named).is_empty()
}

/// The name in the catalog under which an origin keeps them.
pub(super) fn state(repository: Repository) -> String {
    format!("publish.{repository}.roots")
}

/// Puts one more root into the catalog.
pub(super) fn append(
    batch: &mut Batch,
    repository: Repository,
    roots: &Roots,
    root: &SignedRole<Root>,
) -> Result<(), StoreError> {
    let all = roots.versions.iter().chain(std::iter::once(root));
    let all: Vec<_> = all.map(|root| String::from_utf8_lossy(&root.bytes).into_owned()).collect();
    batch.put_state(&state(repository), &all)
}

/// The first root, of the first set of keys.
fn first(repository: Repository, expires: Timestamp, keys: &Keys) -> Result<SignedRole<Root>, PublishError> {
    let mut root = Root {
        spec_version: SPEC_VERSION.to_owned(),
        consistent_snapshot: true,
        version: NonZeroU64::MIN,
        expires,
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: HashMap::new(),
    };
    for role in Role::ALL {
        let of_role = keys.first_of(repository, role);
        if of_role.is_empty() {
            return Err(PublishError::KeysMissing { repository, role, path: keys.directory().to_owned() });
        }
        let threshold = if role == Role::Root { keys.first_threshold()? } else { 1 };
        let keyids = of_role.iter().map(|key| key.id.clone()).collect();
        let threshold = NonZeroU64::new(threshold).unwrap_or(NonZeroU64::MIN);
        root.roles.insert(role_type(role), RoleKeys { keyids, threshold, _extra: HashMap::new() });
        root.keys.extend(of_role.into_iter().map(|key| (key.id, key.public)));
    }
    SignedRole::sign(repository, Role::Root, root, &keys.first_of(repository, Role::Root))
}
