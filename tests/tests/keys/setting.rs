//! What the scenarios about keys share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::peers;
use tests::world::{Output, World};

/// An origin with one release, and those who trust the first roots of its two repositories.
pub(crate) struct Years {
    pub(crate) world: World,
    online: PathBuf,
    offline: PathBuf,
}

impl Years {
    /// `world` has two headends: one that polls, and one that is fed by hand.
    pub(crate) async fn begin(mut world: World) -> Result<Self> {
        if world.server_id().is_none() {
            world.start_server().await?;
        }
        world.sync().await?.success()?;
        world.enroll(0).await?;
        let root = world.offline_root().await?;
        world.headend(1).enroll_for_imports(&root).await?;
        let (online, offline) =
            (world.directory().join("first-root.json"), world.directory().join("first-offline.json"));
        world.export_root(&online).await?;
        world.export_offline_root(&offline).await?;
        let years = Self { world, online, offline };
        years.everyone_follows().await?;
        Ok(years)
    }

    /// A new release, and everyone who trusts what they trusted at first gets it.
    pub(crate) async fn a_release_reaches_everyone(&self) -> Result<()> {
        let edition = self.world.upstream().edition().context("a fake feed")?.next();
        self.world.upstream().publish(edition)?;
        self.world.sync().await?.success()?;
        self.everyone_follows().await
    }

    /// Whoever comes only now, with the first root in their hands.
    pub(crate) async fn whoever_was_away_follows(&self) -> Result<()> {
        let scratch = tempfile::tempdir()?;
        self.python_follows(scratch.path()).await
    }

    /// python-tuf, with what it keeps there.
    async fn python_follows(&self, kept: &Path) -> Result<()> {
        let serial = self.serial().await?;
        for (path, root) in [("repo", &self.online), ("offline", &self.offline)] {
            let kept = kept.join(path);
            let targets = peers::python_tuf(&self.world.server_url()?.join(path)?, root, &kept)
                .with_context(|| format!("python-tuf reads /{path} from its first root on"))?;
            ensure!(targets.contains_key(&format!("release-{serial}.json")), "{path}: {targets:?}");
            // It walked there by itself, and has nothing older left to go back to.
            let root: Value = serde_json::from_slice(&std::fs::read(kept.join("metadata/root.json"))?)?;
            let side = if path == "repo" { "online" } else { "offline" };
            ensure!(
                root["signed"]["version"] == self.root_version(side).await?,
                "{path}: {}",
                root["signed"]["version"]
            );
        }
        Ok(())
    }

    /// Those who keep what they know: python-tuf in one directory all the time, and our two headends.
    pub(crate) async fn everyone_follows(&self) -> Result<()> {
        self.python_follows(&self.world.directory().join("python")).await?;
        let serial = self.serial().await?;
        self.world.headend(0).client(["update"]).await?.success()?;
        let bundle = self.world.bundle().await?;
        self.world.headend(1).import(&bundle).await?.success()?;
        for number in [0, 1] {
            let current = self.world.headend(number).current().context("a release runs")?;
            ensure!(current.ends_with(serial.to_string()), "headend {number} runs {}, not {serial}", current.display());
        }
        Ok(())
    }

    async fn serial(&self) -> Result<u64> {
        let status: Value = json(self.world.feed_server(["status", "--json"]).await?)?;
        status.pointer("/release/serial").and_then(Value::as_u64).context("a release")
    }

    pub(crate) async fn keys(&self, arguments: &[&str]) -> Result<Output> {
        let all: Vec<&str> = std::iter::once("keys").chain(arguments.iter().copied()).collect();
        self.world.feed_server(all).await
    }

    /// `keys list`, as it is.
    pub(crate) async fn listed(&self) -> Result<Value> {
        json(self.keys(&["list", "--json"]).await?)
    }

    /// The ids of a role's keys.
    pub(crate) async fn ids(&self, repository: &str, role: &str) -> Result<Vec<String>> {
        let listed = self.listed().await?;
        let keys = listed["keys"].as_array().context("keys")?.iter();
        let of_it = keys.filter(|key| key["repository"] == repository && key["role"] == role);
        of_it.map(|key| Ok(key["key_id"].as_str().context("an id")?.to_owned())).collect()
    }

    /// The version of the newest root that is served.
    pub(crate) async fn root_version(&self, repository: &str) -> Result<u64> {
        let root = match repository {
            "offline" => self.keys(&["export-root", "--offline"]).await?,
            _ => self.keys(&["export-root"]).await?,
        };
        json(root)?.pointer("/signed/version").and_then(Value::as_u64).context("a version")
    }

    /// The files of private keys whose names begin so.
    pub(crate) fn key_files(&self, begin: &str) -> Result<Vec<PathBuf>> {
        key_files(&self.world.data().join("keys"), begin)
    }

    /// The kinds of warnings that there are, but for the clock, which some scenarios turn.
    pub(crate) async fn warnings(&self) -> Result<Vec<String>> {
        let status: Value = json(self.world.feed_server(["status", "--json"]).await?)?;
        let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
        let kinds = warnings.iter().filter_map(|warning| warning["kind"].as_str().map(str::to_owned));
        Ok(kinds.filter(|kind| kind != "clock_offset").collect())
    }
}

pub(crate) fn key_files(directory: &Path, begin: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|suffix| suffix == "der")
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin))
    };
    let mut files: Vec<_> = entries.into_iter().filter(is_one).collect();
    files.sort();
    Ok(files)
}

pub(crate) fn json(output: Output) -> Result<Value> {
    let output = output.success()?;
    serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())
}
