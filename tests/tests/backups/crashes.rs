//! feed-server is killed at every point that a backup or a restore comes by.

use anyhow::{Context, Result, ensure};
use tests::world::World;

use crate::origin::{backup, serial, text, the_disk_dies};

#[tokio::test]
async fn a_restore_that_is_killed_is_no_mirror_and_can_be_begun_anew() -> Result<()> {
    let mut world = World::builder().build().await?;
    world.sync().await?.success()?;
    let points = world.feed_server(["crash-points"]).await?.success()?.stdout;
    let of = |verb: &str| -> Vec<String> {
        points.lines().filter(|point| point.starts_with(verb)).map(str::to_owned).collect()
    };
    let unfinished = world.directory().join("unfinished.tar");
    for point in of("backup.") {
        world.crash_at(&point);
        world.feed_server(["backup", text(&unfinished)?]).await?.crashed().context(point)?;
        world.crash_nowhere();
        ensure!(!unfinished.exists(), "half a backup is none");
    }
    let file = backup(&world, "a.tar").await?;
    let points = of("restore.");
    ensure!(points.len() > 2, "{points:?}");
    for point in points {
        world.stop_server().await?;
        the_disk_dies(&world)?;
        world.crash_at(&point);
        world.feed_server(["restore", text(&file)?]).await?.crashed().with_context(|| point.clone())?;
        world.crash_nowhere();
        // No verb takes it for a mirror, or makes one of it.
        for verb in [&["sync"][..], &["keys", "init"], &["serve"]] {
            let output = world.feed_server(verb).await?;
            ensure!(!output.status.success(), "after a kill at {point}, {verb:?}: {output}");
        }
        world.feed_server(["restore", text(&file)?]).await?.success().with_context(|| point.clone())?;
        world.start_server().await?;
        ensure!(serial(&world).await? > 1_000, "after a kill at {point}");
        world.feed_server(["status"]).await?.success()?;
    }
    Ok(())
}
