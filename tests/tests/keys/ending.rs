//! Roots near their end: renewed by itself where root keys are at hand, and announced where they are not.

use anyhow::{Result, ensure};
use tests::world::World;

use crate::setting::{Years, key_files};

#[tokio::test]
async fn a_root_is_renewed_where_its_keys_are_and_announced_where_they_are_not() -> Result<()> {
    let mut years = Years::begin(World::builder().headends(2).build().await?).await?;
    years.world.stop_server().await?;
    // Nobody looked for eight months, and longer for the offline one.
    years.world.clock_off("+310d");
    years.world.start_server().await?;
    years.world.sync().await?.success()?;
    ensure!(years.root_version("online").await? == 2);
    ensure!(years.warnings().await?.is_empty(), "{:?}", years.warnings().await?);

    let safe = years.world.directory().join("safe");
    std::fs::create_dir(&safe)?;
    years.world.stop_server().await?;
    for file in years.key_files("online-root")? {
        std::fs::rename(&file, safe.join(file.file_name().unwrap_or_default()))?;
    }
    years.world.clock_off("+620d");
    years.world.start_server().await?;
    ensure!(years.root_version("online").await? == 2);
    let warnings = years.warnings().await?;
    ensure!(warnings == ["metadata_expiring"], "{warnings:?}");
    let metrics = years.world.metrics_text().await?;
    ensure!(metrics.contains("posture_feed_warning{kind=\"metadata_expiring\"} 1"), "{metrics}");
    let status = years.world.feed_server(["status"]).await?.success()?.stdout;
    ensure!(status.contains("feed-server keys renew"), "{status}");

    // With the key from the safe it is one command.
    let key = &key_files(&safe, "online-root")?[0];
    let renew = ["renew", "--repository", "online", "--key", key.to_str().unwrap_or_default()];
    years.keys(&renew).await?.success()?;
    ensure!(years.root_version("online").await? == 3);
    ensure!(years.warnings().await?.is_empty(), "{:?}", years.warnings().await?);
    Ok(())
}
