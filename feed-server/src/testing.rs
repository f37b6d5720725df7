//! Worlds for tests: a data directory, feeds that were checked, and a publisher over them.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bundles::fake::{Edition, Feed, Options};
use bundles::release::{FileRef, ReleasedComponent, ReleasedFile, Source, SourceKind};
use bundles::signed::{self, Metadata, peek};
use bundles::{Component, Digest, FileName, Limits, Manifest, Serial, TargetName};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use url::Url;

use crate::config::{Config, Role, UpstreamKind};
use crate::increments::{Prepared, Preparer, Summary};
use crate::publish::{Keys, Publisher};
use crate::release;
use crate::release::relay::{self, Received, TakeError, Took};
use crate::store::{Repository, Store};
use crate::sync::{CheckedFeed, CheckedFile};

/// Where the feeds of tests come from.
pub(crate) const UPSTREAM: &str = "https://upstream.example/web/secure/spa/posture-update.xml";

/// A day on which tests begin.
pub(crate) fn start() -> Timestamp {
    "2026-09-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

pub(crate) fn serial(number: u64) -> Serial {
    Serial::new(number).unwrap()
}

pub(crate) fn file_ref(name: &str, bytes: &[u8]) -> FileRef {
    FileRef { name: FileName::parse(name).unwrap(), sha256: Digest::of(bytes), length: bytes.len() as u64 }
}

/// A data directory with a store and a publisher. `reopen` is what a restart does.
pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) publisher: Publisher,
    pub(crate) edition: Edition,
    pub(crate) now: Timestamp,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        change(&mut config);
        let store = Store::open(&config.data.directory).unwrap();
        let publisher = open(&store, &config, start());
        Self { directory, config, store, publisher, edition: Edition::before(), now: start() }
    }

    /// A relay, which nothing was brought to yet.
    pub(crate) fn relay() -> Self {
        Self::with(|config| config.upstream.kind = UpstreamKind::Mirror)
    }

    /// Brings what the tree of an origin or relay serves of these repositories here, and publishes nothing.
    pub(crate) fn take(&self, tree: &Path, repositories: &[Repository]) -> Result<Took, TakeError> {
        relay::take(&self.store, Received { now: self.now, ..received(&self.store, tree, repositories) })
    }

    /// As another process, where a world with one release is or was.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self::at_with(directory, |_| {})
    }

    /// The same, where it is or was a relay.
    pub(crate) fn relay_at(directory: PathBuf) -> Self {
        Self::at_with(directory, |config| config.upstream.kind = UpstreamKind::Mirror)
    }

    fn at_with(directory: PathBuf, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&directory);
        change(&mut config);
        let store = Store::open(&config.data.directory).unwrap();
        let now = start() + hours(2);
        let publisher = open(&store, &config, now);
        // Not removed: it belongs to the process that made it.
        let mut directory = TempDir::new_in(directory).unwrap();
        directory.disable_cleanup(true);
        Self { directory, config, store, publisher, edition: Edition::after(), now }
    }

    /// As after a restart, at the same moment.
    pub(crate) fn reopen(self) -> Self {
        let Self { directory, config, store, publisher, edition, now } = self;
        drop((store, publisher));
        let store = Store::open(&config.data.directory).unwrap();
        let publisher = open(&store, &config, now);
        Self { directory, config, store, publisher, edition, now }
    }

    /// A path below `tree`.
    pub(crate) fn tree(&self, relative: &str) -> PathBuf {
        self.config.data.directory.join("tree").join(relative)
    }

    /// The feed of the next edition, checked.
    pub(crate) fn next_feed(&mut self) -> CheckedFeed {
        let feed = checked(&self.store, &self.edition);
        self.edition = self.edition.next();
        feed
    }

    /// Makes a release of the next edition, without publishing it.
    pub(crate) fn release(&mut self) -> Manifest {
        let feed = self.next_feed();
        let newest = self.store.newest_release().unwrap().map(|release| release.manifest);
        let highest = self.store.highest_serial().unwrap();
        let manifest = release::plan(&feed, newest.as_ref(), highest, self.now, false).unwrap().unwrap();
        release::commit(&self.store, feed, &manifest).unwrap();
        manifest
    }

    /// Makes a release of the next edition and publishes it, an hour later.
    pub(crate) async fn publish_next(&mut self) -> Manifest {
        let manifest = self.release();
        self.now += hours(1);
        self.publisher.publish(self.now).await.unwrap();
        manifest
    }

    /// As a start has it, with what was prepared before.
    pub(crate) fn preparer(&self) -> Preparer {
        Preparer::open(self.store.clone(), self.config.increments, &self.publisher.published().load())
    }

    /// Prepares what is published, as the job does after it.
    pub(crate) fn prepare(&self) -> Summary {
        self.preparer().prepare(&self.publisher.published().load(), || false).unwrap()
    }

    /// What is prepared.
    pub(crate) fn prepared(&self) -> Arc<ArcSwap<Prepared>> {
        self.preparer().prepared()
    }

    /// Every file of the tree with its bytes.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        walk(&self.tree(""), "", &mut files);
        files
    }
}

