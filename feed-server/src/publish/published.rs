//! What is served: an immutable picture of the tree, by URL path. Requests are answered from it alone, so no path that a
//! client makes up ever reaches the file system.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bundles::{Digest, FileName, Manifest, Serial, TargetName};
use bytes::Bytes;
use jiff::Timestamp;
use tough::schema::{Root, Signed, Targets};

use super::metadata::{self, Chain, Verified};
use super::roots::Roots;
use super::signing::SignedRole;
use super::terms::Term;
use super::tree::Tree;
use super::{PublishError, Repository, Role, ZipOrigin, bundle_zips, sidecars, targets, vendor, zips};

/// Metadata, manifests and indexes up to this size are held in memory: they are what clients poll. All releases of a large
/// site have some megabytes of them.
const IN_MEMORY: u64 = 1 << 20;

/// What is served, at one moment.
#[derive(Debug)]
pub struct Published {
    newest: Option<Manifest>,
    files: HashMap<String, Arc<Served>>,
    roots: HashMap<Repository, SignedRole<Root>>,
    expiries: Vec<(Repository, Role, Timestamp)>,
    next_due: Option<Timestamp>,
    /// URL paths of the metadata that readers are led to.
    current: HashMap<(Repository, Role), String>,
    known: Known,
}

/// What was read of the tree, for the next picture of it: most of it is the same, and there are some thousand files.
#[derive(Debug, Default)]
struct Known {
    /// By the digest of their bytes.
    manifests: HashMap<Digest, Arc<Manifest>>,
    /// What metadata names, by the digest of its bytes.
    targets: HashMap<Digest, Arc<Vec<Named>>>,
    verified: HashMap<Repository, Arc<Verified>>,
    /// By path: small files for ever of one content, as they were when they were read.
    small: HashMap<String, FileId>,
}

/// A target.
type Named = (TargetName, Digest, u64);

/// What tells a file that was replaced or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl FileId {
    fn of(metadata: &fs::Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), length: metadata.len(), modified }
    }
}

/// One file.
#[derive(Debug, Clone)]
pub struct Served {
    /// Its bytes, or where they are.
    pub body: Body,
    /// In bytes.
    pub length: u64,
    /// Of the bytes.
    pub sha256: Digest,
    /// Strong: the digest in quotes.
    pub etag: String,
    /// The media type.
    pub content_type: &'static str,
    /// How long a cache may keep it.
    pub cache: Cache,
    /// When the file was made, whole seconds.
    pub modified: Timestamp,
    /// Who made it, where it is a zip.
    pub zip_origin: Option<ZipOrigin>,
    /// Of a payload: the `match` of RFC 9842's `Use-As-Dictionary`, as it stands in the header.
    pub dictionary_for: Option<Arc<str>>,
}

/// Where the bytes are.
#[derive(Debug, Clone)]
pub enum Body {
    /// Here.
    Memory(Bytes),
    /// In the tree.
    File(PathBuf),
}

/// How long a cache may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// The name stands for one content, for ever.
    Immutable,
    /// To be asked for again each time.
    Revalidate,
}

impl Published {
    /// Nothing.
    pub(super) fn empty() -> Self {
        Self {
            newest: None,
            files: HashMap::new(),
            roots: HashMap::new(),
            expiries: Vec::new(),
            next_due: None,
            current: HashMap::new(),
            known: Known::default(),
        }
    }

    /// The newest release that headends can get.
    #[must_use]
    pub fn serial(&self) -> Option<Serial> {
        self.newest.as_ref().map(|manifest| manifest.serial)
    }

    /// The manifest of that release.
    #[must_use]
    pub fn newest(&self) -> Option<&Manifest> {
        self.newest.as_ref()
    }

