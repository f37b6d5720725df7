//! Two years of an origin and its headends in some minutes: the real programs, and a clock that is moved by most of a week at a
//! time (libfaketime). Nothing is expected of the machine's own time.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tests::attacker::{Attacker, files_of_server};
use tests::peers;
use tests::world::{DEADLINE, World, shows_edition, wait_until};

/// Between two looks at the world: short of the seven days that a timestamp lasts, by what a server takes to renew it.
const STEP_HOURS: i64 = 162;

/// Two years of it.
const STEPS: i64 = 2 * 365 * 24 / STEP_HOURS + 1;

/// Every so many steps upstream has something new.
const NEW_EVERY: i64 = 3;

/// Every so many steps a bundle is carried to the enclave; bundles last 90 days.
const CARRIED_EVERY: i64 = 8;

/// When a backup is taken, and when the server's disk is lost and the backup is all that is left: there was new content since.
const BACKED_UP: i64 = 99;
const RESTORED: i64 = 104;

/// Every so many steps python-tuf looks too.
const PYTHON_EVERY: i64 = 18;

/// Half a year in which nobody runs one headend.
const HEADEND_AWAY: std::ops::Range<i64> = 20..48;

/// Half a year in which nobody runs the server.
const SERVER_AWAY: std::ops::Range<i64> = 58..85;

/// How many roots [`Years::change_keys`] makes.
const KEY_CHANGES: u64 = 5;

struct Years {
    world: World,
    /// When it began, by the machine's clock.
    began: Timestamp,
    step: i64,
    /// The root of the first day, for python-tuf.
    first_root: PathBuf,
}

impl Years {
    async fn begin() -> Result<Self> {
        let world = World::builder().headends(3).build().await?;
        world.sync().await?.success()?;
        world.enroll(0).await?;
        world.enroll(1).await?;
        let root = world.offline_root().await?;
        world.headend(2).enroll_for_imports(&root).await?;
        let first_root = world.export_root(&world.directory().join("first-root.json")).await?;
        let status: Value = world.headend(0).client(["status", "--json"]).await?.success()?.json()?;
        let began = status["now"].as_str().context("a time")?.parse()?;
        Ok(Self { world, began, step: 0, first_root })
    }

    fn offset(&self) -> String {
        format!("+{}h", self.step * STEP_HOURS)
    }

    fn at(&self, step: i64) -> Timestamp {
        self.began + SignedDuration::from_hours(step * STEP_HOURS)
    }

    /// Nearly a week later, and the server comes up.
    async fn later(&mut self) -> Result<()> {
        if self.world.server_id().is_some() {
            self.world.stop_server().await?;
        }
        self.step += 1;
        self.world.clock_off(&self.offset());
        self.world.start_server().await
    }

    /// Everything that is signed lasts beyond the next look, so that nobody who looked in between met an end.
    async fn is_renewed(&self) -> Result<()> {
        #[allow(clippy::cast_precision_loss, reason = "a time to the second is exact in it for ages")]
        let next = self.at(self.step + 1).as_second() as f64;
        let all = async || {
            let Ok(metrics) = self.world.metrics().await else { return false };
            let ends: Vec<f64> =
                metrics.all("posture_feed_metadata_expires_timestamp_seconds").map(|sample| sample.value).collect();
            ends.len() == 8 && ends.iter().all(|end| *end > next)
        };
        let renewed = wait_until(DEADLINE, "every role is renewed before it ends", all).await;
        renewed.with_context(|| format!("step {}", self.step))
    }

    async fn update(&self, number: usize) -> Result<()> {
        let update = self.world.headend(number).invocation(["update"]).with_clock_off(&self.offset());
        let done =
            update.output().await?.success().with_context(|| format!("headend {number} at step {}", self.step))?;
        ensure!(!done.stderr.contains("ERROR") && !done.stderr.contains("damaged"), "{done}");
        Ok(())
    }

