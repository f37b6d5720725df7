//! Posture updates: the first log-in, *Update now*, and what moves.

use anyhow::{Context, Result, ensure};
use bundles::Component;
use bundles::fake::Edition;
use tests::lab::{DIRECTORY, Fault};
use tests::peers::Chromium;
use tests::world::{DEADLINE, World};

use super::desk::{Desk, token};

const CONDITIONS: &str = "[data-component=conditions]";

fn conditions(edition: &Edition) -> Result<String> {
    Ok(edition.versions.get(&Component::Conditions).context("conditions have a version")?.to_string())
}

#[tokio::test]
async fn whoever_comes_first_logs_in_updates_and_sees_versions_move_without_a_reload() -> Result<()> {
    let world = World::builder().build().await?;
    let secret = token(&world, "operate").await?;
    let desk = Desk { world, chromium: Chromium::start().await? };
    desk.visit("/").await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "Log in").await?;
    desk.is_sound("login").await?;
    desk.log_in(&secret).await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "Posture updates").await?;
    ensure!(desk.page().await?.contains("No Update since Installation"), "{}", desk.page().await?);
    desk.is_sound("updates-fresh").await?;

    // What a reload would take away.
    desk.chromium.run("window.stays = true;", &[]).await?;
    desk.chromium.click("#update-now").await?;
    desk.chromium.wait_for_text(DEADLINE, CONDITIONS, &conditions(&Edition::before())?).await?;
    desk.world.upstream().publish(Edition::after())?;
    desk.chromium.wait_for_text(DEADLINE, ".card", "was successful").await?;
    desk.chromium.click("#update-now").await?;
    desk.chromium.wait_for_text(DEADLINE, CONDITIONS, &conditions(&Edition::after())?).await?;
    desk.chromium.wait_for_text(DEADLINE, ".card", "was successful").await?;
    ensure!(desk.chromium.run("return window.stays === true;", &[]).await? == true, "the page was loaded again");
    desk.is_sound("updates").await
}

#[tokio::test]
async fn whoever_may_only_look_sees_why_a_run_failed_and_no_button() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().break_with(Fault::ServerError)?;
    world.sync().await?;
    let desk = Desk::of(world, "read").await?;
    let page = desk.page().await?;
    for said in ["The last update failed.", "http_status", "Release 1 stays what headends get.", "scope operate"] {
        ensure!(page.contains(said), "{said}: {page}");
    }
    ensure!(desk.chromium.count("main button").await? == 0, "{page}");
    desk.is_sound("updates-failed").await
}

#[tokio::test]
async fn a_run_is_seen_while_it_goes_on_and_has_no_second_beside_it() -> Result<()> {
    let world = World::builder().build().await?;
    let gate = world.upstream().gate(&format!("{DIRECTORY}avchart-win.tar.gz"), 100);
    let desk = Desk::of(world, "operate").await?;
    desk.chromium.click("#update-now").await?;
    gate.reached(DEADLINE).await?;
    desk.chromium.wait_for_text(DEADLINE, ".progress", "of 6 files").await?;
    ensure!(desk.page().await?.contains("An update is running"), "{}", desk.page().await?);
    ensure!(desk.chromium.count("#update-now").await? == 0, "a second one can be asked for");
    desk.is_sound("updates-running").await?;
    gate.release();
    desk.chromium.wait_for_text(DEADLINE, CONDITIONS, &conditions(&Edition::before())?).await?;
    desk.chromium.wait_for_text(DEADLINE, "#says", "Release 1 is the newest.").await
}
