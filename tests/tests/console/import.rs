//! Import: a zip is brought by a browser, looked at, and imported; and what is wrong with one is said and changes nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Feed, Options, ZipShape};
use tests::world::{DEADLINE, World, wait_until};

use super::desk::Desk;

/// Chooses a file and sends the form.
async fn bring(desk: &Desk, zip: &Path) -> Result<()> {
    desk.chromium.click("nav a[href='/import']").await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "Import").await?;
    desk.chromium.type_into("#zip", zip.to_str().context("a path that is text")?).await?;
    desk.chromium.click("#bring-form button").await
}

/// Discards the zip that is looked at.
async fn discard(desk: &Desk) -> Result<()> {
    desk.chromium.click(".upload form[action$='/forget'] button").await?;
    wait_until(DEADLINE, "the zip is gone from the page", async || {
        let is_there = desk.chromium.count("#bring").await.is_ok_and(|count| count == 1);
        is_there && desk.chromium.count(".upload").await.is_ok_and(|count| count == 0)
    })
    .await
}

fn changed(zip: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<PathBuf> {
    let mut bytes = std::fs::read(zip)?;
    change(&mut bytes);
    let path = zip.with_file_name(name);
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// Zips that wait in the data directory.
fn waiting(world: &World) -> usize {
    std::fs::read_dir(world.data().join("uploads")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_bundle_is_looked_at_first_and_then_imported_and_a_forged_one_is_not() -> Result<()> {
    let origin = World::builder().build().await?;
    origin.sync().await?.success()?;
    let bundle = origin.bundle().await?;
    let desk = Desk::of(World::builder().relay(&origin.offline_root().await?).build().await?, "operate").await?;

    let forged = changed(&bundle, "forged.zip", |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    })?;
    bring(&desk, &forged).await?;
    desk.chromium.wait_for_text(DEADLINE, ".upload .note", "It cannot be imported here").await?;
    ensure!(desk.chromium.count("#import-now").await? == 0, "{}", desk.page().await?);
    desk.is_sound("import-forged").await?;
    discard(&desk).await?;
    ensure!(waiting(&desk.world) == 0, "the file is gone");

    let cut = changed(&bundle, "cut.zip", |bytes| bytes.truncate(bytes.len() * 2 / 3))?;
    bring(&desk, &cut).await?;
    desk.chromium.wait_for_text(DEADLINE, ".upload .note", "It cannot be imported here").await?;
    discard(&desk).await?;
    let other = changed(&bundle, "other.zip", |bytes| *bytes = b"<html>log in</html>".to_vec())?;
    bring(&desk, &other).await?;
    desk.chromium.wait_for_text(DEADLINE, "#bring-form [role=alert]", "web page").await?;

    // Another origin's: whole, and of nobody who is trusted here.
    let stranger = World::builder().build().await?;
    stranger.sync().await?.success()?;
    bring(&desk, &stranger.bundle().await?).await?;
    desk.chromium.wait_for_text(DEADLINE, ".upload .note", "signature").await?;
    ensure!(desk.page().await?.contains("not trusted here"), "{}", desk.page().await?);
    discard(&desk).await?;
    let status = desk.world.feed_server(["release", "list"]).await?.success()?.stdout;
    ensure!(!status.contains("vendor"), "nothing was imported: {status}");
    // What was refused complained as a page that was refused does, and no policy was broken.
    let complaints = desk.chromium.complaints().await?;
    ensure!(complaints.iter().all(|complaint| complaint.contains("400")), "{complaints:?}");

    bring(&desk, &bundle).await?;
    desk.chromium.wait_for_text(DEADLINE, ".upload .note", "It can be imported here.").await?;
    let page = desk.page().await?;
    for said in ["a bundle: a signed release", "trusted here", "Valid until", "conditions"] {
        ensure!(page.contains(said), "{said}: {page}");
    }
    desk.is_sound("import-bundle").await?;
    desk.chromium.click("#import-now").await?;
    desk.chromium.wait_for_text(DEADLINE, "tr[data-import='1']", "Release 1 was imported.").await?;
    desk.world.released(1).await?;
    wait_until(DEADLINE, "what is imported waits no more", async || waiting(&desk.world) == 0).await?;
    desk.visit("/import").await?;
    ensure!(desk.chromium.count(".upload").await? == 0, "{}", desk.page().await?);
    desk.is_sound("import").await?;
    let trail = desk.world.feed_server(["audit", "--json"]).await?.success()?.stdout;
    ensure!(trail.lines().any(|line| line.contains("\"import\"") && line.contains("desk-operate")), "{trail}");

    // What waits does not outlive the server.
    bring(&desk, &bundle).await?;
    desk.chromium.wait_for_text(DEADLINE, ".upload .note", "here already").await?;
    ensure!(waiting(&desk.world) == 1);
    let mut world = desk.world;
    world.restart_server().await?;
    ensure!(waiting(&world) == 0, "it is gone");
    Ok(())
}

#[tokio::test]
async fn the_vendors_zip_becomes_a_release_and_whoever_may_only_look_brings_none() -> Result<()> {
    let feed = Feed::make(&Edition::before(), &Options::small());
    let world = World::builder().without_upstream().build().await?;
    let zip = world.directory().join("posture-offline.zip");
    std::fs::write(&zip, feed.offline_zip(&"https://www.example/x.xml".parse()?, &ZipShape::default()))?;

    let desk = Desk::of(world, "operate").await?;
    bring(&desk, &zip).await?;
    desk.chromium.wait_for_text(DEADLINE, ".upload .note", "It can be imported here.").await?;
    ensure!(desk.page().await?.contains("whoever imports it vouches for it"), "{}", desk.page().await?);
    desk.is_sound("import-vendors").await?;
    desk.chromium.click("#import-now").await?;
    desk.chromium.wait_for_text(DEADLINE, "tr[data-import='1']", "Release 1 was imported.").await?;
    desk.world.released(1).await?;

    let Desk { world, chromium } = desk;
    drop(chromium);
    let desk = Desk::of(world, "read").await?;
    desk.visit("/import").await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "Import").await?;
    ensure!(desk.chromium.count("main form").await? == 0, "{}", desk.page().await?);
    desk.is_sound("import-read").await
}

#[tokio::test]
async fn nobody_brings_anything_without_a_session_and_its_proof() -> Result<()> {
    let world = World::builder().without_upstream().build().await?;
    let url = world.server_url()?.join("import/upload")?;
    let body = "--x\r\ncontent-disposition: form-data; name=\"proof\"\r\n\r\nguess\r\n--x\r\n\
                content-disposition: form-data; name=\"zip\"; filename=\"a.zip\"\r\n\r\nPK\r\n--x--\r\n";
    let desk = Desk::of(world, "operate").await?;
    // A page of another site, or a script that knows the cookie and not the proof.
    let script = "const answer = await fetch(args[0], { method: 'POST', body: args[1], \
                  headers: { 'content-type': 'multipart/form-data; boundary=x' }, redirect: 'manual' }); return answer.status;";
    let status = desk.chromium.run(script, &[url.as_str(), body]).await?;
    ensure!(status == 403, "{status}");
    ensure!(waiting(&desk.world) == 0);
    Ok(())
}
