//! Power is cut in an import, at every named point: what was served or run before is served or run still, or the new
//! release is, whole; and the same bundle once more heals.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use bundles::fake::Edition;
use tests::peers::Digests;
use tests::world::{Output, World, shows_edition};

use crate::setting::{fetched, nothing_is_left, offline_targets, origin, relay};

/// Points that no import by command comes by: downloads and their manners, update runs, the watched folder, reports, what a
/// server prepares behind everybody's back, keys that change, backups, catalogs of another form, and the online repository,
/// which no bundle brings.
const NOT_IN_IMPORTS: [&str; 12] = [
    "download.",
    "manners.",
    "run.",
    "incoming.",
    "report.",
    "prepare.",
    "republish.",
    "keys.",
    "backup.",
    "restore.",
    "schema.",
    "tree.online_switched",
];

fn points(output: Output) -> Result<Vec<String>> {
    let points: Vec<_> = output.success()?.stdout.lines().map(str::to_owned).collect();
    ensure!(points.len() > 5, "{points:?}");
    Ok(points)
}

/// The release that readers find, checked to be whole: with python-tuf, with curl, and by ISE's way.
fn served(relay: &World, root: &str) -> Result<u64> {
    let targets = offline_targets(relay, root)?;
    let serial: u64 = targets
        .keys()
        .find_map(|name| name.strip_prefix("release-")?.strip_suffix(".json")?.parse().ok())
        .context("a manifest is among the targets")?;
    let index = String::from_utf8(fetched(relay, "web/secure/spa/posture-update.xml")?)?;
    let found = archives(relay, &targets, &index, serial)?;
    ensure!(found > 3, "{found} archives of release {serial} are in the index:\n{index}");
    Ok(serial)
}

fn archives(relay: &World, targets: &Digests, index: &str, serial: u64) -> Result<usize> {
    let mut found = 0;
    for (path, digest) in targets {
        let name = path.split_once('-').map_or(path.as_str(), |(_, name)| name);
        let locator = format!("web/secure/spa/r/{serial}/{name}");
        if name.ends_with(".tar.gz") && index.contains(&locator) {
            let bytes = fetched(relay, &locator)?;
            ensure!(&bundles::Digest::of(&bytes).to_string() == digest, "{locator}");
            found += 1;
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_relay_survives_a_kill_at_every_point_of_an_import() -> Result<()> {
    let (origin, root) = origin().await?;
    // Two releases retained: so that the third and later ones come by the points of cleaning up as well.
    let mut relay = relay(&root).set("data", "retain_releases", 2).build().await?;
    relay.import(&origin.bundle().await?).await?.success()?;
    let points = points(relay.feed_server(["crash-points"]).await?)?;
    let mut edition = Edition::before();
    let mut serial = 1;
    let mut never = BTreeSet::new();
    for point in points.iter().filter(|point| !NOT_IN_IMPORTS.iter().any(|prefix| point.starts_with(prefix))) {
        edition = edition.next();
        serial += 1;
        origin.upstream().publish(edition.clone())?;
        origin.sync().await?.success()?;
        let bundle = origin.bundle().await?;
        // In a command without a server, which does everything by itself.
        relay.stop_server().await?;
        relay.crash_at(point);
        let output = relay.import(&bundle).await?;
        relay.crash_nowhere();
        if output.code().is_some() {
            never.insert(format!("{point} ({output})"));
        }
        relay.start_server().await?;
        let found = served(&relay, &root).with_context(|| format!("after a kill at {point}"))?;
        ensure!(found == serial || found + 1 == serial, "after a kill at {point}: release {found}, not about {serial}");

        relay.import(&bundle).await?.success().with_context(|| format!("after a kill at {point}"))?;
        ensure!(served(&relay, &root)? == serial, "after a kill at {point}");
        shows_edition(&relay.feed_server(["status"]).await?.success()?.stdout, &edition)?;
        nothing_is_left(&relay).with_context(|| format!("after a kill at {point}"))?;
        ensure!(fetched(&relay, "offline/posture-bundle.zip")? == std::fs::read(&bundle)?, "after a kill at {point}");
    }
    ensure!(never.is_empty(), "{never:?} are never come by in an import; name them in NOT_IN_IMPORTS, with the reason");
    Ok(())
}

#[tokio::test]
async fn a_headend_survives_a_kill_at_every_point_of_an_import() -> Result<()> {
    let (origin, root) = origin().await?;
    let mut world = World::builder().without_upstream().stopped().headends(1).build().await?;
    let hook = world.directory().join("hook");
    std::fs::write(&hook, "#!/bin/sh\nexit 0\n")?;
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    world.headend(0).configure(&format!("[apply]\nhook = {hook:?}\nkeep_releases = 2\n"))?;
    world.headend(0).enroll_for_imports(&root).await?;
    let points = points(world.headend(0).client(["crash-points"]).await?)?;
    let receipt = world.directory().join("receipt.json");

    let mut edition = Edition::before();
    let mut come_by = BTreeSet::new();
    // The first round is met by a first apply (default policies), the second by later ones (pruning).
    for point in points.iter().chain(&points) {
        let bundle = origin.bundle().await?;
        let import = ["import".as_ref(), bundle.as_os_str(), "--receipt".as_ref(), receipt.as_os_str()];
        let before = world.headend(0).current();
        world.headend_mut(0).crash_at(point);
        let output = world.headend(0).client(import).await?;
        world.headend_mut(0).crash_nowhere();
        if output.code().is_none() {
            come_by.insert(point.clone());
        }
        let after = world.headend(0).current();
        ensure!(before.is_none() || after.is_some(), "a kill at {point} leaves no release running");
        world.headend(0).client(["status"]).await?.success().with_context(|| format!("after a kill at {point}"))?;

        world.headend(0).client(import).await?.success().with_context(|| format!("after a kill at {point}"))?;
        let status = world.headend(0).client(["status"]).await?.success()?.stdout;
        shows_edition(&status, &edition).with_context(|| format!("after a kill at {point}"))?;
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&receipt)?)?;
        ensure!(written["serial"].is_u64(), "after a kill at {point}: {written}");
        edition = edition.next();
        origin.upstream().publish(edition.clone())?;
        origin.sync().await?.success()?;
    }
    let of_imports = |point: &&String| point.starts_with("client.import.") || point.starts_with("client.receipt.");
    let missed: Vec<_> = points.iter().filter(of_imports).filter(|point| !come_by.contains(*point)).collect();
    ensure!(missed.is_empty(), "{missed:?} are never come by");
    ensure!(come_by.len() > 12, "{come_by:?}");
    Ok(())
}
