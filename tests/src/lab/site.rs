//! What the lab upstream serves: a fake feed or a directory, with whatever is broken in it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use bundles::FileName;
use bundles::fake::{Edition, Feed, Options, ZipShape};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{Timestamp, ToSpan};
use sha2::{Digest, Sha256};
use url::Url;

use super::body::Source;
use super::captured::Captured;
use super::fault::{Fault, Struck, Target};

/// The vendor's directory.
pub const DIRECTORY: &str = "/web/secure/spa/";

/// The index in it.
pub const INDEX: &str = "posture-update.xml";

/// The vendor's own zip beside it, where a fake feed is served.
pub const OFFLINE_ZIP: &str = "posture-offline.zip";

/// What a bomb in that zip opens to, of zeros: some thousand times what it is packed into.
const ZIP_BOMB: usize = 64 << 20;

/// What the file at a path is to accidents.
pub(super) fn struck(path: &str) -> Struck {
    match path.strip_prefix(DIRECTORY) {
        Some(INDEX) => Struck::Index,
        Some(OFFLINE_ZIP) => Struck::OfflineZip,
        Some(_) | None => Struck::Other,
    }
}

/// A file as it stands on the server.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) source: Source,
    pub(super) etag: String,
    pub(super) modified: Timestamp,
    pub(super) content_type: &'static str,
    /// `Content-Encoding`, where there is one.
    pub(super) encoding: Option<&'static str>,
}

impl Resource {
    fn of_bytes(bytes: Bytes, modified: Timestamp, name: &str) -> Self {
        let etag = format!("\"{}\"", &hex::encode(Sha256::digest(&bytes))[..32]);
        Self { source: Source::Bytes(bytes), etag, modified, content_type: content_type(name), encoding: None }
    }

    /// The same with other bytes, and so with another tag.
    fn with_bytes(&self, bytes: Bytes) -> Self {
        Self { content_type: self.content_type, ..Self::of_bytes(bytes, self.modified, "") }
    }
}

fn content_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("xml") => "text/xml",
        Some("gz" | "tgz") => "application/x-gzip",
        Some("zip") => "application/zip",
        Some("html") => "text/html",
        Some(_) | None => "application/octet-stream",
    }
}

/// Where the content comes from.
#[derive(Debug)]
pub(super) enum Content {
    /// Made by `bundles::fake`.
    Fake(Box<FakeContent>),
    /// Files of the operator's own.
    Directory(PathBuf),
    /// What a real upstream answered once.
    Captured(Box<Captured>),
}

#[derive(Debug)]
pub(super) struct FakeContent {
    edition: Edition,
    /// How many editions were published after the first.
    published: i32,
    options: Options,
    feed: Feed,
    /// Archives are tagged once: a big one takes long to hash.
    archives: BTreeMap<String, Resource>,
    /// The feed with bombs in the place of its archives, made when first asked for.
    bombs: OnceLock<Feed>,
    /// How often the vendor's zip was packed anew.
    packed: u32,
    /// The vendor's zip, made when first asked for.
    zip: OnceLock<Resource>,
}

impl FakeContent {
    pub(super) fn new(edition: Edition, options: Options) -> Self {
        Self::published(edition, options, 0)
    }

    fn published(edition: Edition, options: Options, published: i32) -> Self {
        let feed = Feed::make(&edition, &options);
        let modified = modified(published);
        let archives = feed
            .files
            .iter()
            .map(|(name, bytes)| {
                let resource = Resource::of_bytes(Bytes::from(bytes.clone()), modified, name.as_str());
                (name.to_string(), resource)
            })
            .collect();
        let (bombs, packed, zip) = (OnceLock::new(), 0, OnceLock::new());
        Self { edition, published, options, feed, archives, bombs, packed, zip }
    }

    pub(super) fn feed(&self) -> &Feed {
        &self.feed
    }

    pub(super) fn edition(&self) -> &Edition {
        &self.edition
    }