    /// The file at a URL path, such as `/repo/metadata/timestamp.json`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Arc<Served>> {
        self.files.get(path)
    }

    /// Every URL path.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Every file with its URL path.
    pub fn served(&self) -> impl Iterator<Item = (&str, &Arc<Served>)> {
        self.files.iter().map(|(path, served)| (path.as_str(), served))
    }

    /// The newest metadata of a role other than root; `None` where there is none, or no such role.
    #[must_use]
    pub fn metadata(&self, repository: Repository, role: Role) -> Option<&Arc<Served>> {
        self.current.get(&(repository, role)).and_then(|path| self.get(path))
    }

    /// When each role's metadata ends.
    #[must_use]
    pub fn expiries(&self) -> &[(Repository, Role, Timestamp)] {
        &self.expiries
    }

    /// When something has to be signed anew; `None` where there is nothing signed yet.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }

    /// Whether a repository is here: always on an origin, on a relay once it was received.
    #[must_use]
    pub fn has(&self, repository: Repository) -> bool {
        self.roots.contains_key(&repository)
    }

    /// Why a repository is not here, to people who look for it.
    #[must_use]
    pub fn lacks(&self, repository: Repository) -> &'static str {
        match repository {
            Repository::Online if self.has(Repository::Offline) => {
                "This relay is fed by hand and has the offline repository alone; enroll with the root that `feed-server keys \
                 export-root --offline` writes."
            }
            Repository::Offline if self.has(Repository::Online) => {
                "This relay has the online repository alone so far; it gets the offline one with a bundle, or from the \
                 feed-server that it follows."
            }
            Repository::Online | Repository::Offline => {
                "This relay has received no release yet; import a bundle, or update it from the feed-server that it follows."
            }
        }
    }

    /// The newest root.
    pub(super) fn root(&self, repository: Repository) -> Option<&SignedRole<Root>> {
        self.roots.get(&repository)
    }

    /// The chain of a repository, and the root that it was verified under.
    pub(super) fn verified(&self, repository: Repository) -> Option<Arc<Verified>> {
        self.known.verified.get(&repository).cloned()
    }

    pub(super) fn digests(&self) -> HashSet<Digest> {
        self.files.values().map(|served| served.sha256).collect()
    }

    /// What the tree holds now, whatever the catalog says: after a crash, that is what was published before. Of `before`, what
    /// did not change is taken over.
    pub(super) fn of_tree<'r>(
        tree: &Tree,
        before: &Self,
        roots: impl IntoIterator<Item = (Repository, &'r Roots)>,
        term: impl Fn(Repository, Role) -> Option<Term>,
    ) -> Result<Self, PublishError> {
        let mut picture = Picture { tree, before, files: HashMap::new(), known: Known::default() };
        let mut published = Self::empty();
        for (repository, roots) in roots {
            let latest = roots.latest();
            published.roots.insert(repository, latest.clone());
            picture.metadata(repository)?;
            let mut expiries = vec![(Role::Root, latest.signed.expires)];
            if let Some(chain) = picture.chain(repository, roots)? {
                expiries.extend(chain.expiries());
                for (role, name) in chain.names() {
                    let path = format!("/{}/{name}", metadata::folder(repository));
                    published.current.insert((repository, role), path);
                }
                let targets = picture.named(Digest::of(&chain.targets.bytes), || Some(chain.targets.signed.clone()));
                let targets = targets.unwrap_or_default();
                picture.zips(&targets)?;
                let newest = picture.newest_of(&targets);
                // On an origin both have the same; a relay may have got one of them later.
                if newest.as_ref().map(|newest| newest.serial) > published.serial() {
                    published.newest = newest;
                }
            }
            for (role, expires) in expiries {
                if let Some(due) = term(repository, role).map(|term| term.due_at(expires)) {
                    published.next_due = Some(published.next_due.map_or(due, |earlier: Timestamp| earlier.min(due)));
                }
                published.expiries.push((repository, role, expires));
            }
        }
        picture.bundles()?;
        picture.vendor_layout()?;
        picture.dictionaries();
        (published.files, published.known) = (picture.files, picture.known);
        Ok(published)
    }
}

/// A [`Published`] in the making.
struct Picture<'a> {
    tree: &'a Tree,
    before: &'a Published,
    files: HashMap<String, Arc<Served>>,
    known: Known,
}

