//! Whether a bundle may be taken: genuine, in time, not older than what was seen, and holding what its release names.
//! All of it is read but the release's files, which whoever takes the bundle holds to their digests, those too that it has.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use jiff::{SignedDuration, Timestamp};

use super::part::Part;
use super::read::part_of;
use super::{Bundle, BundleError, Facts, authenticate, carried};
use crate::signed::{self, Metadata, SignedError, SignedManifest, Verified, peek};
use crate::{Manifest, Serial, TargetName};

/// How far this machine's clock may be behind the making of a release: time zones taken for UTC come to half a day, and
/// nobody carries a bundle across before it is made.
pub const MAX_CLOCK_LAG: SignedDuration = SignedDuration::from_hours(24);

/// What is known where a bundle arrives.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The root of the origin's offline repository, of any version.
    pub root: &'a [u8],
    /// The offline metadata that was taken last.
    pub held: Option<&'a Metadata>,
    /// The highest release that was ever taken, from whichever repository.
    pub highest_serial: Option<Serial>,
    /// The newest signed time that was seen: without NTP, no clock is believed to be before it.
    pub signed_time: Option<Timestamp>,
    /// This machine's clock.
    pub now: Timestamp,
}

impl Trust<'_> {
    /// The time that signatures are held to.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.signed_time.map_or(self.now, |signed| signed.max(self.now))
    }
}

/// A bundle that may be taken, as soon as its files are held to their digests.
#[derive(Debug, Clone)]
pub struct CheckedBundle {
    /// The release.
    pub manifest: SignedManifest,
    /// What the signatures vouch for.
    pub verified: Verified,
    /// What to keep: the bundle's metadata, with every root that is known.
    pub metadata: Metadata,
}

impl<F: Read + Seek> Bundle<F> {
    /// Holds the bundle to what is trusted and known. The release of `highest_serial` again is fine.
    ///
    /// # Errors
    /// The first of: names that no bundle has; metadata that is not there; signatures that are not the origin's, or older
    /// ones than held; a `bundle.json` that is not true; a release from the future (`clock`); signatures that have ended
    /// (`expired`); an older release than seen (`rollback`), or another one of the same number (`signature`); members that
    /// are not those of the release.
    pub fn check(&mut self, trust: &Trust<'_>) -> Result<CheckedBundle, BundleError> {
        self.check_names()?;
        let metadata = self.metadata()?;
        let verified = authenticate(trust, &metadata).map_err(|error| self.older(trust, &metadata, error))?;
        let manifest = self.manifest(&verified)?;
        check_claims(self.facts(), manifest.manifest(), &verified, &metadata)?;
        check_clock(manifest.manifest(), trust)?;
        check_expiry(&verified, trust)?;
        check_serial(manifest.manifest(), &verified, trust)?;
        self.check_members(manifest.manifest(), &verified, &metadata)?;
        let metadata = Metadata { roots: verified.roots().to_vec(), ..metadata };
        Ok(CheckedBundle { manifest, verified, metadata })
    }

    /// What to say of signatures that are older than those held: the numbers of releases, where those tell it too, since they
    /// are what people compare.
    fn older(&mut self, trust: &Trust<'_>, metadata: &Metadata, error: BundleError) -> BundleError {
        let BundleError::Signed(SignedError::Rollback { .. }) = error else { return error };
        // Genuine all the same, so that its number can be believed.
        let Ok(verified) = signed::authenticate(trust.root, metadata, None) else { return error };
        let Ok(manifest) = self.manifest(&verified) else { return error };
        match check_serial(manifest.manifest(), &verified, trust) {
            Err(by_number @ BundleError::Rollback { .. }) => by_number,
            Ok(()) | Err(_) => error,
        }
    }