    /// A bundle of now, carried to the headend that nothing else comes to.
    async fn carry(&self) -> Result<()> {
        let bundle = self.world.bundle().await?;
        let import = self.world.headend(2).invocation(["import".as_ref(), bundle.as_os_str()]);
        import
            .with_clock_off(&self.offset())
            .output()
            .await?
            .success()
            .with_context(|| format!("step {}", self.step))?;
        Ok(())
    }

    fn python(&self) -> Result<()> {
        let (base, kept) = (self.world.server_url()?.join("repo")?, self.world.directory().join("python"));
        let read = peers::python_tuf_at(&base, &self.first_root, &kept, Some(&self.offset()));
        read.with_context(|| format!("python-tuf at step {}", self.step)).map(drop)
    }

    async fn keys(&self, arguments: &[&str]) -> Result<()> {
        let all: Vec<&str> = std::iter::once("keys").chain(arguments.iter().copied()).collect();
        self.world.feed_server(all).await?.success().map(drop)
    }

    /// What people do to keys in two years.
    async fn change_keys(&self) -> Result<()> {
        match self.step {
            9 => self.keys(&["rotate", "timestamp"]).await,
            16 => self.keys(&["rotate", "root", "--root-keys", "3", "--threshold", "2"]).await,
            30 => self.keys(&["rotate", "targets", "snapshot"]).await,
            52 => self.keys(&["rotate", "root"]).await,
            95 => self.keys(&["rotate", "root", "targets", "snapshot", "timestamp"]).await,
            _ => Ok(()),
        }
    }

    /// What a headend shows is the newest release, and upstream's versions.
    async fn is_right(&self, number: usize) -> Result<()> {
        let headend = self.world.headend(number);
        let shown = headend.invocation(["status"]).with_clock_off(&self.offset()).output().await?.success()?;
        shows_edition(&shown.stdout, &self.world.upstream().edition().context("a fake feed")?)?;
        let status = headend.invocation(["status", "--json"]).with_clock_off(&self.offset()).output().await?;
        let status: Value = status.success()?.json()?;
        ensure!(status["last_status"]["status"] == "successful", "headend {number}: {status}");
        ensure!(status["serial"] == self.serial().await?, "headend {number}: {status}");
        for nothing in ["damaged", "last_damage", "state_rebuilt", "clock_behind", "held"] {
            let found = &status[nothing];
            ensure!(found.is_null() || found == &serde_json::json!([]), "headend {number}: {nothing}: {found}");
        }
        Ok(())
    }

    async fn serial(&self) -> Result<u64> {
        let status: Value = self.world.feed_server(["status", "--json"]).await?.success()?.json()?;
        status.pointer("/release/serial").and_then(Value::as_u64).context("a release")
    }

    async fn root_version(&self) -> Result<u64> {
        let root: Value = self.world.feed_server(["keys", "export-root"]).await?.success()?.json()?;
        root.pointer("/signed/version").and_then(Value::as_u64).context("a version")
    }

    fn backup(&self) -> PathBuf {
        self.world.directory().join("backup")
    }

    async fn back_up(&self) -> Result<()> {
        let file = self.backup();
        let backup = self.world.feed_server(["backup".as_ref(), file.as_os_str()]).await?;
        backup.success().map(drop)
    }

    /// The disk is another one, with nothing on it.
    async fn restore(&mut self) -> Result<()> {
        self.world.stop_server().await?;
        std::fs::rename(self.world.data(), self.world.directory().join("lost"))?;
        let file = self.backup();
        self.world.feed_server(["restore".as_ref(), file.as_os_str()]).await?.success()?;
        self.world.start_server().await?;
        self.world.sync().await?.success().map(drop)
    }

