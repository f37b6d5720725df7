//! ISE and Connect ISE.

use anyhow::{Result, ensure};
use tests::peers;
use tests::world::{DEADLINE, World};

use super::desk::Desk;

#[tokio::test]
async fn deployments_are_added_seen_and_removed() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    peers::curl(&world.server_url()?.join("web/secure/spa/posture-update.xml")?, None)?;
    let desk = Desk::of(world, "admin").await?;
    desk.chromium.click("nav a[href='/ise']").await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "ISE").await?;
    desk.chromium.wait_for_text(DEADLINE, "main", "belongs to no deployment").await?;
    desk.chromium.type_into("#name", "campus").await?;
    desk.chromium.type_into("#addresses", "127.0.0.1, 2001:db8::1").await?;
    desk.chromium.click("form[action='/ise'] button").await?;
    desk.chromium.wait_for_text(DEADLINE, "tbody tr", "It never asked for the index").await?;
    peers::curl(&desk.world.server_url()?.join("web/secure/spa/posture-update.xml")?, None)?;
    let seen = async || {
        let _ = desk.visit("/ise").await;
        desk.page().await.is_ok_and(|page| page.contains("It has not fetched") && page.contains("fetched"))
    };
    tests::world::wait_until(DEADLINE, "the index is seen", seen).await?;
    desk.is_sound("ise").await?;
    desk.chromium.click("form[action='/ise/campus/remove'] button").await?;
    desk.chromium.wait_for_text(DEADLINE, "main", "There is no deployment yet").await?;
    let trail = desk.world.feed_server(["audit", "--after", "0", "--json"]).await?.success()?.stdout;
    ensure!(
        trail.contains("\"ise_add\"") && trail.contains("\"ise_remove\"") && trail.contains("desk-admin"),
        "{trail}"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_typed_in_ise_is_on_one_page() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    let index = world.server_url()?.join("web/secure/spa/posture-update.xml")?;
    let desk = Desk::of(world, "read").await?;
    desk.visit("/ise").await?;
    ensure!(desk.chromium.count("main form").await? == 0, "who may only look changes nothing");
    desk.chromium.click("a[href='/ise/connect']").await?;
    desk.chromium.wait_for_text(DEADLINE, "h1", "Connect ISE").await?;
    let page = desk.page().await?;
    let said =
        [index.as_str(), "Trust for authentication of Cisco Services", "Set to Default", "ise-psc.log", "280052.0.0.0"];
    for said in said {
        ensure!(page.contains(said), "{said}: {page}");
    }
    desk.is_sound("ise-connect").await
}
