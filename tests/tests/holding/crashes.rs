//! Killed in the midst of releasing again: either nothing was done, or all of it, and what is withdrawn stays so.

use anyhow::{Context, Result, ensure};
use tests::world::World;

use super::setting::{newest, status, vendor_layout_has};

#[tokio::test]
async fn releasing_again_survives_a_kill_at_every_point() -> Result<()> {
    let mut world = World::builder().build().await?;
    world.sync().await?.success()?;
    let points = world.feed_server(["crash-points"]).await?.success()?.stdout;
    let of_publishing = ["tree.targets", "tree.online_switched", "tree.vendor_archives", "tree.vendor_switched"];
    let points: Vec<&str> =
        points.lines().filter(|point| point.starts_with("republish.") || of_publishing.contains(point)).collect();
    ensure!(points.len() == 6, "{points:?}");
    let mut serial = 1;
    // Each round has the content of the first release again.
    let good = world.upstream().feed().context("a fake feed")?;
    for (point, serving) in points.iter().flat_map(|point| [(point, false), (point, true)]) {
        world.upstream().publish_next()?;
        world.sync().await?.success()?;
        serial += 1;
        ensure!(newest(&world).await? == serial, "{point}");
        let again = (serial - 1).to_string();
        world.stop_server().await?;
        world.crash_at(point);
        let is_up = serving && world.start_server().await.is_ok();
        if serving && !is_up {
            // Starting is publishing too, for the address is another one: it came by the point itself.
            world.server_ended().await?;
        }
        let output = world.feed_server(["release", "republish", &again]).await?;
        ensure!(!output.status.success(), "{point}: {output}");
        if is_up {
            let ended = world.server_ended().await?;
            ensure!(ended.code().is_none(), "{point} is never come by: {ended}");
        } else {
            output.crashed().with_context(|| format!("{point} is never come by"))?;
        }
        world.crash_nowhere();

        world.start_server().await?;
        let is_done = *point != "republish.before_commit";
        ensure!(newest(&world).await? == serial + u64::from(is_done), "{point}");
        ensure!(status(&world).await?["holding"]["withdrawal"].is_object() == is_done, "{point}");
        if !is_done {
            world.feed_server(["release", "republish", &again]).await?.success()?;
        }
        serial += 1;
        vendor_layout_has(&world, serial, &good).with_context(|| format!("after a kill at {point}"))?;
        let held = world.sync().await?.success()?;
        ensure!(held.stdout.contains("avchart-win.tar.gz") && newest(&world).await? == serial, "{point}: {held}");
    }
    Ok(())
}
