//! Root keys that live elsewhere: nothing of what they are for happens without them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tests::world::{Invocation, Output, World};

use crate::setting::{Years, key_files};

/// `feed-server` on another machine: no configuration, no data directory.
async fn elsewhere(arguments: &[&str]) -> Result<Output> {
    let nowhere = tempfile::tempdir()?;
    let output = Invocation::new(tests::world::binaries().await?.feed_server.as_path())
        .args(["--data".as_ref(), nowhere.path().join("none").as_os_str()])
        .args(arguments)
        .output()
        .await?;
    ensure!(std::fs::read_dir(nowhere.path())?.next().is_none(), "signing leaves nothing behind");
    Ok(output)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("UTF-8")
}

/// Moves the root keys of both repositories to a safe.
fn take_away(years: &Years) -> Result<PathBuf> {
    let safe = years.world.directory().join("safe");
    std::fs::create_dir_all(&safe)?;
    for repository in ["online-root", "offline-root"] {
        for file in years.key_files(repository)? {
            std::fs::rename(&file, safe.join(file.file_name().context("a name")?))?;
        }
    }
    Ok(safe)
}

#[tokio::test]
async fn two_of_three_root_keys_elsewhere_sign_what_is_carried_to_them() -> Result<()> {
    let world = World::builder().headends(2).stopped().build().await?;
    world.feed_server(["keys", "init", "--root-keys", "3", "--threshold", "2"]).await?.success()?;
    world.feed_server(["keys", "init"]).await?.failed_with(2)?;
    let mut years = Years::begin(world).await?;
    years.world.stop_server().await?;
    let safe = take_away(&years)?;
    years.world.start_server().await?;
    ensure!(years.warnings().await?.is_empty(), "root keys may well be elsewhere: {:?}", years.warnings().await?);
    years.a_release_reaches_everyone().await?;

    // A leaked key: its successor waits for two of the three.
    let leaked = years.ids("online", "timestamp").await?;
    years.keys(&["rotate", "timestamp", "--repository", "online"]).await?.success()?;
    ensure!(years.ids("online", "timestamp").await? == leaked, "nothing changes until it is signed");
    ensure!(years.warnings().await? == ["root_unsigned"], "{:?}", years.warnings().await?);
    years.keys(&["rotate", "snapshot", "--repository", "online"]).await?.failed_with(2)?;
    years.a_release_reaches_everyone().await?;

    let request = years.world.directory().join("request.json");
    years.keys(&["request", "--out", text(&request)?]).await?.success()?;
    let online = key_files(&safe, "online-root")?;
    let offline = key_files(&safe, "offline-root")?;
    ensure!(online.len() == 3 && offline.len() == 3);
    elsewhere(&["keys", "sign", text(&request)?, "--key", text(&offline[0])?]).await?.failed_with(2)?;
    // Two people at two places, each with a copy.
    let copies: Vec<_> =
        [0, 1].iter().map(|number| years.world.directory().join(format!("copy-{number}.json"))).collect();
    for (copy, key) in copies.iter().zip(&online) {
        let sign = ["keys", "sign", text(&request)?, "--key", text(key)?, "--out", text(copy)?];
        let signed = elsewhere(&sign).await?.success()?;
        ensure!(signed.stderr.contains("timestamp: now also the key with SHA-256"), "{signed}");
    }
    years.keys(&["import-signatures", text(&copies[0])?]).await?.success()?;
    ensure!(years.root_version("online").await? == 1, "one of two is not enough");
    // What was signed is what is taken.
    let signed = std::fs::read_to_string(&copies[1])?;
    let ends: Vec<_> = signed.match_indices("\"expires\":\"20").map(|(at, _)| at + "\"expires\":\"".len()).collect();
    ensure!(ends.len() == 2, "of the root before and of the next one: {signed}");
    let ending_in_another_century = |at: usize| format!("{}1{}", &signed[..at], &signed[at + 1..]);
    for (name, bad) in [
        ("before", ending_in_another_century(ends[0])),
        ("next", ending_in_another_century(ends[1])),
        ("half", signed[..signed.len() / 2].to_owned()),
    ] {
        let file = years.world.directory().join(name);
        std::fs::write(&file, bad)?;
        let refused = years.keys(&["import-signatures", text(&file)?]).await?;
        ensure!(!refused.status.success(), "{name}: {refused}");
    }
    years.keys(&["import-signatures", text(&copies[1])?]).await?.success()?;
    ensure!(years.root_version("online").await? == 2 && years.ids("online", "timestamp").await? != leaked);
    ensure!(years.warnings().await?.is_empty(), "{:?}", years.warnings().await?);
    // Brought once more, it changes nothing.
    years.keys(&["import-signatures", text(&copies[0])?]).await?.success()?;
    years.a_release_reaches_everyone().await?;

    // An administrator leaves: another one's key, made where it stays, takes the place of theirs, signed at once by the
    // two who are here with their sticks.
    let made = years.world.directory().join("new.der");
    elsewhere(&["keys", "generate", text(&made)?]).await?.success()?;
    let public = format!("{}.pub", text(&made)?);
    let ids = years.ids("online", "root").await?;
    let rotate = ["rotate", "root", "--repository", "online", "--remove", &ids[0][..12], "--public", &public];
    let (first, second) = (text(&online[0])?, text(&online[1])?);
    let with_keys: Vec<&str> =
        rotate.iter().copied().chain(["--key", first, "--key", second, "--key", text(&made)?]).collect();
    years.keys(&with_keys).await?.success()?;
    let now = years.ids("online", "root").await?;
    ensure!(now.len() == 3 && !now.contains(&ids[0]), "{now:?}");
    ensure!(years.root_version("online").await? == 3);
    years.a_release_reaches_everyone().await?;

    // Something that is given up leaves nothing.
    let before = years.key_files("")?;
    years.keys(&["rotate", "targets"]).await?.success()?;
    ensure!(years.key_files("")?.len() == before.len() + 2);
    years.keys(&["cancel"]).await?.success()?;
    ensure!(years.key_files("")? == before);
    years.world.restart_server().await?;
    years.a_release_reaches_everyone().await
}
