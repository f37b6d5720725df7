//! Keys that are at hand are replaced, those that were lost too.

use anyhow::{Result, ensure};
use tests::world::World;

use crate::setting::Years;

#[tokio::test]
async fn everyone_follows_three_root_rotations_a_threshold_change_and_a_lost_key() -> Result<()> {
    let mut years = Years::begin(World::builder().headends(2).build().await?).await?;
    let first = years.key_files("")?;
    ensure!(first.len() == 8, "{first:?}");

    years.keys(&["rotate", "root"]).await?.success()?;
    years.a_release_reaches_everyone().await?;
    years.keys(&["rotate", "root", "--root-keys", "3", "--threshold", "2"]).await?.success()?;
    years.a_release_reaches_everyone().await?;
    ensure!(years.ids("offline", "root").await?.len() == 3);
    years.keys(&["rotate", "root"]).await?.success()?;
    years.a_release_reaches_everyone().await?;
    years.keys(&["threshold", "1"]).await?.success()?;
    years.a_release_reaches_everyone().await?;
    years.keys(&["rotate", "targets", "snapshot", "timestamp"]).await?.success()?;
    years.a_release_reaches_everyone().await?;
    for repository in ["online", "offline"] {
        ensure!(years.root_version(repository).await? == 6, "{repository}");
    }
    let left: Vec<_> = first.iter().filter(|path| path.exists()).collect();
    ensure!(left.is_empty(), "keys that are no longer used are gone: {left:?}");
    ensure!(years.key_files("")?.len() == 12, "three root keys and three others, twice: {:?}", years.key_files("")?);

    // A key is lost, and another one too: what is served is served, and nothing new can be signed.
    years.world.stop_server().await?;
    for role in ["online-timestamp", "offline-targets"] {
        std::fs::remove_file(&years.key_files(role)?[0])?;
    }
    years.world.start_server().await?;
    years.everyone_follows().await?;
    ensure!(years.warnings().await? == ["signing_key_missing", "signing_key_missing"], "{:?}", years.warnings().await?);
    let metrics = years.world.metrics_text().await?;
    ensure!(metrics.contains("posture_feed_warning{kind=\"signing_key_missing\"} 1"), "{metrics}");
    years.keys(&["rotate", "timestamp", "--repository", "online"]).await?.success()?;
    years.keys(&["rotate", "targets", "--repository", "offline"]).await?.success()?;
    ensure!(years.warnings().await?.is_empty(), "{:?}", years.warnings().await?);
    years.a_release_reaches_everyone().await?;
    // And nothing hangs on this very process.
    years.world.restart_server().await?;
    years.a_release_reaches_everyone().await?;
    years.whoever_was_away_follows().await
}

#[tokio::test]
async fn what_cannot_be_a_next_root_is_refused_and_changes_nothing() -> Result<()> {
    let years = Years::begin(World::builder().headends(2).build().await?).await?;
    let before = (years.listed().await?, years.key_files("")?);
    for (arguments, code) in [
        (&["rotate"][..], 2),
        (&["rotate", "mirrors"], 2),
        (&["rotate", "root", "--repository", "both"], 2),
        (&["rotate", "root", "--root-keys", "2", "--threshold", "3"], 2),
        (&["rotate", "root", "--root-keys", "17"], 2),
        (&["rotate", "timestamp", "--root-keys", "2"], 2),
        (&["rotate", "root", "--remove", "0123456789abcdef"], 13),
        (&["threshold", "0"], 2),
        (&["threshold", "2"], 2),
        (&["request"], 13),
        (&["cancel"], 13),
        (&["init"], 16),
    ] {
        years.keys(arguments).await?.failed_with(code)?;
    }
    ensure!((years.listed().await?, years.key_files("")?) == before);
    years.a_release_reaches_everyone().await
}
