//! What is carried to the machine where root keys are, signed there, and carried back. Signing takes no data directory.

use bundles::{Reason, Reasoned};
use serde::{Deserialize, Serialize};
use tough::schema::{RoleType, Root, Signed};

use super::key::fingerprint;
use super::pending::{Lacking, lacking, sign, signers};
use super::signing::{role_type, sorted_json};
use super::{Key, Repository, Role};

/// The form that this program writes and reads.
const FORMAT: u64 = 1;

/// The largest request that is read: two roots before and after with as many keys as there may be are a quarter of this.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// Roots that wait for signatures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    format: u64,
    /// At most one of each repository.
    pub roots: Vec<RootRequest>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootRequest {
    /// Whose.
    pub repository: Repository,
    /// What it changes, in the words of the server.
    pub what: String,
    /// The root that it replaces.
    pub(super) previous: Root,
    /// With the signatures that there are.
    pub(super) root: Signed<Root>,
}

/// Why a request cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Too long, or of another form.
    #[error("this is not what `feed-server keys request` writes; write it anew")]
    Unreadable(#[source] Option<serde_json::Error>),
    /// From a newer program.
    #[error("this request has form {found}, and this program knows {FORMAT}; use the version that the server runs")]
    Format {
        /// The one that it has.
        found: u64,
    },
    /// Not the next one.
    #[error("version {version} of the {repository} root does not follow on the one before it; do not sign this")]
    NotNext {
        /// Whose root.
        repository: Repository,
        /// Its version.
        version: u64,
    },
    /// Nobody asks for this key.
    #[error("no signature of the key {key_id} is asked for; {wanted}")]
    NotAsked {
        /// The key.
        key_id: String,
        /// Whose are.
        wanted: String,
    },
    /// The provider failed.
    #[error("the request cannot be signed; report this as a defect")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Reasoned for RequestError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unreadable(_) | Self::Format { .. } | Self::NotAsked { .. } => Reason::BadRequest,
            Self::NotNext { .. } => Reason::Signature,
            Self::Sign(_) => Reason::Internal,
        }
    }
}

impl Request {
    pub(super) fn new(roots: Vec<RootRequest>) -> Self {
        Self { format: FORMAT, roots }
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none, or of a newer program.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > MAX_BYTES {
            return Err(RequestError::Unreadable(None));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|error| RequestError::Unreadable(Some(error)))?;
        if read.format != FORMAT {
            return Err(RequestError::Format { found: read.format });
        }
        Ok(read)
    }

    /// As it is carried.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        sorted_json(self).unwrap_or_default()
    }

    /// Signs what this key is asked for; of which repositories' roots.
    ///
    /// # Errors
    /// It is asked for nothing; or a root does not follow on the one that it replaces.
    pub fn sign(&mut self, key: &Key) -> Result<Vec<Repository>, RequestError> {
        let mut signed = Vec::new();
        for RootRequest { repository, previous, root, .. } in &mut self.roots {
            let version = root.signed.version;
            if previous.version.checked_add(1) != Some(version) {
                return Err(RequestError::NotNext { repository: *repository, version: version.get() });
            }
            if signers(previous, &root.signed).any(|id| *id == key.id) {
                sign(root, std::slice::from_ref(key)).map_err(RequestError::Sign)?;
                signed.push(*repository);
            }
        }
        if signed.is_empty() {
            let wanted = self.lacking().into_iter().flat_map(|lacking| lacking.keys).map(|(id, _)| id);
            let wanted: std::collections::BTreeSet<String> = wanted.collect();
            let wanted = if wanted.is_empty() {
                "enough keys have signed".to_owned()
            } else {
                format!("those of these are lacking: {}", wanted.into_iter().collect::<Vec<_>>().join(", "))
            };
            return Err(RequestError::NotAsked { key_id: key.id(), wanted });
        }
        Ok(signed)
    }

    /// What is lacking.
    #[must_use]
    pub fn lacking(&self) -> Vec<Lacking> {
        self.roots.iter().flat_map(|root| lacking(&root.previous, &root.root)).collect()
    }

    /// What whoever signs agrees to, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.roots.iter().flat_map(RootRequest::lines).collect()
    }
}

impl RootRequest {
    fn lines(&self) -> Vec<String> {
        let (before, after) = (&self.previous, &self.root.signed);
        let mut lines = vec![format!(
            "{} root, version {} (replaces {}), ends {}",
            self.repository, after.version, before.version, after.expires
        )];
        for role in Role::ALL {
            let (Some(was), Some(is)) = (before.roles.get(&role_type(role)), after.roles.get(&role_type(role))) else {
                continue;
            };
            let told = |root: &Root, id| root.keys.get(id).map_or_else(String::new, |key| fingerprint(key).to_string());
            for id in was.keyids.iter().filter(|id| !is.keyids.contains(id)) {
                lines.push(format!("  {role}: no longer the key with SHA-256 {}", told(before, id)));
            }
            for id in is.keyids.iter().filter(|id| !was.keyids.contains(id)) {
                lines.push(format!("  {role}: now also the key with SHA-256 {}", told(after, id)));
            }
            if was.threshold != is.threshold {
                lines.push(format!("  {role}: {} keys have to sign, not {}", is.threshold, was.threshold));
            }
        }
        if lines.len() == 1 {
            lines.push("  the same keys".to_owned());
        }
        let signed = self.root.signatures.len();
        let keys = after.roles.get(&RoleType::Root).map_or(0, |keys| keys.keyids.len());
        lines.push(format!("  {keys} root keys from then on; signatures so far: {signed}"));
        lines
    }
}