impl Picture<'_> {
    /// A small file, read and hashed; or as it was, where it is still the same.
    fn small(&mut self, path: &str, cache: Cache) -> Result<Option<Arc<Served>>, PublishError> {
        let Some(metadata) = self.tree.metadata(path)? else { return Ok(None) };
        let id = FileId::of(&metadata);
        if cache == Cache::Immutable {
            let is_same = self.before.known.small.get(path) == Some(&id);
            self.known.small.insert(path.to_owned(), id);
            let url = format!("/{path}");
            if let Some(served) = self.before.files.get(&url).filter(|_| is_same) {
                self.files.insert(url, served.clone());
                return Ok(Some(served.clone()));
            }
        }
        let Some(bytes) = self.tree.read(path)? else { return Ok(None) };
        let served = served(path, Digest::of(&bytes), bytes.len() as u64, cache, &metadata, Body::Memory(bytes.into()));
        Ok(Some(self.add(path, served)))
    }

    /// A file whose digest is known, left where it is; `None` where the tree does not have it.
    fn large(&mut self, path: &str, sha256: Digest, length: u64, cache: Cache) -> Result<Option<Served>, PublishError> {
        let Some(metadata) = self.tree.metadata(path)?.filter(|metadata| metadata.len() == length) else {
            return Ok(None);
        };
        Ok(Some(served(path, sha256, length, cache, &metadata, Body::File(self.tree.path(path)))))
    }

    fn add(&mut self, path: &str, served: Served) -> Arc<Served> {
        let served = Arc::new(served);
        self.files.insert(format!("/{path}"), served.clone());
        served
    }

    /// The chain of a repository. Where publishing was cut off after a new root, it is still one of the root before.
    fn chain(&mut self, repository: Repository, roots: &Roots) -> Result<Option<Chain>, PublishError> {
        let known = self.before.verified(repository);
        for root in roots.all().iter().rev() {
            let root = &root.signed;
            if let Some(chain) = Chain::read(self.tree, repository, root, known.as_deref())? {
                let verified = Verified { root: root.clone(), chain: chain.clone() };
                self.known.verified.insert(repository, Arc::new(verified));
                return Ok(Some(chain));
            }
        }
        Ok(None)
    }

    /// A repository's metadata, and what any of its versions names.
    fn metadata(&mut self, repository: Repository) -> Result<(), PublishError> {
        let folder = metadata::folder(repository);
        let names = self.tree.list(&folder)?;
        for name in names.iter().filter(|name| name.ends_with(".json")) {
            let cache = if name == "timestamp.json" { Cache::Revalidate } else { Cache::Immutable };
            self.small(&format!("{folder}/{name}"), cache)?;
        }
        for version in metadata::numbered(&names, Role::Targets) {
            let Some(served) = self.files.get(&format!("/{folder}/{version}.targets.json")) else { continue };
            let Body::Memory(bytes) = served.body.clone() else { continue };
            // Damaged ones are no longer named by anything: publishing signs new ones.
            let read = || serde_json::from_slice::<Signed<Targets>>(&bytes).ok().map(|targets| targets.signed);
            if let Some(targets) = self.named(served.sha256, read) {
                self.targets(repository, &targets)?;
            }
        }
        Ok(())
    }

    /// The targets whose names are ours, which is all of them unless somebody else wrote the file; `digest` is its bytes'.
    fn named(&mut self, digest: Digest, read: impl FnOnce() -> Option<Targets>) -> Option<Arc<Vec<Named>>> {
        let known = self.known.targets.get(&digest).or_else(|| self.before.known.targets.get(&digest)).cloned();
        let targets = known.or_else(|| read().map(|targets| Arc::new(named(&targets).collect())))?;
        self.known.targets.insert(digest, targets.clone());
        Some(targets)
    }

    fn targets(&mut self, repository: Repository, targets: &[Named]) -> Result<(), PublishError> {
        for &(ref name, digest, length) in targets {
            let path = format!("{}/{}", targets::folder(repository), name.served_as(&digest));
            if self.files.contains_key(&format!("/{path}")) {
                continue;
            }
            let is_small = length <= IN_MEMORY && name.as_str().ends_with(".json");
            if !is_small {
                if let Some(served) = self.large(&path, digest, length, Cache::Immutable)? {
                    self.add(&path, served);
                }
                continue;
            }
            let served = self.small(&path, Cache::Immutable)?.filter(|served| served.sha256 == digest);
            let Some(served) = served else {
                self.files.remove(&format!("/{path}"));
                continue;
            };
            if let Some(manifest) = self.before.known.manifests.get(&digest) {
                self.known.manifests.insert(digest, manifest.clone());
            } else if let Body::Memory(bytes) = &served.body
                && let Ok(manifest) = Manifest::from_json(bytes)
            {
                self.known.manifests.insert(digest, Arc::new(manifest));
            }
        }
        Ok(())
    }

    /// The release that these targets call stable.
    fn newest_of(&self, targets: &[Named]) -> Option<Manifest> {
        let stable = TargetName::of_channel_stable();
        let (_, digest, _) = targets.iter().find(|(name, _, _)| *name == stable)?;
        self.known.manifests.get(digest).map(|manifest| Manifest::clone(manifest))
    }

    /// The zips of all releases that these targets name.
    fn zips(&mut self, targets: &[Named]) -> Result<(), PublishError> {
        let mut manifests: Vec<Arc<Manifest>> = self.known.manifests.values().cloned().collect();
        manifests.sort_by_key(|manifest| std::cmp::Reverse(manifest.serial));
        let mut is_newest = true;
        for manifest in manifests {
            let name = zips::file_name(manifest.serial);
            let suffix = format!("-{name}");
            let zip = match &manifest.offline_zip {
                Some(vendors) => Some((vendors.sha256, vendors.length)),
                None => {
                    let zip = targets.iter().find(|(target, _, _)| target.as_str().ends_with(&suffix));
                    zip.map(|&(_, sha256, length)| (sha256, length))
                }
            };
            let Some((sha256, length)) = zip else { continue };
            let origin = Some(zips::origin(&manifest));
            let Some(served) = self.large(&zips::path(&name), sha256, length, Cache::Immutable)? else { continue };
            let served = Served { zip_origin: origin, ..served };
            self.beside(&zips::path(&name), Cache::Immutable)?;
            if std::mem::take(&mut is_newest) {
                // The numbered file under the other name, so that its bytes are those of its ETag whatever happens to
                // the link.
                self.add(&zips::path(zips::NEWEST), Served { cache: Cache::Revalidate, ..served.clone() });
                self.beside(&zips::path(zips::NEWEST), Cache::Revalidate)?;
            }
            self.add(&zips::path(&name), served);
        }
        Ok(())
    }

    /// What stands beside a zip.
    fn beside(&mut self, zip: &str, cache: Cache) -> Result<(), PublishError> {
        self.small(&format!("{zip}{}", sidecars::DIGEST), cache)?;
        // Its wording may change with the program's version.
        self.small(&format!("{zip}{}", sidecars::SHEET), Cache::Revalidate)?;
        Ok(())
    }

    /// Bundles, under each of their names. A name stands for another content when the metadata was signed anew.
    fn bundles(&mut self) -> Result<(), PublishError> {
        for named in bundle_zips::named(self.tree)? {
            if let Some(served) = self.large(&named.zip, named.sha256, named.length, Cache::Revalidate)? {
                self.add(&named.zip, Served { cache: Cache::Immutable, ..served.clone() });
                self.add(&named.path, served);
                self.beside(&named.path, Cache::Revalidate)?;
            }
        }
        Ok(())
    }

    /// Marks the payloads: each is what its successors can be told by.
    fn dictionaries(&mut self) {
        let payloads = self.known.manifests.values().flat_map(|manifest| &manifest.components);
        for payload in payloads.flat_map(|released| &released.files).map(|file| &file.payload) {
            let Ok(name) = payload.target_name() else { continue };
            for repository in Repository::ALL {
                let path = format!("/{}/{}", targets::folder(repository), name.served_as(&payload.sha256));
                if let Some(served) = self.files.get_mut(&path)
                    && served.dictionary_for.is_none()
                {
                    Arc::make_mut(served).dictionary_for = Some(dictionary_for(&payload.name).into());
                }
            }
        }
    }

    fn vendor_layout(&mut self) -> Result<(), PublishError> {
        let archives: Vec<(Serial, bundles::release::FileRef)> = self
            .known
            .manifests
            .values()
            .flat_map(|manifest| manifest.components.iter().map(|released| (manifest.serial, released)))
            .flat_map(|(serial, released)| released.files.iter().map(move |file| (serial, file.archive.clone())))
            .collect();
        for (serial, archive) in archives {
            let path = vendor::archive(serial, &archive.name);
            if let Some(served) = self.large(&path, archive.sha256, archive.length, Cache::Immutable)? {
                self.add(&path, served);
            }
        }
        self.small(vendor::INDEX, Cache::Revalidate)?;
        Ok(())
    }
}