    /// The zip as it stands there now.
    fn zip(&self, base_url: &Url) -> &Resource {
        self.zip.get_or_init(|| {
            let note = format!("Packed {} times.\n", self.packed + 1);
            self.zip_with(base_url, &ZipShape::default().with("PACKED.txt", note))
        })
    }

    fn zip_with(&self, base_url: &Url, shape: &ZipShape) -> Resource {
        let bytes = self.feed.offline_zip(base_url, shape);
        Resource::of_bytes(bytes.into(), modified(self.published), OFFLINE_ZIP)
    }

    fn bombs(&self) -> &Feed {
        self.bombs.get_or_init(|| {
            let mut feed = self.feed.clone();
            for bytes in feed.files.values_mut() {
                bytes.clone_from(&bomb().to_vec());
            }
            feed
        })
    }
}

/// When an edition appeared: each a day after the one before it, so that dates tell them apart and no clock is asked.
fn modified(published: i32) -> Timestamp {
    let first = Timestamp::from_second(1_741_874_400).unwrap_or(Timestamp::UNIX_EPOCH);
    first.checked_add((24 * i64::from(published)).hours()).unwrap_or(first)
}

impl Content {
    /// Moves on to the edition after this one.
    pub(super) fn publish_next(&mut self) -> Result<()> {
        match self {
            Self::Fake(content) => {
                let (next, published) = (content.edition.next(), content.published + 1);
                **content = FakeContent::published(next, content.options.clone(), published);
                Ok(())
            }
            Self::Directory(directory) => {
                bail!("{} is served as it is; publish a new edition by changing its files", directory.display())
            }
            Self::Captured(captured) => bail!("{} is replayed as it is", captured.source().display()),
        }
    }

    /// Packs the vendor's zip anew, with the same feed in it.
    pub(super) fn pack_anew(&mut self) -> Result<()> {
        match self {
            Self::Fake(content) => {
                content.packed += 1;
                content.zip = OnceLock::new();
                Ok(())
            }
            Self::Directory(_) | Self::Captured(_) => bail!("a zip is packed of a fake feed alone"),
        }
    }

    /// Puts that edition in the place of this one.
    pub(super) fn publish(&mut self, edition: Edition) -> Result<()> {
        match self {
            Self::Fake(content) => {
                **content = FakeContent::published(edition, content.options.clone(), content.published + 1);
                Ok(())
            }
            Self::Directory(directory) => bail!("{} is served as it is", directory.display()),
            Self::Captured(captured) => bail!("{} is replayed as it is", captured.source().display()),
        }
    }

    /// The file at a path, broken as the faults want it; `None` where there is none.
    pub(super) fn find(&self, path: &str, base_url: &Url, faults: &[(Target, Fault)]) -> Result<Option<Resource>> {
        let struck = struck(path);
        let has = |wanted: Fault| faults.iter().any(|(_, fault)| *fault == wanted);
        let strikes = |wanted: Fault| faults.iter().any(|(target, fault)| *fault == wanted && target.covers(struck));
        let bombs = |target: Target| faults.contains(&(target, Fault::GzipBomb));
        let bombed = has(Fault::GzipBomb) && !bombs(Target::OfflineZip);
        let Some(mut resource) = (match self {
            // A locator that climbs out of the directory ends elsewhere on this host. What it names is served there
            // too, so that whatever the reader makes of it, it is not "not found".
            Self::Fake(content) if path.starts_with(DIRECTORY) || has(Fault::TraversalLocator) => {
                content.find(path, base_url, bombed, strikes(Fault::GzipBomb))
            }
            Self::Fake(_) => None,
            Self::Directory(directory) => in_directory(directory, path)?,
            // Answered as a whole, headers and all.
            Self::Captured(_) => None,
        }) else {
            return Ok(None);
        };
        if struck == Struck::Index {
            for (target, fault) in faults {
                if target.covers(Struck::Index)
                    && let Some(broken) = break_index(&resource, *fault, base_url)?
                {
                    resource = broken;
                }
            }
        } else if bombed && matches!(self, Self::Directory(_)) {
            resource = resource.with_bytes(Bytes::from_static(bomb()));
        }
        if strikes(Fault::WrongChecksum) {
            let mut bytes = whole(&resource.source)?.to_vec();
            // The middle: away from headers and trailers, whose own checks would speak first.
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 0x01;
            }
            resource = resource.with_bytes(bytes.into());
        }
        if strikes(Fault::TenGigabytes) {
            resource.source = Source::Padded(whole(&resource.source)?, 10_000_000_000);
        }
        Ok(Some(resource))
    }
}

