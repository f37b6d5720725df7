//! One signed role: its metadata in tough's types, and the bytes that are served.
//!
//! tough's canonical form is what is signed. The bytes are made here and not by tough's `SignedRole`: that one writes
//! maps in the order of their hashes, and the same metadata is to give the same bytes.

use std::collections::HashMap;
use std::num::NonZeroU64;

use bundles::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tough::schema::{Hashes, Metafile, Role as TufRole, RoleType, Root, Signature, Signed};

use super::{Key, PublishError, Repository, Role};

/// The TUF version whose rules the metadata follows.
pub(super) const SPEC_VERSION: &str = "1.0.0";

/// Metadata and its bytes.
#[derive(Debug, Clone)]
pub(super) struct SignedRole<T> {
    pub(super) signed: T,
    pub(super) bytes: Vec<u8>,
}

impl<T: TufRole + Serialize> SignedRole<T> {
    /// Signs with these keys, of which there are enough.
    pub(super) fn sign(repository: Repository, role: Role, signed: T, keys: &[Key]) -> Result<Self, PublishError> {
        let failed = |source| PublishError::Sign { repository, role, source };
        let signatures = signatures(&signed, keys).map_err(failed)?;
        Self::assemble(Signed { signed, signatures }).map_err(|source| failed(source.into()))
    }

    /// What was signed elsewhere.
    pub(super) fn assemble(signed: Signed<T>) -> serde_json::Result<Self> {
        let bytes = sorted_json(&signed)?;
        Ok(Self { signed: signed.signed, bytes })
    }

    pub(super) fn version(&self) -> NonZeroU64 {
        self.signed.version()
    }

    /// How other metadata names this one.
    pub(super) fn meta(&self) -> Metafile {
        Metafile {
            length: Some(self.bytes.len() as u64),
            hashes: Some(hashes(&Digest::of(&self.bytes))),
            version: self.version(),
            _extra: HashMap::new(),
        }
    }
}

impl<T: TufRole + Serialize + DeserializeOwned> SignedRole<T> {
    /// `None` where these are not that role's metadata under this root.
    pub(super) fn read(bytes: Vec<u8>, root: &Root) -> Option<Self> {
        let signed: Signed<T> = serde_json::from_slice(&bytes).ok()?;
        root.verify_role(&signed).ok()?;
        Some(Self { signed: signed.signed, bytes })
    }

    /// `None` where these are not the bytes that `meta` names.
    pub(super) fn read_named(bytes: Vec<u8>, meta: &Metafile, root: &Root) -> Option<Self> {
        let role = Self::read(bytes, root)?;
        (role.meta() == *meta).then_some(role)
    }
}

/// These keys' signatures, in their order.
pub(super) fn signatures(
    signed: &impl TufRole,
    keys: &[Key],
) -> Result<Vec<Signature>, Box<dyn std::error::Error + Send + Sync>> {
    let message = signed.canonical_form()?;
    let sign = |key: &Key| {
        let signature = key.sign(&message).ok_or("the cryptographic provider failed")?;
        Ok(Signature { keyid: key.id.clone(), sig: signature.into() })
    };
    keys.iter().map(sign).collect()
}

pub(super) fn hashes(digest: &Digest) -> Hashes {
    Hashes { sha256: digest.as_bytes().to_vec().into(), _extra: HashMap::new() }
}

/// tough's word for a role.
pub(super) const fn role_type(role: Role) -> RoleType {
    match role {
        Role::Root => RoleType::Root,
        Role::Targets => RoleType::Targets,
        Role::Snapshot => RoleType::Snapshot,
        Role::Timestamp => RoleType::Timestamp,
    }
}

pub(super) fn sorted_json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut value = serde_json::to_value(value)?;
    // Sorted by itself unless some crate of the build asks serde_json to keep insertion order.
    value.sort_all_objects();
    serde_json::to_vec(&value)
}