fn named(targets: &Targets) -> impl Iterator<Item = Named> {
    targets.targets.iter().filter_map(|(name, target)| {
        let name = TargetName::parse(name.raw()).ok()?;
        let digest = <[u8; 32]>::try_from(&*target.hashes.sha256).ok()?;
        Some((name, Digest::from_bytes(digest), target.length))
    })
}

/// A string of a structured field (RFC 8941) that is a URL pattern: the files beside this one whose names differ from it in
/// numbers alone, since that is where vendors put versions. Relative, since a proxy in front may serve all of it below a
/// prefix that nobody here knows.
fn dictionary_for(name: &FileName) -> String {
    let mut pattern = "\"*-".to_owned();
    for byte in name.as_str().chars() {
        match byte {
            '0'..='9' if pattern.ends_with('*') => {}
            '0'..='9' => pattern.push('*'),
            // Names hold one character that means something in a pattern; the backslash means something in the string.
            '+' => pattern.push_str("\\\\+"),
            other => pattern.push(other),
        }
    }
    pattern.push('"');
    pattern
}

fn served(path: &str, sha256: Digest, length: u64, cache: Cache, metadata: &fs::Metadata, body: Body) -> Served {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.and_then(|since| i64::try_from(since.as_secs()).ok());
    Served {
        body,
        length,
        sha256,
        etag: format!("\"{sha256}\""),
        content_type: content_type(path),
        cache,
        modified: modified.and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::UNIX_EPOCH),
        zip_origin: None,
        dictionary_for: None,
    }
}

fn content_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref().unwrap_or_default() {
        "json" => "application/json",
        // Somebody else wrote it, and browsers run scripts in it: what headends fetch is shown to nobody.
        "xml" if path.contains("/targets/") => "application/octet-stream",
        "xml" => "application/xml",
        "gz" | "tgz" => "application/gzip",
        "tar" => "application/x-tar",
        "zip" => "application/zip",
        "sha256" | "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