impl FakeContent {
    fn find(&self, path: &str, base_url: &Url, bombed: bool, is_struck_by_bomb: bool) -> Option<Resource> {
        let name = path.rsplit('/').next().unwrap_or_default();
        if name == OFFLINE_ZIP {
            let bomb = || self.zip_with(base_url, &ZipShape::default().with("zeros.bin", vec![0; ZIP_BOMB]));
            return Some(if is_struck_by_bomb { bomb() } else { self.zip(base_url).clone() });
        }
        let feed = if bombed { self.bombs() } else { &self.feed };
        if name == INDEX {
            return Some(Resource::of_bytes(feed.index(base_url).into(), modified(self.published), INDEX));
        }
        let resource = self.archives.get(name)?;
        if !bombed {
            return Some(resource.clone());
        }
        let bytes = feed.files.get(&FileName::parse(name).ok()?)?;
        Some(resource.with_bytes(Bytes::from(bytes.clone())))
    }
}

/// The file in the directory, at the whole path or below the vendor's directory.
fn in_directory(directory: &Path, path: &str) -> Result<Option<Resource>> {
    let plain = |path: &str| {
        let relative = PathBuf::from(path.trim_start_matches('/'));
        relative.components().all(|part| matches!(part, Component::Normal(_))).then_some(relative)
    };
    let candidates = [Some(path), path.strip_prefix(DIRECTORY)];
    for relative in candidates.into_iter().flatten().filter_map(plain) {
        let file = directory.join(relative);
        let Ok(metadata) = std::fs::metadata(&file) else { continue };
        if !metadata.is_file() {
            continue;
        }
        let modified = Timestamp::try_from(metadata.modified().context("a file has a date")?)?;
        let modified = Timestamp::from_second(modified.as_second())?;
        // As web servers do it: by date and length, since hashing a big archive for each request takes too long.
        let etag = format!("\"{:x}-{:x}\"", modified.as_second(), metadata.len());
        let source = Source::File(file, metadata.len());
        return Ok(Some(Resource { source, etag, modified, content_type: content_type(path), encoding: None }));
    }
    Ok(None)
}

fn whole(source: &Source) -> Result<Bytes> {
    match source {
        Source::Bytes(bytes) | Source::Padded(bytes, _) => Ok(bytes.clone()),
        Source::File(path, _) => Ok(std::fs::read(path).with_context(|| path.display().to_string())?.into()),
    }
}

/// What the index becomes; `None` where the fault leaves it alone.
fn break_index(index: &Resource, fault: Fault, base_url: &Url) -> Result<Option<Resource>> {
    let text = || Ok::<_, anyhow::Error>(String::from_utf8_lossy(&whole(&index.source)?).into_owned());
    let broken = match fault {
        Fault::TenThousandEntries => ten_thousand_entries(base_url),
        Fault::UndefinedEntity => before_last_tag(&text()?, "&undefined;"),
        Fault::BillionLaughs => billion_laughs(&before_last_tag(&text()?, "&l9;")),
        Fault::TraversalLocator => relocated(&text()?, base_url, "../../../../../../etc/"),
        Fault::ForeignHost => relocated(&text()?, base_url, "https://elsewhere.example/web/secure/spa/"),
        Fault::GzipEncoded => return Ok(Some(gzipped(index)?)),
        Fault::RedirectLoop
        | Fault::RedirectToHttp
        | Fault::RedirectElsewhere
        | Fault::HalfClosed
        | Fault::Reset
        | Fault::CutOnce
        | Fault::ChangedMeanwhile
        | Fault::LengthTooLong
        | Fault::LengthTooShort
        | Fault::Chunked
        | Fault::Trickle
        | Fault::Away
        | Fault::Mute
        | Fault::Unanswered
        | Fault::NotFound
        | Fault::ServerError
        | Fault::RateLimited
        | Fault::HtmlPage
        | Fault::Truncated
        | Fault::WrongChecksum
        | Fault::Stalled
        | Fault::Slow
        | Fault::TenGigabytes
        | Fault::GzipBomb => return Ok(None),
    };
    Ok(Some(index.with_bytes(broken.into())))
}

