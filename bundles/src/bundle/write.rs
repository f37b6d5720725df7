//! Writing a bundle.

use std::fmt;
use std::io::{self, Read, Seek, Write};

use super::part::Part;
use super::{BundleError, Facts, carried};
use crate::offline_zip::{self, Member, ZipError};
use crate::release::FileRef;
use crate::signed::{self, Metadata, RootFacts, Verified, peek};
use crate::{Manifest, MemberPath, TargetName};

/// The member for people.
pub const README: &str = "README.txt";

/// Bytes of a file from which on virus scanners look no further, unless told to: clamscan's `--max-filesize`, and what
/// others do by default as well. It counts for what they unpack, too.
pub const SCANNERS_STOP_AT: u64 = 100 << 20;

/// Opens a file of the release.
pub type Open<'a> = dyn Fn(&FileRef) -> io::Result<Box<dyn Read>> + 'a;

/// What a bundle is made of.
pub struct Contents<'a> {
    manifest_bytes: &'a [u8],
    metadata: &'a Metadata,
    open: &'a Open<'a>,
    verified: Verified,
    manifest: Manifest,
    facts: Facts,
    parts: [Part; 3],
    json: Vec<u8>,
    readme: String,
}

impl fmt::Debug for Contents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl<'a> Contents<'a> {
    /// From a manifest's signed bytes, the offline repository's metadata with every root from 1, and something that opens
    /// the files of the release.
    ///
    /// Whoever receives it can do nothing about a bundle whose signatures do not fit: so they are verified here, from the
    /// first root on. Whether they have ended is left to the caller: the bundle of an old release is still what it was.
    ///
    /// # Errors
    /// The metadata does not begin with root 1, is not signed under it, or does not call this manifest stable.
    pub fn new(manifest_bytes: &'a [u8], metadata: &'a Metadata, open: &'a Open<'a>) -> Result<Self, BundleError> {
        let first = metadata.roots.first().map(String::as_str).unwrap_or_default();
        if peek::root_version(first).map_err(BundleError::Signed)? != 1 {
            return Err(BundleError::Missing { name: Part::Root(1).to_string() });
        }
        let verified = signed::authenticate(first.as_bytes(), metadata, None).map_err(BundleError::Signed)?;
        let stable = TargetName::of_channel_stable();
        let signed = verified.manifest(&stable, manifest_bytes.to_vec()).map_err(BundleError::Signed)?;
        let manifest = signed.manifest().clone();
        let facts = Facts::of(&manifest, verified.valid_until());
        let snapshot = peek::snapshot_version(&metadata.timestamp).map_err(BundleError::Signed)?;
        let targets = peek::targets_version(&metadata.snapshot).map_err(BundleError::Signed)?;
        Ok(Self {
            manifest_bytes,
            metadata,
            open,
            parts: [Part::Timestamp, Part::Snapshot(snapshot), Part::Targets(targets)],
            json: facts.to_json(),
            readme: readme(&facts, verified.root()),
            verified,
            manifest,
            facts,
        })
    }

    /// What the bundle will say of itself.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The newest root, under which it is signed.
    #[must_use]
    pub fn root(&self) -> &RootFacts {
        self.verified.root()
    }

    /// The release.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn members(&self) -> Result<Vec<Member<'_>>, ZipError> {
        let mut members = vec![member(&Part::Facts, &self.json)?, member(&Part::Readme, self.readme.as_bytes())?];
        for (version, root) in (1..).zip(&self.metadata.roots) {
            members.push(member(&Part::Root(version), root.as_bytes())?);
        }
        let [timestamp, snapshot, targets] = &self.parts;
        members.push(member(timestamp, self.metadata.timestamp.as_bytes())?);
        members.push(member(snapshot, self.metadata.snapshot.as_bytes())?);
        members.push(member(targets, self.metadata.targets.as_bytes())?);
        let digest = crate::Digest::of(self.manifest_bytes);
        for name in [TargetName::of_channel_stable(), TargetName::of_manifest(self.manifest.serial)] {
            members.push(member(&Part::Target(digest, name), self.manifest_bytes)?);
        }
        for file in carried(&self.manifest) {
            let name = file.target_name().map_err(ZipError::Name)?;
            let open = || -> io::Result<Box<dyn Read + '_>> { (self.open)(file) };
            members.push(Member {
                name: path(&Part::Target(file.sha256, name))?,
                length: file.length,
                sha256: Some(file.sha256),
                open: Box::new(open),
            });
        }
        Ok(members)
    }
}

fn path(part: &Part) -> Result<MemberPath, ZipError> {
    MemberPath::parse(&part.to_string()).map_err(ZipError::Name)
}

fn member<'m>(part: &Part, bytes: &'m [u8]) -> Result<Member<'m>, ZipError> {
    // Made or verified a moment ago, in memory.
    let length = bytes.len() as u64;
    Ok(Member { name: path(part)?, length, sha256: None, open: Box::new(move || Ok(Box::new(bytes))) })
}

/// How much [`write()`] will report as progress, in bytes.
///
/// # Errors
/// A file's name is too long for a bundle.
pub fn input_bytes(contents: &Contents<'_>) -> Result<u64, ZipError> {
    Ok(contents.members()?.iter().map(|member| member.length).sum())
}

/// Writes the bundle: the same contents give the same bytes. `progress` is told of each piece of input, in bytes.
///
/// # Errors
/// A file cannot be read or is not the one that the manifest names, or `out` cannot be written. What was written to `out`
/// until then is no bundle.
pub fn write<W: Write + Seek>(out: W, contents: &Contents<'_>, progress: &mut dyn FnMut(u64)) -> Result<W, ZipError> {
    offline_zip::write(out, &contents.members()?, progress)
}

/// Plain ASCII: it is read with whatever a transfer station has.
fn readme(facts: &Facts, root: &RootFacts) -> String {
    let Facts { serial, created, valid_until, .. } = facts;
    let fingerprint = root.fingerprint;
    format!(
        "Posture Feed bundle, release number {serial}
made {created}, to be imported until {valid_until}

This zip carries one release of a posture feed from the server that signed it
to servers and headends without a network between them:

  feed-server bundle inspect FILE     feed-client inspect FILE
  feed-server bundle import FILE      feed-client import FILE

Inspecting changes nothing and says whether the bundle is whole, genuine and
newer than what is there. Importing refuses whatever is not.

What is inside
  bundle.json  what this is, for people and programs; nobody vouches for it
  metadata/    the signatures (The Update Framework, TUF 1.0)
  targets/     the release: its list of files (release-{serial}.json), and the
               vendor's files as the vendor made them, with nothing added

How to check it without our software
  1. Whole: the SHA-256 of the zip is printed on the sheet that came with it.
       Windows  certutil -hashfile FILE SHA256
       Linux    sha256sum FILE
  2. Each file below targets/ is named by its own SHA-256: hash the file, and
     compare with the first 64 characters of its name. metadata/*.targets.json
     lists the same digests and is signed.
  3. Genuine: any TUF client verifies metadata/, beginning with a root that you
     got from the origin on another way. The newest root in here has SHA-256
     {fingerprint}

The archives below targets/ are ordinary .tar.gz files, to be scanned as such.
"
    )
}