    /// Whether the members are exactly those that the metadata and the manifest name, each as long as signed; the manifest
    /// the signed one under its number too, and the readme not damaged.
    pub(crate) fn check_members(
        &mut self,
        manifest: &Manifest,
        verified: &Verified,
        metadata: &Metadata,
    ) -> Result<(), BundleError> {
        let mut wanted: BTreeMap<Part, Option<u64>> = BTreeMap::from([
            (Part::Facts, None),
            (Part::Readme, None),
            (Part::Timestamp, None),
            (Part::Snapshot(peek::snapshot_version(&metadata.timestamp)?), None),
            (Part::Targets(peek::targets_version(&metadata.snapshot)?), None),
        ]);
        wanted.extend((1..).zip(&metadata.roots).map(|(version, _)| (Part::Root(version), None)));
        let stable = verified.target(&TargetName::of_channel_stable())?;
        let release = verified.target(&TargetName::of_manifest(manifest.serial))?;
        // Two names for one manifest: else the number would stand for something else in the next bundle.
        if release.sha256() != stable.sha256() {
            return Err(BundleError::OtherOfSameSerial { serial: manifest.serial });
        }
        for target in [stable, release] {
            wanted.insert(Part::Target(target.sha256(), target.name().clone()), Some(target.length()));
        }
        for file in carried(manifest) {
            let part = part_of(file)?;
            if let Part::Target(_, name) = &part {
                let target = verified.target(name)?;
                if (target.sha256(), target.length()) != (file.sha256, file.length) {
                    return Err(BundleError::Differs { name: part.to_string() });
                }
            }
            wanted.insert(part, Some(file.length));
        }
        for (part, found) in self.parts() {
            match wanted.remove(part) {
                None => return Err(BundleError::Unasked { name: part.to_string() }),
                Some(Some(signed)) if signed != found => {
                    return Err(BundleError::Length { name: part.to_string(), found, signed });
                }
                Some(_) => {}
            }
        }
        match wanted.pop_first() {
            Some((part, _)) => Err(BundleError::Missing { name: part.to_string() }),
            // Nobody reads the manifest a second time under its number, and no program the readme; whoever opens the bundle by
            // other means may.
            None => {
                self.manifest_named(&TargetName::of_manifest(manifest.serial), verified)?;
                self.check_readme()
            }
        }
    }
}

/// Whether what people read in `bundle.json` is what is signed.
pub(crate) fn check_claims(
    facts: &Facts,
    manifest: &Manifest,
    verified: &Verified,
    given: &Metadata,
) -> Result<(), BundleError> {
    let signed = Facts::of(manifest, verified.valid_until());
    // Where a later root than the bundle's is known, that root's end counts and the bundle cannot know of it.
    let knows_end = verified.roots().len() == given.roots.len();
    let same = [
        ("release number", facts.serial == signed.serial),
        ("time of making", facts.created == signed.created),
        ("versions", facts.versions == signed.versions),
        ("source", facts.source == signed.source),
        ("end", facts.valid_until == signed.valid_until || !knows_end),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(BundleError::Untrue { what }),
        None => Ok(()),
    }
}

pub(crate) fn check_clock(manifest: &Manifest, trust: &Trust<'_>) -> Result<(), BundleError> {
    let (created, clock) = (manifest.created, trust.now);
    if created.duration_since(clock) > MAX_CLOCK_LAG { Err(BundleError::Clock { created, clock }) } else { Ok(()) }
}

pub(crate) fn check_expiry(verified: &Verified, trust: &Trust<'_>) -> Result<(), BundleError> {
    let (ended, now) = (verified.valid_until(), trust.time());
    if ended <= now { Err(BundleError::Expired { ended, now, clock: trust.now }) } else { Ok(()) }
}

pub(crate) fn check_serial(manifest: &Manifest, verified: &Verified, trust: &Trust<'_>) -> Result<(), BundleError> {
    let found = manifest.serial;
    let Some(highest) = trust.highest_serial else { return Ok(()) };
    if found < highest {
        return Err(BundleError::Rollback { found, highest });
    }
    // What was signed under this number before, as far as the same keys vouch for it.
    let name = TargetName::of_manifest(found);
    let before = trust.held.and_then(|held| signed::authenticate(trust.root, held, None).ok());
    let before = before.and_then(|before| Some(before.target(&name).ok()?.sha256()));
    match before {
        Some(before) if before != verified.target(&name)?.sha256() => {
            Err(BundleError::OtherOfSameSerial { serial: found })
        }
        Some(_) | None => Ok(()),
    }
}
