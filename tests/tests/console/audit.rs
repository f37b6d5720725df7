//! Audit: who did what, with what is looked for, a page after the other.

use anyhow::{Context, Result, ensure};
use tests::world::{DEADLINE, World};

use super::desk::Desk;

#[tokio::test]
async fn the_trail_is_searched_and_paged() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.fleet(120).await?;
    let desk = Desk::of(world, "admin").await?;
    desk.chromium.click("nav a[href='/audit']").await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "Audit").await?;
    let newest = desk.chromium.text("tbody tr").await?.context("a record")?;
    ensure!(newest.contains("login") && newest.contains("token desk-admin"), "{newest}");
    ensure!(desk.chromium.count("tbody tr").await? == 100);
    desk.is_sound("audit").await?;
    desk.chromium.click("a[rel=next]").await?;
    desk.chromium.wait_for_text(DEADLINE, ".pages", "Newest").await?;
    let rest = desk.chromium.count("tbody tr").await?;
    ensure!((20..100).contains(&rest), "{rest}");

    desk.visit("/audit?q=fleet-00042").await?;
    ensure!(desk.chromium.count("tbody tr").await? == 1 && desk.page().await?.contains("headend_add"));
    desk.visit("/audit?result=failed").await?;
    ensure!(desk.page().await?.contains("No record fits"), "{}", desk.page().await?);
    Ok(())
}

#[tokio::test]
async fn it_is_for_administrators() -> Result<()> {
    let desk = Desk::of(World::builder().without_upstream().build().await?, "operate").await?;
    ensure!(desk.chromium.count("nav a[href='/audit']").await? == 0);
    desk.visit("/audit").await?;
    ensure!(desk.page().await?.contains("scope is too small"), "{}", desk.page().await?);
    Ok(())
}
