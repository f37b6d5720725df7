//! A headend that runs release 1, an origin that has published release 2, and somebody between them.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tests::attacker::{Attacker, Files, Forged};
use tests::peers;
use tests::world::{Output, World};

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) attacker: Attacker,
    /// What the origin published when the headend asked last.
    pub(crate) before: Forged,
    /// What it has published now.
    pub(crate) now: Forged,
    /// What an honest server will answer with in the end.
    honest: Files,
    side: &'static str,
}

/// What was there before an attack.
struct Found {
    status: Value,
    current: Option<PathBuf>,
}

impl Stage {
    pub(crate) async fn set() -> Result<Self> {
        Self::set_for("repo").await
    }

    /// With a headend that trusts the offline repository, where `side` says so.
    pub(crate) async fn set_for(side: &'static str) -> Result<Self> {
        let world = World::builder().headends(1).build().await?;
        world.sync().await?.success()?;
        if side == "repo" {
            world.enroll_all().await?;
        } else {
            let root = world.offline_root().await?;
            world.enroll_with(0, &root).await?;
        }
        world.headend(0).client(["update"]).await?.success()?;
        let before = Forged::of_server(&world.data(), side)?;
        world.upstream().publish_next()?;
        world.sync().await?.success()?;
        let now = Forged::of_server(&world.data(), side)?;
        let attacker = Attacker::listen()?;
        world.headend(0).configure(&format!("[server]\nurl = \"{}\"\n", attacker.url()))?;
        let honest = now.files().clone();
        let stage = Self { world, attacker, before, now, honest, side };
        stage.attacker.serve(stage.before.files());
        stage.python().context("python-tuf on what the headend runs")?;
        Ok(stage)
    }

    /// From now on, an honest server is one that has this.
    pub(crate) fn honest_is(&mut self, forged: &Forged) {
        self.honest = forged.files().clone();
    }

    /// `feed-client update` with these answers, which must be refused for this reason.
    pub(crate) async fn refused(&self, files: &Files, reason: &str, code: i32) -> Result<Output> {
        self.attacker.serve(files);
        self.update_refused(reason, code, None).await
    }

    /// The same with the answers that are set already, and with the clock off.
    pub(crate) async fn update_refused(&self, reason: &str, code: i32, clock_off: Option<&str>) -> Result<Output> {
        let found = self.look().await?;
        let invocation = self.world.headend(0).invocation(["update"]).env("POSTURE_FEED_TIMEOUTS_DIVIDED_BY", "20");
        let invocation = match clock_off {
            Some(offset) => invocation.with_clock_off(offset),
            None => invocation,
        };
        let refused = invocation.output().await?.failed_with(code)?;
        ensure!(refused.stderr.contains(&format!("reason: {reason} ")), "not {reason}: {refused}");
        let left = self.look().await?;
        ensure!(found.current == left.current, "something else runs: {:?}", left.current);
        for what in ["serial", "versions", "releases", "highest_serial_seen"] {
            ensure!(
                found.status[what] == left.status[what],
                "{what}: {} was {}",
                left.status[what],
                found.status[what]
            );
        }
        ensure!(!self.world.headend(0).data().join(".staging").exists(), "something is left over");
        Ok(refused)
    }

    /// python-tuf refuses the same answers.
    pub(crate) fn python_refuses(&self) -> Result<()> {
        ensure!(self.python().is_err(), "python-tuf takes it");
        Ok(())
    }

    /// The same, by this error of its own.
    pub(crate) fn python_refuses_as(&self, error: &str) -> Result<()> {
        self.python_refuses_at("+0", error)
    }

    /// The same with its clock off by that much.
    pub(crate) fn python_refuses_at(&self, clock_off: &str, error: &str) -> Result<()> {
        let Err(refused) = self.python_at(Some(clock_off)) else { bail!("python-tuf takes it") };
        ensure!(format!("{refused:#}").contains(error), "not {error}: {refused:#}");
        Ok(())
    }

    /// python-tuf takes the same answers.
    pub(crate) fn python_takes(&self) -> Result<()> {
        self.python().map(drop)
    }

    /// An honest server is all that it takes.
    pub(crate) async fn heals(&self) -> Result<()> {
        self.heals_ours().await?;
        self.python().context("python-tuf on the honest server").map(drop)
    }

    /// The same where python-tuf cannot be asked.
    pub(crate) async fn heals_ours(&self) -> Result<()> {
        self.attacker.serve(&self.honest);
        self.world.headend(0).client(["update"]).await?.success()?;
        let status = self.look().await?.status;
        ensure!(status["serial"] == 2, "{status}");
        Ok(())
    }

    fn python(&self) -> Result<peers::Digests> {
        self.python_at(None)
    }

    fn python_at(&self, clock_off: Option<&str>) -> Result<peers::Digests> {
        let base = self.attacker.url().join(self.side)?;
        let (root, kept) = (self.world.headend(0).root_file(), self.world.directory().join("python"));
        peers::python_tuf_at(&base, &root, &kept, clock_off)
    }

    async fn look(&self) -> Result<Found> {
        let headend = self.world.headend(0);
        let status = headend.client(["status", "--json"]).await?.success()?.json()?;
        Ok(Found { status, current: headend.current() })
    }
}