    /// Nobody runs the server. Its tree is still there, on a web server that knows nothing of it, and ends.
    async fn silence(&mut self) -> Result<()> {
        self.world.stop_server().await?;
        let left = Attacker::listen()?;
        left.serve(&files_of_server(&self.world.data(), "repo")?);
        let headend = self.world.headend(0);
        headend.configure(&format!("[server]\nurl = \"{}\"\n", left.url()))?;
        self.step = SERVER_AWAY.start;
        self.update(0).await.context("what is left is good for a week")?;
        for step in [SERVER_AWAY.start + 2, SERVER_AWAY.end - 1] {
            self.step = step;
            let update =
                headend.invocation(["update"]).with_clock_off(&self.offset()).output().await?.failed_with(12)?;
            ensure!(update.stderr.contains("reason: freeze "), "{update}");
            ensure!(headend.current().is_some(), "what runs goes on running");
        }
        headend.configure("")
    }
}

#[tokio::test]
async fn two_years_of_renewals_rotations_absences_and_new_content() -> Result<()> {
    let mut years = Years::begin().await?;
    while years.step < STEPS {
        if years.step + 1 == SERVER_AWAY.start {
            years.silence().await?;
        }
        years.later().await?;
        years.change_keys().await?;
        match years.step {
            BACKED_UP => years.back_up().await?,
            RESTORED => years.restore().await?,
            _ => {}
        }
        if years.step % NEW_EVERY == 0 {
            years.world.upstream().publish_next()?;
            years.world.sync().await?.success()?;
        }
        years.is_renewed().await?;
        years.update(0).await?;
        if !HEADEND_AWAY.contains(&years.step) && years.step % 4 == 1 {
            years.update(1).await?;
        }
        if years.step % CARRIED_EVERY == 0 {
            years.carry().await?;
        }
        if years.step % PYTHON_EVERY == 0 {
            years.python()?;
        }
    }
    years.update(1).await?;
    years.carry().await?;
    for number in 0..3 {
        years.is_right(number).await?;
    }
    years.python()?;
    // The first, those that somebody asked for, and what was due since the last of them.
    let roots = years.root_version().await?;
    ensure!(roots > 1 + KEY_CHANGES, "root {roots}: none was renewed by itself");
    let warnings: Value = years.world.feed_server(["status", "--json"]).await?.success()?.json()?;
    let ours = |warning: &&Value| warning["kind"] != "clock_offset" && warning["kind"] != "certificate_expiring";
    let warnings: Vec<_> = warnings["warnings"].as_array().into_iter().flatten().filter(ours).collect();
    ensure!(warnings.is_empty(), "{warnings:?}");
    years.world.stop_server().await?;
    Ok(())
}

/// A server that runs on while its clock jumps: what is due by then is done, as after a machine's sleep.
#[tokio::test]
async fn a_server_whose_clock_jumps_while_it_runs_does_what_is_due() -> Result<()> {
    let mut world = World::builder().headends(1).on_schedule().stopped().build().await?;
    let clock = world.directory().join("clock");
    std::fs::write(&clock, "+0")?;
    for (name, value) in tests::world::clock_from(&clock) {
        world.env(name, &value);
    }
    world.start_server().await?;
    world.released(1).await?;
    world.enroll(0).await?;
    for (serial, offset) in [(2, "+3h"), (3, "+6d"), (4, "+200d")] {
        world.upstream().publish_next()?;
        // Whole at any moment: it is read at each look at the clock.
        let next = clock.with_extension("next");
        std::fs::write(&next, offset)?;
        std::fs::rename(&next, &clock)?;
        world.released(serial).await.with_context(|| format!("by itself, at {offset}"))?;
        // It counts as released when it is stored; this one ends when that run has, which publishes it.
        world.sync().await?.success()?;
        let update = world.headend(0).invocation(["update"]).with_clock_off(offset).output().await?.success()?;
        ensure!(world.headend(0).current().context("a release")?.ends_with(serial.to_string()), "{update}");
    }
    world.stop_server().await?;
    Ok(())
}
