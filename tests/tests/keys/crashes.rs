//! feed-server is killed at every point that a change of keys comes by.

use anyhow::{Context, Result, ensure};
use tests::world::World;

use crate::setting::Years;

#[tokio::test]
async fn a_rotation_survives_a_kill_at_every_point() -> Result<()> {
    let mut years = Years::begin(World::builder().headends(2).build().await?).await?;
    let points = years.world.feed_server(["crash-points"]).await?.success()?.stdout;
    let own: Vec<_> = points.lines().filter(|point| point.starts_with("keys.")).collect();
    ensure!(own.len() > 2, "{own:?}");
    let others =
        ["tree.targets", "tree.metadata", "tree.online_switched", "tree.offline_switched", "tree.before_cleanup"];
    for (number, point) in own.into_iter().chain(others).enumerate() {
        let role = ["root", "timestamp", "targets"][number % 3];
        let before = years.root_version("online").await?;
        years.world.stop_server().await?;
        years.world.crash_at(point);
        years.keys(&["rotate", role]).await?.crashed().with_context(|| format!("{point} is never come by"))?;
        years.world.crash_nowhere();

        years.world.start_server().await?;
        let after = years.root_version("online").await?;
        ensure!(after == before || after == before + 1, "after a kill at {point}: root {after} after {before}");
        ensure!(years.root_version("offline").await? == after, "both or none, after a kill at {point}");
        years.everyone_follows().await.with_context(|| format!("after a kill at {point}"))?;
        years.keys(&["rotate", role]).await?.success().with_context(|| format!("after a kill at {point}"))?;
        years.a_release_reaches_everyone().await.with_context(|| format!("after a kill at {point}"))?;
        ensure!(years.root_version("online").await? == after + 1);
    }
    Ok(())
}
