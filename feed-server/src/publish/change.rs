//! What a next root says differently: other keys, another threshold, a later end. Pure; who signs it is `super::pending`'s.

use std::collections::HashSet;
use std::num::NonZeroU64;

use bundles::{Reason, Reasoned};
use jiff::Timestamp;
use tough::schema::Root;
use tough::schema::key::Key as PublicKey;

use super::keys::{KeyId, MOST_ROOT_KEYS};
use super::signing::role_type;
use super::{KeyError, Repository, Role};

/// The fewest characters that stand for a key's id: by accident no two of some dozen keys begin with the same.
const SHORTEST_ID: usize = 8;

/// What is to be different. Without anything, the next root is the same with a later end.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Roles that get new keys in place of all that they have, or of [`Change::remove`].
    pub roles: Vec<Role>,
    /// Of the root keys, only these are replaced: ids, or how those begin.
    pub remove: Vec<String>,
    /// New root keys whose private halves are elsewhere.
    pub public: Vec<PublicKey>,
    /// How many new root keys are made here; as many as were replaced, where there are no [`Change::public`] ones.
    pub make: Option<u64>,
    /// How many root keys have to sign from now on; as before where this is `None`, or all where there are fewer.
    pub threshold: Option<u64>,
}

/// A next root that lacks the keys that have to be made for it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) root: Root,
    pub(super) make: Vec<(Role, u64)>,
    threshold: Option<u64>,
}

impl Change {
    /// What it does, in a few words.
    #[must_use]
    pub fn words(&self) -> String {
        let roles: Vec<_> = self.roles.iter().map(|role| role.as_str()).collect();
        match (roles.is_empty(), self.threshold) {
            (true, None) => "a later end".to_owned(),
            (true, Some(threshold)) => format!("{threshold} root keys to sign"),
            (false, None) => format!("new keys: {}", roles.join(", ")),
            (false, Some(threshold)) => format!("new keys: {}; {threshold} root keys to sign", roles.join(", ")),
        }
    }

    /// The root after `root`. `used` are the ids of all keys that may not be taken again.
    pub(super) fn plan(&self, root: &Root, used: &HashSet<KeyId>, expires: Timestamp) -> Result<Plan, ChangeError> {
        let changes_root = self.roles.contains(&Role::Root);
        if !changes_root && (!self.remove.is_empty() || !self.public.is_empty() || self.make.is_some()) {
            return Err(ChangeError::RootOnly);
        }
        let mut next = root.clone();
        next.version = root.version.checked_add(1).ok_or(ChangeError::RootOnly)?;
        next.expires = expires;
        let mut make = Vec::new();
        for role in Role::ALL.into_iter().filter(|role| self.roles.contains(role)) {
            let Some(keys) = next.roles.get_mut(&role_type(role)) else { continue };
            let removed = self.removed(role, &keys.keyids)?;
            keys.keyids.retain(|id| !removed.contains(id));
            if role != Role::Root {
                keys.threshold = NonZeroU64::MIN;
            }
            let default = if role == Role::Root && self.public.is_empty() { removed.len() as u64 } else { 0 };
            make.push((role, if role == Role::Root { self.make.unwrap_or(default) } else { 1 }));
            if role == Role::Root {
                for public in &self.public {
                    let PublicKey::Ed25519 { .. } = public else { return Err(ChangeError::NotEd25519) };
                    let id = public.key_id().map_err(|_| ChangeError::NotEd25519)?;
                    if used.contains(&id) || keys.keyids.contains(&id) {
                        return Err(ChangeError::Used { key_id: hex::encode(&*id) });
                    }
                    keys.keyids.push(id.clone());
                    next.keys.insert(id, public.clone());
                }
            }
        }
        let plan = Plan { root: next, make, threshold: self.threshold };
        plan.check(root)?;
        Ok(plan)
    }

    fn removed(&self, role: Role, ids: &[KeyId]) -> Result<Vec<KeyId>, ChangeError> {
        if role != Role::Root || self.remove.is_empty() {
            return Ok(ids.to_vec());
        }
        let find = |begin: &String| {
            let begin = begin.to_ascii_lowercase();
            let mut found = ids.iter().filter(|id| hex::encode(&***id).starts_with(&begin));
            match (found.next(), found.next()) {
                (Some(id), None) if begin.len() >= SHORTEST_ID => Ok(id.clone()),
                _ => Err(ChangeError::NoSuchKey { key_id: begin }),
            }
        };
        self.remove.iter().map(find).collect()
    }
}

