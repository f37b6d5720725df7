//! Headends: thousands of them, found, sorted and filtered.

use anyhow::{Context, Result, ensure};
use bundles::Reason;
use bundles::report::Failure;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tests::world::{DEADLINE, Fleet, World, running};

use super::desk::Desk;

const MANY: usize = 5_000;

/// As many report at once.
const AT_ONCE: usize = 32;

/// One in a hundred fails, the next one never reports, and the rest runs the release.
async fn report(fleet: &Fleet) -> Result<()> {
    let (good, mut bad) = (running(1)?, running(1)?);
    bad.last_failure = Some(Failure::new(Reason::ProxyAuth, "the proxy asks for a password; check it"));
    let numbers = (0..fleet.members.len()).filter(|number| number % 100 != 1);
    let reports = numbers.map(|number| {
        let report = if number % 100 == 0 { &bad } else { &good };
        async move { anyhow::Ok(fleet.report(number, report).await?.error_for_status()?) }
    });
    futures_util::stream::iter(reports).buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await
}

#[tokio::test]
async fn thousands_are_searched_sorted_and_filtered() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.released(1).await?;
    report(&world.fleet(MANY).await?).await?;
    let desk = Desk::of(world, "read").await?;
    desk.visit("/headends").await?;
    let chip = async |name: &str| {
        let chips =
            "return [...document.querySelectorAll('.chips a')].find(it => it.innerText.startsWith(args[0])).innerText;";
        anyhow::Ok(
            desk.chromium.run(chips, &[name]).await?.as_str().context("a chip")?.replace(char::is_whitespace, " "),
        )
    };
    for (state, count) in [("all", 5_000), ("failing", 50), ("silent", 50), ("current", 4_900), ("behind", 0)] {
        ensure!(chip(state).await? == format!("{state} {count}"), "{}", chip(state).await?);
    }
    let first = async || desk.chromium.text("tbody tr th").await?.context("a headend");
    ensure!(first().await? == "fleet-00000" && desk.chromium.count("tbody tr").await? == 100);
    let page = desk.page().await?;
    ensure!(page.contains("1 to 100 of 5000"), "{page}");
    desk.is_sound("headends").await?;

    desk.chromium.click("thead th a[href*='down=true']").await?;
    desk.chromium.wait_for_text(DEADLINE, "tbody tr th", "fleet-04999").await?;
    ensure!(desk.chromium.count("th[aria-sort=descending]").await? == 1);
    desk.chromium.click("a[rel=next]").await?;
    desk.chromium.wait_for_text(DEADLINE, "tbody tr th", "fleet-04899").await?;

    desk.visit("/headends").await?;
    desk.chromium.click(".chips a[href*=failing]").await?;
    desk.chromium.wait_for_text(DEADLINE, "tbody tr th", "fleet-00000").await?;
    ensure!(desk.chromium.count("tbody tr").await? == 50);
    let line = desk.chromium.text("tbody tr").await?.context("a headend")?;
    ensure!(line.contains("failing") && line.contains("the proxy asks for a password"), "{line}");
    desk.chromium.type_into("#q", "-042").await?;
    desk.chromium.click("form[role=search] button").await?;
    desk.chromium.wait_for_text(DEADLINE, ".pages", "1 to 1 of 1").await?;
    ensure!(first().await? == "fleet-04200");
    desk.visit("/headends?q=proxy_auth").await?;
    ensure!(desk.chromium.count("tbody tr").await? == 50);

    desk.visit("/headends/fleet-00001").await?;
    ensure!(desk.page().await?.contains("It never reported"), "{}", desk.page().await?);
    desk.visit("/headends/fleet-00000").await?;
    ensure!(desk.page().await?.contains("proxy_auth"), "{}", desk.page().await?);
    desk.is_sound("headend").await?;

    // Whatever was typed is text.
    desk.visit("/headends?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await?;
    ensure!(desk.page().await?.contains("None fits"), "{}", desk.page().await?);
    ensure!(desk.chromium.count("script:not([src])").await? == 0);
    let complaints = desk.chromium.complaints().await?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}
