//! The roots: what headends hold. Every version is kept in the catalog, since it can never be made again.

use std::collections::HashMap;
use std::num::NonZeroU64;

use jiff::Timestamp;
use tough::schema::{RoleKeys, Root, Signed};

use super::keys::Keys;
use super::signing::{SPEC_VERSION, SignedRole, role_type};
use super::terms::Term;
use super::tree::Tree;
use super::{PublishError, Repository, Role, metadata};
use crate::store::Store;

/// All versions of a repository's root; an origin's from 1, a relay's from the first that it knows. At least one.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    versions: Vec<SignedRole<Root>>,
    latest: SignedRole<Root>,
}

impl Roots {
    /// Reads them; makes the first where there is none, and the next where the latest is due for renewal.
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
        let name = format!("publish.{repository}.roots");
        let mut kept: Vec<String> = match store.state(&name)? {
            Some(kept) => kept,
            None => in_tree(tree, repository)?,
        };
        let mut versions = kept.iter().map(|text| read(repository, text)).collect::<Result<Vec<_>, _>>()?;
        let latest = match versions.last() {
            Some(latest) if !is_of(&latest.signed, repository, keys) => {
                return Err(PublishError::OtherKeys { repository, path: keys.directory().to_owned() });
            }
            Some(latest) if !term.is_due(latest.signed.expires, now) => latest.clone(),
            latest => {
                let version = latest.map_or(Some(NonZeroU64::MIN), |latest| latest.version().checked_add(1));
                let root = root(repository, version.unwrap_or(NonZeroU64::MAX), term.expires(now)?, keys)?;
                let root = SignedRole::sign(repository, Role::Root, root, keys)?;
                kept.push(String::from_utf8_lossy(&root.bytes).into_owned());
                // Kept before anyone can see it.
                store.put_state(&name, &kept)?;
                versions.push(root.clone());
                root
            }
        };
        Ok(Self { versions, latest })
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
        Ok(roots.filter(|roots| keys.is_none_or(|keys| is_of(&roots.latest.signed, repository, keys))))
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

fn is_of(root: &Root, repository: Repository, keys: &Keys) -> bool {
    Role::ALL.into_iter().all(|role| {
        let named = root.roles.get(&role_type(role));
        keys.of(repository, role).zip(named).is_some_and(|(key, named)| named.keyids.contains(&key.id))
    })
}

fn root(repository: Repository, version: NonZeroU64, expires: Timestamp, keys: &Keys) -> Result<Root, PublishError> {
    let mut root = Root {
        spec_version: SPEC_VERSION.to_owned(),
        consistent_snapshot: true,
        version,
        expires,
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: HashMap::new(),
    };
    for role in Role::ALL {
        let key = keys.of(repository, role).ok_or_else(|| PublishError::Sign {
            repository,
            role,
            source: "the set of keys has none for it".into(),
        })?;
        root.keys.insert(key.id.clone(), key.public.clone());
        let keys = RoleKeys { keyids: vec![key.id.clone()], threshold: NonZeroU64::MIN, _extra: HashMap::new() };
        root.roles.insert(role_type(role), keys);
    }
    Ok(root)
}
