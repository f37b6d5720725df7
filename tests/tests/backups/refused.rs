//! What must not be restored, or not there.

use anyhow::{Result, ensure};
use tests::world::World;

use crate::origin::{backup, text};

#[tokio::test]
async fn nothing_is_restored_over_anything_and_nothing_damaged_at_all() -> Result<()> {
    let mut world = World::builder().build().await?;
    world.sync().await?.success()?;
    let file = backup(&world, "a.tar").await?;
    let again = world.feed_server(["backup", text(&file)?]).await?.failed_with(2)?;
    ensure!(again.stderr.contains("is there already"), "one backup is not made by losing another: {again}");
    // A server runs; then it does not, but its data is there.
    world.feed_server(["restore", text(&file)?]).await?.failed_with(16)?;
    world.stop_server().await?;
    let refused = world.feed_server(["restore", text(&file)?]).await?.failed_with(2)?;
    ensure!(refused.stderr.contains("not empty"), "{refused}");
    world.start_server().await?;
    world.released(1).await?;

    let bytes = std::fs::read(&file)?;
    let place = world.directory().join("elsewhere");
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for (name, bytes, code) in [
        ("short", &bytes[..bytes.len() - 600], 14),
        ("half", &bytes[..bytes.len() / 2], 14),
        ("damaged", &damaged[..], 14),
        ("no tar", &b"something else"[..], 14),
    ] {
        let bad = world.directory().join(name);
        std::fs::write(&bad, bytes)?;
        let output = world.feed_server(["restore", text(&bad)?, "--data", text(&place)?]).await?;
        ensure!(output.code() == Some(code), "{name}: {output}");
        ensure!(!place.exists(), "{name}: nothing is made of what is refused");
    }
    world.feed_server(["restore", "--check", text(&file)?, "--data", text(&place)?]).await?.success()?;
    ensure!(!place.exists(), "only looked at");

    // From before a rotation: whoever has the newest root at hand is told.
    let root = world.directory().join("newest-root.json");
    world.feed_server(["keys", "rotate", "root"]).await?.success()?;
    world.export_root(&root).await?;
    let older = ["restore", text(&file)?, "--data", text(&place)?, "--root", text(&root)?];
    let refused = world.feed_server(older).await?.failed_with(12)?;
    ensure!(refused.stderr.contains("older than the root"), "{refused}");
    ensure!(!place.exists());
    Ok(())
}

#[tokio::test]
async fn a_backup_leaves_the_machine_through_the_control_socket_alone() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    let token = world.directory().join("token");
    let add = ["token", "add", "boss", "--scope", "admin", "--token-file", text(&token)?];
    world.feed_server(add).await?.success()?;
    let answer = world
        .http()?
        .get(world.server_url()?.join("api/v1/backup")?)
        .bearer_auth(std::fs::read_to_string(&token)?.trim())
        .send()
        .await?;
    ensure!(answer.status().as_u16() == 403, "{}", answer.status());

    let without = world.directory().join("without.tar");
    let told = world.feed_server(["backup", "--without-keys", text(&without)?]).await?.success()?;
    ensure!(told.stderr.contains("No private key is in it"), "{told}");
    let with = world.feed_server(["backup", "-"]).await?.success()?;
    ensure!(with.stderr.contains("private signing keys"), "{with}");
    let bytes = std::fs::read(&without)?;
    for key in std::fs::read_dir(world.data().join("keys"))? {
        let seed = std::fs::read(key?.path())?[16..].to_vec();
        ensure!(!bytes.windows(seed.len()).any(|window| window == seed));
    }
    Ok(())
}
