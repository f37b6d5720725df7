//! A disk that rots under a server: what it makes of that is not carried away.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bundles::fake::Edition;
use tests::world::{World, shows_edition};

use crate::setting::{nothing_is_left, origin};

/// The digest of an archive of the bundle.
fn archive(bundle: &Path) -> Result<String> {
    let zip = zip::ZipArchive::new(std::fs::File::open(bundle)?)?;
    let names = zip.file_names().map(|name| Ok(name?.into_owned())).collect::<Result<Vec<_>>>()?;
    let name = names.iter().find(|name| name.ends_with(".tar.gz")).context("a bundle holds archives")?;
    let digest = name.strip_prefix("targets/").and_then(|name| name.split('.').next());
    Ok(digest.context("archives are named by their digests")?.to_owned())
}

/// Where the data directory has a content.
fn blob(world: &World, digest: &str) -> PathBuf {
    world.data().join("blobs").join(&digest[..2]).join(digest)
}

/// Flips a bit in the middle of a file, without making it another file.
fn rot(path: &Path) -> Result<()> {
    let mut file = std::fs::File::options().read(true).write(true).open(path)?;
    let middle = SeekFrom::Start(file.metadata()?.len() / 2);
    let mut byte = [0];
    file.seek(middle)?;
    file.read_exact(&mut byte)?;
    file.seek(middle)?;
    file.write_all(&[byte[0] ^ 1])?;
    Ok(())
}

/// Every zip that a server has in its tree under a name for people.
fn zips(world: &World) -> Result<Vec<PathBuf>> {
    let entries =
        walkdir::WalkDir::new(world.data().join("tree/offline")).into_iter().collect::<Result<Vec<_>, _>>()?;
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("posture-"));
    Ok(entries.into_iter().map(walkdir::DirEntry::into_path).filter(named).filter(|path| path.is_file()).collect())
}

/// That nothing can be built into a folder, with or without a server.
async fn is_refused(world: &World, arguments: &[&str], digest: &str) -> Result<()> {
    let out = tempfile::tempdir_in(world.directory())?;
    let build = ["bundle", "build", "--out", out.path().to_str().context("UTF-8")?];
    let failed = world.feed_server(build.iter().chain(arguments)).await?.failed_with(15)?;
    for part in ["(storage)", digest, "is damaged on this server's disk"] {
        ensure!(failed.stderr.contains(part), "{part:?} is not in: {failed}");
    }
    let left = std::fs::read_dir(out.path())?.count();
    ensure!(left == 0, "{left} files are left");
    Ok(())
}

#[tokio::test]
async fn no_zip_is_made_of_what_has_rotted_and_what_the_message_says_mends_it() -> Result<()> {
    let (mut origin, _) = origin().await?;
    let bundle = origin.bundle().await?;
    let archive = archive(&bundle)?;
    origin.stop_server().await?;
    for zip in zips(&origin)? {
        std::fs::remove_file(zip)?;
    }
    rot(&blob(&origin, &archive))?;
    is_refused(&origin, &[], &archive).await?;
    nothing_is_left(&origin)?;
    ensure!(zips(&origin)?.iter().all(|path| !path.to_string_lossy().contains("bundle")), "{:?}", zips(&origin)?);

    // A server starts, and serves what it has; it tells what it could not make.
    origin.start_server().await?;
    origin.released(1).await?;
    is_refused(&origin, &[], &archive).await?;
    let status = origin.feed_server(["status"]).await?.success()?;
    ensure!(status.stdout.contains("Publishing") && status.stdout.contains(&archive), "{status}");

    origin.stop_server().await?;
    std::fs::remove_file(blob(&origin, &archive))?;
    std::fs::remove_dir_all(origin.data().join("tree"))?;
    origin.start_server().await?;
    origin.sync().await?.success()?;
    let status = origin.feed_server(["status"]).await?.success()?;
    shows_edition(&status.stdout, &Edition::before())?;
    ensure!(!status.stdout.contains("Publishing"), "{status}");
    let bundle = origin.bundle().await?;
    origin.feed_server(["bundle".as_ref(), "inspect".as_ref(), bundle.as_os_str()]).await?.success()?;
    Ok(())
}
