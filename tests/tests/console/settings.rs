//! Settings: what holds, and where it comes from.

use anyhow::{Result, ensure};
use tests::world::{DEADLINE, World};

use super::desk::Desk;

#[tokio::test]
async fn settings_show_where_they_come_from_and_no_secret() -> Result<()> {
    let world = World::builder()
        .without_upstream()
        .set("schedule", "every", "3h")
        .set("upstream", "fallback_urls", vec!["https://fallback.example/x.xml?key=quokka".to_owned()])
        .build()
        .await?;
    let desk = Desk::of(world, "admin").await?;
    desk.chromium.click("nav a[href='/settings']").await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "Settings").await?;
    let page = desk.page().await?;
    for said in ["schedule.every", "\"3h\"", "fallback.example/x.xml", "limits.run_bytes", "default", "line "] {
        ensure!(page.contains(said), "{said}: {page}");
    }
    ensure!(!page.contains("quokka"), "{page}");
    desk.is_sound("settings").await?;

    let shown = desk.world.feed_server(["check-config", "--show"]).await?.success()?.stdout;
    let line = shown.lines().find(|line| line.starts_with("schedule.every ")).unwrap_or_default();
    ensure!(line.contains("\"3h\"") && line.contains("feed-server.toml:"), "{shown}");
    ensure!(!shown.contains("quokka"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn pictures_of_releases_and_of_the_fleet_are_drawn() -> Result<()> {
    let mut world = World::builder().headends(2).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    world.upstream().publish(bundles::fake::Edition::after())?;
    world.sync().await?.success()?;
    world.released(2).await?;
    world.headend(1).client(["update"]).await?.success()?;
    // The next sample is a quarter of an hour away: as long as a clock takes that is moved.
    world.clock_off("+20m");
    world.restart_server().await?;
    let desk = Desk::of(world, "read").await?;
    desk.chromium.wait_for_text(DEADLINE, "#content-age figcaption", "Age of the content").await?;
    ensure!(desk.chromium.count("#content-age polyline").await? == 1, "{}", desk.page().await?);
    ensure!(desk.chromium.count("#versions-over-time polyline").await? >= 5);
    desk.is_sound("pictures").await?;
    let drawn = "const answer = await fetch('/headends'); return (await answer.text()).includes('series-1');";
    tests::world::wait_until(DEADLINE, "a sample is drawn", async || {
        desk.chromium.run(drawn, &[]).await.is_ok_and(|drawn| drawn == true)
    })
    .await?;
    desk.visit("/headends").await?;
    desk.is_sound("fleet").await
}
