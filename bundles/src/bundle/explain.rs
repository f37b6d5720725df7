//! Whose signatures those are, where they are not the trusted origin's: TUF says "not by a threshold", people ask by whom.

use super::{BundleError, Trust};
use crate::Digest;
use crate::signed::{self, Metadata, SignedError, Verified, peek};

/// [`signed::authenticate`] under what is trusted; bundles are made of the offline repository alone.
pub(crate) fn authenticate(trust: &Trust<'_>, given: &Metadata) -> Result<Verified, BundleError> {
    let verified = signed::authenticate(trust.root, given, trust.held);
    let verified = verified.map_err(|source| explain(trust, given, source))?;
    verified.check_is_online(false)?;
    Ok(verified)
}

fn explain(trust: &Trust<'_>, given: &Metadata, source: SignedError) -> BundleError {
    let is_by_others = match &source {
        SignedError::Signature(_) => true,
        SignedError::OtherOfSameVersion { role, .. } => *role == "root",
        SignedError::Root(_)
        | SignedError::Integrity(_)
        | SignedError::NotMetadata(_)
        | SignedError::Expired { .. }
        | SignedError::Rollback { .. }
        | SignedError::RootMissing { .. }
        | SignedError::TooManyRoots { .. }
        | SignedError::OtherRepository { .. }
        | SignedError::NoTarget { .. }
        | SignedError::OtherBytes { .. }
        | SignedError::Manifest(_)
        | SignedError::Internal(_) => false,
    };
    let trusted = String::from_utf8_lossy(trust.root);
    let (Some(newest), Ok(trusted_version)) = (given.roots.last(), peek::root_version(&trusted)) else {
        return BundleError::Signed(source);
    };
    if !is_by_others {
        return BundleError::Signed(source);
    }
    let held = trust.held.map(|held| held.roots.as_slice()).unwrap_or_default();
    let is_known = *newest == trusted || held.contains(newest);
    if is_known && signed::authenticate(newest.as_bytes(), given, None).is_ok() {
        let versions = held.iter().filter_map(|root| peek::root_version(root).ok());
        let known = versions.max().unwrap_or_default().max(trusted_version);
        return BundleError::Superseded { found: peek::root_version(newest).unwrap_or_default(), known };
    }
    // The root of the same version is what both sides can compare; the bundle's newest where it has none of it.
    let same = given.roots.iter().find(|root| peek::root_version(root).is_ok_and(|it| it == trusted_version));
    let compared = same.unwrap_or(newest);
    if *compared == trusted {
        return BundleError::Signed(source);
    }
    BundleError::OtherOrigin {
        trusted_version,
        trusted: Digest::of(trust.root),
        found_version: peek::root_version(compared).unwrap_or_default(),
        found: Digest::of(compared.as_bytes()),
    }
}
