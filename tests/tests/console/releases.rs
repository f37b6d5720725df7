//! Releases: what each changed, and what is carried away of it.

use anyhow::{Context, Result, ensure};
use bundles::fake::Edition;
use bundles::{Component, Digest};
use tests::world::{DEADLINE, World};

use super::desk::Desk;

#[tokio::test]
async fn a_release_shows_what_it_changed_and_gives_its_zips_away() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    world.released(2).await?;
    let desk = Desk::of(world, "read").await?;
    desk.chromium.click("nav a[href='/releases']").await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "Releases").await?;
    let (before, after) = (Edition::before(), Edition::after());
    let version = |edition: &Edition| Some(edition.versions.get(&Component::Conditions)?.to_string());
    let moved =
        format!("conditions {} → {}", version(&before).context("a version")?, version(&after).context("a version")?);
    let first = desk.chromium.text("tbody tr").await?.context("a release")?;
    ensure!(first.contains(&moved) && first.contains("served"), "{first}");
    ensure!(desk.chromium.count("tbody tr").await? == 2);
    desk.is_sound("releases").await?;

    desk.chromium.click("tbody tr a").await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "Release 2").await?;
    let page = desk.page().await?;
    for said in ["Changes against release 1", "posture-offline-2.zip", "posture-bundle-2.zip", "Bundle valid until"] {
        ensure!(page.contains(said), "{said}: {page}");
    }
    for name in ["posture-offline-2.zip", "posture-bundle-2.zip"] {
        let zip = desk.world.get(&format!("offline/{name}")).await?.bytes().await?;
        ensure!(page.contains(&Digest::of(&zip).to_string()), "{name}: {page}");
    }
    desk.is_sound("release").await?;

    desk.visit("/releases/99").await?;
    ensure!(desk.page().await?.contains("there is no release 99"), "{}", desk.page().await?);
    let complaints = desk.chromium.complaints().await?;
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    Ok(())
}