fn config(directory: &Path) -> Config {
    let mut config = Config::default();
    config.data.directory = directory.join("data");
    config.serve.public_url = Some(Url::parse("https://mirror.example/base/").unwrap());
    config
}

fn walk(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn open(store: &Store, config: &Config, now: Timestamp) -> Publisher {
    let keys = || Keys::open_or_create(&config.data.directory.join("keys")).unwrap().0;
    let keys = (config.upstream.role() == Role::Origin).then(keys);
    Publisher::open(store.clone(), &config.data.directory, config, keys, now).unwrap()
}

/// What a tree serves of these repositories, verified from its first root on, as a bundle or a follower brings it.
pub(crate) fn received(store: &Store, tree: &Path, repositories: &[Repository]) -> Received {
    let mut manifest = None;
    let mut metadata = Vec::new();
    for repository in repositories {
        let folder = tree.join(repository.folder());
        let text = |name: &str| std::fs::read_to_string(folder.join("metadata").join(name)).unwrap();
        let roots = (1..).map(|version| folder.join(format!("metadata/{version}.root.json")));
        let roots: Vec<String> = roots.map_while(|path| std::fs::read_to_string(path).ok()).collect();
        let timestamp = text("timestamp.json");
        let snapshot = text(&format!("{}.snapshot.json", peek::snapshot_version(&timestamp).unwrap()));
        let targets = text(&format!("{}.targets.json", peek::targets_version(&snapshot).unwrap()));
        let given = Metadata { roots, timestamp, snapshot, targets };
        let verified = signed::authenticate(given.roots[0].as_bytes(), &given, None).unwrap();
        let stable = TargetName::of_channel_stable();
        let served = stable.served_as(&verified.target(&stable).unwrap().sha256());
        let bytes = std::fs::read(folder.join("targets").join(served)).unwrap();
        manifest = Some(verified.manifest(&stable, bytes).unwrap());
        metadata.push((*repository, given));
    }
    let manifest = manifest.unwrap();
    let folder = tree.join(repositories[0].folder()).join("targets");
    let file = |file: &FileRef| {
        let served = file.target_name().unwrap().served_as(&file.sha256);
        let mut bytes = std::fs::File::open(folder.join(served)).unwrap();
        CheckedFile::check(&store.staging, file.clone(), &mut bytes).unwrap()
    };
    let files = manifest.manifest().files().into_iter().map(file).collect();
    Received { manifest, files, metadata, now: start() }
}

/// A fake feed as the checks leave it.
pub(crate) fn checked(store: &Store, edition: &Edition) -> CheckedFeed {
    let base = Url::parse(UPSTREAM).unwrap();
    let feed = Feed::make(edition, &Options::small());
    let mut new_files = Vec::new();
    let mut take = |file: FileRef, bytes: &[u8]| {
        new_files.push(CheckedFile::check(&store.staging, file.clone(), &mut &bytes[..]).unwrap());
        file
    };
    let mut components: BTreeMap<Component, Vec<ReleasedFile>> = BTreeMap::new();
    for (name, bytes) in &feed.files {
        let mut payload = Vec::new();
        bundles::archive::open(&mut Cursor::new(bytes), name, &Limits::default(), &mut payload).unwrap();
        let archive = take(file_ref(name.as_str(), bytes), bytes);
        let payload = take(file_ref(name.payload().as_str(), &payload), &payload);
        components.entry(component(name.as_str())).or_default().push(ReleasedFile { archive, payload });
    }
    let index = feed.index(&base);
    let index = take(file_ref("posture-update.xml", &index), &index);
    let components = components.into_iter().map(|(component, files)| {
        let version = edition.versions[&component].clone();
        ReleasedComponent { component, version, files }
    });
    CheckedFeed {
        source: Source {
            kind: SourceKind::VendorFeed,
            url: Some(UPSTREAM.to_owned()),
            sha256: Some(index.sha256),
            vouched_by: None,
        },
        components: components.collect(),
        index: Some(index),
        offline_zip: None,
        reading: Some(bundles::index::Reading::Entries),
        new_files,
        validators: Vec::new(),
        received_bytes: 0,
        clock_offset: None,
    }
}

fn component(archive: &str) -> Component {
    match archive {
        "conditions.tar.gz" => Component::Conditions,
        "avchart-win.tar.gz" => Component::AvAsChartWindows,
        "avchart-macosx.tar.gz" => Component::AvAsChartMacosx,
        "avchart-linux.tar.gz" => Component::AvAsChartLinux,
        _ => Component::SupportedOs,
    }
}
