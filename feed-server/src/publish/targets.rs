//! What the metadata names, and putting it into the tree.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use bundles::release::FileRef;
use bundles::{Digest, TargetName};
use tough::schema::Target;

use super::error::failed;
use super::signing::hashes;
use super::tree::Tree;
use super::{PublishError, Repository};
use crate::store::Store;
use crate::store::records::ReleaseRecord;

/// Where a target's bytes come from.
#[derive(Debug, Clone)]
enum Content {
    Blob,
    Bytes(Vec<u8>),
    /// Another path in the tree.
    File(String),
}

/// One target.
#[derive(Debug, Clone)]
struct Wanted {
    digest: Digest,
    length: u64,
    content: Content,
}

/// The targets of both repositories, and the files that lie beside them.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// In the order of [`Repository::ALL`]: the first one has all files of the others.
    repositories: Vec<Repository>,
    shared: BTreeMap<TargetName, Wanted>,
    online: BTreeMap<TargetName, Wanted>,
    /// In the tree, but not named by the newest metadata: the `stable.json` of older releases, for readers in the midst of
    /// a refresh.
    lingering: Vec<(TargetName, Wanted)>,
    /// As above: older offline roots.
    lingering_online: Vec<(TargetName, Wanted)>,
}

impl Wants {
    /// The targets of these releases, newest first, in the repositories that there are.
    pub(super) fn of_releases(
        store: &Store,
        releases: &[ReleaseRecord],
        repositories: Vec<Repository>,
    ) -> Result<Self, PublishError> {
        let mut wants = Self { repositories, ..Self::default() };
        for (age, ReleaseRecord { manifest, signed, .. }) in releases.iter().enumerate() {
            let serial = manifest.serial;
            for file in manifest.files() {
                let name = file.target_name().map_err(|source| PublishError::Name { serial, source })?;
                let wanted = Wanted { digest: file.sha256, length: file.length, content: Content::Blob };
                wants.shared.insert(name, wanted);
            }
            let manifest = match signed {
                // Another server signed these very bytes.
                Some(digest) => Wanted::blob(store, *digest)?,
                None => Wanted::bytes(manifest.to_json()),
            };
            if age == 0 {
                wants.shared.insert(TargetName::of_channel_stable(), manifest.clone());
            } else {
                wants.lingering.push((TargetName::of_channel_stable(), manifest.clone()));
            }
            wants.shared.insert(TargetName::of_manifest(serial), manifest);
        }
        Ok(wants)
    }

    /// Adds a zip that is in the tree.
    pub(super) fn add_zip(&mut self, name: TargetName, zip: &FileRef, path: String) {
        self.shared.insert(name, Wanted { digest: zip.sha256, length: zip.length, content: Content::File(path) });
    }

    /// Adds the offline repository's roots, oldest first, as targets of the online one.
    pub(super) fn add_offline_roots<'a>(&mut self, roots: impl Iterator<Item = &'a [u8]>) {
        for root in roots {
            let name = TargetName::of_offline_root();
            if let Some(older) = self.online.insert(name.clone(), Wanted::bytes(root.to_vec())) {
                self.lingering_online.push((name, older));
            }
        }
    }

    /// For the metadata.
    pub(super) fn signed(&self, repository: Repository) -> HashMap<tough::TargetName, Target> {
        let target = |(name, wanted): (&TargetName, &Wanted)| {
            // Names are flat and not empty, which is all that tough asks of them.
            let name = tough::TargetName::new(name.as_str()).ok()?;
            let target = Target {
                length: wanted.length,
                hashes: hashes(&wanted.digest),
                custom: HashMap::new(),
                _extra: HashMap::new(),
            };
            Some((name, target))
        };
        self.named(repository).filter_map(target).collect()
    }

    fn named(&self, repository: Repository) -> impl Iterator<Item = (&TargetName, &Wanted)> {
        let online = (repository == Repository::Online).then_some(&self.online);
        self.shared.iter().chain(online.into_iter().flatten())
    }

    /// Names in the online folder, which has all of them, and in the offline one.
    fn files(&self, repository: Repository) -> impl Iterator<Item = (String, &Wanted)> {
        let online = (repository == Repository::Online).then_some(&self.lingering_online);
        self.named(repository)
            .chain(self.lingering.iter().chain(online.into_iter().flatten()).map(|(name, wanted)| (name, wanted)))
            .map(|(name, wanted)| (name.served_as(&wanted.digest), wanted))
    }

    /// Puts every target into the folder of each repository; the second shares the bytes of the first.
    pub(super) fn place(&self, store: &Store, tree: &Tree) -> Result<(), PublishError> {
        let Some((first, others)) = self.repositories.split_first() else { return Ok(()) };
        for (file, wanted) in self.files(*first) {
            let path = format!("{}/{file}", folder(*first));
            match &wanted.content {
                Content::Blob => tree.place(&*store.blobs, &wanted.digest, wanted.length, &path)?,
                Content::Bytes(bytes) => tree.write(&path, bytes)?,
                Content::File(from) => tree.link(from, &path)?,
            }
        }
        for other in others {
            for (file, _) in self.files(*other) {
                let path = |repository| format!("{}/{file}", folder(repository));
                tree.link(&path(*first), &path(*other))?;
            }
        }
        self.repositories.iter().try_for_each(|repository| tree.directory(&folder(*repository)))
    }

    /// Removes what is none of these.
    pub(super) fn clean(&self, tree: &Tree) -> Result<(), PublishError> {
        for repository in Repository::ALL {
            let folder = folder(repository);
            let is_here = self.repositories.contains(&repository);
            let wanted: HashSet<String> = self.files(repository).filter(|_| is_here).map(|(file, _)| file).collect();
            for name in tree.list(&folder)?.iter().filter(|name| !wanted.contains(*name)) {
                tree.remove(&format!("{folder}/{name}"))?;
            }
        }
        Ok(())
    }
}

impl Wanted {
    fn blob(store: &Store, digest: Digest) -> Result<Self, PublishError> {
        let blob = store.blobs.open(&digest)?;
        let length = blob.metadata().map_err(failed("look at", Path::new(&digest.to_string())))?.len();
        Ok(Self { digest, length, content: Content::Blob })
    }

    fn bytes(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), length: bytes.len() as u64, content: Content::Bytes(bytes) }
    }
}

pub(super) fn folder(repository: Repository) -> String {
    format!("{}/targets", repository.folder())
}
