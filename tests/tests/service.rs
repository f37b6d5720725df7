//! What a service manager sees of both programs, and the units that are shipped for it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::world::{DEADLINE, Invocation, Signal, World, binaries, wait_until};
use tokio::net::UnixDatagram;

/// A service manager's end of `$NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new(directory: &Path) -> Result<Self> {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path)?;
        Ok(Self { socket, path: path.to_str().context("a path of ours")?.to_owned() })
    }

    /// Waits until it is told that.
    async fn told(&self, state: &str) -> Result<()> {
        let told = async {
            let mut buffer = [0; 4096];
            loop {
                let length = self.socket.recv(&mut buffer).await?;
                let text = std::str::from_utf8(&buffer[..length])?;
                if text.lines().any(|line| line == state) {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(DEADLINE, told).await.with_context(|| format!("{state} was never said"))?
    }
}

#[tokio::test]
async fn the_server_says_that_it_is_ready_that_it_lives_and_that_it_ends() -> Result<()> {
    let mut world = World::builder().stopped().build().await?;
    let manager = Manager::new(world.directory())?;
    world.start_server_with(&[("NOTIFY_SOCKET", &manager.path), ("WATCHDOG_USEC", "200000")]).await?;
    for state in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
        manager.told(state).await?;
    }
    ensure!(world.stop_server().await?.success());
    manager.told("STOPPING=1").await
}

#[tokio::test]
async fn the_agent_says_so_too() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    let manager = Manager::new(world.directory())?;
    let run = world.headend(0).invocation(["run"]);
    let run = run.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "200000");
    let mut agent = run.start(&world.directory().join("agent.log"))?;
    for state in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
        manager.told(state).await?;
    }
    agent.signal(Signal::TERM)?;
    ensure!(agent.end(DEADLINE).await?.success(), "{}", agent.tail());
    manager.told("STOPPING=1").await
}

#[tokio::test]
async fn without_a_service_manager_nothing_is_said() -> Result<()> {
    let world = World::builder().build().await?;
    let log = std::fs::read_to_string(world.server_log())?;
    ensure!(!log.contains("service manager"), "{log}");
    let answers = async || world.get("healthz").await.is_ok_and(|response| response.status().is_success());
    wait_until(DEADLINE, "the server answers", answers).await
}

#[tokio::test]
async fn who_has_nothing_else_to_ask_it_with_asks_by_the_program() -> Result<()> {
    let mut world = World::builder().stopped().build().await?;
    let none = world.feed_server(["health"]).await?.failed_with(10)?;
    ensure!(none.stderr.contains("no server runs"), "{none}");
    ensure!(!world.data().exists(), "asking made something");
    world.start_server().await?;
    world.feed_server(["health"]).await?.success()?;
    // It is there, and does nothing.
    world.signal_server(Signal::STOP)?;
    let silent = world.feed_server(["health"]).await?.failed_with(10)?;
    ensure!(silent.stderr.contains("does not answer"), "{silent}");
    world.signal_server(Signal::CONT)?;
    world.feed_server(["health"]).await?.success()?;
    ensure!(world.stop_server().await?.success());
    world.feed_server(["health"]).await?.failed_with(10)?;
    Ok(())
}

#[test]
fn the_units_are_right_and_hardened() -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    for unit in ["posture-feed-server.service", "posture-feed-client.service"] {
        let unit = directory.join(unit);
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
            .arg(&unit)
            .output()
            .context("systemd-analyze is missing; run tests/run, which installs it")?;
        // Beyond the threshold (2.0, in tenths) it ends with a failure.
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

/// `check-config`, as the units run it first, of the configurations that are shipped.
#[tokio::test]
async fn the_shipped_configurations_are_good() -> Result<()> {
    let programs = binaries().await?;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let scratch = tempfile::tempdir()?;
    let server = Invocation::new(&programs.feed_server).args(["check-config", "--config"]);
    server.args([deploy.join("feed-server.toml")]).output().await?.success()?;
    let client = Invocation::new(&programs.feed_client).args(["check-config", "--data"]).args([scratch.path()]);
    let good = client.clone().args(["--config"]).args([deploy.join("feed-client.toml")]).output().await?.success()?;
    ensure!(good.stdout.contains("is good"), "{good}");

    let bad = scratch.path().join("bad.toml");
    std::fs::write(&bad, "[schedule]\nevery = \"soon\"\n[headend]\ncolour = 1\n")?;
    let bad = client.args(["--config"]).args([bad]).output().await?.failed_with(2)?;
    ensure!(bad.stderr.contains("every") && bad.stderr.contains("colour"), "{bad}");
    Ok(())
}

#[tokio::test]
async fn man_pages_and_completions_are_made_of_the_command_line() -> Result<()> {
    let programs = binaries().await?;
    let scratch = tempfile::tempdir()?;
    for (program, name) in [(&programs.feed_server, "feed-server"), (&programs.feed_client, "feed-client")] {
        let generate = Invocation::new(program).args(["generate", "--out"]).args([scratch.path()]);
        generate.output().await?.success()?;
        let page = std::fs::read_to_string(scratch.path().join(format!("man/{name}.1")))?;
        ensure!(page.contains(".SH SYNOPSIS") && page.contains("Exit codes"), "{page}");
        let completion = std::fs::read_to_string(scratch.path().join(format!("completions/{name}.bash")))?;
        ensure!(completion.contains("check-config"), "{completion}");
    }
    ensure!(scratch.path().join("man/feed-server-keys-rotate.1").is_file());
    Ok(())
}