impl Plan {
    /// Whether enough keys could sign the root after this one.
    fn check(&self, root: &Root) -> Result<(), ChangeError> {
        let made: u64 = self.make.iter().filter(|(role, _)| *role == Role::Root).map(|(_, count)| count).sum();
        let count = |root: &Root| root.roles.get(&role_type(Role::Root)).map_or(0, |keys| keys.keyids.len() as u64);
        let keys = count(&self.root).saturating_add(made);
        let before = root.roles.get(&role_type(Role::Root)).map_or(1, |keys| keys.threshold.get());
        let threshold = self.threshold.unwrap_or(before);
        if threshold == 0 || threshold > keys || keys > MOST_ROOT_KEYS {
            return Err(ChangeError::Quorum(KeyError::Quorum { keys, threshold }));
        }
        Ok(())
    }

    /// The next root, with the keys that were made for it.
    pub(super) fn with(mut self, made: Vec<(Role, super::Key)>) -> Root {
        for (role, key) in made {
            if let Some(keys) = self.root.roles.get_mut(&role_type(role)) {
                keys.keyids.push(key.id.clone());
            }
            self.root.keys.insert(key.id, key.public);
        }
        if let (Some(threshold), Some(keys)) =
            (self.threshold.and_then(NonZeroU64::new), self.root.roles.get_mut(&role_type(Role::Root)))
        {
            keys.threshold = threshold;
        }
        let named: HashSet<KeyId> = self.root.roles.values().flat_map(|keys| keys.keyids.iter().cloned()).collect();
        self.root.keys.retain(|id, _| named.contains(id));
        self.root
    }
}

/// Why there can be no such next root.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A relay signs nothing.
    #[error(
        "this is a relay: it has no signing keys; rotate those of its origin, and what it signs comes here by itself"
    )]
    Relay,
    /// Of the root keys alone.
    #[error("which keys to remove, to add or how many to make can be said of the root's keys alone; rotate the root")]
    RootOnly,
    /// None of the root's keys.
    #[error(
        "{key_id} is none of the root keys, or of more than one; give the first {SHORTEST_ID} or more characters of an id as \
         `feed-server keys list -v` shows it"
    )]
    NoSuchKey {
        /// What was asked for.
        key_id: String,
    },
    /// One key for two things.
    #[error(
        "the key {key_id} signs something here already, or did; make another one with `feed-server keys generate FILE`"
    )]
    Used {
        /// The key.
        key_id: String,
    },
    /// Another kind of key.
    #[error("a root key has to be an ed25519 one, as `feed-server keys generate FILE` writes it to FILE.pub")]
    NotEd25519,
    /// Too few keys, or too many.
    #[error(transparent)]
    Quorum(KeyError),
    /// Another one is not through yet.
    #[error(
        "version {version} of the {repository} root waits for signatures; `feed-server keys request` shows for which, `keys \
         import-signatures` brings them, and `keys cancel` gives it up"
    )]
    Waiting {
        /// Whose root.
        repository: Repository,
        /// Which version of it.
        version: u64,
    },
    /// Nothing waits.
    #[error("no root waits for signatures; `feed-server keys rotate` or `keys renew` makes one")]
    NoneWaits,
    /// What came is of another root.
    #[error(
        "what was signed is not the {repository} root that waits for signatures; write it anew with `feed-server keys request`, \
         and sign that"
    )]
    OtherRoot {
        /// Whose root.
        repository: Repository,
    },
    /// A signature that proves nothing.
    #[error(
        "the signature of {key_id} for the {repository} root is not right, or of a key that does not count; nothing was taken"
    )]
    BadSignature {
        /// Whose root.
        repository: Repository,
        /// Whose signature.
        key_id: String,
    },
}

impl Reasoned for ChangeError {
    fn reason(&self) -> Reason {
        match self {
            Self::Relay
            | Self::RootOnly
            | Self::NotEd25519
            | Self::Used { .. }
            | Self::Quorum(_)
            | Self::Waiting { .. } => Reason::BadRequest,
            Self::NoSuchKey { .. } | Self::NoneWaits => Reason::NotFound,
            Self::OtherRoot { .. } | Self::BadSignature { .. } => Reason::Signature,
        }
    }
}