fn gzipped(index: &Resource) -> Result<Resource> {
    let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
    compressed.write_all(&whole(&index.source)?)?;
    let resource = index.with_bytes(compressed.finish()?.into());
    Ok(Resource { encoding: Some("gzip"), ..resource })
}

fn ten_thousand_entries(base_url: &Url) -> String {
    use std::fmt::Write as _;
    let mut index = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<posture>\n");
    for number in 0..10_000 {
        // A String takes whatever is written to it.
        let _ =
            writeln!(index, "<file name=\"f{number}\" version=\"{number}.0.0.0\" url=\"{base_url}f{number}.tar.gz\"/>");
    }
    index.push_str("</posture>\n");
    index
}

fn before_last_tag(index: &str, inserted: &str) -> String {
    let at = index.rfind("</").unwrap_or(index.len());
    format!("{}{inserted}{}", &index[..at], &index[at..])
}

/// Ten levels of ten: `&l9;` stands for 3 GB.
fn billion_laughs(index: &str) -> String {
    let mut doctype = String::from("<!DOCTYPE laughs [<!ENTITY l0 \"lol\">");
    for level in 1..10 {
        let inner = format!("&l{};", level - 1).repeat(10);
        doctype.push_str(&format!("<!ENTITY l{level} \"{inner}\">"));
    }
    doctype.push_str("]>");
    let at = index.find("?>").map_or(0, |at| at + 2);
    format!("{}{doctype}{}", &index[..at], &index[at..])
}

/// The index with its first locator moved elsewhere.
fn relocated(index: &str, base_url: &Url, elsewhere: &str) -> String {
    if let Some(at) = index.find(base_url.as_str()) {
        return format!("{}{elsewhere}{}", &index[..at], &index[at + base_url.as_str().len()..]);
    }
    // Relative names: the first text or attribute that ends like an archive, back to where it begins.
    let Some(end) = index.find(".tar.gz") else { return index.to_owned() };
    let start = index[..end].rfind(['>', '"', '\'', '/']).map_or(0, |at| at + 1);
    format!("{}{elsewhere}{}", &index[..start], &index[start..])
}

/// A tar.gz with one file of 256 MiB of zeros: about 1000:1, where real charts reach 44:1.
fn bomb() -> &'static [u8] {
    static BOMB: OnceLock<Vec<u8>> = OnceLock::new();
    // Writing to memory does not fail.
    BOMB.get_or_init(|| bomb_of(256 << 20).unwrap_or_default())
}

fn bomb_of(length: u64) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path("chart.xml")?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
    compressed.write_all(header.as_bytes())?;
    // Two empty blocks of 512 bytes end a tar.
    let mut zeros = std::io::repeat(0).take(length + 1024);
    std::io::copy(&mut zeros, &mut compressed)?;
    compressed.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_directory_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let served = folder.path().join("served");
        std::fs::create_dir(&served).unwrap();
        std::fs::write(folder.path().join("outside"), "secret").unwrap();
        std::fs::write(served.join("inside"), "public").unwrap();
        for path in ["/../outside", "/web/secure/spa/../outside", "//../outside", "/./../outside", "/served"] {
            assert!(in_directory(&served, path).unwrap().is_none(), "{path}");
        }
        for path in ["/inside", "/web/secure/spa/inside"] {
            assert!(in_directory(&served, path).unwrap().is_some(), "{path}");
        }
    }
}
