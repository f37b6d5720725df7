//! Held by hand.

use anyhow::{Result, ensure};
use tests::world::{World, shows_edition};

use super::setting::{acts, last_run, newest, refused, status};

#[tokio::test]
async fn nothing_new_is_released_while_releases_are_held() -> Result<()> {
    let mut world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    let before = world.upstream().edition();
    refused(world.feed_server(["release", "resume", "--reason", "x"]).await?, 2, &["nothing is held"])?;
    refused(world.feed_server(["release", "hold", "--reason", " "]).await?, 2, &["reason"])?;
    let why = "the macOS chart of today breaks every laptop";
    world.feed_server(["release", "hold", "--reason", why]).await?.success()?;
    refused(world.feed_server(["release", "hold", "--reason", "again"]).await?, 2, &[why, "release resume"])?;

    world.upstream().publish_next()?;
    let held = world.sync().await?.success()?;
    ensure!(held.stdout.contains(why) && held.stdout.contains("release resume"), "{held}");
    let (result, message) = last_run(&world).await?;
    ensure!(result == "held" && message.contains(why), "{result}: {message}");
    // What is held is here by now, and upstream is not made to send it again; nor does a restart forget anything.
    world.restart_server().await?;
    world.upstream().clear_requests();
    ensure!(world.sync().await?.success()?.stdout.contains(why));
    let again = world.upstream().requests();
    let sent = again.iter().filter(|request| request.status != 304 && !request.path.ends_with(".xml")).count();
    ensure!(sent == 0, "{again:?}");
    ensure!(newest(&world).await? == 1);
    let update = world.headend(0).client(["update"]).await?.success()?;
    ensure!(update.stdout.contains("up to date"), "{update}");
    ensure!(world.headend(0).current().is_some_and(|path| path.ends_with("releases/1")));

    let shown = world.feed_server(["status"]).await?.success()?.stdout;
    ensure!(shown.lines().any(|line| line.starts_with("Held") && line.contains(why)), "{shown}");
    ensure!(shown.contains("was successful"), "nothing has failed: {shown}");
    let metrics = world.metrics().await?;
    ensure!(metrics.value("posture_feed_release_held", &[]) == Some(1.0));
    ensure!(metrics.value("posture_feed_release_held_since_timestamp_seconds", &[]).is_some());
    ensure!(metrics.value("posture_feed_last_attempt_result", &[("result", "held")]) == Some(1.0));
    ensure!(metrics.value("posture_feed_last_success_timestamp_seconds", &[]).is_some());

    let resumed = world.feed_server(["release", "resume", "--reason", "mended, says TAC"]).await?.success()?;
    ensure!(resumed.stdout.contains("next run"), "{resumed}");
    world.sync().await?.success()?;
    world.released(2).await?;
    world.headend(0).client(["update"]).await?.success()?;
    let edition = world.upstream().edition();
    ensure!(edition != before);
    if let Some(edition) = edition {
        shows_edition(&world.headend(0).client(["status"]).await?.success()?.stdout, &edition)?;
    }
    let metrics = world.metrics().await?;
    ensure!(metrics.value("posture_feed_release_held", &[]) == Some(0.0));
    ensure!(metrics.value("posture_feed_release_held_since_timestamp_seconds", &[]).is_none());
    ensure!(status(&world).await?["holding"] == serde_json::json!({}));
    let acts = acts(&world).await?;
    for act in ["release_hold", "release_resume"] {
        ensure!(acts.contains(&(act.to_owned(), "user".to_owned())), "{act}: {acts:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hold_in_the_midst_of_a_run_keeps_its_release_back() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().publish_next()?;
    let gate = world.upstream().gate("/web/secure/spa/avchart-win.tar.gz", 100);
    let sync = world.invocation(["sync"]);
    let sync = tokio::spawn(async move { sync.output().await });
    gate.reached(tests::world::DEADLINE).await?;
    world.feed_server(["release", "hold", "--reason", "not that one"]).await?.success()?;
    refused(world.feed_server(["release", "republish", "1"]).await?, 16, &["going on"])?;
    gate.release();
    let output = sync.await??.success()?;
    ensure!(output.stdout.contains("not that one"), "{output}");
    ensure!(newest(&world).await? == 1);
    Ok(())
}
