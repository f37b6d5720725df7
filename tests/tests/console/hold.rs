//! Held, resumed and released again from the page Releases.

use anyhow::{Result, ensure};
use bundles::fake::Edition;
use tests::world::{DEADLINE, World};

use super::desk::Desk;

#[tokio::test]
async fn an_operator_holds_releases_one_again_and_resumes() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    world.released(2).await?;
    let desk = Desk::of(world, "operate").await?;
    desk.visit("/releases").await?;
    desk.chromium.type_into("#hold", "the macOS chart breaks laptops").await?;
    desk.chromium.click("form[action='/releases/hold'] button").await?;
    desk.chromium
        .wait_for_text(DEADLINE, "section.note.warn[aria-label=Held]", "the macOS chart breaks laptops")
        .await?;

    desk.visit("/releases/1").await?;
    desk.chromium.type_into("#republish", "back to before it").await?;
    desk.chromium.click("form[action='/releases/1/republish'] button").await?;
    desk.chromium.wait_for_text(DEADLINE, "tbody tr th", "3").await?;
    let page = desk.page().await?;
    for said in ["the content of 1 again", "back to before it", "withdrawn"] {
        ensure!(page.contains(said), "{said}: {page}");
    }
    desk.is_sound("releases-held").await?;

    for why in ["content is withdrawn now", "mended, says TAC"] {
        desk.chromium.type_into("#resume", why).await?;
        desk.chromium.click("form[action='/releases/resume'] button").await?;
        let resumed = async || {
            let page = desk.page().await.unwrap_or_default();
            page.contains("Hold releases") && (why != "mended, says TAC" || !page.contains("withdrawn"))
        };
        tests::world::wait_until(DEADLINE, "it is resumed", resumed).await?;
    }
    let status = desk.world.feed_server(["status", "--json"]).await?.success()?;
    let status: serde_json::Value = status.json()?;
    ensure!(status["holding"] == serde_json::json!({}), "{status}");
    let trail = desk.world.feed_server(["audit", "--after", "0", "--json"]).await?.success()?.stdout;
    for act in ["release_hold", "release_republish", "release_resume"] {
        let by_token = |line: &str| line.contains(act) && line.contains("\"desk-operate\"");
        ensure!(trail.lines().any(by_token), "{act}: {trail}");
    }
    Ok(())
}

#[tokio::test]
async fn who_may_only_look_is_shown_no_such_form() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.feed_server(["release", "hold", "--reason", "not in exam week"]).await?.success()?;
    let desk = Desk::of(world, "read").await?;
    desk.visit("/releases").await?;
    desk.chromium.wait_for_text(DEADLINE, "section.note.warn[aria-label=Held]", "not in exam week").await?;
    ensure!(desk.chromium.count("form[action^='/releases']").await? == 0);
    Ok(())
}
