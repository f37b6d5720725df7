//! Old content under a new number.

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Feed, Options, ZipShape};
use tests::world::{World, shows_edition};

use super::setting::{acts, last_run, newest, refused, status, vendor_layout_has};

#[tokio::test]
async fn what_was_withdrawn_does_not_come_back_before_upstream_has_mended_it() -> Result<()> {
    let mut world = World::builder().headends(1).set("data", "retain_releases", 4).build().await?;
    world.sync().await?.success()?;
    let good = world.upstream().feed().context("a fake feed")?;
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    shows_edition(&world.headend(0).client(["status"]).await?.success()?.stdout, &Edition::after())?;

    refused(world.feed_server(["release", "republish", "2"]).await?, 2, &["the newest"])?;
    refused(world.feed_server(["release", "republish", "99"]).await?, 13, &["no release 99"])?;
    let why = "297 of the Windows chart is bad";
    let made = world.feed_server(["release", "republish", "1", "--reason", why]).await?.success()?;
    ensure!(made.stdout.contains("Release 3") && made.stdout.contains("avchart-win.tar.gz"), "{made}");
    vendor_layout_has(&world, 3, &good)?;
    world.headend(0).client(["update"]).await?.success()?;
    ensure!(world.headend(0).current().is_some_and(|path| path.ends_with("releases/3")));
    shows_edition(&world.headend(0).client(["status"]).await?.success()?.stdout, &Edition::before())?;
    let list = world.feed_server(["release", "list"]).await?.success()?.stdout;
    ensure!(list.contains("content of 1 again"), "{list}");
    let show = world.feed_server(["release", "show", "3"]).await?.success()?.stdout;
    ensure!(show.contains("content of release 1 again"), "{show}");
    refused(world.feed_server(["release", "republish", "1"]).await?, 2, &["has the content of 1"])?;

    // However often it is tried, in whichever process.
    for round in 0..3 {
        let held = world.sync().await?.success()?;
        ensure!(held.stdout.contains("avchart-win.tar.gz") && held.stdout.contains(why), "{round}: {held}");
        ensure!(last_run(&world).await?.0 == "held" && newest(&world).await? == 3, "{round}");
        if round == 1 {
            world.restart_server().await?;
        }
    }
    let status_text = world.feed_server(["status"]).await?.success()?.stdout;
    ensure!(status_text.contains("the content of 1 again") && status_text.contains(why), "{status_text}");
    ensure!(world.metrics().await?.value("posture_feed_release_held", &[]) == Some(1.0));

    // Mended: it ends by itself.
    let mended = Edition::after().next();
    world.upstream().publish(mended.clone())?;
    world.sync().await?.success()?;
    world.released(4).await?;
    world.headend(0).client(["update"]).await?.success()?;
    shows_edition(&world.headend(0).client(["status"]).await?.success()?.stdout, &mended)?;
    ensure!(status(&world).await?["holding"] == serde_json::json!({}));
    ensure!(world.metrics().await?.value("posture_feed_release_held", &[]) == Some(0.0));
    let acts = acts(&world).await?;
    for (act, who) in [("release_republish", "user"), ("release_resume", "program")] {
        ensure!(acts.contains(&(act.to_owned(), who.to_owned())), "{act}: {acts:?}");
    }
    // What is no longer retained cannot be released again.
    world.upstream().publish_next()?;
    world.sync().await?.success()?;
    refused(world.feed_server(["release", "republish", "1"]).await?, 13, &["no longer retained"])
}

#[tokio::test]
async fn whoever_resumes_gets_it_back_and_a_hold_is_lifted_first() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    world.feed_server(["release", "hold", "--reason", "looking into it"]).await?.success()?;
    world.feed_server(["release", "republish", "1"]).await?.success()?;
    let lifted = world.feed_server(["release", "resume", "--reason", "content is withdrawn now"]).await?.success()?;
    ensure!(lifted.stdout.contains("stays withdrawn"), "{lifted}");
    ensure!(world.sync().await?.success()?.stdout.contains("avchart-win.tar.gz"));
    ensure!(newest(&world).await? == 3);
    world.feed_server(["release", "resume", "--reason", "it was not that"]).await?.success()?;
    world.sync().await?.success()?;
    ensure!(newest(&world).await? == 4);
    shows_edition(&world.feed_server(["status"]).await?.success()?.stdout, &Edition::after())
}

#[tokio::test]
async fn a_zip_does_not_bring_it_back_either() -> Result<()> {
    let world = World::builder().without_upstream().build().await?;
    let nowhere = "https://www.cisco.com/web/secure/spa/".parse()?;
    let zip = |edition: &Edition, name: &str| -> Result<std::path::PathBuf> {
        let path = world.directory().join(name);
        std::fs::write(&path, Feed::make(edition, &Options::small()).offline_zip(&nowhere, &ZipShape::flat()))?;
        Ok(path)
    };
    let import = async |path: &std::path::Path| {
        world.feed_server(["bundle".as_ref(), "import".as_ref(), "--vendor".as_ref(), path.as_os_str()]).await
    };
    import(&zip(&Edition::before(), "good.zip")?).await?.success()?;
    let bad = zip(&Edition::after(), "bad.zip")?;
    import(&bad).await?.success()?;
    world.feed_server(["release", "republish", "1"]).await?.success()?;
    refused(import(&bad).await?, 2, &["avchart-win.tar.gz", "release resume"])?;
    ensure!(newest(&world).await? == 3);
    import(&zip(&Edition::after().next(), "mended.zip")?).await?.success()?;
    ensure!(newest(&world).await? == 4);
    Ok(())
}
